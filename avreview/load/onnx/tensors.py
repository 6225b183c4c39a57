"""Tensors of an ONNX file: each checked against its own shape, and left where it is.

A tensor whose bytes do not fit its shape stops the review: whatever is computed from it would be wrong.
"""

from __future__ import annotations

import math
import os
import re
from functools import partial

from avreview.artifact import Storage, Tensor
from avreview.errors import ArtifactError
from avreview.load.dtypes import BITS, ONNX_TYPES, byte_length
from avreview.load.onnx.messages import DataField, RawSparseTensor, RawTensor
from avreview.load.source import Source, open_beside
from avreview.load.storage import NumberStorage, RawStorage, SparseStorage, TextStorage, strings
from avreview.load.wire import BYTES, WireError
from avreview.load.wording import quoted

_RAW, _TEXT = 9, 6
_MAX_ELEMENTS = 1 << 60  # whose bytes a 64-bit number still counts, whatever their type
_MAX_RANK = 64  # numpy's
_SPARSE_LIMIT = 1 << 26  # elements of a sparse tensor that is made dense; ONNX Runtime does so when it loads it
_BYTES_OUTSIDE = re.compile(r"[0-9]{1,18}")

# Which number field holds which types: TensorProto's own table.
_NUMBER_FIELDS = {
    4: {"float32", "complex64"},
    5: {"int32", "int16", "int8", "int4", "int2", "uint16", "uint8", "uint4", "uint2", "bool", "float16",
        "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
        "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn"},
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
        elements = self._elements(raw.dims, name)
        return Tensor(name, raw.dims, dtype, self._storage(raw, name, dtype, elements))

    def sparse(self, raw: RawSparseTensor, name: str | None = None) -> Tensor:
        """A SparseTensorProto as the dense tensor it stands for."""
        name = raw.values.name if name is None else name
        values, indices = self.tensor(raw.values, name), self.tensor(raw.indices, name)
        count, rank = math.prod(values.shape), len(raw.dims)
        if values.shape != (count,) or not rank or indices.shape not in ((count,), (count, rank)):
            raise self._wrong(name, "has values and indices that do not fit one another")
        if "int" not in indices.dtype or values.dtype == "string":
            raise self._wrong(name, "is no sparse tensor that ONNX defines")
        if self._elements(raw.dims, name) > _SPARSE_LIMIT:
            raise self._wrong(name, f"is sparse, and dense it would have more than {_SPARSE_LIMIT:,} elements")
        return Tensor(name, raw.dims, values.dtype, SparseStorage(self._source.path, values, indices, raw.dims))

    def _elements(self, dims: tuple[int, ...], name: str) -> int:
        """How many elements the dimensions make; with a 0 among them the others still have to be possible."""
        if len(dims) > _MAX_RANK:
            raise self._wrong(name, f"has {len(dims):,} dimensions, which is more than {_MAX_RANK}")
        if any(extent < 0 for extent in dims) or math.prod(extent or 1 for extent in dims) > _MAX_ELEMENTS:
            raise self._wrong(name, f"has the impossible shape {list(dims)}")
        return math.prod(dims)

    def _storage(self, raw: RawTensor, name: str, dtype: str, elements: int) -> Storage:
        held = raw.data if len(raw.data) < 2 else {n: data for n, data in raw.data.items() if not data.is_empty}
        if raw.is_external:
            if held:
                raise self._wrong(name, "has its elements both in the file and outside")
            return self._external(raw.external or {}, name, dtype, elements)
        if len(held) > 1:
            raise self._wrong(name, "holds its elements in more than one field")
        if not held:
            if elements:
                raise self._wrong(name, f"has the shape {list(raw.dims)} and no elements")
            return RawStorage(self._source, 0, dtype, 0) if dtype != "string" else TextStorage(tuple)
        ((number, data),) = held.items()
        if dtype == "string":
            if number != _TEXT or data.occurrences != elements:
                raise self._wrong(name, f"needs {elements:,} strings and holds {data.occurrences:,}")
            return TextStorage(partial(strings, self._source, raw.span))
        if number == _RAW:
            return self._raw(data, name, dtype, elements)
        return self._numbers(raw, number, name, dtype, elements)

    def _raw(self, data: DataField, name: str, dtype: str, elements: int) -> Storage:
        needed, held = byte_length(dtype, elements), data.end - data.start
        if data.occurrences != 1 or data.kind != BYTES or held != needed:
            raise self._wrong(name, f"needs {needed:,} bytes for {elements:,} × {dtype} and holds {held:,}")
        return RawStorage(self._source, data.start, dtype, elements)

    def _numbers(self, raw: RawTensor, number: int, name: str, dtype: str, elements: int) -> Storage:
        if dtype not in _NUMBER_FIELDS.get(number, ()):
            raise self._wrong(name, f"holds its {dtype} elements in the wrong field")
        storage = NumberStorage(self._source, raw.span, number, dtype, elements)
        try:
            held = storage.count()
        except WireError as error:
            raise self._wrong(name, f"holds {error}") from None
        needed = elements * 2 if dtype.startswith("complex") else elements
        if BITS[dtype] in (2, 4):  # several in a number, of which the last may be partly used
            needed = byte_length(dtype, elements)
        if held != needed:
            raise self._wrong(name, f"needs {needed:,} numbers and holds {held:,}")
        data = raw.data[number]
        if data.occurrences == 1 and data.kind == BYTES and number in (4, 10):
            return RawStorage(self._source, data.start, dtype, elements)
        return storage

    def _external(self, entries: dict[str, str], name: str, dtype: str, elements: int) -> Storage:
        if dtype == "string":
            raise self._wrong(name, "holds strings outside the file, which ONNX does not allow")
        needed = byte_length(dtype, elements)
        offset, length = (self._outside(entries.get(key), default, name) for key, default in
                          (("offset", 0), ("length", needed)))  # fmt: skip
        location = entries.get("location", "")
        source = self._beside.get(location)
        if source is None:
            source = self._beside[location] = open_beside(self._source.path, location)
        if length != needed:
            raise self._wrong(name, f"needs {needed:,} bytes for {elements:,} × {dtype} and names {length:,}")
        if offset + needed > source.size:
            file = quoted(os.path.basename(source.path))
            raise self._wrong(name, f"ends at byte {offset + needed:,} of {file}, which has {source.size:,}")
        return RawStorage(source, offset, dtype, elements)

    def _outside(self, written: str | None, default: int, name: str) -> int:
        """An offset or a length of external data."""
        if not written:
            return default
        if not _BYTES_OUTSIDE.fullmatch(written):
            raise self._wrong(name, "has external data at an offset or of a length that is no number of bytes")
        return int(written)

    def _wrong(self, name: str, what: str) -> ArtifactError:
        return ArtifactError(self._source.path, f"tensor {quoted(name)} {what}", "export the model again")
