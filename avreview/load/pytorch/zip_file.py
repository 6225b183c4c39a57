"""The zip archives of `torch.save`: a pickle, and a member for each storage.

Format: torch/serialization.py, `_load`, and caffe2/serialize/inline_container.h. Members of older files are only
`data.pkl`, `data/<key>` and `version`.
"""

from __future__ import annotations

from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.pytorch.reader import PickleReader, TorchFile, protocol
from avreview.load.pytorch.storages import Storages
from avreview.load.pytorch.tensors import Tensors
from avreview.load.source import Source
from avreview.load.wording import quoted
from avreview.load.zip_archive import ZipArchive

_PICKLE = "data.pkl"
_SMALL = 1 << 16  # bytes of the members that hold one word
_WORDS = ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
_AGAIN = "save the checkpoint again"


def read_torch_zip(source: Source, archive: ZipArchive, context: OpenContext, depth: int = 0) -> TorchFile:
    """What `torch.load` would give. Raises ArtifactError for a damaged archive or pickle."""
    order = _word(archive, "byteorder") or "little"
    if order not in ("little", "big"):
        raise ArtifactError(source.path, f"has the unknown byte order {quoted(order)}", _AGAIN)
    members = Members(source, archive)
    storages = Storages(members.locate)
    reader = PickleReader(Tensors(source, swapped=order == "big"), context, depth)
    data = archive.read(archive.top + _PICKLE, context.memory // 4)
    found = reader.read(data, file=archive.top + _PICKLE, persistent=storages.persistent)
    oddities = [*archive.oddities, *members.oddities]
    if found.end != len(data):
        oddities.append(f"{len(data) - found.end:,} bytes behind the end of the pickle {_PICKLE}")
    if unread := members.unread():
        names = ", ".join(quoted(name) for name in unread[:3])
        oddities.append(f"{len(unread):,} members that torch.load does not read: {names}")
    details = {
        "pickle_protocol": protocol(data),
        "members": len(archive.members),
        "byteorder": order,
        "version": _word(archive, "version"),
        "format_version": _word(archive, ".format_version"),
    }
    return reader.file(found.value, "pytorch-zip", oddities, {k: v for k, v in details.items() if v is not None})


class Members:
    """The archive's members as storages; notes which of them are used."""

    def __init__(self, source: Source, archive: ZipArchive, folder: str = "data/") -> None:
        self._source = source
        self._archive = archive
        self._folder = archive.top + folder
        self._used: set[str] = set()
        self.oddities: list[str] = []

    def locate(self, key: str, nbytes: int) -> tuple[Source, int]:
        """Where the storage of that key lies. Raises ArtifactError when its bytes are not there as they should be."""
        name = self._folder + key
        member = self._archive.members.get(name)
        if member is None:
            raise ArtifactError(self._source.path, f"has no member {quoted(name)} for one of its tensors", _AGAIN)
        if member.is_deflated:
            wrong = f"has the compressed member {quoted(name)}, which cannot be read in place"
            raise ArtifactError(self._source.path, wrong, "save the checkpoint again without compressing it")
        if member.size < nbytes:
            wrong = f"has {member.size:,} bytes in the member {quoted(name)} where its tensors need {nbytes:,}"
            raise ArtifactError(self._source.path, wrong, "copy the file again, or save the checkpoint again")
        if member.size > nbytes:
            self.oddities.append(f"{member.size - nbytes:,} bytes in the member {quoted(name)} that no tensor can use")
        self._used.add(name)
        return self._source, member.offset

    def unread(self) -> list[str]:
        """The members that are neither storages in use, nor the pickle, nor one of torch's own words."""
        top = self._archive.top
        own = {top + name for name in (_PICKLE, *_WORDS)}
        return [
            name for name in self._archive.members if name not in self._used and name not in own and name[-1] != "/"
        ]


def _word(archive: ZipArchive, name: str) -> str | None:
    if archive.record(name) is None:
        return None
    return archive.read(archive.top + name, _SMALL).decode("latin-1").strip()
