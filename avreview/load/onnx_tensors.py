"""Tensors of an ONNX file: each checked against its own shape, and left where it is.

A tensor whose bytes do not fit its shape stops the review: whatever is computed from it would be wrong.
"""

from __future__ import annotations

import math
import os

from avreview.artifact import Storage, Tensor
from avreview.errors import ArtifactError
from avreview.load.dtypes import BITS, ONNX_TYPES, byte_length
from avreview.load.onnx_proto import DataField, RawSparseTensor, RawTensor
from avreview.load.source import Source, open_beside
from avreview.load.storage import NumberStorage, RawStorage, SparseStorage, TextStorage
from avreview.load.wire import BYTES

_RAW, _TEXT = 9, 6
_MAX_ELEMENTS = 1 << 62

# Which number field holds which types: TensorProto's own table.
_NUMBER_FIELDS = {
    4: {"float32", "complex64"},
    5: {"int32", "int16", "int8", "int4", "int2", "uint16", "uint8", "uint4", "uint2", "bool", "float16", "bfloat16",
        "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"},
    7: {"int64"},
    10: {"float64", "complex128"},
    11: {"uint64", "uint32"},
}  # fmt: skip


class TensorReader:
    """Makes tensors of the model's messages, opening external data as it is met."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._beside: dict[str, Source] = {}

    @property
    def files(self) -> list[Source]:
        """The external-data files that tensors lie in."""
        return list(self._beside.values())

    def tensor(self, raw: RawTensor, name: str | None = None) -> Tensor:
        """The tensor of a TensorProto. Raises ArtifactError when its bytes do not fit its shape."""
        name = raw.name if name is None else name
        dtype = ONNX_TYPES.get(raw.data_type, ("", 0))[0]
        if not dtype:
            raise self._wrong(name, f"has the unknown element type {raw.data_type}")
        if any(extent < 0 for extent in raw.dims) or math.prod(raw.dims) > _MAX_ELEMENTS:
            raise self._wrong(name, f"has the impossible shape {list(raw.dims)[:16]}")
        elements = math.prod(raw.dims)
        return Tensor(name, raw.dims, dtype, self._storage(raw, name, dtype, elements))

    def sparse(self, raw: RawSparseTensor, name: str | None = None) -> Tensor:
        name = raw.values.name if name is None else name
        values, indices = self.tensor(raw.values, name), self.tensor(raw.indices, name)
        if any(extent < 0 for extent in raw.dims) or indices.dtype != "int64":
            raise self._wrong(name, "is no sparse tensor that ONNX defines")
        return Tensor(name, raw.dims, values.dtype, SparseStorage(self._source.path, values, indices, raw.dims))

    def _storage(self, raw: RawTensor, name: str, dtype: str, elements: int) -> Storage:
        if raw.is_external:
            if raw.data:
                raise self._wrong(name, "has its elements both in the file and outside")
            return self._external(raw.external or {}, name, dtype, elements)
        if len(raw.data) > 1:
            raise self._wrong(name, "holds its elements in more than one field")
        if dtype == "string":
            return TextStorage()
        if not raw.data:
            if elements:
                raise self._wrong(name, f"has the shape {list(raw.dims)} and no elements")
            return RawStorage(self._source, 0, dtype, 0)
        (number, data), = raw.data.items()
        if number == _RAW:
            return self._raw(data, name, dtype, elements)
        return self._numbers(raw, number, data, name, dtype, elements)

    def _raw(self, data: DataField, name: str, dtype: str, elements: int) -> Storage:
        needed, held = byte_length(dtype, elements), data.end - data.start
        if data.occurrences != 1 or data.kind != BYTES or held != needed:
            raise self._wrong(name, f"needs {needed:,} bytes for {elements:,} × {dtype} and holds {held:,}")
        return RawStorage(self._source, data.start, dtype, elements)

    def _numbers(self, raw: RawTensor, number: int, data: DataField, name: str, dtype: str, elements: int) -> Storage:
        if dtype not in _NUMBER_FIELDS.get(number, ()):
            raise self._wrong(name, f"holds its {dtype} elements in the wrong field")
        stored = elements * 2 if dtype.startswith("complex") else elements
        if data.occurrences == 1 and data.kind == BYTES and number in (4, 10):
            held = (data.end - data.start) // (4 if number == 4 else 8)
            storage: Storage = RawStorage(self._source, data.start, dtype, elements)
        else:
            numbers = NumberStorage(self._source, *raw.span, number, dtype, elements)
            storage, held, stored = numbers, numbers.count(), elements
            if BITS[dtype] < 8 and elements <= held < elements + 8 // BITS[dtype]:
                held = elements  # the last number may be partly used
        if held != stored:
            raise self._wrong(name, f"needs {stored:,} elements and holds {held:,}")
        return storage

    def _external(self, entries: dict[str, str], name: str, dtype: str, elements: int) -> Storage:
        location = entries.get("location", "")
        try:
            offset, length = int(entries.get("offset") or 0), int(entries.get("length") or -1)
        except ValueError:
            raise self._wrong(name, "has external data at an offset or of a length that is no number") from None
        if dtype == "string":
            raise self._wrong(name, "holds strings outside the file, which ONNX does not allow")
        source = self._beside.get(location)
        if source is None:
            source = self._beside[location] = open_beside(self._source.path, location)
        needed = byte_length(dtype, elements)
        if length not in (-1, needed):
            raise self._wrong(name, f"needs {needed:,} bytes for {elements:,} × {dtype} and names {length:,}")
        if offset < 0 or offset + needed > source.size:
            file = os.path.basename(source.path)
            raise self._wrong(name, f"ends at byte {offset + needed:,} of {file!r}, which has {source.size:,}")
        return RawStorage(source, offset, dtype, elements)

    def _wrong(self, name: str, what: str) -> ArtifactError:
        return ArtifactError(self._source.path, f"tensor {name!r} {what}", "export the model again")
