"""The stream that `torch.save` wrote before torch 1.6, and a pickle that nobody wrapped.

Five pickles — a magic number, the protocol's version, facts of the machine, the value, the keys of its storages —
and behind them each storage: how many elements as a little-endian int64, and the elements, also little-endian.
Source: torch/serialization.py, `_legacy_load`, and torch/csrc/serialization.cpp.
"""

from __future__ import annotations

from typing import Any

from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.pytorch.reader import PickleReader, TorchFile, protocol
from avreview.load.pytorch.storages import Storages, as_text, element_bytes
from avreview.load.pytorch.tensors import Tensors
from avreview.load.source import Source
from avreview.load.wording import quoted

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_COUNT = 8  # bytes of a storage's number of elements
_AGAIN = "copy the file again, or save the checkpoint again"


def read_torch_legacy(source: Source, context: OpenContext, depth: int = 0) -> TorchFile:
    """What `torch.load` would give, or `pickle.load` for a file that does not begin with torch's number.

    Raises ArtifactError for a damaged file.
    """
    data = source.map()
    reader = PickleReader(Tensors(source), context, depth)
    first = reader.read(data)
    details: dict[str, Any] = {"pickle_protocol": protocol(source.read(0, 2))}
    if first.value != _MAGIC:
        return reader.file(first.value, "pickle", _behind(source, first.end), details)
    version = reader.read(data, first.end)
    if version.value != _VERSION:
        raise ArtifactError(source.path, "is a torch checkpoint of an unknown version", "save the checkpoint again")
    system = reader.read(data, version.end)
    places: dict[str, int] = {}
    value, end = _value(source, reader, system.end, places)
    if reader.tensors.wants_values:  # the second time it is known where the values are
        again = PickleReader(Tensors(source), context, depth)
        value, end = _value(source, again, system.end, places)
        reader = again
    details["storages"] = len(places)
    return reader.file(value, "pytorch-legacy", _behind(source, end), details)


def _value(source: Source, reader: PickleReader, start: int, places: dict[str, int]) -> tuple[Any, int]:
    """The value of the pickle at `start`, and where the last storage ends. Enters each storage's place in `places`."""
    storages = Storages(lambda key, nbytes: (source, places.get(key)))
    data = source.map()
    found = reader.read(data, start, persistent=storages.persistent)
    keys = reader.read(data, found.end)
    if not isinstance(keys.value, list) or not all(isinstance(key, str | bytes) for key in keys.value):
        raise ArtifactError(source.path, "does not list its storages", _AGAIN)
    end = keys.end
    places.clear()
    for key in map(as_text, keys.value):
        storage = storages.by_key.get(key)
        if storage is None or key in places:
            raise ArtifactError(source.path, f"lists the storage {quoted(key)} that its value does not have", _AGAIN)
        written = source.read(end, _COUNT)
        nbytes = int.from_bytes(written, "little", signed=True) * element_bytes(storage.kind)
        if len(written) < _COUNT or end + _COUNT + nbytes > source.size:
            raise ArtifactError(source.path, f"is cut off in the storage {quoted(key)}", _AGAIN)
        if nbytes != storage.nbytes:
            wrong = f"has {nbytes:,} bytes in the storage {quoted(key)} where its tensors need {storage.nbytes:,}"
            raise ArtifactError(source.path, wrong, _AGAIN)
        places[key] = end + _COUNT
        end += _COUNT + nbytes
        storage.place(places[key])
    missing = [key for key, storage in storages.by_key.items() if key not in places and storage.nbytes]
    if missing:
        raise ArtifactError(source.path, f"lacks the storage {quoted(missing[0])}", _AGAIN)
    return found.value, end


def _behind(source: Source, end: int) -> list[str]:
    """What is odd about a file that goes on where what torch reads of it ends."""
    return [f"{source.size - end:,} bytes behind the end of the pickled data"] if end < source.size else []
