"""Checkpoints as torch writes them, and ones as torch would never write them."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch


class Stored(NamedTuple):
    """A storage, which the pickle only names."""

    key: Any
    count: Any
    kind: Any = torch.FloatStorage
    part: tuple[Any, ...] | None = None  # of another storage, in old streams


class Called:
    """What a pickle makes by calling a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function = function
        self.args = args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.args


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, *, legacy: bool) -> None:
        super().__init__(file, 2)
        self._legacy = legacy

    def persistent_id(self, made: Any) -> Any:
        if not isinstance(made, Stored):
            return None
        plain = ("storage", made.kind, made.key, "cpu", made.count)
        return (*plain, made.part) if self._legacy else plain

    def reducer_override(self, made: Any) -> Any:
        return NotImplemented


def pickled(value: Any, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    _Pickler(file, legacy=legacy).dump(value)
    return file.getvalue()


def view(stored: Stored, offset: Any, size: Any, stride: Any) -> Called:
    """A tensor, as torch 0.4 and later write it."""
    return Called(torch._utils._rebuild_tensor_v2, stored, offset, size, stride, False, {})


def zip_bytes(members: Mapping[str, bytes], *, top: str = "archive/", packed: tuple[str, ...] = ()) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        for name, data in members.items():
            writer.writestr(top + name, data, zipfile.ZIP_DEFLATED if name in packed else zipfile.ZIP_STORED)
    return file.getvalue()


def zip_checkpoint(value: Any, storages: Mapping[str, bytes] = {}, further: Mapping[str, bytes] = {}) -> bytes:
    data = {f"data/{key}": raw for key, raw in storages.items()}
    return zip_bytes({"data.pkl": pickled(value), "version": b"3\n", **data, **further})


def legacy_checkpoint(
    value: Any, storages: Mapping[str, tuple[int, bytes]] = {}, *, version: int = 1001, behind: bytes = b""
) -> bytes:
    """A stream of before torch 1.6; a storage is how many elements it claims to have, and its bytes."""
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, version, {"little_endian": True})]
    parts += [pickled(value, legacy=True), pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", count) + raw for count, raw in storages.values()]
    return b"".join(parts) + behind


def saved(value: Any, *, legacy: bool = False) -> bytes:
    """What `torch.save` writes."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def bits(tensor: Any) -> bytes:
    """A tensor's elements in order, bit for bit; of a quantized one its integers, of a sparse one all of it."""
    plain = tensor.detach().int_repr() if tensor.is_quantized else tensor.detach()
    plain = plain if plain.layout == torch.strided else plain.to_dense()
    plain = plain.resolve_conj().resolve_neg().contiguous().reshape(-1)
    return bytes(plain.view(torch.uint8).numpy().tobytes()) if plain.numel() else b""
