"""The protobuf wire format, read in place.

Only what is asked for is decoded, and nothing is copied: a length-delimited field is given as the place of its
bytes, so that a gigabyte of weights inside a message costs as little to step over as an empty string.
Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterator
from mmap import mmap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Buffer = bytes | mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 100  # of nested messages; protobuf's own limit, so that what it rejects is rejected here

_MANY = 1 << 12  # bytes of packed numbers from which decoding many at once pays for numpy
_PIECE = 1 << 16  # bytes of them that are decoded at once


class WireError(Exception):
    """The bytes are not the message they should be; the text says where and how."""


def fields(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message in `buffer[start:end]`: (number, wire type, a, b).

    For a varint `a` is the value (64 bits, unsigned); for everything else the field's bytes are `buffer[a:b]`.
    Raises WireError for a field that is cut off, or of no known wire type.
    """
    position = start
    while position < end:
        key = buffer[position]
        position += 1
        if key >= 0x80:
            key, position = varint(buffer, position - 1, end)
        kind = key & 7
        if kind == BYTES:
            if position >= end:
                raise WireError(f"cut off at byte {position}")
            length = buffer[position]
            position += 1
            if length >= 0x80:
                length, position = varint(buffer, position - 1, end)
            stop = position + length
            if stop > end:
                raise WireError(f"byte {position} begins a field of {length} bytes where {end - position} are left")
            yield key >> 3, BYTES, position, stop
            position = stop
        elif kind == VARINT:
            value, position = varint(buffer, position, end)
            yield key >> 3, VARINT, value, position
        elif kind in (FIXED32, FIXED64):
            stop = position + (4 if kind == FIXED32 else 8)
            if stop > end:
                raise WireError(f"cut off at byte {position}")
            yield key >> 3, kind, position, stop
            position = stop
        else:
            raise WireError(f"byte {position - 1} starts no protobuf field")
        if key < 8:
            raise WireError(f"field number 0 at byte {position}")


def varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """An unsigned 64-bit varint at `position`, and the place behind it."""
    value = shift = 0
    while position < end:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            break
    raise WireError(f"a number that does not end at byte {position}")


def signed(value: int) -> int:
    """A varint's value as int64."""
    return value - (1 << 64) if value >= 1 << 63 else value


def text(buffer: Buffer, start: int, end: int) -> str:
    """A string; bytes that are not UTF-8 are kept as lone surrogates, so that names stay distinct."""
    return buffer[start:end].decode("utf-8", "surrogateescape")


def packed_varints(buffer: Buffer, start: int, end: int) -> array[int]:
    """The packed varints in `buffer[start:end]`, as int64."""
    numbers = array("q")
    while end - start >= _MANY:
        piece = buffer[start : min(start + _PIECE, end)]
        used = count_varints(piece)[1]
        if not used:
            break
        numbers.frombytes(decode_varints(piece[:used]).tobytes())
        start += used
    while start < end:
        value, start = varint(buffer, start, end)
        numbers.append(signed(value))
    return numbers


def packed_floats(buffer: Buffer, start: int, end: int) -> array[float]:
    """The float32 values in `buffer[start:end]`."""
    if (end - start) % 4:
        raise WireError(f"a list of float32 at byte {start} has {end - start} bytes")
    numbers = array("f", buffer[start:end])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


_CONTINUED = bytes(range(0x80, 0x100))  # the bytes of a varint that others follow
_OVERLONG = re.compile(rb"[\x80-\xff]{10}")


def count_varints(packed: bytes) -> tuple[int, int]:
    """How many varints end in these bytes, and how many bytes those take. Python looks at none of them itself.

    Raises WireError for a varint of more than ten bytes.
    """
    ends = packed.translate(None, _CONTINUED)
    if len(ends) < len(packed) and _OVERLONG.search(packed):
        raise WireError("a number of more than ten bytes")
    return len(ends), packed.rfind(ends[-1:]) + 1 if ends else 0


def decode_varints(packed: bytes) -> np.ndarray[Any, Any]:
    """Whole packed varints as uint64, without a Python loop over them.

    Byte k of a varint adds (byte & 127) << 7k; where a varint ends follows from the bytes without a high bit.
    """
    import numpy as np

    raw = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(ends) == len(raw):
        return raw.astype(np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    place = np.arange(len(raw)) - np.repeat(starts, ends - starts + 1)
    payload = (raw & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    sums: np.ndarray[Any, Any] = np.add.reduceat(payload, starts)
    return sums
