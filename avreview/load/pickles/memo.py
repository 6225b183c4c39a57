"""The opcodes that move values: on the stack, and into the memo and back."""

from __future__ import annotations

from avreview.load.pickles.opcodes import UINT32, line, number, opcode
from avreview.load.pickles.state import Machine, PickleError


@opcode(b"(")
def _mark(m: Machine, position: int) -> int:
    m.marks.append(m.stack)
    m.stack = []
    m.room -= 96
    return position


@opcode(b"0")
def _pop(m: Machine, position: int) -> int:
    if m.stack:
        m.stack.pop()
    else:
        m.unmark()
    return position


@opcode(b"1")
def _pop_mark(m: Machine, position: int) -> int:
    m.unmark()
    return position


@opcode(b"2")
def _dup(m: Machine, position: int) -> int:
    m.stack.append(m.stack[-1])
    return position


def _unknown(key: int) -> PickleError:
    return PickleError(f"its pickle refers to value {key}, which it does not hold")


def _recall(m: Machine, key: int, position: int) -> int:
    try:
        m.stack.append(m.memo[key])
    except KeyError:
        raise _unknown(key) from None
    return position


@opcode(b"h")
def _binget(m: Machine, position: int) -> int:
    key = m.data[position]
    try:
        m.stack.append(m.memo[key])
    except KeyError:
        raise _unknown(key) from None
    return position + 1


@opcode(b"j")
def _long_binget(m: Machine, position: int) -> int:
    return _recall(m, UINT32(m.data, position)[0], position + 4)


@opcode(b"g")
def _get(m: Machine, position: int) -> int:
    written, position = line(m, position)
    return _recall(m, number(written, 10), position)


@opcode(b"q")
def _binput(m: Machine, position: int) -> int:
    m.memo[m.data[position]] = m.stack[-1]
    return position + 1


@opcode(b"r")
def _long_binput(m: Machine, position: int) -> int:
    m.memo[UINT32(m.data, position)[0]] = m.stack[-1]
    m.room -= 120
    return position + 4


@opcode(b"p")
def _put(m: Machine, position: int) -> int:
    written, position = line(m, position)
    key = number(written, 10)
    if not 0 <= key < 1 << 63:
        raise PickleError(f"its pickle numbers a value {key}")
    m.memo[key] = m.stack[-1]
    m.room -= 120
    return position


@opcode(b"\x94")
def _memoize(m: Machine, position: int) -> int:
    m.memo[len(m.memo)] = m.stack[-1]
    m.room -= 120
    return position
