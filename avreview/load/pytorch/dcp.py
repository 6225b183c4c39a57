"""A folder that `torch.distributed.checkpoint` wrote: `.metadata` says which tensors there are and where their pieces
lie in the `.distcp` files, each piece a zip archive of its own that `torch.save` wrote.

Format: torch/distributed/checkpoint/metadata.py and filesystem.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import Artifact, Tensor
from avreview.checkpoint import NamedCode
from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.pickles.inert import Instance
from avreview.load.pytorch.globals import Parameter
from avreview.load.pytorch.reader import PickleReader, TorchFile
from avreview.load.pytorch.sharded import Piece, ShardedStorage, tiles
from avreview.load.pytorch.storages import whole_numbers
from avreview.load.pytorch.tensors import Tensors
from avreview.load.pytorch.zip_file import read_torch_zip
from avreview.load.source import Source, open_beside
from avreview.load.wording import quoted
from avreview.load.zip_archive import ZipArchive

_METADATA = ".metadata"
_REMEDY = "save the checkpoint again"
_PACKAGE = "torch.distributed.checkpoint."
_TENSOR, _BYTES = "TensorStorageMetadata", "BytesStorageMetadata"
# What torch itself writes into `.metadata`: classes of plain values, which loading makes and fills in.
_KNOWN = frozenset(
    _PACKAGE + name
    for name in (
        "metadata.Metadata", "metadata.TensorStorageMetadata", "metadata.TensorProperties",
        "metadata.ChunkStorageMetadata", "metadata.BytesStorageMetadata", "metadata.MetadataIndex",
        "metadata.StorageMeta", "metadata._MEM_FORMAT_ENCODING", "filesystem._StorageInfo",
    )
)  # fmt: skip
_MOST_HELD = 64  # files that are kept open: each is read at every piece in it
_LONGEST_PATH = 32  # keys inside one another


class _Place(NamedTuple):
    """Where a piece, or a pickled value, lies."""

    file: str
    offset: int
    length: int


def open_dcp(path: str, context: OpenContext) -> Artifact:
    """The artifact of the folder at `path`. Raises ArtifactError when it is damaged or not of this kind."""
    from avreview.load.pytorch.checkpoint_file import artifact

    reader = _Reader(path, context)
    content = reader.content()
    found = artifact(path, content, reader.files, context)
    if found.checkpoint is not None:
        found.checkpoint = found.checkpoint._replace(layout="dcp")
    return found


class _Reader:
    def __init__(self, path: str, context: OpenContext) -> None:
        self._path = path
        self._context = context
        self._metadata = open_beside(os.path.join(path, _METADATA), _METADATA, "index")
        self._sources: dict[str, Source] = {}
        self._code: list[NamedCode] = []
        self._oddities: list[str] = []
        self._limitations: dict[str, None] = {}

    @property
    def files(self) -> list[Source]:
        return [self._metadata, *self._sources.values()]

    def content(self) -> TorchFile:
        """The checkpoint as the value that was saved, tensors whole."""
        if not self._metadata.size:
            raise self._wrong("has an empty index")
        reader = PickleReader(Tensors(self._metadata), self._context)
        root = reader.read(self._metadata.read(0, self._metadata.size), file=_METADATA).value
        self._code += [named for named in reader.code if named.name not in _KNOWN]
        if not _is(root, "Metadata"):
            raise self._wrong("has an index that is not one of torch.distributed.checkpoint")
        places = self._places(root.field("storage_data"))
        entries = root.field("state_dict_metadata")
        if not isinstance(entries, dict):
            raise self._wrong("has an index without a list of tensors")
        values = {key: self._entry(key, entry, places) for key, entry in entries.items() if isinstance(key, str)}
        details = {"version": root.field("version"), "files": len(self._sources), "entries": len(values)}
        plain = {name: value for name, value in details.items() if isinstance(value, str | int)}
        value = _nested(values, root.field("planner_data"))
        limitations = [*reader.limitations, *self._limitations]
        return TorchFile(value, "dcp", self._code, [*reader.oddities, *self._oddities], limitations, plain)

    def _places(self, storage: Any) -> dict[str, dict[tuple[int, ...], _Place]]:
        """Where the pieces lie, by name and by where they begin in the whole; a pickled value begins at ()."""
        if not isinstance(storage, dict):
            raise self._wrong("has an index that does not say where its tensors lie")
        places: dict[str, dict[tuple[int, ...], _Place]] = {}
        for index, info in storage.items():
            name = index.field("fqn") if isinstance(index, Instance) else None
            if not isinstance(name, str) or not isinstance(info, Instance):
                raise self._wrong("has an index that is damaged")
            if info.field("transform_descriptors"):
                raise self._wrong(f"holds {quoted(name)} transformed (compressed or encrypted)")
            file = info.field("relative_path")
            try:
                offsets = whole_numbers(index.field("offset") or ())
                offset, length = whole_numbers((info.field("offset"), info.field("length")))
            except ValueError:
                raise self._wrong(f"says of {quoted(name)} that it lies at no possible place") from None
            if not isinstance(file, str):
                raise self._wrong(f"names no file for {quoted(name)}")
            places.setdefault(name, {})[offsets] = _Place(file, offset, length)
        return places

    def _entry(self, key: str, entry: Any, places: Mapping[str, Mapping[tuple[int, ...], _Place]]) -> Any:
        pieces = places.get(key, {})
        if _is(entry, _TENSOR):
            return self._tensor(key, entry, pieces)
        if not _is(entry, _BYTES):
            raise self._wrong(f"has an index that describes {quoted(key)} in an unknown way")
        if len(pieces) != 1:
            raise self._wrong(f"does not say where {quoted(key)} lies")
        return self._value(next(iter(pieces.values())))

    def _tensor(self, key: str, entry: Instance, pieces: Mapping[tuple[int, ...], _Place]) -> Any:
        chunks = entry.field("chunks")
        try:
            shape = whole_numbers(entry.field("size"))
            wanted = {whole_numbers(chunk.field("offsets")): whole_numbers(chunk.field("sizes")) for chunk in chunks}
        except (ValueError, TypeError, AttributeError):
            raise self._wrong(f"has an index that gives {quoted(key)} no shape") from None
        found: list[Piece] = []
        for offsets, sizes in wanted.items():
            place = pieces.get(offsets)
            if place is None:
                raise self._wrong(f"does not say where a part of {quoted(key)} lies")
            value = self._value(place)
            tensor = value.tensor if isinstance(value, Parameter) else value
            if not isinstance(tensor, Tensor):
                return value  # of a class that keeps its elements in its own way: noted where it was read
            if tensor.shape != sizes:
                raise self._wrong(f"holds a part of {quoted(key)} in another shape than its index says")
            found.append(Piece(offsets, tensor))
        return self._joined(key, shape, found)

    def _joined(self, key: str, shape: tuple[int, ...], found: list[Piece]) -> Tensor:
        dtypes = {piece.tensor.dtype for piece in found}
        if len(dtypes) != 1 or not tiles(shape, found) or any(p.tensor.quantization for p in found[1:]):
            raise self._wrong(f"has parts of {quoted(key)} that do not make up the whole of it")
        first = found[0].tensor
        if len(found) == 1:
            return first
        return Tensor("", shape, first.dtype, ShardedStorage(shape, first.dtype, found), first.quantization)

    def _value(self, place: _Place) -> Any:
        """What `torch.save` wrote at a place of a file."""
        source = self._sources.get(place.file)
        if source is None:
            held = len(self._sources) < _MOST_HELD
            source = open_beside(os.path.join(self._path, _METADATA), place.file, "file", held=held)
            self._sources[place.file] = source
        if place.offset + place.length > source.size or source.read(place.offset, 2) != b"PK":
            raise self._wrong(f"has no saved value at byte {place.offset:,} of {quoted(place.file)}")
        found = read_torch_zip(source, ZipArchive(source, place.offset, place.length), self._context)
        self._code += found.code
        self._oddities += found.oddities
        self._limitations.update(dict.fromkeys(found.limitations))
        return found.value

    def _wrong(self, what: str) -> ArtifactError:
        return ArtifactError(self._path, f"as a distributed checkpoint it {what}", _REMEDY)


def _is(value: Any, name: str) -> bool:
    return isinstance(value, Instance) and value.class_name == f"{_PACKAGE}metadata.{name}"


class _Branch(dict[Any, Any]):
    """A dictionary or a list that torch flattened."""


def _nested(values: Mapping[str, Any], planner: Any) -> Any:
    """The values where they were before torch flattened them, as `planner_data` says; flat where it says nothing."""
    paths = planner if isinstance(planner, dict) else {}
    root = _Branch()
    for key, value in values.items():
        path = paths.get(key)
        if not isinstance(path, tuple) or not 0 < len(path) <= _LONGEST_PATH or not _is_path(path):
            path = (key,)
        here = root
        for part in path[:-1]:
            inner = here.setdefault(part, _Branch())
            if not isinstance(inner, _Branch):
                inner = here[part] = _Branch({"": inner})
            here = inner
        here[path[-1]] = value
    return _restored(root)


def _is_path(path: tuple[Any, ...]) -> bool:
    return all(isinstance(part, str) or type(part) is int for part in path)


def _restored(branch: _Branch) -> Any:
    """The branches as what they were: a list where the keys are 0, 1, 2, …, else a dictionary.

    Flattening drops dictionaries without entries; what is missed is the state of an optimizer that keeps none.
    """
    inner = {key: _restored(part) if isinstance(part, _Branch) else part for key, part in branch.items()}
    if isinstance(inner.get("param_groups"), list):
        inner.setdefault("state", {})
    if inner and all(type(key) is int for key in inner) and sorted(inner) == list(range(len(inner))):
        return [inner[place] for place in range(len(inner))]
    return inner
