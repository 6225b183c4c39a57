"""Expressions of a Python configuration: literals, and what is computed of them without running anything."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from avreview.load.wording import one_line, quoted
from avreview.recipe.model import Place
from avreview.recipe.python import functions, operators
from avreview.recipe.python.limits import DEEPEST, Budget
from avreview.recipe.python.values import Imported, Row, Table, Undecided, Unknown, partly

BASE = "_base_"
_SUBSTITUTED = re.compile(r"\{\{\s*([\w.$:]+)\s*\}\}")
_FAILURES = (
    ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class Evaluator:
    """The expressions of one file, in the light of its variables.

    `evaluate` raises Undecided for what cannot be told; `value` gives an Unknown in its place, which containers keep.
    """

    def __init__(self, path: str, variables: dict[str, Any], budget: Budget) -> None:
        self.path = path
        self.variables = variables
        self.budget = budget
        self._deep = 0

    def place(self, node: ast.AST) -> Place:
        return Place(self.path, getattr(node, "lineno", None))

    def value(self, node: ast.expr) -> Any:
        try:
            return self.evaluate(node)
        except Undecided as error:
            return error.unknown

    def evaluate(self, node: ast.expr) -> Any:
        at = self.place(node)
        self.budget.spend(at)
        kind = _KINDS.get(type(node))
        if kind is None:
            raise self.undecided(f"is written as {_words(node)}, which is not evaluated", node)
        if self._deep >= DEEPEST:
            raise self.undecided(f"is nested more than {DEEPEST} levels deep", node)
        self._deep += 1
        try:
            return self.budget.check(kind(self, node), at)
        except _FAILURES as error:
            raise self.undecided(f"fails when it is computed ({_error(error)})", node) from None
        finally:
            self._deep -= 1

    def undecided(self, why: str, node: ast.AST) -> Undecided:
        return Undecided(Unknown(why, self.place(node)))

    def _known(self, node: ast.expr) -> Any:
        """A value that is wholly known at its own level."""
        value = self.evaluate(node)
        unknown = partly(value)
        if unknown is not None:
            raise Undecided(unknown)
        return value

    def _constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, str):
            match = _SUBSTITUTED.fullmatch(value)
            if match is not None and match[1].startswith(f"{BASE}."):
                return self._from_base(match[1], node)
            return _SUBSTITUTED.sub(lambda match: self._about_file(match[1], node), value)
        if isinstance(value, bool | int | float) or value is None:
            return value
        raise self.undecided("is a literal that no configuration holds", node)

    def _about_file(self, name: str, node: ast.AST) -> str:
        file = os.path.basename(self.path)
        stem, suffix = os.path.splitext(file)
        told = {"fileBasename": file, "fileBasenameNoExtension": stem, "fileExtname": suffix}
        if name not in told:
            raise self.undecided(f"holds {quoted('{{' + name + '}}')}, which the file does not tell", node)
        return told[name]

    def _from_base(self, path: str, node: ast.AST) -> Any:
        first, *rest = path.split(".")
        value = self._variable(first, node)
        for key in rest:
            value = self._item(value, int(key) if isinstance(value, Row | tuple) else key, node)
        return value

    def _name(self, node: ast.Name) -> Any:
        return self._variable(node.id, node)

    def _variable(self, name: str, node: ast.AST) -> Any:
        if name not in self.variables:
            if name in functions.NAMES:
                return Imported(f"builtins.{name}")
            raise self.undecided(f"uses {quoted(name)}, which the file does not define", node)
        value = self.variables[name]
        if isinstance(value, Unknown):
            raise Undecided(value)
        return value

    def _tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._items(node.elts))

    def _list(self, node: ast.List) -> Any:
        return Row(self._items(node.elts), self.place(node))

    def _set(self, node: ast.Set) -> Any:
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1:  # {{_base_.x}}
            return self.evaluate(inner.elts[0])
        return {operators.check_key(self._decided(item)) for item in self._items(node.elts)}

    def _items(self, nodes: list[ast.expr]) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                yield from self.sequence(node.value)
            else:
                yield self.value(node)

    def sequence(self, node: ast.expr) -> tuple[Any, ...]:
        """What a loop over an expression's value meets."""
        value = self._known(node)
        if not isinstance(value, str | tuple | list | dict | set | range):
            raise TypeError("is no sequence")
        self.budget.spend(self.place(node), len(value))
        return tuple(operators.in_order(value))

    def _decided(self, value: Any) -> Any:
        if isinstance(value, Unknown):
            raise Undecided(value)
        return value

    def _dict(self, node: ast.Dict) -> Any:
        made = Table(self.place(node))
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self._spread(made, value, overrides=True)
            else:
                made.put(operators.check_key(self._known(key)), self.value(value), self.place(key))
        return made

    def _spread(self, made: Table, node: ast.expr, *, overrides: bool) -> None:
        """`**node` into a dict. Of an unknown one, later keys are still known, and in a call all keys beside it."""
        value = self.value(node)
        if isinstance(value, Unknown):
            made.blur(value, None if overrides else set(made))
        elif isinstance(value, dict):
            made.take(value, self.place(node))
        else:
            raise TypeError("is no dict")

    def _attribute(self, node: ast.Attribute) -> Any:
        value = self.evaluate(node.value)
        if isinstance(value, Imported):
            path = f"{value.path}.{node.attr}"
            return functions.CONSTANTS.get(path, Imported(path))
        if isinstance(value, Table):
            return self._item(value, node.attr, node)
        raise AttributeError(node.attr)

    def _subscript(self, node: ast.Subscript) -> Any:
        value = self.evaluate(node.value)
        if not isinstance(node.slice, ast.Slice):
            return self._item(value, self._known(node.slice), node)
        bounds = [None if part is None else self._known(part) for part in _bounds(node.slice)]
        self._whole(value)
        if not isinstance(value, str | tuple | list | range):
            raise TypeError("is no sequence")
        part = value[slice(*bounds)]
        return Row(part, value.at) if isinstance(value, Row) else part

    def _whole(self, value: Any) -> None:
        unknown = partly(value)
        if unknown is not None:
            raise Undecided(unknown)

    def _item(self, value: Any, key: Any, node: ast.AST) -> Any:
        if isinstance(value, Table):
            operators.check_key(key)
            if key not in value and value.rest is not None:
                raise Undecided(value.rest)
            return self._decided(value[key])
        self._whole(value)
        if not isinstance(value, str | tuple | list | range):
            raise self.undecided("takes a part of something that is no plain value", node)
        return self._decided(value[key])

    def _binary(self, node: ast.BinOp) -> Any:
        return operators.binary(type(node.op), self._known(node.left), self._known(node.right))

    def _unary(self, node: ast.UnaryOp) -> Any:
        return operators.UNARY[type(node.op)](self._plain(self._known(node.operand)))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Imported):
            raise TypeError("is another module's")
        return value

    def _logical(self, node: ast.BoolOp) -> Any:
        value = None
        for operand in node.values:
            value = self.evaluate(operand)
            if bool(self.truth(value)) is isinstance(node.op, ast.Or):
                break
        return value

    def truth(self, value: Any) -> bool:
        unknown = partly(value)
        if unknown is not None and not (isinstance(value, list | dict) and value):
            raise Undecided(unknown)
        return bool(value)

    def _compare(self, node: ast.Compare) -> Any:
        left = self._known(node.left)
        for kind, right_node in zip(node.ops, node.comparators, strict=True):
            right = self._known(right_node)
            if not operators.compare(type(kind), left, right):
                return False
            left = right
        return True

    def _choice(self, node: ast.IfExp) -> Any:
        return self.evaluate(node.body if self.truth(self.evaluate(node.test)) else node.orelse)

    def _joined(self, node: ast.JoinedStr) -> Any:
        return "".join([str(self.evaluate(part)) for part in node.values])

    def _field(self, node: ast.FormattedValue) -> Any:
        value = self._known(node.value)
        spec = "" if node.format_spec is None else self.evaluate(node.format_spec)
        operators.check_spec(spec)
        if not isinstance(value, str | int | float | bool | None):
            raise TypeError("shows something that is no number or text")
        convert = _CONVERSIONS.get(node.conversion)
        return format(value if convert is None else convert(value), spec)

    def _call(self, node: ast.Call) -> Any:
        at = self.place(node)
        if isinstance(node.func, ast.Attribute):
            holder = self.evaluate(node.func.value)
            if not isinstance(holder, Imported):
                args, named = self._arguments(node)
                return functions.method(holder, node.func.attr, at, args, named)
        function = self.evaluate(node.func)
        if not isinstance(function, Imported):
            raise TypeError("is no function")
        if not function.path.startswith("builtins."):
            args, named = self._arguments(node)
            return functions.library(function.path, at, args, named)
        if function.name == "dict":
            return self._dict_call(node)
        args, named = self._arguments(node)
        return functions.built_in(function.name, at, args, named)

    def _dict_call(self, node: ast.Call) -> Table:
        made = functions.table_of(self.place(node), list(self._items(node.args)), {})
        for keyword in node.keywords:
            if keyword.arg is None:
                self._spread(made, keyword.value, overrides=False)
            else:
                made.put(keyword.arg, self.value(keyword.value), self.place(keyword))
        return made

    def _arguments(self, node: ast.Call) -> tuple[list[Any], Mapping[str, Any]]:
        named = Table(self.place(node))
        for keyword in node.keywords:
            if keyword.arg is None:
                self._spread(named, keyword.value, overrides=False)
            else:
                named.put(keyword.arg, self.value(keyword.value), self.place(keyword))
        self._whole(named)
        return list(self._items(node.args)), named

    def _listed(self, node: ast.ListComp | ast.GeneratorExp) -> Any:
        with self._scope():
            return Row([self.value(node.elt) for _ in self._loop(node.generators)], self.place(node))

    def _gathered(self, node: ast.SetComp) -> Any:
        with self._scope():
            return {operators.check_key(self._known(node.elt)) for _ in self._loop(node.generators)}

    def _mapped(self, node: ast.DictComp) -> Any:
        made = Table(self.place(node))
        with self._scope():
            for _ in self._loop(node.generators):
                key = operators.check_key(self._known(node.key))
                made.put(key, self.value(node.value), self.place(node.key))
        return made

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Variables that are set inside are gone behind it."""
        kept = dict(self.variables)
        try:
            yield
        finally:
            self.variables.clear()
            self.variables.update(kept)

    def _loop(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Once for each item that a comprehension goes through, with its variables set."""
        first, *inner = generators
        for item in self.sequence(first.iter):
            self.assign(first.target, item)
            if all(self.truth(self.evaluate(test)) for test in first.ifs):
                if inner:
                    yield from self._loop(inner)
                else:
                    yield

    def assign(self, target: ast.expr, value: Any) -> None:
        """Names (or a tuple of names) take a value."""
        if isinstance(target, ast.Name):
            self.variables[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List) and not any(isinstance(t, ast.Starred) for t in target.elts):
            parts = [value] * len(target.elts) if isinstance(value, Unknown) else tuple(value)
            if len(parts) != len(target.elts):
                raise ValueError("has another number of items")
            for part, item in zip(target.elts, parts, strict=True):
                self.assign(part, item)
        else:
            raise self.undecided("is assigned in a way that is not evaluated", target)


_KINDS: Mapping[type[ast.AST], Callable[[Evaluator, Any], Any]] = {
    ast.Attribute: Evaluator._attribute,
    ast.BinOp: Evaluator._binary,
    ast.BoolOp: Evaluator._logical,
    ast.Call: Evaluator._call,
    ast.Compare: Evaluator._compare,
    ast.Constant: Evaluator._constant,
    ast.Dict: Evaluator._dict,
    ast.DictComp: Evaluator._mapped,
    ast.FormattedValue: Evaluator._field,
    ast.GeneratorExp: Evaluator._listed,
    ast.IfExp: Evaluator._choice,
    ast.JoinedStr: Evaluator._joined,
    ast.List: Evaluator._list,
    ast.ListComp: Evaluator._listed,
    ast.Name: Evaluator._name,
    ast.Set: Evaluator._set,
    ast.SetComp: Evaluator._gathered,
    ast.Subscript: Evaluator._subscript,
    ast.Tuple: Evaluator._tuple,
    ast.UnaryOp: Evaluator._unary,
}
_CONVERSIONS: Mapping[int, Callable[[Any], str]] = {ord("s"): str, ord("r"): repr, ord("a"): ascii}
_WORDS = {
    ast.Lambda: "a function",
    ast.Await: "something to wait for",
    ast.NamedExpr: "an assignment inside an expression",
    ast.Starred: "a starred expression",
}


def _words(node: ast.AST) -> str:
    return _WORDS.get(type(node), type(node).__name__)


def _bounds(node: ast.Slice) -> tuple[ast.expr | None, ...]:
    return node.lower, node.upper, node.step


def _error(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 120)
