"""Where a tensor's elements are: raw bytes in a file, protobuf numbers, a sparse pair, or a value at hand."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from avreview.artifact import Tensor
from avreview.errors import ArtifactError
from avreview.load.dtypes import BITS, byte_length, decode, numpy_dtype
from avreview.load.source import Source
from avreview.load.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    WireError,
    count_varints,
    decode_varints,
    fields,
    text,
)
from avreview.load.wording import quoted

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_PIECE = 1 << 16


class RawStorage:
    """Elements as they lie in a file, little-endian: mapped, never copied (below 8 bits they are unpacked)."""

    __slots__ = ("dtype", "elements", "offset", "source")  # a file may have 300,000

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
        if BITS[self.dtype] < 8:
            return _filled(self.chunks(_PIECE), self.dtype, self.elements)
        return decode(np.frombuffer(self.source.map(), np.uint8, length, self.offset), self.dtype, self.elements)

    def chunks(self, elements: int) -> Iterator[Array]:
        per_chunk = max(elements // 8 * 8, 8)  # whole bytes, whatever the type
        length = byte_length(self.dtype, self.elements)
        left = self.elements
        for raw in self.source.chunks(self.offset, length, byte_length(self.dtype, per_chunk)):
            part = decode(raw, self.dtype, min(left, len(raw) * 8 // BITS[self.dtype]))
            left -= len(part)
            yield from _sliced(part, elements)

    def part(self, start: int, count: int) -> Array:
        first = start // 8 * 8  # of whole bytes, whatever the type
        stop = min(start + count, self.elements)
        begin, end = byte_length(self.dtype, first), byte_length(self.dtype, stop)
        return decode(self.source.copy(self.offset + begin, end - begin), self.dtype, stop - first)[start - first :]

    def heads(self, rows: int, length: int) -> Array:
        if BITS[self.dtype] < 8:
            return self.array().reshape(rows, -1)[:, :length]
        stride, size = byte_length(self.dtype, self.elements // rows), byte_length(self.dtype, length)
        raw = self.source.strided(self.offset, stride, rows, size)
        return decode(raw, self.dtype, rows * length).reshape(rows, length)


def _filled(chunks: Iterator[Array], dtype: str, elements: int) -> Array:
    """All elements of a storage that cannot be mapped."""
    import numpy as np

    flat = np.empty(elements, numpy_dtype(dtype))
    done = 0
    for part in chunks:
        flat[done : done + len(part)] = part
        done += len(part)
    return flat


def _sliced(flat: Array, elements: int) -> Iterator[Array]:
    for start in range(0, len(flat), elements):
        yield flat[start : start + elements]


class InMemory(ABC):
    """Storage whose elements are decoded whole before they are handed out."""

    @abstractmethod
    def array(self) -> Array: ...

    def chunks(self, elements: int) -> Iterator[Array]:
        return _sliced(self.array(), elements)

    def part(self, start: int, count: int) -> Array:
        return self.array()[start : start + count]

    def heads(self, rows: int, length: int) -> Array:
        return self.array().reshape(rows, -1)[:, :length]


class NumberStorage(InMemory):
    """Elements in a protobuf number field (`int32_data`, `int64_data`, …) of the tensor message at `start:end`.

    The field may come packed, one by one, or both. 16-bit floats and everything up to 32 bits are held as integers
    of the same bits in `int32_data`, a complex number as two floats.
    """

    def __init__(self, source: Source, span: tuple[int, int], number: int, dtype: str, elements: int) -> None:
        self._source = source
        self._span = span
        self._number = number
        self._dtype = dtype
        self._elements = elements
        self._loose = {4: FIXED32, 10: FIXED64}.get(number, VARINT)  # the wire type of a number alone
        self._width = {4: 4, 10: 8}.get(number, 0)  # bytes of a number, 0 for a varint

    def array(self) -> Array:
        return _filled(self.chunks(_PIECE), self._dtype, self._elements)

    def chunks(self, elements: int) -> Iterator[Array]:
        left = self._elements
        for numbers in self._numbers(_PIECE):
            part = self._as_elements(numbers)[:left]
            left -= len(part)
            yield from _sliced(part, elements)

    def count(self) -> int:
        """How many numbers the field holds. Raises WireError when it is none, or splits a complex number."""
        numbers = 0
        for kind, a, b in self._occurrences():
            held = self._held(a, b) if kind == BYTES else 1
            if kind == BYTES and (held % 2 or numbers % 2) and self._dtype.startswith("complex"):
                raise WireError("half a complex number")
            numbers += held
        return numbers

    def _held(self, start: int, end: int) -> int:
        if self._width:
            if (end - start) % self._width:
                raise WireError(f"{end - start} bytes of {self._width}-byte numbers")
            return (end - start) // self._width
        return sum(count_varints(piece)[0] for piece in self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Packed varints in pieces of whole ones."""
        while start < end:
            piece = self._source.read(start, min(_PIECE, end - start))
            used = count_varints(piece)[1]
            if not used:
                raise WireError(f"a number that does not end at byte {end}")
            yield piece[:used]
            start += used

    def _occurrences(self) -> Iterator[tuple[int, int, int]]:
        for number, kind, a, b in fields(self._source.map(), *self._span):
            if number == self._number and kind in (BYTES, self._loose):
                yield kind, a, b

    def _numbers(self, most: int) -> Iterator[Array]:
        """The field's numbers as unsigned integers, bit for bit, an even number and at most `most` at a time."""
        import numpy as np

        buffer = self._source.map()
        loose: list[int] = []
        for kind, a, b in self._occurrences():
            if kind != BYTES:
                loose.append(a if kind == VARINT else int.from_bytes(buffer[a:b], "little"))
            if loose and (kind == BYTES or len(loose) == most):
                yield np.array(loose, np.uint64)
                loose.clear()
            if kind == BYTES and self._width:
                for raw in self._source.chunks(a, b - a, most * self._width):
                    yield raw.view(f"<u{self._width}")
            elif kind == BYTES:
                yield from map(decode_varints, self._pieces(a, b))
        if loose:
            yield np.array(loose, np.uint64)

    def _as_elements(self, numbers: Array) -> Array:
        dtype, bits = numpy_dtype(self._dtype), BITS[self._dtype]
        if self._width:
            return numbers.astype(f"<u{self._width}", copy=False).view(dtype)
        if bits in (2, 4):  # several elements in each number's low byte
            return decode(numbers.astype("uint8"), self._dtype, len(numbers) * 8 // bits)
        if self._dtype == "bool":
            return numbers.astype(bool)
        return numbers.astype(f"<u{dtype.itemsize}").view(dtype)


class ValueStorage(InMemory):
    """Elements that the file writes as an attribute: `value_ints`, `value_floats`."""

    def __init__(self, values: Sequence[float | int], dtype: str) -> None:
        self._values = values
        self._dtype = dtype

    def array(self) -> Array:
        import numpy as np

        return np.array(self._values, numpy_dtype(self._dtype))


class TextStorage(InMemory):
    """Strings, as an array of Python's."""

    def __init__(self, strings: Callable[[], Sequence[str]]) -> None:
        self._strings = strings

    def array(self) -> Array:
        import numpy as np

        strings = self._strings()
        held = np.empty(len(strings), object)
        held[:] = strings
        return held


def strings(source: Source, span: tuple[int, int]) -> list[str]:
    """The `string_data` of the tensor message at `span`."""
    buffer = source.map()
    return [text(buffer, a, b) for number, kind, a, b in fields(buffer, *span) if number == 6 and kind == BYTES]


class SparseStorage:
    """A COO tensor: values and their places, flat (n) or per axis (n × rank). Dense only as far as it is asked for."""

    def __init__(self, path: str, values: Tensor, indices: Tensor, shape: tuple[int, ...]) -> None:
        self._path = path
        self._values = values
        self._indices = indices
        self._shape = shape

    def array(self) -> Array:
        return self.part(0, math.prod(self._shape))

    def part(self, start: int, count: int) -> Array:
        import numpy as np

        dense = np.zeros(min(count, math.prod(self._shape) - start), numpy_dtype(self._values.dtype))
        places, values = self._sorted()
        _scatter(dense, places, values, start)
        return dense

    def heads(self, rows: int, length: int) -> Array:
        return self.array().reshape(rows, -1)[:, :length]

    def chunks(self, elements: int) -> Iterator[Array]:
        import numpy as np

        places, values = self._sorted()
        end = math.prod(self._shape)
        buffer = np.empty(min(elements, end), numpy_dtype(self._values.dtype))
        for start in range(0, end, elements):
            part = buffer[: min(elements, end - start)]
            part[:] = 0
            _scatter(part, places, values, start)
            yield part

    def _sorted(self) -> tuple[Array, Array]:
        """The flat places in order, and their values. Raises ArtifactError for a place outside the shape."""
        import numpy as np

        places = self._indices.read().astype(np.int64)
        limits = self._shape if places.ndim == 2 else (math.prod(self._shape),)
        by_axis = places.reshape(-1, len(limits))
        if ((by_axis < 0) | (by_axis >= limits)).any():
            wrong = f"sparse tensor {quoted(self._values.name)} has elements outside its shape"
            raise ArtifactError(self._path, wrong, "export the model again")
        strides = [math.prod(limits[axis + 1 :]) for axis in range(len(limits))]
        flat = by_axis @ np.array(strides, np.int64)
        order = np.argsort(flat, kind="stable")
        return flat[order], self._values.read()[order]


def _scatter(dense: Array, places: Array, values: Array, start: int) -> None:
    """Writes the values that belong in `dense`, which begins at the flat place `start`."""
    first, last = places.searchsorted([start, start + len(dense)])
    dense[places[first:last] - start] = values[first:last]
