"""What stands for the values of a TorchScript program while its code is walked, and what literals make of operators."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from avreview.load.pickles.inert import Instance
from avreview.load.programs.torchscript_code import literal
from avreview.load.pytorch.globals import Parameter

LONGEST_LIST, DEEPEST_LIST = 4_096, 5
_LARGEST = 1 << 62  # of numbers that are computed with


class Value:
    """A tensor or anything else that is known at run time only."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Child:
    """A module: its path below the one that is looked at."""

    __slots__ = ("instance", "path")

    def __init__(self, path: str, instance: Instance) -> None:
        self.path = path
        self.instance = instance


class Name:
    """A function or class of the program, dotted."""

    __slots__ = ("dotted",)

    def __init__(self, dotted: str) -> None:
        self.dotted = dotted


_FOLDED: dict[str, Callable[..., Any]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "__not__": operator.not_, "__is__": operator.is_, "__isnot__": operator.is_not,
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "len": len,
    "__contains__": lambda where, what: what in where,
}  # fmt: skip
CASTS = ("annotate", "unchecked_cast")
PLAIN = (bool, int, float, str, type(None))


UNKNOWN = object()


def _is_small(value: Any) -> bool:
    """A number that a literal program computes with: what grows without bound is left alone."""
    return isinstance(value, int | float) and abs(value) <= _LARGEST


def count_values(parts: tuple[Any, ...], levels: int) -> int:
    """How many values a list holds; more than the longest when it nests deeper than so many levels."""
    if not levels:
        return LONGEST_LIST + 1
    count = len(parts)
    for part in parts:
        if isinstance(part, tuple):
            count += count_values(part, levels - 1)
        if count > LONGEST_LIST:
            break
    return count


def folded(op: str, given: Sequence[Any]) -> Any:
    """What an operator gives for literals; UNKNOWN where it is not for them."""
    function = _FOLDED.get(op)
    if function is None or not given or not all(is_plain(value) for value in given):
        return UNKNOWN
    if op in ("add", "mul", "sub") and not all(_is_small(value) for value in given):
        return UNKNOWN
    try:
        return function(*given)
    except (TypeError, ValueError, OverflowError):
        return UNKNOWN


def is_plain(value: Any) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, tuple) and all(isinstance(part, PLAIN) for part in value))


def known(value: Any, name: str) -> Any:
    """An attribute's value as far as it is plain; else the name of it."""
    if isinstance(value, (list, tuple)) and not isinstance(value, Parameter):
        parts = tuple(value)
        return parts if is_plain(parts) else Value(name)
    return value if isinstance(value, PLAIN) else Value(name)


def same(values: list[Any]) -> bool:
    first = values[0]
    return all(
        (isinstance(value, Value) and isinstance(first, Value) and value.name == first.name)
        or (is_plain(value) and is_plain(first) and type(value) is type(first) and value == first)
        for value in values
    )


def names_of(value: Any) -> list[str]:
    """The names of the values in an argument, which may be a list of them."""
    if isinstance(value, Value):
        return [value.name]
    if isinstance(value, tuple):
        return [name for part in value for name in names_of(part)]
    return []


def built_in(name: str) -> Any:
    if name in ("inf", "nan"):
        return float(name)
    return Name(name)


def operator_name(dotted: str) -> str:
    """`torch.relu` as `aten::relu`, `ops.prim.device` as `prim::device`."""
    if dotted.startswith("torch."):
        return f"aten::{dotted[len('torch.') :]}"
    if dotted.startswith("ops."):
        return dotted[len("ops.") :].replace(".", "::", 1)
    return f"prim::{dotted}"


def arguments_of(code: ast.FunctionDef, positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """A function's arguments by name; what is neither given nor has a literal default is unknown."""
    names = [argument.arg for argument in code.args.args]
    given: dict[str, Any] = {name: Value(name) for name in names}
    for name, default in zip(reversed(names), reversed(code.args.defaults), strict=False):
        given[name] = _literal_or(default, given[name])
    given.update(zip(names, positional, strict=False))
    given.update(keywords)
    return given


def _literal_or(node: ast.expr, otherwise: Any) -> Any:
    try:
        return literal(node)
    except ValueError:
        return otherwise
