"""The storages of a torch file, as the persistent ids of its pickle name them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avreview.load.dtypes import byte_length
from avreview.load.pickles.inert import Global
from avreview.load.pytorch.strided import StridedStorage
from avreview.load.source import Source
from avreview.load.storage import RawStorage
from avreview.load.wording import quoted

# https://github.com/pytorch/pytorch/blob/main/torch/storage.py, `_dtype_to_storage_type_map`; to torch's dtype names
STORAGE_TYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "LongStorage": "int64",
    "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "BFloat16Storage": "bfloat16", "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64", "QInt8Storage": "qint8", "QInt32Storage": "qint32",
    "QUInt8Storage": "quint8", "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
}  # fmt: skip
# torch's element types → the ones that hold their bits. A complex32 is two float16.
DTYPES = {
    **{name: name for name in (
        "bool", "bfloat16", "float16", "float32", "float64", "complex64", "complex128", "int8", "int16", "int32",
        "int64", "uint8", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
        "float8_e5m2fnuz", "float8_e8m0fnu",
    )},
    "qint8": "int8", "quint8": "uint8", "qint32": "int32", "quint4x2": "uint4", "quint2x4": "uint2",
    "complex32": "float16", "float4_e2m1fn_x2": "uint8", "bits8": "uint8", "bits16": "uint16",
    "bits1x8": "uint8", "bits2x4": "uint8", "bits4x2": "uint8",
}  # fmt: skip
_PACKED = frozenset(("quint4x2", "quint2x4"))  # whose storages count bytes
_MAX_RANK = 64  # numpy's
_LARGEST = 1 << 62

Locate = Callable[[str, int], tuple[Source, int | None]]  # a storage's key and size in bytes → where it lies


class TorchStorage:
    """A storage: `nbytes` of elements of torch's type `kind` in `source`.

    `offset` is None as long as their place is not known: a legacy file lists its storages behind the pickle that
    uses them. A storage that is part of another one lies `shift` bytes behind the beginning of that `root`.
    """

    def __init__(
        self,
        kind: str,
        nbytes: int,
        source: Source,
        offset: int | None,
        root: TorchStorage | None = None,
        shift: int = 0,
    ) -> None:
        self.kind = kind
        self.nbytes = nbytes
        self.source = source
        self.root = root or self
        self._offset = offset
        self._shift = shift
        self._waiting: list[RawStorage | StridedStorage] = []

    @property
    def is_placed(self) -> bool:
        return self.root._offset is not None

    def place(self, offset: int) -> None:
        """Says where the storage lies, to it and to every view of it or of its parts."""
        self._offset = offset
        for view in self._waiting:
            view.offset += offset
        self._waiting.clear()

    def hold(self, view: RawStorage | StridedStorage) -> None:
        """Gives a view, whose offset counts from the beginning of this storage, its place in the file."""
        view.offset += self._shift
        if self.root._offset is None:
            self.root._waiting.append(view)
        else:
            view.offset += self.root._offset


class Storages:
    """The storages of one file by their keys. `persistent` is what the pickle machine asks."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self.by_key: dict[str, TorchStorage] = {}
        self._parts: dict[str, TorchStorage] = {}

    def persistent(self, saved: Any) -> Any:
        """What a persistent id stands for. Raises ValueError for one that torch does not write."""
        if not isinstance(saved, tuple) or not saved:
            raise ValueError("no storage")
        word = as_text(saved[0])
        if word == "module" and len(saved) > 1:
            return saved[1]  # a class; its source text, which a legacy file puts beside it, runs nowhere
        if word != "storage" or len(saved) not in (5, 6):
            raise ValueError("no storage")
        return self._storage(*saved[1:])

    def _storage(self, kind: Any, key: Any, _device: Any, count: Any, part: Any = None) -> TorchStorage:
        key, torch_type = as_text(key), storage_type(kind)
        (elements,) = whole_numbers((count,))
        nbytes = _bytes(torch_type, elements)
        storage = self.by_key.get(key)
        if storage is None:
            storage = self.by_key[key] = TorchStorage(torch_type, nbytes, *self._locate(key, nbytes))
        elif (storage.kind, storage.nbytes) != (torch_type, nbytes) and (nbytes or storage.nbytes):
            raise ValueError(f"the storage {quoted(key)} in two sizes or types")
        return storage if part is None else self._part(storage, part)

    def _part(self, root: TorchStorage, part: Any) -> TorchStorage:
        """A storage that is a piece of another one, as torch wrote them before version 0.4."""
        if not isinstance(part, tuple) or len(part) != 3:
            raise ValueError("no part of a storage")
        key = as_text(part[0])
        begin, length = (_bytes(root.kind, count) for count in whole_numbers(part[1:]))
        if begin + length > root.nbytes:
            raise ValueError(f"a part of {begin + length:,} bytes of a storage of {root.nbytes:,}")
        known = self._parts.get(key)
        if known is None:
            known = self._parts[key] = TorchStorage(root.kind, length, root.source, None, root, begin)
        elif known.root is not root or known.nbytes != length:
            raise ValueError(f"the storage {quoted(key)} as two different parts")
        return known


def _bytes(torch_type: str, elements: int) -> int:
    if torch_type in _PACKED:
        return elements
    return byte_length(DTYPES[torch_type], elements) * (2 if torch_type == "complex32" else 1)


def element_bytes(torch_type: str) -> int:
    """The bytes of an element as torch counts them in a storage."""
    return _bytes(torch_type, 1)


def storage_type(kind: Any) -> str:
    """torch's element type of a storage class: `torch.FloatStorage`, `torch.cuda.HalfStorage`."""
    found = STORAGE_TYPES.get(kind.name) if isinstance(kind, Global) and kind.module.split(".")[0] == "torch" else None
    if found is None:
        raise ValueError("a storage of an unknown type")
    return found


def as_text(word: Any) -> str:
    """A word of torch's own, which is bytes when Python 2 wrote it. Raises ValueError for anything else."""
    if isinstance(word, bytes):
        word = word.decode("ascii", "backslashreplace")
    if not isinstance(word, str):
        raise ValueError("no name of a storage")
    return word


def whole_numbers(values: Any) -> tuple[int, ...]:
    """A few integers, none of them negative or larger than a file can be. Raises ValueError for anything else."""
    if not isinstance(values, tuple | list) or len(values) > _MAX_RANK:
        raise ValueError("a tensor without a shape")
    for value in values:
        if type(value) is not int or not 0 <= value <= _LARGEST:
            raise ValueError("a tensor whose sizes are not all whole numbers from 0 on")
    return tuple(values)
