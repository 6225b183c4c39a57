"""Our zip reader finds what Python's finds, and refuses what readers would disagree about."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zip_files import Entry, descriptor, written

from avreview.errors import ArtifactError
from avreview.load.source import open_source
from avreview.load.zip_archive import ZipArchive

Open = Callable[..., ZipArchive]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    path = tmp_path / "archive.pt"

    def open_bytes(content: bytes, *window: int) -> ZipArchive:
        path.write_bytes(content)
        return ZipArchive(open_source(str(path)), *window)

    return open_bytes


class Unseekable(io.RawIOBase):
    """A pipe: the sizes of a member can only be written behind it."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


MEMBERS = st.dictionaries(st.from_regex(r"[a-z0-9_é]{1,8}(/[a-z0-9]{1,4})?", fullmatch=True), st.binary(max_size=300))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MEMBERS, st.sampled_from([0, 8]), st.booleans(), st.booleans(), st.binary(max_size=20))
def test_what_python_writes(
    opened: Open, members: dict[str, bytes], method: int, piped: bool, wide: bool, around: bytes
) -> None:
    pipe, file = Unseekable(), io.BytesIO()
    with zipfile.ZipFile(pipe if piped else file, "w", compression=method) as writer:
        for name, data in members.items():
            with writer.open(name, "w", force_zip64=wide) as entry:
                entry.write(data)
    content = bytes(pipe.content) if piped else file.getvalue()
    archive = opened(around + content + around, len(around), len(content))
    assert not archive.oddities
    assert list(archive.members) == list(members)
    for name, data in members.items():
        assert archive.read(name) == data
        if not method:
            member = archive.members[name]
            assert archive.source.read(member.offset, member.size) == data


def test_the_top_folder_is_that_of_the_first_member(opened: Open) -> None:
    archive = opened(written([Entry("epoch 3.é/data.pkl".encode(), b"a"), Entry("epoch 3.é/data/0".encode(), b"b")]))
    assert archive.top == "epoch 3.é/"
    record = archive.record("data/0")
    assert record is not None
    assert archive.source.read(record.offset, record.size) == b"b"


TOP = Entry(b"a/data.pkl", b"pickle")
FULL = 0xFFFFFFFF
WIDE = struct.pack("<HHQQ", 1, 16, 6, 6)
REFUSED = {
    "no archive": (b"PK\3\4" + bytes(100), "has no end"),
    "two of one name": (written([TOP, TOP]), "two members named 'a/data.pkl'"),
    "two of one name but for case": (written([TOP, Entry(b"a/DATA.pkl", b"other")]), "two members named"),
    "local name": (written([TOP._replace(local_name=b"a/data.pkk")]), "two different things of the member"),
    "local method": (written([TOP._replace(local_method=8)]), "two different things"),
    "local flags": (written([TOP._replace(local_flags=0x800)]), "two different things"),
    "local checksum": (written([TOP._replace(local_crc=7)]), "two different things"),
    "local size": (written([TOP._replace(local_size=5)]), "two different things"),
    "local packed size": (written([TOP._replace(local_packed=5)]), "two different things"),
    "sizes left out": (written([TOP._replace(local_packed=0, local_size=0)]), "two different things"),
    "descriptor": (written([TOP._replace(flags=8, behind=descriptor(b"picklf"))]), "two different things"),
    "encrypted": (written([TOP._replace(flags=1)]), "encrypted member"),
    "strongly encrypted": (written([TOP._replace(flags=0x40)]), "encrypted member"),
    "masked headers": (written([TOP._replace(flags=0x2000)]), "encrypted member"),
    "patch data": (written([TOP._replace(flags=0x20)]), "unknown flags"),
    "bzip2": (written([TOP._replace(method=12)]), "a method that torch does not know"),
    "stored in two sizes": (written([TOP._replace(packed=5)]), "two sizes"),
    "a link": (written([TOP._replace(system=3, mode=0o120777 << 16)]), "a link among its members"),
    "a folder with data": (written([TOP._replace(mode=0x10)]), "says that it is a folder"),
    "a folder by name with data": (written([Entry(b"a/x/", b"data")]), "says that it is a folder"),
    "parent folder": (written([Entry(b"a/../../x", b"")]), "unsafe name"),
    "absolute": (written([Entry(b"/etc/passwd", b"")]), "unsafe name"),
    "drive": (written([Entry(b"C:x", b"")]), "unsafe name"),
    "backslash": (written([Entry(b"a\\x", b"")]), "unsafe name"),
    "NUL": (written([Entry(b"a/data.pkl\0.txt", b"")]), "unsafe name"),
    "no name": (written([Entry(b"", b"")]), "unsafe name"),
    "terminal codes": (written([Entry(b"a/\x1b[2J/../x", b"")]), r"\\x1b"),
    "overlapping": (written([TOP, Entry(b"a/x", b"x", offset=0, local_name=TOP.name)]), "overlap|two different"),
    "within another": (written([TOP._replace(data=written([Entry(b"a/x", b"x")])), Entry(b"a/x", b"x", offset=40)]),
                       "overlap"),
    "a header elsewhere": (written([TOP._replace(offset=3)]), "no header where it says"),
    "a header past the end": (written([TOP._replace(offset=1 << 31)]), "no header where it says"),
    "data past the directory": (written([TOP._replace(size=60, packed=60)]), "over its central directory"),
    "several disks": (written([TOP], disk=1), "one part of several"),
    "member on another disk": (written([TOP._replace(disk=1)]), "one part of several"),
    "fewer members": (written([TOP, Entry(b"a/x")], here=1, members=1), "longer than its members"),
    "more members": (written([TOP], here=2, members=2), "central directory that is damaged"),
    "too many members": (written([TOP], zip64={"here": 1 << 40, "members": 1 << 40}, here=0xFFFF, members=0xFFFF),
                         "more than this version reads"),
    "directory elsewhere": (written([TOP], offset=3), "central directory where it says"),
    "bytes before all": (b"MZ" + written([TOP]), "central directory where it says"),
    "zip64 contradicts": (written([TOP], zip64={"members": 2, "here": 2}), "contradict one another"),
    "zip64 elsewhere": (written([TOP], zip64={"record": 0}), "zip64 record where it says"),
    "zip64 past the end": (written([TOP], zip64={"record": 1 << 62}), "zip64 record where it says"),
    "zip64 too long": (written([TOP], zip64={"length": 1 << 62}), "zip64 record where it says"),
    "zip64 sizes missing": (written([TOP._replace(size=FULL, packed=FULL)]), "sizes that it leaves to zip64"),
    "zip64 sizes twice": (written([TOP._replace(size=FULL, packed=FULL, extra=WIDE * 2)]), "leaves to zip64"),
    "zip64 size huge": (
        written([TOP._replace(size=FULL, packed=FULL, extra=struct.pack("<HHQQ", 1, 16, 1 << 63, 1 << 63))]),
        "two different things|central directory"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "wrong"), REFUSED.values(), ids=REFUSED)
def test_what_readers_disagree_about_is_refused(opened: Open, content: bytes, wrong: str) -> None:
    with pytest.raises(ArtifactError, match=wrong) as caught:
        opened(content)
    assert str(caught.value).isprintable()


ODD = {
    "behind": (written([TOP], behind=b"#!/bin/sh"), "9 bytes behind the end"),
    "comment": (written([TOP], comment=b"hello"), "a comment of 5 bytes"),
    "before": (written([TOP], before=b"PK\3\4junk"), "8 bytes in the zip archive that belong to none"),
    "between": (written([TOP._replace(behind=b"hidden"), Entry(b"a/x")]), "6 bytes in the zip archive"),
    "before the directory": (written([TOP._replace(behind=bytes(100))]), "100 bytes in the zip archive"),
    "no descriptor announced": (written([TOP._replace(behind=descriptor(b"pickle"))]), "16 bytes in the zip"),
}


@pytest.mark.parametrize(("content", "odd"), ODD.values(), ids=ODD)
def test_what_no_writer_leaves_behind_is_odd(opened: Open, content: bytes, odd: str) -> None:
    archive = opened(content)
    assert [odd in said for said in archive.oddities] == [True]
    assert archive.read("a/data.pkl") == b"pickle"


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("left_out", [0, FULL, None])
def test_sizes_may_stand_behind_the_data(opened: Open, wide: bool, signed: bool, left_out: int | None) -> None:
    late = TOP._replace(
        flags=8, local_crc=0, local_size=left_out, local_packed=left_out,
        behind=descriptor(TOP.data, wide=wide, signed=signed),
    )  # fmt: skip
    archive = opened(written([late, Entry(b"a/x", b"x")], zip64={}))
    assert not archive.oddities
    assert archive.read("a/data.pkl") == b"pickle"


def test_damage_is_seen(opened: Open) -> None:
    archive = opened(written([TOP._replace(crc=7), Entry(b"a/x", b"data", method=8, crc=3)]))
    for name in archive.members:
        with pytest.raises(ArtifactError, match="is damaged"):
            archive.read(name)
    with pytest.raises(ArtifactError, match="has no member 'b'"):
        archive.read("b")


def test_a_member_that_unpacks_to_something_else(opened: Open) -> None:
    for entry in (
        Entry(b"a", b"x" * 50, method=8, size=40),
        Entry(b"a", b"x" * 50, method=8, size=60),
        Entry(b"a", b"x" * 500, method=8, packed=4, behind=b""),
    ):
        archive = opened(written([entry]))
        with pytest.raises(ArtifactError, match=r"does not end where|is damaged|cannot be unpacked"):
            archive.read("a")


def test_bombs(opened: Open) -> None:
    archive = opened(written([Entry(b"a", bytes(30_000_000), method=8), Entry(b"b", bytes(1 << 10))]))
    started = time.process_time()
    with pytest.raises(ArtifactError, match=r"unpacks 29,.* bytes to 30,000,000"):
        archive.read("a")
    assert time.process_time() - started < 0.5
    with pytest.raises(ArtifactError, match="of 1,024 bytes, more than the 100 allowed"):
        archive.read("b", 100)


def test_an_archive_cut_off_at_any_byte(opened: Open) -> None:
    content = written([TOP, Entry(b"a/x", b"data", method=8)], zip64={})
    for end in range(len(content)):
        with pytest.raises(ArtifactError):
            opened(content[:end])


def test_many_members_are_quick(opened: Open) -> None:
    content = written([Entry(b"a/%d" % i, b"x") for i in range(20_000)], here=0xFFFF, members=0xFFFF,
                      zip64={})  # fmt: skip
    started = time.process_time()
    assert len(opened(content).members) == 20_000
    assert time.process_time() - started < 4
