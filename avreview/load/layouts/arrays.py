"""numpy arrays in a pickle, as tensors: detectron2's model zoo holds its weights so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avreview.artifact import Tensor
from avreview.load.pickles.arrays import NumpyArray
from avreview.load.storage import InMemory

if TYPE_CHECKING:
    import numpy as np

_DTYPES = {
    "b1": "bool", "c16": "complex128", "c8": "complex64", "f2": "float16", "f4": "float32", "f8": "float64",
    "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8", "u2": "uint16", "u4": "uint32",
    "u8": "uint64",
}  # fmt: skip


class ArrayStorage(InMemory):
    """The bytes of an array of the pickle, in the order of its elements and little-endian once they are asked for."""

    def __init__(self, record: NumpyArray) -> None:
        self._record = record

    def array(self) -> np.ndarray[Any, Any]:
        array = self._record.array()
        return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).reshape(-1)


def as_tensor(record: NumpyArray) -> Tensor | None:
    """The array as a tensor without a name; None for one of texts, objects or dates."""
    dtype = _DTYPES.get(record.type.name) if record.type is not None and not record.type.fields else None
    return None if dtype is None else Tensor("", record.shape, dtype, ArrayStorage(record))
