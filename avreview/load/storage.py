"""Where a tensor's elements are: raw bytes in a file, protobuf numbers, a sparse pair, or a value at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from avreview.artifact import Tensor
from avreview.errors import ArtifactError
from avreview.load.dtypes import BITS, byte_length, decode, numpy_dtype
from avreview.load.source import Source
from avreview.load.wire import BYTES, VARINT, fields

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SPARSE_LIMIT = 1 << 26  # elements of a sparse tensor that is made dense; ONNX Runtime does so when it loads it


class RawStorage:
    """Elements as they lie in a file, little-endian: mapped, never copied (below 8 bits they are unpacked)."""

    def __init__(self, source: Source, offset: int, dtype: str, elements: int) -> None:
        self.source = source
        self.offset = offset
        self.dtype = dtype
        self.elements = elements

    def array(self) -> Array:
        import numpy as np

        length = byte_length(self.dtype, self.elements)
        if not length:
            return np.empty(0, numpy_dtype(self.dtype))
        return decode(np.frombuffer(self.source.map(), np.uint8, length, self.offset), self.dtype, self.elements)

    def chunks(self, elements: int) -> Iterator[Array]:
        left = self.elements
        per_chunk = max(elements // 8 * 8, 8)  # whole bytes, whatever the type
        length = byte_length(self.dtype, self.elements)
        for raw in self.source.chunks(self.offset, length, byte_length(self.dtype, per_chunk)):
            taken = min(left, len(raw) * 8 // BITS[self.dtype])
            yield decode(raw, self.dtype, taken)
            left -= taken


class _InMemory:
    """Storage whose elements are decoded whole before they are handed out."""

    def array(self) -> Array:
        raise NotImplementedError

    def chunks(self, elements: int) -> Iterator[Array]:
        flat = self.array()
        for start in range(0, len(flat), elements):
            yield flat[start : start + elements]


class NumberStorage:
    """Elements in a protobuf number field (`int32_data`, `int64_data`, …) of the tensor message at `start:end`.

    16-bit floats and everything up to 32 bits are held as integers of the same bits in `int32_data`.
    """

    def __init__(self, source: Source, start: int, end: int, number: int, dtype: str, elements: int) -> None:
        self._source = source
        self._where = (start, end, number)
        self._dtype = dtype
        self._elements = elements
        self._fixed = {"float32": 4, "complex64": 4, "float64": 8, "complex128": 8}.get(dtype, 0)

    def array(self) -> Array:
        import numpy as np

        parts = [part.copy() for part in self.chunks(_PIECE)]
        return np.concatenate(parts) if parts else np.empty(0, numpy_dtype(self._dtype))

    def chunks(self, elements: int) -> Iterator[Array]:
        for numbers in self._numbers(max(elements, 8)):
            yield self._as_elements(numbers)

    def _numbers(self, most: int) -> Iterator[Array]:
        """The field's numbers, bit for bit, at most about `most` at a time."""
        import numpy as np

        start, end, number = self._where
        loose: list[int] = []
        for field, kind, a, b in fields(self._source.map(), start, end):
            if field != number:
                continue
            if kind == VARINT:
                loose.append(a)
            if loose and (kind != VARINT or len(loose) == most):
                yield np.array(loose, np.uint64)
                loose.clear()
            if kind == BYTES and not self._fixed:
                yield from _packed_varints(self._source, a, b, most)
            elif kind != VARINT:
                for raw in self._source.chunks(a, b - a, most * self._fixed):
                    yield raw[: len(raw) // self._fixed * self._fixed].view(f"<u{self._fixed}")
        if loose:
            yield np.array(loose, np.uint64)

    def count(self) -> int:
        """How many elements the field really holds."""
        return sum(len(part) for part in self.chunks(_PIECE))

    def _as_elements(self, numbers: Array) -> Array:
        dtype = numpy_dtype(self._dtype)
        if self._fixed:
            return numbers.view(dtype)
        if BITS[self._dtype] < 8:  # several elements in each number's low byte
            return decode(numbers.astype("uint8"), self._dtype, len(numbers) * 8 // BITS[self._dtype])
        return numbers.astype(f"u{dtype.itemsize}").view(dtype)


_PIECE = 1 << 16


def _packed_varints(source: Source, start: int, end: int, most: int) -> Iterator[Array]:
    """Packed varints as uint64, without a Python loop over them.

    Byte k of a varint adds (byte & 127) << 7k; where a varint ends follows from the bytes without a high bit.
    """
    import numpy as np

    while start < end:
        raw = np.frombuffer(source.read(start, min(most, end - start)), np.uint8)
        ends = np.flatnonzero(raw < 0x80)
        if not len(ends) or len(raw) == 0:
            return  # a number that never ends: the count of elements will not fit the tensor's shape
        starts = np.concatenate(([0], ends[:-1] + 1))
        used = int(ends[-1]) + 1
        place = np.arange(used) - np.repeat(starts, ends - starts + 1)
        payload = (raw[:used] & 0x7F).astype(np.uint64) << np.minimum(7 * place, 63).astype(np.uint64)
        yield np.add.reduceat(payload, starts)
        start += used


class ValueStorage(_InMemory):
    """Elements that the file writes as an attribute: `value_ints`, `value_floats`."""

    def __init__(self, values: Sequence[float | int], dtype: str) -> None:
        self._values = values
        self._dtype = dtype

    def array(self) -> Array:
        import numpy as np

        return np.array(self._values, numpy_dtype(self._dtype))


class TextStorage(_InMemory):
    """Strings. No rule reads them."""

    def array(self) -> Array:
        import numpy as np

        return np.empty(0, object)


class SparseStorage(_InMemory):
    """A COO tensor: values and their places, flat (n) or per axis (n × rank)."""

    def __init__(self, path: str, values: Tensor, indices: Tensor, shape: tuple[int, ...]) -> None:
        self._path = path
        self._values = values
        self._indices = indices
        self._shape = shape

    def array(self) -> Array:
        import numpy as np

        elements = math.prod(self._shape)
        if elements > _SPARSE_LIMIT:
            raise ArtifactError(self._path, "a sparse tensor is too large to be made dense", "store it dense")
        places = self._indices.read().astype(np.int64)
        if places.ndim == 2:
            places = np.ravel_multi_index(tuple(places.T), self._shape, mode="clip")
        values = self._values.read()
        dense = np.zeros(elements, values.dtype)
        dense[np.clip(places, 0, max(elements - 1, 0))] = values
        return dense
