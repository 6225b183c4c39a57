"""PNG images from elsewhere, checked and written anew: what a page shows of them is pixels and nothing else."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import NamedTuple

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 2: 3}  # of grey and of RGB images
_WIDEST = 640
_HIGHEST = 1280
_LONGEST = 4 << 20  # characters


class Pixels(NamedTuple):
    """A sound PNG file of so many pixels."""

    data: bytes
    width: int
    height: int

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode("ascii")


def sound(text: object) -> Pixels | None:
    """The image in a base64 text: 8-bit grey or RGB, of the size that it states. None for anything else.

    Only header and pixels are kept; palettes, profiles, texts and whatever else a PNG may hold are not.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        header, packed = _chunks(base64.b64decode(text, validate=True))
        width, height, depth, colours, *method = _HEADER.unpack(header)
        if not (0 < width <= _WIDEST and 0 < height <= _HIGHEST and depth == 8 and method == [0, 0, 0]):
            return None
        stride = width * _CHANNELS[colours] + 1
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, stride * height + 1)
    except (binascii.Error, ValueError, KeyError, struct.error, zlib.error):
        return None
    if len(raw) != stride * height or not unpacker.eof or max(raw[::stride]) > 4:
        return None
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
    return Pixels(_SIGNATURE + chunks, width, height)


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """The header, and what all data chunks hold. Raises ValueError or struct.error."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("no PNG")
    header, place = b"", len(_SIGNATURE)
    packed: list[bytes] = []
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, held = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length
        if kind == b"IHDR" and not header:
            header = held
        elif kind == b"IDAT":
            packed.append(held)
        elif kind == b"IEND":
            return header, b"".join(packed)
    raise ValueError("the file ends early")


def _chunk(kind: bytes, held: bytes) -> bytes:
    return struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))
