"""Python's operators on known values, with results of bounded size."""

from __future__ import annotations

import ast
import operator
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from avreview.recipe.python.limits import LARGEST_BITS, MOST_ITEMS
from avreview.recipe.python.values import Imported, Row, Table

_PLAIN = (bool, int, float, str, tuple, list, dict, set, type(None))
_NUMBERS = (bool, int, float)
_LIGHT, _SHALLOW = 5000, 40
_SPEC = re.compile(r"[<>^=]?[-+ ]?#?0?\d{0,3}[,_]?(\.\d{1,2})?[bcdeEfFgGnosxX%]?")
_PERCENT = re.compile(r"%(\(\w+\))?[-+ #0]*\d{0,3}(\.\d{1,2})?[diouxXeEfFgGsr%]")

BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, holder: item in holder,
    ast.NotIn: lambda item, holder: item not in holder,
}


def compare(kind: type[ast.cmpop], left: Any, right: Any) -> Any:
    """`left` compared with `right`. Raises what Python raises, and ValueError for what is too large."""
    light((left, right))
    if kind in (ast.In, ast.NotIn) and isinstance(right, dict | set):
        check_key(left)
    return COMPARE[kind](left, right)


def binary(kind: type[ast.operator], left: Any, right: Any) -> Any:
    """`left` operator `right`. Raises what Python raises, and ValueError for a result that would be too large."""
    if not (isinstance(left, _PLAIN) and isinstance(right, _PLAIN)):
        raise TypeError("an operand is no plain value")
    if kind is ast.Mult:
        _check_repeat(left, right)
    elif kind is ast.Pow:
        _check_power(left, right)
    elif kind is ast.LShift and (not isinstance(right, int) or right > LARGEST_BITS):
        raise ValueError("shifts too far")
    elif kind is ast.Mod and isinstance(left, str):
        return percent(left, right)
    elif kind is ast.BitOr and isinstance(left, Table) and isinstance(right, Table):
        made = left.copy()
        made.take(right, right.at)
        return made
    result = BINARY[kind](left, right)
    return Row(result, getattr(left, "at", None)) if type(result) is list else result


def _check_repeat(left: Any, right: Any) -> None:
    for holder, times in ((left, right), (right, left)):
        if isinstance(holder, str | tuple | list) and isinstance(times, int) and len(holder) * times > MOST_ITEMS:
            raise ValueError("is too long")


def _check_power(left: Any, right: Any) -> None:
    if not (isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)):
        raise TypeError("no numbers")
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > 4 * LARGEST_BITS:
        raise ValueError("is too large")


def light(value: Any) -> Any:
    """The value, or ValueError for one that is too large or deep to be compared or shown.

    Objects that hold one another many times over are counted as often as they are met: so does a comparison.
    """
    waiting, parts = [(value, 0)], 0
    while waiting:
        part, deep = waiting.pop()
        parts += 1
        if parts > _LIGHT or deep > _SHALLOW:
            raise ValueError("is too large to be worked with")
        if isinstance(part, dict):
            waiting.extend((item, deep + 1) for item in part.values())
        elif isinstance(part, list | tuple):
            waiting.extend((item, deep + 1) for item in part)
    return value


def in_order(value: Any) -> Any:
    """The value, or ValueError for a set of several: in which order its items come, only a run decides."""
    if isinstance(value, set) and len(value) > 1:
        raise ValueError("is in the order of a set, which only a run decides")
    return value


def check_key(value: Any) -> Any:
    """The value, or TypeError for one that a dict's key cannot be (or whose hash takes long)."""
    flat = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(part, str | int | float | bool | Imported | None) for part in flat):
        raise TypeError("is no plain key")
    return value


def percent(text: str, values: Any) -> str:
    """`text % values` with plain, narrow fields only."""
    if _PERCENT.sub("", text).count("%"):
        raise ValueError("has fields that are not read")
    _scalars(values.values() if isinstance(values, dict) else values if isinstance(values, tuple) else [values])
    shown: str = text % values
    return shown


def formatted(text: str, values: tuple[Any, ...], named: Mapping[str, Any]) -> str:
    """`text.format(…)` with plain, narrow fields only: no attributes and no fields inside fields."""
    for _, name, spec, _ in string.Formatter().parse(text):
        if name is None:
            continue
        if not (name.isidentifier() or name.isdigit() or not name):
            raise ValueError("has fields that are not read")
        check_spec(spec or "")
    _scalars([*values, *named.values()])
    return text.format(*values, **named)


def _scalars(values: Iterable[Any]) -> None:
    if not all(isinstance(value, str | int | float | bool | None) for value in values):
        raise TypeError("shows something that is no number or text")


def check_spec(spec: str) -> None:
    """Raises ValueError for a format that is wide or not known."""
    if not _SPEC.fullmatch(spec):
        raise ValueError("has a format that is not read")
