"""Reads a pickle without running anything: its opcodes build plain values, names, and records of calls not made.

CPython's own unpickler is not safe even when `find_class` is overridden: ten bytes of LONG_BINPUT make it take 4 GB.
Here the memo is a dictionary, and opcodes, memory, nesting and time have limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import repeat
from mmap import mmap
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Any, NamedTuple

from avreview.checkpoint import NamedCode
from avreview.load.pickles import containers, memo  # noqa: F401 - they enter their opcodes
from avreview.load.pickles.calls import is_special
from avreview.load.pickles.inert import Global
from avreview.load.pickles.nesting import deeper_than
from avreview.load.pickles.opcodes import EACH, OPCODES, Handler
from avreview.load.pickles.state import Machine, PickleError, PickleLimits, Record

__all__ = ["PickleError", "PickleLimits", "Record", "Unpickled", "unpickle"]

_BATCH = 4096  # opcodes between two looks at the account: none but the checked ones take over 500 bytes


class Unpickled(NamedTuple):
    """What a pickle holds. `end` is the offset behind its STOP; `code` leaves out what the builders know.

    The value may refer to itself, and may share its parts so often that a walk without a record of what it has
    seen never ends; it nests no deeper than the limit.
    """

    value: Any
    end: int
    code: list[NamedCode]
    globals: list[Global]  # every name, known or not, in the order of the pickle


class _Stop(Exception):  # noqa: N818 - not an error
    """The pickle has ended."""


def unpickle(
    data: bytes | mmap | memoryview,
    start: int = 0,
    *,
    file: str = "",
    persistent: Callable[[Any], Any] | None = None,
    builders: Mapping[tuple[str, str], Callable[..., Any]] = {},
    limits: PickleLimits = PickleLimits(),  # noqa: B008 - it never changes
) -> Unpickled:
    """The pickle at `start` of `data`. Raises PickleError; an AvreviewError of a builder passes through.

    `builders` maps (module, name) of known functions and classes to what makes an inert value of their arguments;
    `persistent` does so of a persistent id. `file` is what the names found are said to be in.
    """
    if isinstance(data, memoryview):
        data = data.cast("B")
    m = Machine(data, file=file, persistent=persistent, builders=builders, limits=limits)
    value, end = _run(m, start)
    code = m.code(lambda name: name in builders or is_special(name))
    return Unpickled(value, end, code, list(m.names))


def _run(m: Machine, position: int) -> tuple[Any, int]:
    """The value, and the place behind STOP."""
    data, handlers = m.data, _HANDLERS
    left = m.limits.opcodes
    try:
        while left > 0:
            for _ in repeat(None, min(left, _BATCH)):
                position = handlers[data[position]](m, position + 1)
            left -= _BATCH
            m.charge(EACH * _BATCH)
            m.check_time()
    except _Stop:
        m.charge(0)
        value = m.stack.pop()
        if deeper_than(value, m.limits.depth, keys=m.keys.composed):
            raise PickleError(f"its pickle nests deeper than {m.limits.depth:,} levels") from None
        return value, position + 1
    except MemoryError:
        raise PickleError("its pickle builds more than the memory that is free") from None
    except StructError:
        raise PickleError("its pickle is cut off") from None
    except IndexError:
        if position + 1 >= m.size:
            raise PickleError("its pickle is cut off") from None
        raise PickleError(f"its pickle is damaged: byte {position} asks for a value that is not there") from None
    raise PickleError(f"its pickle has more than {m.limits.opcodes:,} opcodes")


def _stop(m: Machine, _position: int) -> int:
    if not m.stack:
        raise PickleError("its pickle ends without a value")
    raise _Stop


def _unknown(m: Machine, position: int) -> int:
    raise PickleError(f"its pickle has an opcode that is none at byte {position - 1}")


def _table() -> list[Handler]:
    handlers: list[Handler] = [_unknown] * 256
    for byte, handler in OPCODES.items():
        handlers[byte] = handler
    handlers[ord(".")] = _stop
    return handlers


_HANDLERS = _table()
