"""The protobuf wire format, read in place.

Only what is asked for is decoded, and nothing is copied: a length-delimited field is given as the place of its
bytes, so that a gigabyte of weights inside a message costs as little to step over as an empty string.
Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import mmap

Buffer = bytes | mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 100  # of nested messages; protobuf's own limit, so that what it rejects is rejected here


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
                raise WireError(f"a field at byte {position} claims {length} bytes where {end - position} are left")
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


def packed_varints(buffer: Buffer, kind: int, a: int, b: int) -> Iterator[int]:
    """The int64 values of a repeated field's occurrence, packed or not."""
    if kind == VARINT:
        yield signed(a)
        return
    while a < b:
        value, a = varint(buffer, a, b)
        yield signed(value)


def packed_floats(buffer: Buffer, a: int, b: int) -> tuple[float, ...]:
    """The float32 values of a repeated field's occurrence, packed or not."""
    return struct.unpack(f"<{(b - a) // 4}f", buffer[a : b - (b - a) % 4])
