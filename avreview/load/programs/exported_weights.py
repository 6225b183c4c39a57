"""The tensors of an exported program: raw ones that a list describes, and those that were pickled.

Layouts, newest first (torch/export/pt2_archive/_package.py, torch/export/__init__.py):
- since torch 2.9 `data/weights/<model>_weights_config.json` and a raw file a storage;
- torch 2.8 `data/weights/<model>.pt`, a pickled state dict;
- up to torch 2.7 `serialized_state_dict.pt`, likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import NamedCode
from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.programs.exported_schema import mapping, parse, tensor_meta, text
from avreview.load.pytorch.globals import Parameter
from avreview.load.pytorch.reader import PickleReader
from avreview.load.pytorch.storages import TorchStorage
from avreview.load.pytorch.tensors import Tensors
from avreview.load.pytorch.zip_file import read_torch_zip
from avreview.load.source import Source
from avreview.load.wording import quoted
from avreview.load.zip_archive import ZipArchive

_REMEDY = "export and save the program again"
_PER_BYTE = 12  # bytes of memory that a byte of JSON takes once it is read
_OPAQUE = "opaque_obj_"  # files of plain pickles; `custom_obj_` are archives


class Payload(NamedTuple):
    """Tensors by name, and for each whether it requires a gradient."""

    tensors: Mapping[str, Tensor]
    requires_grad: Mapping[str, bool]


class ExportedFiles:
    """The members of a `.pt2` archive. `code` is what its pickles name."""

    def __init__(self, source: Source, archive: ZipArchive, context: OpenContext) -> None:
        self.source = source
        self.archive = archive
        self.code: list[NamedCode] = []
        self.oddities = list(archive.oddities)
        self._context = context
        self._tensors = Tensors(source)
        self._notes: dict[str, None] = {}

    @property
    def limitations(self) -> list[str]:
        return [*self._notes, *self._tensors.limitations]

    def has(self, name: str) -> bool:
        return self.archive.record(name) is not None

    def inside(self, folder: str) -> Iterator[str]:
        """The names of the members of a folder, without that of the folder."""
        top = self.archive.top + folder
        return (name[len(top) :] for name in self.archive.members if name.startswith(top) and len(name) > len(top))

    def json(self, name: str) -> dict[str, Any]:
        """The JSON in a member. Raises ArtifactError, or SchemaError for JSON that is none."""
        member = self.archive.record(name)
        if member is None:
            raise self.wrong(f"has no member {quoted(name)}")
        if member.size * _PER_BYTE > self._context.memory:
            raise self.wrong(f"has {member.size:,} bytes in {quoted(name)}, more than the memory limit allows")
        return parse(self.archive.read(member.name, member.size))

    def listed(self, folder: str, name: str) -> Payload:
        """The tensors that the list in the member `name` describes, whose files lie in `folder`."""
        tensors: dict[str, Tensor] = {}
        requires_grad: dict[str, bool] = {}
        storages: dict[str, TorchStorage] = {}
        absent: list[str] = []
        for key, entry in mapping(self.json(name).get("config"), "the list of tensors").items():
            meta = mapping(entry, "a tensor's entry")
            file = folder + text(meta.get("path_name"), "a tensor's file")
            recorded = meta.get("tensor_meta")
            if meta.get("use_pickle"):
                found = self.pickled(file)
                tensor = found.tensor if isinstance(found, Parameter) else found
            else:
                tensor = self._raw(file, key, recorded, storages)
            if isinstance(tensor, Tensor):
                tensors[key] = replace(tensor, name=key)
                requires_grad[key] = bool(recorded.get("requires_grad")) if isinstance(recorded, dict) else True
            elif recorded is not None:
                absent.append(key)
        if absent:
            some = ", ".join(quoted(name) for name in absent[:3]) + (", …" if len(absent) > 3 else "")
            self.note(f"{len(absent)} tensors of the program have no elements that can be read: {some}")
        return Payload(tensors, requires_grad)

    def state_dict(self, name: str) -> Payload:
        """The tensors of a pickled state dict."""
        value = self.pickled(name)
        tensors: dict[str, Tensor] = {}
        requires_grad: dict[str, bool] = {}
        for key, entry in value.items() if isinstance(value, dict) else ():
            tensor = entry.tensor if isinstance(entry, Parameter) else entry
            if isinstance(key, str) and isinstance(tensor, Tensor):
                tensors[key] = replace(tensor, name=key)
                requires_grad[key] = entry.requires_grad if isinstance(entry, Parameter) else False
        return Payload(tensors, requires_grad)

    def _raw(self, name: str, key: str, recorded: Any, storages: dict[str, TorchStorage]) -> Tensor | None:
        """A tensor on a storage that lies in the archive as it is; None for one whose bytes were not saved."""
        member = self.archive.record(name)
        if member is None or member.is_deflated:
            raise self.wrong(f"has no plain member {quoted(name)} for the tensor {quoted(key)}")
        meta = tensor_meta(recorded)
        if meta.dtype is None or not meta.is_strided or (not member.size and 0 not in meta.sizes):
            return None
        storage = storages.get(name)
        if storage is None:
            storage = storages[name] = TorchStorage(meta.dtype, member.size, self.source, member.offset)
        try:
            return self._tensors.tensor(storage, meta.offset, meta.sizes, meta.strides, meta.dtype)
        except ValueError as error:
            raise self.wrong(f"describes {quoted(key)} as {error}") from None

    def pickled(self, name: str) -> Any:
        """What `torch.save` or `pickle` wrote into a member. Raises ArtifactError for what cannot be read."""
        member = self.archive.record(name)
        if member is None or member.is_deflated:
            raise self.wrong(f"has no plain member {quoted(name)}")
        if self.source.read(member.offset, 2) == b"PK":
            inner = ZipArchive(self.source, member.offset, member.size)
            found = read_torch_zip(self.source, inner, self._context)
            self.code += [code._replace(file=f"{member.name}/{code.file}") for code in found.code]
            self.oddities += found.oddities
            self._notes.update(dict.fromkeys(found.limitations))
            return found.value
        reader = PickleReader(self._tensors, self._context)
        value = reader.read(self.archive.read(member.name, self._context.memory // 4), file=member.name).value
        self.code += reader.code
        return value

    def look_through(self, name: str) -> None:
        """Reads a pickle for what it names alone; one that cannot be read is noted."""
        try:
            self.pickled(name)
        except ArtifactError as error:
            self.note(f"the pickle {quoted(name)} in the archive could not be read: {error.wrong}")

    def note(self, limitation: str) -> None:
        self._notes[limitation] = None

    def wrong(self, what: str) -> ArtifactError:
        return ArtifactError(self.source.path, f"as an exported program it {what}", _REMEDY)
