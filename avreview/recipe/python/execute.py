"""The statements of a Python configuration: assignments are followed, whatever else has an effect is not run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from avreview.load.wording import one_line, quoted
from avreview.recipe.model import Place, Unread
from avreview.recipe.python import operators
from avreview.recipe.python.evaluate import BASE, Evaluator
from avreview.recipe.python.limits import Budget
from avreview.recipe.python.values import MOST_PARTS, Imported, Row, Table, Undecided, Unknown

_HARMLESS = frozenset({"print"})
_ANYTHING = frozenset({"__import__", "compile", "delattr", "eval", "exec", "globals", "locals", "setattr", "vars"})
_SILENT = (ast.Assert, ast.Global, ast.Nonlocal, ast.Pass)
_NAMES = {
    ast.AsyncFor: "a loop",
    ast.For: "a loop",
    ast.If: "a condition that only a run decides",
    ast.Raise: "an error that is raised",
    ast.Try: "a `try`",
    ast.While: "a `while` loop",
    ast.With: "a `with`",
}
Importer = Callable[[ast.ImportFrom], Mapping[str, Any]]


class Executor:
    """Follows one file's statements. `variables` is what it defines, with places; `unread` what it would have done.

    `importer` reads the file that an import inside `with read_base():` names.
    """

    def __init__(self, path: str, budget: Budget, importer: Importer) -> None:
        self.path = path
        self.variables = Table(Place(path, 1))
        self.unread: list[Unread] = []
        self._evaluator = Evaluator(path, self.variables, budget)
        self._importer = importer
        self._elsewhere: set[str] = set()  # names that functions of the file may set
        self._deep = 0

    def run(self, statements: Iterable[ast.stmt]) -> None:
        for node in statements:
            try:
                self._evaluator.budget.spend(self._evaluator.place(node))
            except Undecided as error:
                self._blur_all(error.unknown)
                self.unread.append(error.unknown.unread("the rest of the file"))
                return
            self._statement(node)

    def evaluated(self, node: ast.expr) -> Any:
        return self._evaluator.value(node)

    def _statement(self, node: ast.stmt) -> None:
        handler = _HANDLERS.get(type(node))
        if handler is not None and self._deep < 20:
            self._deep += 1
            try:
                handler(self, node)
            finally:
                self._deep -= 1
        elif not isinstance(node, _SILENT):
            self._skip(node)

    def _assign(self, node: ast.Assign) -> None:
        value = self._evaluator.value(node.value)
        for target in node.targets:
            self._store(target, value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._store(node.target, self._evaluator.value(node.value))

    def _augmented(self, node: ast.AugAssign) -> None:
        try:
            old = self._evaluator.evaluate(node.target)  # a target's context plays no part in evaluating it
            if isinstance(old, Row) and isinstance(node.op, ast.Add):
                old.extend(self._evaluator.sequence(node.value))
                self._evaluator.budget.check(old, self._evaluator.place(node))
                return
            value = self._evaluator.evaluate(ast.copy_location(_binary(node), node))
        except Undecided as error:
            value = error.unknown
        self._store(node.target, value)

    def _store(self, target: ast.expr, value: Any) -> None:
        at = self._evaluator.place(target)
        try:
            if isinstance(target, ast.Name):
                self._name(target.id, value, at)
            elif isinstance(target, ast.Tuple | ast.List):
                self._evaluator.assign(target, value)
                for name in _stored(target):
                    self._name(name, self.variables[name], at)
            elif isinstance(target, ast.Attribute):
                self._put(self._evaluator.evaluate(target.value), target.attr, value, at)
            elif isinstance(target, ast.Subscript):
                holder = self._evaluator.evaluate(target.value)
                key = self._evaluator.value(target.slice)
                self._put(holder, key, value, at)
            else:
                self._skip(target)
        except Undecided:
            return  # what is changed is not known anyway
        except (LookupError, TypeError, ValueError, NotImplementedError) as error:
            self._unknown(target, f"fails when it is assigned ({one_line(str(error), 80)})")

    def _name(self, name: str, value: Any, at: Place) -> None:
        if name in self._elsewhere:
            value = Unknown("may be set by a function of the file, which is not run", at)
        if name != BASE:
            self.variables.put(name, value, at)

    def _put(self, holder: Any, key: Any, value: Any, at: Place) -> None:
        if isinstance(holder, Imported):
            return  # a setting of another module, which is no part of the configuration
        if isinstance(key, Unknown):
            _blur(holder, key)
        elif isinstance(holder, Table):
            holder.put(operators.check_key(key), value, at)
        elif isinstance(holder, Row) and holder.rest is None:
            holder[key] = value
        elif not isinstance(holder, Row):
            raise TypeError("it cannot be changed")

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._delete_one(target)

    def _delete_one(self, target: ast.expr) -> None:
        try:
            if isinstance(target, ast.Name):
                self.variables.pop(target.id, None)
            elif isinstance(target, ast.Attribute):
                _remove(self._evaluator.evaluate(target.value), target.attr)
            elif isinstance(target, ast.Subscript):
                holder, key = self._evaluator.evaluate(target.value), self._evaluator.evaluate(target.slice)
                _remove(holder, operators.check_key(key))
        except Undecided as error:
            self._unknown(target, error.unknown.why)
        except (LookupError, TypeError) as error:
            self._unknown(target, f"fails when it is deleted ({one_line(str(error), 80)})")

    def _expression(self, node: ast.Expr) -> None:
        call = node.value
        if not isinstance(call, ast.Call):
            return
        name = _dotted(call.func)
        if name in _HARMLESS:
            return
        if name is not None and name.split(".")[0] in _ANYTHING:
            unknown = Unknown(f"may be changed by {name} in line {node.lineno}, which is not run", self._at(node))
            self.unread.append(Unread(f"a call of {name}", "is not run", self._at(node)))
            self._blur_all(unknown)
            return
        try:
            self._evaluator.evaluate(call)
        except Undecided as error:
            self._called(call, name, error.unknown)

    def _called(self, call: ast.Call, name: str | None, unknown: Unknown) -> None:
        """A call for its effect that is not followed: its object and its arguments may be anything behind it."""
        shown = f"a call of {quoted(name)}" if name else "a call"
        self.unread.append(Unread(shown, unknown.why, self._at(call)))
        touched = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        for node in [*touched, *call.args, *(keyword.value for keyword in call.keywords)]:
            for part in ast.walk(node):
                if isinstance(part, ast.Name):
                    _blur(self.variables.get(part.id), unknown)

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.variables.put(name, Imported(alias.name if alias.asname else name), self._at(node))

    def _import_from(self, node: ast.ImportFrom) -> None:
        origin = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                why = "is another module's and not read"
                self.unread.append(Unread(f"everything from {quoted(origin)}", why, self._at(node)))
            else:
                name = alias.asname or alias.name
                self.variables.put(name, Imported(f"{origin}.{alias.name}"), self._at(node))

    def _with(self, node: ast.With) -> None:
        call = node.items[0].context_expr
        name = _dotted(call.func) if isinstance(call, ast.Call) else None
        if name is not None and name.rpartition(".")[2] == "read_base":
            self._bases(node.body)
        else:
            self._skip(node)

    def _bases(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if isinstance(statement, ast.ImportFrom):
                found = self._importer(statement)
                for key, value in found.items():
                    at = found.place(key) if isinstance(found, Table) else self._at(statement)
                    self.variables.put(key, value, at)
            elif not isinstance(statement, _SILENT):
                self._skip(statement)

    def _if(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Constant) and node.test.value == BASE:
            self._bases(node.body)
            return
        try:
            taken = self._evaluator.truth(self._evaluator.evaluate(node.test))
        except Undecided as error:
            self._skip(node, error.unknown.why)
            return
        self.run(node.body if taken else node.orelse)

    def _for(self, node: ast.For) -> None:
        jumps = any(isinstance(part, ast.Break | ast.Continue) for part in ast.walk(node))
        try:
            items = None if jumps else self._evaluator.sequence(node.iter)
        except (Undecided, TypeError):
            items = None
        if items is None:
            self._skip(node)
            return
        for item in items:
            self._store(node.target, item)
            self.run(node.body)
        self.run(node.orelse)

    def _definition(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self.variables.put(node.name, Imported(node.name), self._at(node))
        for part in ast.walk(node):
            if isinstance(part, ast.Global):
                for name in part.names:
                    self._elsewhere.add(name)
                    self._name(name, None, self._at(node))

    def _skip(self, node: ast.AST, why: str = "is not run") -> None:
        """What is not followed: everything that it may set or change is unknown behind it."""
        what = _NAMES.get(type(node), f"a statement ({type(node).__name__})")
        self.unread.append(Unread(what, why, self._at(node)))
        unknown = Unknown(f"may be changed by {what} in line {self._at(node).line}, which is not run", self._at(node))
        for name in _stored(node):
            self._name(name, unknown, self._at(node))
        for name in _touched(node):
            _blur(self.variables.get(name), unknown)

    def _unknown(self, target: ast.expr, why: str) -> None:
        root = _root(target)
        unknown = Unknown(why, self._at(target))
        if root in self.variables:
            _blur(self.variables[root], unknown)
            if isinstance(target, ast.Name):
                self.variables[root] = unknown

    def _blur_all(self, unknown: Unknown) -> None:
        for name, value in self.variables.items():
            if not isinstance(value, Imported):
                self.variables[name] = unknown

    def _at(self, node: ast.AST) -> Place:
        return self._evaluator.place(node)


def _blur(value: Any, unknown: Unknown) -> None:
    """A dict or list and all in it may be anything by now."""
    waiting, seen = [value], set[int]()
    while waiting and len(seen) < MOST_PARTS:
        value = waiting.pop()
        if not isinstance(value, dict | list | tuple) or id(value) in seen:
            continue
        seen.add(id(value))
        waiting.extend(value.values() if isinstance(value, dict) else value)
        if isinstance(value, Table):
            value.blur(unknown)
        elif isinstance(value, Row):
            value.rest = unknown


def _remove(holder: Any, key: Any) -> None:
    if isinstance(holder, Table):
        del holder[key]
        holder.places.pop(key, None)
    elif isinstance(holder, Row):
        del holder[key]
    else:
        raise TypeError("it cannot be changed")


def _stored(node: ast.AST) -> list[str]:
    """The names that a statement sets or deletes, and those that it imports or defines."""
    names = []
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            names.append(part.id)
        elif isinstance(part, ast.FunctionDef | ast.ClassDef):
            names.append(part.name)
        elif isinstance(part, ast.alias):
            names.append(part.asname or part.name.partition(".")[0])
    return names


def _touched(node: ast.AST) -> list[str]:
    """The names whose objects a statement may change: by items, attributes, methods, or by handing them on."""
    names = []
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load):
            names.append(_root(part))
        elif isinstance(part, ast.Call):
            names += [inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name)]
        elif isinstance(part, ast.AugAssign):
            names.append(_root(part.target))
    return [name for name in names if name is not None]


def _root(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _dotted(node: ast.AST) -> str | None:
    """`a.b.c` of names and attributes; None for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _binary(node: ast.AugAssign) -> ast.BinOp:
    return ast.BinOp(left=node.target, op=node.op, right=node.value)


_HANDLERS: Mapping[type[ast.stmt], Callable[[Executor, Any], None]] = {
    ast.AnnAssign: Executor._annotated,
    ast.Assign: Executor._assign,
    ast.AugAssign: Executor._augmented,
    ast.ClassDef: Executor._definition,
    ast.Delete: Executor._delete,
    ast.Expr: Executor._expression,
    ast.For: Executor._for,
    ast.FunctionDef: Executor._definition,
    ast.If: Executor._if,
    ast.Import: Executor._import,
    ast.ImportFrom: Executor._import_from,
    ast.With: Executor._with,
}
