"""What a TorchScript module's forward does: its calls of children and functions, in order, with literal arguments.

The code is walked, not run: the module's own attributes and literals are known, every tensor is a name. Functions
and further methods are followed, so that `nn.functional.batch_norm` becomes the operator that it ends in; a
condition that the attributes decide (`if self.training`) is decided, of any other both branches are walked.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import Call
from avreview.load.aten.schema import bound, parameters
from avreview.load.pickles.inert import Instance
from avreview.load.programs.torchscript_code import ClassCode, Library
from avreview.load.programs.torchscript_values import (
    CASTS,
    DEEPEST_LIST,
    LONGEST_LIST,
    PLAIN,
    UNKNOWN,
    Child,
    Name,
    Value,
    arguments_of,
    built_in,
    count_values,
    folded,
    is_plain,
    known,
    names_of,
    operator_name,
    same,
)
from avreview.load.pytorch.globals import Parameter

_DEEPEST = 40  # calls inside one another, and parts of an expression inside one another


class Forward(NamedTuple):
    """A module's forward."""

    inputs: tuple[str, ...]
    calls: tuple[Call, ...]


class TooLong(Exception):  # noqa: N818 - a bound, not a failure
    """The code takes more steps than are walked."""


class Budget:
    """How many steps may still be walked, over all modules of a file."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def spend(self, steps: int = 1) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooLong


class _Raised(Exception):  # noqa: N818 - a statement of the program
    """The program raises an exception here."""


class _Returned(Exception):  # noqa: N818 - a statement of the program
    def __init__(self, value: Any) -> None:
        self.value = value


def forward(library: Library, code: ClassCode, instance: Instance, budget: Budget) -> Forward | None:
    """The forward of a module; None where there is none. Raises TooLong."""
    method = code.methods.get("forward") or code.methods.get("forward__0")
    if method is None:
        return None
    walk = _Walk(library, budget)
    names = [argument.arg for argument in method.args.args]
    given = {name: Value(name) for name in names[1:]}
    walk.taken.update(names)
    try:
        result = walk.function(method, {**given, **({names[0]: Child("", instance)} if names else {})}, 0)
    except _Raised:
        return Forward(tuple(names[1:]), ())
    return Forward(tuple(names[1:]), tuple(_live(walk.calls, names_of(result))))


def _live(calls: Sequence[Call], results: Sequence[str]) -> list[Call]:
    """The calls that the results depend on, those of children, and those that write in place.

    What remains is what checks shapes and words error messages.
    """
    wanted = set(results)
    kept: list[Call] = []
    for call in reversed(calls):
        writes = call.target.endswith("_") and not call.target.endswith("__")
        if call.is_child or writes or not wanted.isdisjoint(call.outputs):
            wanted.update(call.inputs)
            kept.append(call)
    return kept[::-1]


class _Walk:
    def __init__(self, library: Library, budget: Budget) -> None:
        self._library = library
        self._budget = budget
        self.calls: list[Call] = []
        self.taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def function(self, code: ast.FunctionDef, given: dict[str, Any], depth: int) -> Any:
        """The value that a function returns for the arguments. Raises _Raised when it ends in an exception."""
        if depth > _DEEPEST:
            raise TooLong
        try:
            self._block(code.body, given, depth)
        except _Returned as result:
            return result.value
        return None

    # Statements

    def _block(self, statements: Sequence[ast.stmt], names: dict[str, Any], depth: int) -> None:
        for statement in statements:
            self._budget.spend()
            if isinstance(statement, ast.Assign):
                self._assign(statement.targets[0], self._value(statement.value, names, depth), names)
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self._assign(statement.target, self._value(statement.value, names, depth), names)
            elif isinstance(statement, ast.Expr):
                self._value(statement.value, names, depth)
            elif isinstance(statement, ast.If):
                self._branch(statement, names, depth)
            elif isinstance(statement, (ast.For, ast.While)):
                self._loop(statement, names, depth)
            elif isinstance(statement, ast.Return):
                raise _Returned(self._value(statement.value, names, depth) if statement.value else None)
            elif isinstance(statement, ast.Raise):
                raise _Raised

    def _assign(self, target: ast.expr, value: Any, names: dict[str, Any]) -> None:
        if isinstance(target, ast.Name):
            names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part, given in zip(target.elts, self._unpacked(value, len(target.elts)), strict=True):
                self._assign(part, given, names)

    def _unpacked(self, value: Any, count: int) -> tuple[Any, ...]:
        if isinstance(value, tuple) and len(value) == count:
            return value
        outputs = tuple(self._fresh("unpacked") for _ in range(count))
        self.calls.append(Call("prim::TupleUnpack", False, tuple(names_of(value)), outputs))
        return tuple(map(Value, outputs))

    def _branch(self, statement: ast.If, names: dict[str, Any], depth: int) -> None:
        test = self._value(statement.test, names, depth)
        if isinstance(test, PLAIN):
            self._block(statement.body if test else statement.orelse, names, depth)
            return
        ends: list[dict[str, Any]] = []
        returned: list[Any] = []
        for block in (statement.body, statement.orelse):
            inner = dict(names)
            before = len(self.calls)
            try:
                self._block(block, inner, depth)
            except _Raised:
                del self.calls[before:]  # all of it only words the error
                continue
            except _Returned as result:
                returned.append(result.value)
                continue
            ends.append(inner)
        if not ends:
            if not returned:
                raise _Raised
            raise _Returned(returned[0] if len(returned) == 1 else self._joined(returned))
        for name in ends[0]:
            if all(name in end for end in ends):
                names[name] = self._joined([end[name] for end in ends])

    def _joined(self, values: list[Any]) -> Any:
        """One value in the place of those of two branches."""
        if all(value is values[0] for value in values) or same(values):
            return values[0]
        lists = [value for value in values if isinstance(value, tuple)]
        if len(lists) == len(values) and len({len(value) for value in lists}) == 1:
            return tuple(self._joined(list(parts)) for parts in zip(*lists, strict=True))
        inputs = tuple(name for value in values for name in names_of(value))
        output = self._fresh("either")
        self.calls.append(Call("prim::If", False, inputs, (output,)))
        return Value(output)

    def _loop(self, statement: ast.For | ast.While, names: dict[str, Any], depth: int) -> None:
        """A body is walked once: what it calls is seen, how often is not."""
        if isinstance(statement, ast.For):
            self._assign(statement.target, Value(self._fresh("index")), names)
        inner = dict(names)
        try:
            self._block(statement.body, inner, depth)
        except (_Raised, _Returned):
            return
        for name in names:
            names[name] = self._joined([inner[name], names[name]])

    # Expressions

    def _value(self, node: ast.expr, names: dict[str, Any], depth: int, inside: int = 0) -> Any:
        if inside > 2 * _DEEPEST:
            raise TooLong
        inside += 1
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return names[node.id] if node.id in names else built_in(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(self._value(node.value, names, depth, inside), node.attr)
        if isinstance(node, (ast.Tuple, ast.List)):
            return self._list(tuple(self._value(entry, names, depth, inside) for entry in node.elts))
        if isinstance(node, ast.Call):
            return self._call(node, names, depth, inside)
        if isinstance(node, ast.Subscript):
            whole = self._value(node.value, names, depth, inside)
            return self._item(whole, self._value(node.slice, names, depth, inside))
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, names, depth, inside)
            if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
                return -value
            if isinstance(node.op, ast.Not) and isinstance(value, PLAIN):
                return not value
        return Value(self._fresh("unknown"))

    def _list(self, parts: tuple[Any, ...]) -> Any:
        """A list; one that holds very many values, or lists of lists of lists, only by name."""
        count = count_values(parts, DEEPEST_LIST)
        self._budget.spend(count // 16)
        return parts if count <= LONGEST_LIST else Value(self._fresh("list"))

    def _attribute(self, base: Any, name: str) -> Any:
        if isinstance(base, Name):
            return Name(f"{base.dotted}.{name}") if base.dotted != "CONSTANTS" else Value(f"CONSTANTS.{name}")
        if not isinstance(base, Child):
            return Value(self._fresh(name))
        path = f"{base.path}.{name}" if base.path else name
        code = self._library.classes.get(base.instance.class_name)
        state = base.instance.state
        value = state.get(name) if isinstance(state, dict) else None
        if isinstance(state, dict) and name in state:
            if isinstance(value, (Tensor, Parameter)):
                return Value(f"self.{path}")
            if isinstance(value, Instance):
                return Child(path, value)
            return known(value, f"self.{path}")
        if code is not None and name in code.constants:
            return code.constants[name]
        return Value(f"self.{path}")

    def _item(self, whole: Any, place: Any) -> Any:
        if isinstance(whole, tuple) and type(place) is int and -len(whole) <= place < len(whole):
            return whole[place]
        output = self._fresh("item")
        given = {"index": place} if isinstance(place, PLAIN) else {}
        self.calls.append(Call("prim::TupleIndex", False, (*names_of(whole), *names_of(place)), (output,), given))
        return Value(output)

    def _call(self, node: ast.Call, names: dict[str, Any], depth: int, inside: int) -> Any:
        self._budget.spend()
        positional = [self._value(entry, names, depth, inside) for entry in node.args]
        keywords = {entry.arg: self._value(entry.value, names, depth, inside) for entry in node.keywords if entry.arg}
        if isinstance(node.func, ast.Attribute):
            base = self._value(node.func.value, names, depth, inside)
            if isinstance(base, Child):
                return self._method(base, node.func.attr, positional, keywords, depth)
            function = self._attribute(base, node.func.attr)
        else:
            function = self._value(node.func, names, depth, inside)
        if not isinstance(function, Name):
            return self._operator("prim::CallFunction", positional, keywords)
        if function.dotted == "getattr" and len(positional) == 2 and isinstance(positional[1], str):
            return self._attribute(positional[0], positional[1])
        if function.dotted in CASTS and positional:
            return positional[-1]
        if function.dotted in ("int", "float", "bool") and len(positional) == 1:
            return self._cast(function.dotted, positional[0])
        code = self._library.functions.get(function.dotted)
        if code is not None:
            return self.function(code, arguments_of(code, positional, keywords), depth + 1)
        name = operator_name(function.dotted)
        if name == "aten::append" and len(positional) == 2 and isinstance(positional[0], tuple):
            if isinstance(node.args[0], ast.Name):
                names[node.args[0].id] = self._list((*positional[0], positional[1]))
            return None
        return self._operator(name, positional, keywords)

    def _cast(self, kind: str, value: Any) -> Any:
        if isinstance(value, bool | int | float):
            try:
                return {"int": int, "float": float, "bool": bool}[kind](value)
            except (ValueError, OverflowError):
                return Value(self._fresh(kind))
        return value if isinstance(value, Value) else Value(self._fresh(kind))

    def _method(self, module: Child, name: str, positional: list[Any], keywords: Mapping[str, Any], depth: int) -> Any:
        """A child's forward is one call; any other method is followed."""
        code = self._library.classes.get(module.instance.class_name)
        if module.path and name.startswith("forward"):
            output = self._fresh(module.path.rpartition(".")[2])
            given = tuple(part for value in (*positional, *keywords.values()) for part in names_of(value))
            self.calls.append(Call(module.path, True, given, (output,)))
            return Value(output)
        method = code.methods.get(name) if code is not None else None
        if method is None:
            return self._operator("prim::CallMethod", [*positional, name], keywords)
        return self.function(method, arguments_of(method, [module, *positional], keywords), depth + 1)

    def _operator(self, name: str, positional: list[Any], keywords: Mapping[str, Any]) -> Any:
        if name == "prim::RaiseException":
            raise _Raised
        space, _, op = name.partition("::")
        if space == "aten" and (number := folded(op, positional)) is not UNKNOWN:
            return number
        given = bound(op, "", positional, keywords) if space == "aten" else {}
        if not given:
            given = {**{str(place): value for place, value in enumerate(positional)}, **keywords}
        plain = {key: value for key, value in given.items() if is_plain(value)}
        if parameters(op) is None:
            plain = {key: value for key, value in plain.items() if value is not None}
        inputs = tuple(part for value in given.values() for part in names_of(value))
        output = self._fresh(op)
        self.calls.append(Call(name, False, inputs, (output,), plain))
        return Value(output)

    def _fresh(self, hint: str) -> str:
        while True:
            count = self._counts[hint] = self._counts.get(hint, 0) + 1
            name = hint if count == 1 else f"{hint}_{count}"
            if name not in self.taken:
                self.taken.add(name)
                return name
