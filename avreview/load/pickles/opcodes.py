"""The opcodes that build data, each with the meaning that CPython's unpickler gives it (protocols 0 to 5).

A handler takes the machine and the place behind its opcode byte, and gives the place of the next opcode. What it
builds is taken off the machine's memory, with the sizes that CPython's objects have; `EACH` is taken off for every
opcode whatever it does. Cut-off data shows as an IndexError or a struct.error, or in text as too short a slice,
after which the next opcode lies behind the end.
Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py
"""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Callable
from struct import Struct

from avreview.load.pickles.state import Machine, PickleError

Handler = Callable[[Machine, int], int]

_DOUBLE = Struct(">d").unpack_from
_INT32 = Struct("<i").unpack_from
_UINT16 = Struct("<H").unpack_from
UINT32 = Struct("<I").unpack_from
_UINT64 = Struct("<Q").unpack_from

EACH = 40  # bytes: a place on the stack and a number
_DIGITS = 4_000  # of a number; Python itself converts no more than 4,300 of them
_NUMBER = 1_600  # bytes of a number of so many digits
_LINE = 256  # bytes looked at to find a line's end
_PROTOCOL = 5

OPCODES: dict[int, Handler] = {}


def opcode(byte: bytes) -> Callable[[Handler], Handler]:
    """Enters a handler for the opcode written as `byte`."""

    def enter(handler: Handler) -> Handler:
        OPCODES[byte[0]] = handler
        return handler

    return enter


def line(m: Machine, position: int) -> tuple[bytes, int]:
    """The bytes up to the next newline, and the place behind it."""
    length = _LINE
    while True:
        found = bytes(m.data[position : position + length])
        end = found.find(b"\n")
        if end >= 0:
            m.room -= end
            return found[:end], position + end + 1
        if len(found) < length:
            raise PickleError("its pickle is cut off")
        m.charge(length)
        length *= 4


def text(raw: bytes | memoryview) -> str:
    """UTF-8, with lone surrogates as CPython writes them."""
    try:
        return str(raw, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _not_text() from None


def _not_text() -> PickleError:
    return PickleError("its pickle holds text that is not UTF-8")


@opcode(b"\x80")  # PROTO
def _proto(m: Machine, position: int) -> int:
    version = m.data[position]
    if version > _PROTOCOL:
        raise PickleError(f"its pickle is of protocol {version}, and none after {_PROTOCOL} is known")
    return position + 1


@opcode(b"\x95")  # FRAME: of no meaning but that so much must follow
def _frame(m: Machine, position: int) -> int:
    m.take(position + 8, _UINT64(m.data, position)[0])
    return position + 8


def _push_constant(value: object) -> Handler:
    def push(m: Machine, position: int) -> int:
        m.stack.append(value)
        return position

    return push


OPCODES[ord("N")] = _push_constant(None)
OPCODES[0x88] = _push_constant(True)
OPCODES[0x89] = _push_constant(False)
OPCODES[ord(")")] = _push_constant(())


# Numbers


@opcode(b"I")
def _int(m: Machine, position: int) -> int:
    written, position = line(m, position)
    m.stack.append({b"00": False, b"01": True}[written] if written in (b"00", b"01") else number(written, 0))
    return position


@opcode(b"L")
def _long(m: Machine, position: int) -> int:
    written, position = line(m, position)
    m.stack.append(number(written[:-1] if written.endswith(b"L") else written, 0))
    return position


def number(written: bytes, base: int) -> int:
    if len(written) > _DIGITS:
        raise PickleError(f"its pickle holds a number of {len(written):,} digits")
    try:
        return int(written, base)
    except ValueError:
        raise PickleError("its pickle holds a number that is none") from None


@opcode(b"J")
def _binint(m: Machine, position: int) -> int:
    m.stack.append(_INT32(m.data, position)[0])
    return position + 4


@opcode(b"K")
def _binint1(m: Machine, position: int) -> int:
    m.stack.append(m.data[position])
    return position + 1


@opcode(b"M")
def _binint2(m: Machine, position: int) -> int:
    m.stack.append(_UINT16(m.data, position)[0])
    return position + 2


@opcode(b"\x8a")
def _long1(m: Machine, position: int) -> int:
    return _push_long(m, position + 1, m.data[position])


@opcode(b"\x8b")
def _long4(m: Machine, position: int) -> int:
    return _push_long(m, position + 4, _INT32(m.data, position)[0])


def _push_long(m: Machine, position: int, length: int) -> int:
    if not 0 <= length <= _NUMBER:
        raise PickleError(f"its pickle holds a number of {length:,} bytes")
    end = m.take(position, length)
    m.stack.append(int.from_bytes(m.data[position:end], "little", signed=True))
    m.room -= length * 16 // 15
    return end


@opcode(b"F")
def _float(m: Machine, position: int) -> int:
    written, position = line(m, position)
    if len(written) > _DIGITS:
        raise PickleError(f"its pickle holds a number of {len(written):,} digits")
    try:
        m.stack.append(float(written))
    except ValueError:
        raise PickleError("its pickle holds a number that is none") from None
    return position


@opcode(b"G")
def _binfloat(m: Machine, position: int) -> int:
    m.stack.append(_DOUBLE(m.data, position)[0])
    return position + 8


# Text and bytes


@opcode(b"\x8c")
def _short_binunicode(m: Machine, position: int) -> int:
    length = m.data[position]
    position += 1
    end = position + length
    try:
        made = str(m.data[position:end], "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _not_text() from None
    m.stack.append(made)
    m.room -= length + 64 if made.isascii() else 4 * length + 64
    return end


@opcode(b"X")
def _binunicode(m: Machine, position: int) -> int:
    length: int = UINT32(m.data, position)[0]
    if length > 255:
        return _push_text(m, position + 4, length)
    position += 4
    end = position + length
    try:
        made = str(m.data[position:end], "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _not_text() from None
    m.stack.append(made)
    m.room -= length + 64 if made.isascii() else 4 * length + 64
    return end


@opcode(b"\x8d")
def _binunicode8(m: Machine, position: int) -> int:
    return _push_text(m, position + 8, _UINT64(m.data, position)[0])


def _push_text(m: Machine, position: int, length: int) -> int:
    end = m.take(position, length)
    m.charge(4 * length + 64)  # should one character of it need four bytes
    made = text(m.data[position:end])
    if made.isascii():
        m.room += 3 * length
    m.stack.append(made)
    return end


@opcode(b"V")
def _unicode(m: Machine, position: int) -> int:
    written, position = line(m, position)
    m.charge(4 * len(written) + 64)
    try:
        m.stack.append(written.decode("raw-unicode-escape"))
    except UnicodeDecodeError:
        raise PickleError("its pickle holds text with an escape that is none") from None
    return position


def _push_bytes(m: Machine, position: int, length: int) -> int:
    end = m.take(position, length)
    m.charge(length + 48)
    m.stack.append(bytes(m.data[position:end]))
    return end


@opcode(b"C")
def _short_binbytes(m: Machine, position: int) -> int:
    return _push_bytes(m, position + 1, m.data[position])


@opcode(b"B")
def _binbytes(m: Machine, position: int) -> int:
    return _push_bytes(m, position + 4, UINT32(m.data, position)[0])


@opcode(b"\x8e")
def _binbytes8(m: Machine, position: int) -> int:
    return _push_bytes(m, position + 8, _UINT64(m.data, position)[0])


@opcode(b"\x96")
def _bytearray8(m: Machine, position: int) -> int:
    end = m.take(position + 8, _UINT64(m.data, position)[0])
    m.charge(end - position + 72)
    m.stack.append(bytearray(m.data[position + 8 : end]))
    return end


def _old_text(raw: bytes) -> str:
    """A string of Python 2, which may be text or bytes: Latin-1 keeps every byte of what is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _push_old_text(m: Machine, position: int, length: int) -> int:
    if length < 0:
        raise PickleError(f"its pickle holds text of {length:,} bytes")
    end = m.take(position, length)
    m.charge(4 * length + 64)
    m.stack.append(_old_text(bytes(m.data[position:end])))
    return end


@opcode(b"T")
def _binstring(m: Machine, position: int) -> int:
    return _push_old_text(m, position + 4, _INT32(m.data, position)[0])


@opcode(b"U")
def _short_binstring(m: Machine, position: int) -> int:
    return _push_old_text(m, position + 1, m.data[position])


@opcode(b"S")
def _string(m: Machine, position: int) -> int:
    written, position = line(m, position)
    written = written.strip(b" \t\r\n\f\v")
    if len(written) < 2 or written[:1] != written[-1:] or written[:1] not in (b"'", b'"'):
        raise PickleError("its pickle holds text without quotes")
    m.charge(4 * len(written) + 64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none
            raw: bytes = codecs.escape_decode(written[1:-1])[0]
    except ValueError:
        raise PickleError("its pickle holds text with an escape that is none") from None
    m.stack.append(_old_text(raw))
    return position


@opcode(b"\x97")  # NEXT_BUFFER
def _next_buffer(_m: Machine, _position: int) -> int:
    raise PickleError("its pickle refers to data that was kept outside of it")


@opcode(b"\x98")  # READONLY_BUFFER
def _readonly_buffer(m: Machine, position: int) -> int:
    held = m.stack.pop()
    if not isinstance(held, bytes | bytearray):
        raise PickleError("its pickle calls a buffer what is none")
    m.charge(len(held))
    m.stack.append(bytes(held))
    return position
