"""The opcodes that build tuples, lists, dictionaries and sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avreview.load.pickles.inert import Global, Instance
from avreview.load.pickles.opcodes import opcode
from avreview.load.pickles.state import Machine, PickleError, described

_SLICE = 256  # entries between two looks at the clock: keys can be chosen so that each takes long to place
_ATTRIBUTE = Global("builtins", "getattr")


@opcode(b"t")
def _tuple(m: Machine, position: int) -> int:
    parts = tuple(m.unmark())
    m.stack.append(parts)
    m.room -= 24 + 8 * len(parts)
    return position


@opcode(b"\x85")
def _tuple1(m: Machine, position: int) -> int:
    stack = m.stack
    stack[-1] = (stack[-1],)
    m.room -= 32
    return position


@opcode(b"\x86")
def _tuple2(m: Machine, position: int) -> int:
    stack = m.stack
    last = stack.pop()
    stack[-1] = (stack[-1], last)
    m.room -= 40
    return position


@opcode(b"\x87")
def _tuple3(m: Machine, position: int) -> int:
    stack = m.stack
    last = stack.pop()
    middle = stack.pop()
    stack[-1] = (stack[-1], middle, last)
    m.room -= 48
    return position


@opcode(b"]")
def _empty_list(m: Machine, position: int) -> int:
    m.stack.append([])
    m.room -= 40
    return position


@opcode(b"}")
def _empty_dict(m: Machine, position: int) -> int:
    m.stack.append({})
    m.room -= 48
    return position


@opcode(b"\x8f")
def _empty_set(m: Machine, position: int) -> int:
    m.stack.append(set())
    m.room -= 240
    return position


@opcode(b"l")
def _list(m: Machine, position: int) -> int:
    parts = m.unmark()
    m.stack.append(parts)
    m.room -= 88 + 8 * len(parts)
    return position


@opcode(b"d")
def _dict(m: Machine, position: int) -> int:
    parts = m.unmark()
    made: dict[Any, Any] = {}
    m.room -= 88
    _set(m, made, parts)
    m.stack.append(made)
    return position


@opcode(b"\x91")
def _frozenset(m: Machine, position: int) -> int:
    made: set[Any] = set()
    _add(m, made, m.unmark())
    m.charge(240 + 80 * len(made))
    m.stack.append(frozenset(made))
    return position


@opcode(b"a")
def _append(m: Machine, position: int) -> int:
    value = m.stack.pop()
    _extend(m, m.stack[-1], (value,))
    return position


@opcode(b"e")
def _appends(m: Machine, position: int) -> int:
    values = m.unmark()
    _extend(m, m.stack[-1], values)
    return position


def _extend(m: Machine, target: Any, values: Sequence[Any]) -> None:
    m.charge(9 * len(values) + 8)
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, Instance):
        target.items.extend(values)
        note_method(m, target, "extend")
    elif not note_method(m, target, "extend"):
        raise PickleError("its pickle appends to what is no list")


@opcode(b"s")
def _setitem(m: Machine, position: int) -> int:
    value = m.stack.pop()
    key = m.stack.pop()
    _set(m, m.stack[-1], (key, value))
    return position


@opcode(b"u")
def _setitems(m: Machine, position: int) -> int:
    parts = m.unmark()
    _set(m, m.stack[-1], parts)
    return position


def _set(m: Machine, target: Any, parts: Sequence[Any]) -> None:
    if len(parts) % 2:
        raise PickleError("its pickle holds a dictionary with a key that has no value")
    if isinstance(target, dict):
        _enter(m, target, parts)
    elif isinstance(target, Instance):
        m.charge(80 * len(parts) + 8)
        target.entries.extend(zip(parts[::2], parts[1::2], strict=True))
        note_method(m, target, "__setitem__")
    elif not note_method(m, target, "__setitem__"):
        raise PickleError("its pickle sets an entry of what is no dictionary")


def _enter(m: Machine, target: dict[Any, Any], parts: Sequence[Any]) -> None:
    """Puts keys and values, in turns, into a dictionary. 100 bytes an entry are an upper bound of what it takes."""
    m.charge(50 * len(parts))
    checked = m.keys.checked
    try:
        for start in range(0, len(parts), 2 * _SLICE):
            if start:
                m.check_time()
            pairs = iter(parts[start : start + 2 * _SLICE])
            for key, value in zip(pairs, pairs, strict=True):
                target[key if type(key) is str else checked(key)] = value
    except (TypeError, ValueError) as error:
        raise _bad_key(error) from None


@opcode(b"\x90")
def _additems(m: Machine, position: int) -> int:
    values = m.unmark()
    target = m.stack[-1]
    if isinstance(target, set):
        _add(m, target, values)
    elif isinstance(target, Instance):
        m.charge(9 * len(values) + 8)
        target.items.extend(values)
        note_method(m, target, "add")
    elif not note_method(m, target, "add"):
        raise PickleError("its pickle adds to what is no set")
    return position


def _add(m: Machine, target: set[Any], values: Sequence[Any]) -> None:
    m.charge(80 * len(values))
    checked = m.keys.checked
    try:
        for start in range(0, len(values), _SLICE):
            target.update(map(checked, values[start : start + _SLICE]))
            m.check_time()
    except (TypeError, ValueError) as error:
        raise _bad_key(error) from None


def _bad_key(error: Exception) -> PickleError:
    why = str(error) if type(error) is ValueError else "uses what does not hash as a key"
    return PickleError(f"its pickle {why}")


def note_method(m: Machine, target: Any, method: str) -> bool:
    """Notes the call of a method on what a name stands for, or on an attribute; False for anything else.

    CPython calls `extend`, `__setitem__`, `add` and `__setstate__` of whatever the opcode finds: of `sys.path` too.
    """
    if isinstance(target, Global) or (isinstance(target, Instance) and target.of == _ATTRIBUTE):
        m.use(f"{described(target)}.{method}", "called")
        return True
    return False
