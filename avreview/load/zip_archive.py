"""A strict reader of zip archives: where each member lies in the file, and nothing about which readers disagree.

A zip archive says everything twice, in each member's local header and in the central directory at the end, and
programs differ in which of the two they believe. So whatever differs between them is refused: else the review
would judge other bytes than those that a training script loads. Format: PKWARE's APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from avreview.errors import ArtifactError
from avreview.load.source import Source
from avreview.load.wording import quoted

_END = struct.Struct("<4s4H2LH")  # signature, disks (2), members (2), directory's size and offset, comment's length
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s2B2x4H3L5H2L")
_LOCAL = struct.Struct("<4s2xHH4x3LHH")
_DESCRIPTORS = {12: "<3L", 16: "<4x3L", 20: "<L2Q", 24: "<4xL2Q"}  # by length, with and without signature and zip64

_DESCRIPTOR, _UTF8, _DEFLATE_LEVEL = 0x8, 0x800, 0x6
_STORED, _DEFLATED = 0, 8
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "the real value is in the zip64 part"
_ZIP64 = 1  # the id of that part among the extra fields
_UNIX = 3
_FOLDER = 0x10  # MS-DOS's bit for one

_MOST_MEMBERS = 300_000
_LARGEST_DIRECTORY = 1 << 26  # bytes
_LONGEST_COMMENT = 0xFFFF
_LARGEST_READ = 1 << 28  # bytes of a member that is read whole
_LARGEST_INFLATED = 1 << 26
_HIGHEST_RATIO = 200  # real pickles shrink to a thirtieth; deflate's best is 1,032

_OUTSIDE = re.compile(r"(^|/)\.\.?(/|$)|^/|^[A-Za-z]:|\\|\0|//")


class Member(NamedTuple):
    """One file in the archive: `packed` bytes from `offset` of the whole file on, which unpack to `size`."""

    name: str
    offset: int
    size: int
    packed: int
    crc: int
    is_deflated: bool


class _Entry(NamedTuple):
    """A member as the central directory has it; `header` is where its local header lies in the file."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int


class ZipArchive:
    """The zip archive in `length` bytes of a file from `start` on; without `length`, up to its end.

    `members` go by their full names. `top` is the folder of the first one with its slash, in which torch looks for
    every record; "" when that one lies in none. `oddities` are what no writer of checkpoints leaves behind.
    Raises ArtifactError when it is no archive, or one that readers would read differently.
    """

    def __init__(self, source: Source, start: int = 0, length: int | None = None) -> None:
        self.source = source
        self.oddities: list[str] = []
        self._start = start
        self._end = source.size if length is None else start + length
        begin, end, members = self._directory()
        entries = self._entries(begin, end, members)
        self.members: Mapping[str, Member] = self._located(entries, begin)
        first = entries[0].name if entries else ""
        self.top = first[: first.find("/") + 1]

    def record(self, name: str) -> Member | None:
        """The member of that name in the top folder."""
        return self.members.get(self.top + name)

    def read(self, name: str, limit: int = _LARGEST_READ) -> bytes:
        """A member's bytes, unpacked and checked. Raises ArtifactError when there are more than `limit`."""
        member = self.members.get(name)
        if member is None:
            self._refuse(f"has no member {quoted(name)}")
        if member.size > limit:
            self._refuse(f"has a member {quoted(name)} of {member.size:,} bytes, more than the {limit:,} allowed")
        raw = self._inflated(member) if member.is_deflated else self.source.read(member.offset, member.size)
        if len(raw) != member.size or zlib.crc32(raw) != member.crc:
            self._refuse(f"has a member {quoted(name)} that is damaged (its checksum differs)")
        return raw

    def _inflated(self, member: Member) -> bytes:
        if member.size > min(_LARGEST_INFLATED, _HIGHEST_RATIO * member.packed):
            self._refuse(f"has a member {quoted(member.name)} that unpacks {member.packed:,} bytes to {member.size:,}")
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            raw = inflater.decompress(self.source.read(member.offset, member.packed), member.size + 1)
        except zlib.error:
            self._refuse(f"has a member {quoted(member.name)} that cannot be unpacked")
        if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
            self._refuse(f"has a member {quoted(member.name)} that does not end where its header says")
        return raw

    # The end of the archive, which says where the central directory is

    def _directory(self) -> tuple[int, int, int]:
        """Where the central directory begins and ends in the file, and how many members it lists."""
        tail_start = max(self._start, self._end - _END.size - _LONGEST_COMMENT)
        tail = self.source.read(tail_start, self._end - tail_start)
        place = tail.rfind(b"PK\5\6")  # the last one, which is what miniz and Python take
        if place < 0 or len(tail) - place < _END.size:
            self._refuse("has no end: it is cut off, or not an archive")
        _, disk, first_disk, here, members, size, offset, comment = _END.unpack_from(tail, place)
        behind = len(tail) - place - _END.size - comment
        if behind < 0:
            self._refuse("is cut off in its comment")
        if behind:
            self.oddities.append(f"{behind:,} bytes behind the end of the zip archive")
        if comment:
            self.oddities.append(f"a comment of {comment:,} bytes in the zip archive")
        end = tail_start + place
        wide = self._wide_end(end)
        if wide is not None:
            end, plain = wide[0], (disk, first_disk, here, members, size, offset)
            if any(narrow not in (real, full) for narrow, real, full in zip(plain, wide[1:], _FULLS, strict=True)):
                self._refuse("ends in two records that contradict one another")
            disk, first_disk, here, members, size, offset = wide[1:]
        if disk or first_disk or here != members:
            self._refuse("is one part of several")
        if members > _MOST_MEMBERS or size > _LARGEST_DIRECTORY:
            self._refuse(f"lists {members:,} members, which is more than this version reads")
        begin = self._start + offset
        if begin + size != end:
            self._refuse("does not have its central directory where it says")
        return begin, end, members

    def _wide_end(self, end: int) -> tuple[int, int, int, int, int, int, int] | None:
        """Where the zip64 end record lies, and what it says in the place of the plain one; None without one."""
        place = end - _LOCATOR.size
        raw = self.source.read(place, _LOCATOR.size) if place >= self._start else b""
        if raw[:4] != b"PK\6\7":
            return None
        _, disk, offset, disks = _LOCATOR.unpack(raw)
        record = self._start + offset
        if disk or disks > 1:
            self._refuse("is one part of several")
        if record + _END64.size > place:
            self._refuse("does not have its zip64 record where it says")
        signature, length, _, _, disk, first_disk, here, members, size, offset = _END64.unpack(
            self.source.read(record, _END64.size)
        )
        if signature != b"PK\6\6" or record + 12 + length != place:  # 12: the signature and the length itself
            self._refuse("does not have its zip64 record where it says")
        return record, disk, first_disk, here, members, size, offset

    # The central directory

    def _entries(self, begin: int, end: int, members: int) -> list[_Entry]:
        raw = self.source.read(begin, end - begin)
        entries: list[_Entry] = []
        seen: set[str] = set()
        place = 0
        for _ in range(members):
            if len(raw) - place < _CENTRAL.size or raw[place : place + 4] != b"PK\1\2":
                self._refuse("has a central directory that is damaged")
            entry, place = self._entry(raw, place)
            folded = entry.name.lower()  # miniz, torch's reader, finds names whatever their case
            if folded in seen:
                self._refuse(f"has two members named {quoted(entry.name)}")
            seen.add(folded)
            entries.append(entry)
        if place != len(raw):
            self._refuse("has a central directory that is longer than its members")
        return entries

    def _entry(self, raw: bytes, place: int) -> tuple[_Entry, int]:
        (_, _, system, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, disk, _,
         mode, header) = _CENTRAL.unpack_from(raw, place)  # fmt: skip
        after_name = place + _CENTRAL.size + name_length
        after = after_name + extra_length
        raw_name = raw[place + _CENTRAL.size : after_name]
        name = raw_name.decode("utf-8", "backslashreplace")
        if after + comment_length > len(raw):
            self._refuse("has a central directory that is damaged")
        if _FULL32 in (packed, size, header) or disk == _FULL16:
            packed, size, header, disk = self._widened(raw[after_name:after], (packed, size, header, disk), name)
        self._check(name, flags, method, packed, size)
        if disk:
            self._refuse("is one part of several")
        if system == _UNIX and stat.S_ISLNK(mode >> 16):
            self._refuse(f"has a link among its members: {quoted(name)}")
        if (mode & _FOLDER and not name.endswith("/")) or (name.endswith("/") and size):
            # miniz reads nothing of it, and torch would take whatever is in memory for the tensor's elements
            self._refuse(f"has the member {quoted(name)}, which says that it is a folder")
        entry = _Entry(name, raw_name, flags, method, crc, packed, size, self._start + header)
        return entry, after + comment_length

    def _check(self, name: str, flags: int, method: int, packed: int, size: int) -> None:
        if not name or _OUTSIDE.search(name):
            self._refuse(f"has a member with the unsafe name {quoted(name)}")
        if flags & 0x2041:
            self._refuse(f"has the encrypted member {quoted(name)}")
        if flags & ~(_DESCRIPTOR | _UTF8 | _DEFLATE_LEVEL):
            self._refuse(f"has the member {quoted(name)} with unknown flags")
        if method not in (_STORED, _DEFLATED):
            self._refuse(f"has the member {quoted(name)} packed by a method that torch does not know")
        if method == _STORED and packed != size:
            self._refuse(f"has the member {quoted(name)} with two sizes, {packed:,} and {size:,}")

    def _widened(self, extra: bytes, values: tuple[int, int, int, int], name: str) -> tuple[int, int, int, int]:
        """Packed size, size, header and disk with the zip64 part's numbers for those that the entry leaves to it."""
        fields = [field for kind, field in _extra_fields(extra) if kind == _ZIP64]
        packed, size, header, disk = values
        kinds = [(size, _FULL32, "Q"), (packed, _FULL32, "Q"), (header, _FULL32, "Q"), (disk, _FULL16, "L")]
        layout = struct.Struct("<" + "".join(kind for value, full, kind in kinds if value == full))
        if len(fields) != 1 or len(fields[0]) != layout.size:
            self._refuse(f"has the member {quoted(name)} without the sizes that it leaves to zip64")
        numbers = iter(layout.unpack(fields[0]))
        size, packed, header, disk = (next(numbers) if value == full else value for value, full, _ in kinds)
        return packed, size, header, disk

    # The local headers

    def _located(self, entries: list[_Entry], begin: int) -> dict[str, Member]:
        """The members in the order of the directory, which begins at `begin`, each checked against its own header."""
        members: dict[str, Member] = {}
        last: _Entry | None = None
        stray, end = 0, self._start
        for entry in sorted(entries, key=lambda entry: entry.header):
            offset, gap = self._local(entry, end, last)
            stray += gap
            end, last = offset + entry.packed, entry
            members[entry.name] = Member(
                entry.name, offset, entry.size, entry.packed, entry.crc, entry.method == _DEFLATED
            )
        if end > begin:
            self._refuse("has members that lie over its central directory")
        stray += self._stray(self.source.read(end, min(begin - end, 32)), begin - end, last)
        if stray:
            self.oddities.append(f"{stray:,} bytes in the zip archive that belong to none of its members")
        return {entry.name: members[entry.name] for entry in entries}

    def _local(self, entry: _Entry, end: int, last: _Entry | None) -> tuple[int, int]:
        """Where a member's bytes begin, and how many bytes before its header belong to no member."""
        gap = entry.header - end
        if gap < 0:
            self._refuse(f"has members that overlap, among them {quoted(entry.name)}")
        start = end if gap <= 32 else entry.header  # the descriptor before it comes with the same read
        raw = self.source.read(start, entry.header - start + _LOCAL.size + len(entry.raw_name))
        skip = entry.header - start
        if len(raw) < skip + _LOCAL.size + len(entry.raw_name) or raw[skip : skip + 4] != b"PK\3\4":
            self._refuse(f"has no header where it says for the member {quoted(entry.name)}")
        _, flags, method, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(raw, skip)
        late = bool(flags & _DESCRIPTOR)
        agrees = (
            (flags, method, name_length) == (entry.flags, entry.method, len(entry.raw_name))
            and raw[skip + _LOCAL.size :] == entry.raw_name
            and (crc == entry.crc or (late and crc == 0))
            and all(
                local in (real, _FULL32) or (late and local == 0)
                for local, real in ((packed, entry.packed), (size, entry.size))
            )
        )
        if not agrees:
            self._refuse(f"says two different things of the member {quoted(entry.name)}")
        offset = entry.header + _LOCAL.size + name_length + extra_length
        return offset, self._stray(raw[:skip], gap, last)

    def _stray(self, raw: bytes, gap: int, last: _Entry | None) -> int:
        """How many of `gap` bytes behind a member are not its descriptor."""
        if last is None or not last.flags & _DESCRIPTOR or gap not in _DESCRIPTORS:
            return gap
        said = struct.unpack(_DESCRIPTORS[gap], raw)
        if said != (last.crc, last.packed, last.size):
            self._refuse(f"says two different things of the member {quoted(last.name)}")
        return 0

    def _refuse(self, what: str) -> NoReturn:
        raise ArtifactError(self.source.path, f"as a zip archive it {what}", "save the checkpoint again")


_FULLS = (_FULL16, _FULL16, _FULL16, _FULL16, _FULL32, _FULL32)


def _extra_fields(extra: bytes) -> list[tuple[int, bytes]]:
    """The id and the bytes of each extra field, as far as they can be told apart."""
    found: list[tuple[int, bytes]] = []
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        found.append((kind, extra[place + 4 : place + 4 + length]))
        place += 4 + length
    return found
