"""Zip archives written field by field, so that each can say what it should not."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple


class Entry(NamedTuple):
    """A member. What begins with `local_` stands in its own header, the rest in both; None is what is true."""

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    extra: bytes = b""
    system: int = 0
    mode: int = 0
    disk: int = 0
    offset: int | None = None  # where the directory says that the header is
    local_name: bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    local_crc: int | None = None
    local_size: int | None = None
    local_packed: int | None = None
    local_extra: bytes = b""
    behind: bytes = b""  # the descriptor, or what else follows the data


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def descriptor(data: bytes, *, wide: bool = False, signed: bool = True) -> bytes:
    numbers = struct.pack("<LQQ" if wide else "<3L", zlib.crc32(data), len(data), len(data))
    return (b"PK\7\10" if signed else b"") + numbers


def written(
    entries: list[Entry],
    *,
    before: bytes = b"",
    behind: bytes = b"",
    comment: bytes = b"",
    zip64: dict[str, int] | None = None,
    **said: int,
) -> bytes:
    """The archive. `said` is what its end says in the place of the truth, `zip64` what a zip64 record says so."""
    content, directory = bytearray(before), bytearray()
    for entry in entries:
        raw = deflated(entry.data) if entry.method == 8 else entry.data
        crc, size, packed = zlib.crc32(entry.data), len(entry.data), len(raw)
        crc, size, packed = (
            true if said is None else said
            for said, true in ((entry.crc, crc), (entry.size, size), (entry.packed, packed))
        )
        header = len(content) if entry.offset is None else entry.offset
        local = [
            true if said is None else said
            for said, true in (
                (entry.local_flags, entry.flags), (entry.local_method, entry.method), (entry.local_crc, crc),
                (entry.local_packed, packed), (entry.local_size, size),
            )
        ]  # fmt: skip
        name = entry.name if entry.local_name is None else entry.local_name
        content += struct.pack("<4s3H4x3L2H", b"PK\3\4", 20, *local, len(name), len(entry.local_extra))
        content += name + entry.local_extra + raw + entry.behind
        directory += struct.pack(
            "<4s2B3H4x3L5H2L", b"PK\1\2", 20, entry.system, 20, entry.flags, entry.method, crc, packed, size,
            len(entry.name), len(entry.extra), 0, entry.disk, 0, entry.mode, header,
        )  # fmt: skip
        directory += entry.name + entry.extra
    true = {
        "disk": 0, "first_disk": 0, "here": len(entries), "members": len(entries), "size": len(directory),
        "offset": len(content),
    }  # fmt: skip
    ends = _wide_end({**true, **zip64}) if zip64 is not None else b""
    ends += struct.pack("<4s4H2LH", b"PK\5\6", *{**true, **said}.values(), len(comment)) + comment
    return bytes(content) + bytes(directory) + ends + behind


def _wide_end(said: dict[str, int]) -> bytes:
    """A zip64 record and its locator, the numbers of the plain end first, then `length` and `record`."""
    length, record = said.get("length", 44), said.get("record", said["offset"] + said["size"])
    numbers = list(said.values())[:6]
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", length, 45, 45, *numbers)
    return wide + struct.pack("<4sLQL", b"PK\6\7", 0, record, 1)
