"""Where the elements of a torch tensor are when they do not lie in the file one behind the other.

A torch tensor is a view: an offset into a storage, and for every axis how many elements to step. Transposed,
sliced, expanded and channels-last tensors are saved as they are, so their elements have to be gathered. That is
done block by block from slabs of the file, so that memory stays flat whatever the size of the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.load.dtypes import BITS, numpy_dtype
from avreview.load.source import Source

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Dims = tuple[tuple[int, int], ...]  # (extent, stride in elements) of each axis, outermost first

_SLAB = 1 << 23  # bytes of the file that are read at a time
_BLOCK = 1 << 25  # bytes of a block whose rows each go through much of the storage
_WASTE = 8  # up to so many elements read for one that is wanted, blocks can be as small as a chunk


class Reading(NamedTuple):
    """What is done to the elements as they come from the file."""

    swapped: bool = False  # the file is big-endian
    conjugate: bool = False  # torch keeps both as bits of the tensor and leaves its elements as they were
    negative: bool = False

    def apply(self, flat: Array, dtype: str) -> None:
        """Turns the file's elements into the tensor's, in place."""
        import numpy as np

        width = BITS[dtype] // (16 if dtype.startswith("complex") else 8)
        if self.swapped and width > 1:
            flat.view(f"u{width}").byteswap(inplace=True)
        if self.conjugate:
            np.conjugate(flat, out=flat)
        if self.negative:
            np.negative(flat, out=flat)


class StridedStorage:
    """A view of a storage at byte `offset` of a file, in row-major order of its shape.

    The elements that it reaches have to lie inside the file, which the caller has checked. Element types under
    8 bits have no strides.
    """

    def __init__(
        self,
        source: Source,
        offset: int,
        dtype: str,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        reading: Reading | None = None,
    ) -> None:
        self.source = source
        self.offset = offset
        self.dtype = dtype
        self.elements = math.prod(shape)
        self._dims = joined(shape, strides)
        self._reading = reading or Reading()
        self._width = BITS[dtype] // 8

    def array(self) -> Array:
        return self.part(0, self.elements)

    def part(self, start: int, count: int) -> Array:
        import numpy as np

        flat = np.empty(max(min(count, self.elements - start), 0), numpy_dtype(self.dtype))
        self._fill(flat, start)
        return flat

    def heads(self, rows: int, length: int) -> Array:
        import numpy as np

        stride = self.elements // rows
        heads = np.empty((rows, length), numpy_dtype(self.dtype))
        for row in range(rows):
            self._fill(heads[row], row * stride)
        return heads

    def chunks(self, elements: int) -> Iterator[Array]:
        import numpy as np

        chunks_in_block = 1 if self._is_near(elements) else max(_BLOCK // self._width // elements, 1)
        block = chunks_in_block * elements
        buffer = np.empty(min(block, self.elements), numpy_dtype(self.dtype))
        for start in range(0, self.elements, block):
            flat = buffer[: self.elements - start]
            self._fill(flat, start)
            for place in range(0, len(flat), elements):
                yield flat[place : place + elements]

    def _is_near(self, elements: int) -> bool:
        """True when consecutive elements lie close together, as in a slice, rather than apart as in a transpose."""
        boxes = _boxes(self._dims, 0, min(elements, self.elements), 0)
        return all(_span(dims) <= _WASTE * max(math.prod(extent for extent, _ in dims), elements) for _, dims in boxes)

    def _fill(self, flat: Array, start: int) -> None:
        """Gathers the elements from flat place `start` on."""
        done = 0
        for first, dims in _boxes(self._dims, start, start + len(flat), 0):
            shape = tuple(extent for extent, _ in dims)
            box = flat[done : done + math.prod(shape)]
            self._gather(first, tuple(stride for _, stride in dims), box.reshape(shape))
            done += box.size
        self._reading.apply(flat, self.dtype)

    def _gather(self, first: int, strides: tuple[int, ...], box: Array) -> None:
        """Fills a box from storage element `first` on, going along its farthest axis where it spans too much."""
        span = _span(tuple(zip(box.shape, strides, strict=True)))
        if span * self._width <= _SLAB:
            import numpy as np

            raw = self.source.copy(self.offset + first * self._width, span * self._width)
            steps = tuple(stride * self._width for stride in strides)
            box[...] = np.lib.stride_tricks.as_strided(raw.view(box.dtype), box.shape, steps, writeable=False)
            return
        reach = [(extent - 1) * stride for extent, stride in zip(box.shape, strides, strict=True)]
        axis = max(range(len(reach)), key=lambda axis: strides[axis] if reach[axis] else 0)
        others = span - reach[axis]
        most = max((_SLAB // self._width - others) // strides[axis] + 1, 1)
        for begin in range(0, box.shape[axis], most):
            part = (slice(None),) * axis + (slice(begin, begin + most),)
            self._gather(first + begin * strides[axis], strides, box[part])


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie one behind the other in row-major order."""
    dims = joined(shape, strides)
    return not dims or (len(dims) == 1 and dims[0][1] == 1)


def is_nested(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether every stride steps over all that the smaller ones reach, apart from axes that are only expanded.

    It holds for whatever indexing, transposing and reshaping make of a tensor; where it does not, elements overlap
    (`as_strided`, `unfold`), or a file has made up its strides.
    """
    reach = 1
    for stride, extent in sorted((s, e) for e, s in zip(shape, strides, strict=True) if e > 1 and s):
        if stride < reach:
            return False
        reach = (extent - 1) * stride + reach
    return True


def span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How many elements lie from the view's first to its last in the storage, both included; 0 for an empty one."""
    return _span(tuple(zip(shape, strides, strict=True))) if math.prod(shape) else 0


def joined(shape: tuple[int, ...], strides: tuple[int, ...]) -> Dims:
    """The axes, without those of one element and with those joined that are one axis in memory as well."""
    dims: list[tuple[int, int]] = []
    for extent, stride in zip(shape, strides, strict=True):
        if extent == 1:
            continue
        if dims and dims[-1][1] == extent * stride:
            dims[-1] = (dims[-1][0] * extent, stride)
        else:
            dims.append((extent, stride))
    return tuple(dims)


def _span(dims: Dims) -> int:
    return 1 + sum((extent - 1) * stride for extent, stride in dims)


def _boxes(dims: Dims, start: int, stop: int, first: int) -> Iterator[tuple[int, Dims]]:
    """The flat range `start:stop` as whole boxes, in order, each with the storage element that it begins at."""
    if start >= stop:
        return
    if not dims:
        yield first, ()
        return
    (_, stride), inner = dims[0], dims[1:]
    size = math.prod(extent for extent, _ in inner)
    row, skipped = divmod(start, size)
    if skipped:
        row_end = min(stop, (row + 1) * size)
        yield from _boxes(inner, skipped, row_end - row * size, first + row * stride)
        row, start = row + 1, row_end
    last, rest = divmod(stop, size)
    if last > row:
        yield first + row * stride, ((last - row, stride), *inner)
    if rest and last >= row:
        yield from _boxes(inner, 0, rest, first + last * stride)
