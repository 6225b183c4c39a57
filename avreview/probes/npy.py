"""The headers of `.npy` arrays, read strictly: no pickle is opened, and nothing is believed before it is measured.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import math
import re
import struct
from typing import NamedTuple

_MAGIC = b"\x93NUMPY"
LONGEST = 1 << 16  # bytes of a header that are read: numpy writes at most a few hundred
_MOST_AXES = 32
_KIND = re.compile(r"([<>|=]?)(b1|[iu][1248]|f[248]|c8|c16|V[12]|U\d{1,6})\Z")
_NAMES = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8", "u2": "uint16",
    "u4": "uint32", "u8": "uint64", "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64",
    "c16": "complex128", "V2": "2-byte", "V1": "1-byte",
}  # fmt: skip


class HeaderError(Exception):
    """What is wrong with a header: `holds Python objects, …`."""


class Header(NamedTuple):
    """`descr` is numpy's type with its byte order, `length` the bytes in front of the elements."""

    shape: tuple[int, ...]
    descr: str
    fortran: bool
    length: int

    @property
    def dtype(self) -> str:
        """numpy's name of the type; `string` for text, `2-byte` for elements that numpy has no type for."""
        kind = self.descr.lstrip("<>|=")
        return "string" if kind.startswith("U") else _NAMES[kind]

    @property
    def item(self) -> int:
        """Bytes an element."""
        kind = self.descr.lstrip("<>|=")
        return 4 * int(kind[1:]) if kind.startswith("U") else int(kind[1:])

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes of the elements."""
        return self.elements * self.item


def read_header(raw: bytes) -> Header:
    """The header at the start of an array. Raises HeaderError with what is wrong."""
    if raw[:6] != _MAGIC:
        raise HeaderError("is no .npy array")
    if len(raw) < 12:
        raise HeaderError("is cut off in its header")
    wide = raw[6] >= 2
    if raw[6] not in (1, 2, 3):
        raise HeaderError(f"is a .npy array of version {raw[6]}, which numpy does not write")
    start = 12 if wide else 10
    (length,) = struct.unpack_from("<I" if wide else "<H", raw, 8)
    if start + length > LONGEST:
        raise HeaderError(f"has a header of {length:,} bytes")
    if len(raw) < start + length:
        raise HeaderError("is cut off in its header")
    return _header(raw[start : start + length], start + length)


def _header(text: bytes, length: int) -> Header:
    try:
        said = ast.literal_eval(text.decode("utf-8" if length else "ascii").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise HeaderError("has a header that cannot be read") from None
    if not isinstance(said, dict) or set(said) != {"descr", "fortran_order", "shape"}:
        raise HeaderError("has a header that cannot be read")
    descr, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
    if isinstance(descr, list):
        raise HeaderError("holds records with fields, not numbers")
    if isinstance(descr, str) and descr.lstrip("<>|=").startswith("O"):
        raise HeaderError("holds Python objects, which are not opened")
    if not isinstance(descr, str) or not _KIND.match(descr) or not isinstance(fortran, bool):
        raise HeaderError(f"holds elements of the type {str(descr)[:40]!r}, which no model takes")
    whole = isinstance(shape, tuple) and all(type(extent) is int and 0 <= extent < 1 << 48 for extent in shape)
    if not whole or len(shape) > _MOST_AXES:
        raise HeaderError("has a shape that is none")
    return Header(shape, descr, fortran, length)
