"""Inputs that the person supplies: an `.npz` file, or a folder of `.npy` files, named as the graph's inputs.

Here only headers are read, and checked against the bytes that are there; elements are read in the child.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from avreview.artifact import Digest, Graph
from avreview.errors import ArtifactError
from avreview.load.source import Source, open_beside, open_source
from avreview.load.wording import quoted
from avreview.load.zip_archive import Member, ZipArchive
from avreview.probes.npy import LONGEST, Header, HeaderError, read_header

_REMEDY = "write it with numpy.savez, one array for each input"
_FOLDER_REMEDY = "write each array with numpy.save, one file for each input"
_MOST_FILES = 1_000
_LARGEST_UNPACKED = 4 << 30  # bytes of a compressed array
_SUFFIX = ".npy"


class GivenArray(NamedTuple):
    """One array: its header, and where its bytes are. A compressed `member` has to be unpacked first."""

    name: str
    header: Header
    source: Source
    offset: int
    member: Member | None = None


class Given(NamedTuple):
    """The arrays by name, and the files that they are in."""

    path: str
    arrays: Mapping[str, GivenArray]
    files: tuple[Source, ...]

    def digests(self) -> Mapping[str, Digest]:
        """The sha256 of each file by its path, being computed."""
        from avreview.load.digest import Digest as Sha256

        return {source.path: Sha256(source) for source in self.files}

    @property
    def is_folder(self) -> bool:
        return os.path.isdir(self.path)

    def named(self, name: str) -> GivenArray | None:
        """The array for an input. In a folder `_` may stand for what file names cannot hold: `gpu_0/data_0`."""
        found = self.arrays.get(name)
        if found is None and self.is_folder:
            return self.arrays.get(re.sub(r'[/\\:*?"<>|]', "_", name))
        return found


def open_given(path: str | os.PathLike[str]) -> Given:
    """The arrays of an `.npz` file or of a folder of `.npy` files. Raises ArtifactError in one line."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return _open_folder(path)
    source = open_source(path)
    if not source.size:
        raise ArtifactError(path, "is empty", _REMEDY)
    start = source.read(0, 6)
    if start == b"\x93NUMPY":
        raise ArtifactError(path, "is a single .npy array, which names no input", "put it into a folder, or an .npz")
    if start[:2] != b"PK":
        raise ArtifactError(path, "is neither an .npz file nor a folder of .npy files", _REMEDY)
    return _open_npz(path, source)


def check_given(given: Given, graph: Graph) -> None:
    """Compares given arrays with the inputs of a graph. Raises ArtifactError with the first thing that does not fit."""
    from avreview.facts.shapes import Shapes
    from avreview.facts.weights import Constants
    from avreview.probes.given_fit import fit
    from avreview.probes.plan_axes import batch_of
    from avreview.probes.plan_declared import declared_inputs

    constants = Constants(graph)
    inputs = declared_inputs(graph, constants)
    fit(given, inputs, batch_of(inputs, graph, Shapes(graph, constants)), graph)


def _open_npz(path: str, source: Source) -> Given:
    try:
        archive = ZipArchive(source)
    except ArtifactError as error:
        raise ArtifactError(path, error.wrong, _REMEDY) from None
    if len(archive.members) > _MOST_FILES:
        raise ArtifactError(path, f"holds {len(archive.members):,} files", _REMEDY)
    arrays = {}
    for member in archive.members.values():
        if member.name.endswith("/"):
            continue
        if not member.name.endswith(_SUFFIX):
            raise ArtifactError(path, f"holds {quoted(member.name)}, which is no .npy array", _REMEDY)
        array = _member(path, source, member)
        arrays[array.name] = array
    if not arrays:
        raise ArtifactError(path, "holds no array", _REMEDY)
    return Given(path, arrays, (source,))


def _member(path: str, source: Source, member: Member) -> GivenArray:
    what = f"its array {quoted(member.name[: -len(_SUFFIX)])}"
    if member.is_deflated:
        if member.size > _LARGEST_UNPACKED:
            wrong = f"{what} unpacks to {member.size:,} bytes, more than the {_LARGEST_UNPACKED:,} that are unpacked"
            raise ArtifactError(path, wrong, "write it with numpy.savez, without compression")
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            start = inflater.decompress(source.read(member.offset, min(member.packed, LONGEST)), LONGEST)
        except zlib.error:
            raise ArtifactError(path, f"{what} cannot be unpacked", _REMEDY) from None
    else:
        start = source.read(member.offset, min(member.size, LONGEST))
    header = _checked(path, what, start, member.size, _REMEDY)
    offset = member.offset + (0 if member.is_deflated else header.length)
    return GivenArray(member.name[: -len(_SUFFIX)], header, source, offset, member if member.is_deflated else None)


def _open_folder(path: str) -> Given:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", "check its permissions") from None
    names = [name for name in names if name.endswith(_SUFFIX)]
    if not names:
        raise ArtifactError(path, "holds no .npy file", _FOLDER_REMEDY)
    if len(names) > _MOST_FILES:
        raise ArtifactError(path, f"holds {len(names):,} .npy files", _FOLDER_REMEDY)
    arrays = {}
    for name in names:
        source = _beside(path, name)
        header = _checked(source.path, "", source.read(0, LONGEST), source.size, _FOLDER_REMEDY)
        stem = name[: -len(_SUFFIX)]
        arrays[stem] = GivenArray(stem, header, source, header.length)
    return Given(path, arrays, tuple(array.source for array in arrays.values()))


def _beside(folder: str, name: str) -> Source:
    try:
        return open_beside(os.path.join(folder, name), name, "array", held=True)
    except ArtifactError as error:
        raise ArtifactError(folder, error.wrong, "put a plain file in its place") from None


def _checked(path: str, what: str, start: bytes, size: int, remedy: str) -> Header:
    """The header of an array of `size` bytes in all. Raises ArtifactError where the two do not agree."""

    def refuse(wrong: str) -> NoReturn:
        raise ArtifactError(path, f"{what} {wrong}".strip(), remedy)

    try:
        header = read_header(start)
    except HeaderError as error:
        refuse(str(error))
    held = size - header.length
    if held != header.size:
        refuse(f"says {header.size:,} bytes of elements and holds {max(held, 0):,}")
    return header
