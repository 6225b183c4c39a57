"""A tensor that was saved in pieces, by several processes or to several files, as one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Tensor
from avreview.load.dtypes import numpy_dtype

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MOST_PIECES = 4_096  # of one tensor, when it is cut along several axes


class Piece(NamedTuple):
    """A block of the whole: where it begins on each axis, and its elements."""

    offsets: tuple[int, ...]
    tensor: Tensor


class ShardedStorage:
    """The elements of a tensor of `shape`, row by row, from pieces that tile it (see `tiles`)."""

    def __init__(self, shape: tuple[int, ...], dtype: str, pieces: Sequence[Piece]) -> None:
        self._shape = shape
        self._dtype = dtype
        self._pieces = sorted(pieces, key=lambda piece: piece.offsets)
        self._elements = math.prod(shape)
        self._row = math.prod(shape[1:])

    def array(self) -> Array:
        return self.part(0, self._elements)

    def part(self, start: int, count: int) -> Array:
        stop = min(start + count, self._elements)
        if stop <= start:
            return self._rows(0, 0)
        first, last = start // self._row, -(-stop // self._row)
        rows = self._rows(first, last)
        return rows[start - first * self._row : stop - first * self._row]

    def heads(self, rows: int, length: int) -> Array:
        import numpy as np

        stride = self._elements // rows
        return np.stack([self.part(row * stride, length) for row in range(rows)])

    def chunks(self, elements: int) -> Iterator[Array]:
        if len(self._shape) > 0 and all(piece.tensor.shape[1:] == self._shape[1:] for piece in self._pieces):
            for piece in self._pieces:  # cut along the first axis alone: one behind the other
                yield from piece.tensor.chunks(elements)
            return
        for start in range(0, self._elements, elements):
            yield self.part(start, elements)

    def _rows(self, first: int, last: int) -> Array:
        """The rows of the first axis from `first` to `last`, flat, as a copy."""
        import numpy as np

        shape = (last - first, *self._shape[1:])
        block = np.empty(shape, numpy_dtype(self._dtype))
        for piece in self._pieces:
            height = piece.tensor.shape[0]
            top = piece.offsets[0]
            begin, end = max(first, top), min(last, top + height)
            if begin >= end:
                continue
            row = piece.tensor.size // height
            inner = piece.tensor.part((begin - top) * row, (end - begin) * row)
            place = tuple(
                slice(offset, offset + extent)
                for offset, extent in zip(piece.offsets[1:], piece.tensor.shape[1:], strict=True)
            )
            where = (slice(begin - first, end - first), *place)
            block[where] = inner.reshape(end - begin, *piece.tensor.shape[1:])
        return block.reshape(-1)


def tiles(shape: tuple[int, ...], pieces: Sequence[Piece]) -> bool:
    """Whether the pieces lie inside the shape, cover all of it, and none lies over another."""
    boxes = [
        tuple((offset, offset + extent) for offset, extent in zip(piece.offsets, piece.tensor.shape, strict=True))
        for piece in pieces
        if len(piece.offsets) == len(piece.tensor.shape) == len(shape)
    ]
    if len(boxes) != len(pieces) or sum(piece.tensor.size for piece in pieces) != math.prod(shape):
        return False
    if any(not 0 <= low <= high <= extent for box in boxes for (low, high), extent in zip(box, shape, strict=True)):
        return False
    full = [box for box in boxes if all(low < high for low, high in box)]
    if all(box[1:] == tuple((0, extent) for extent in shape[1:]) for box in full):
        full.sort()
        return all(before[0][1] <= after[0][0] for before, after in itertools.pairwise(full))
    return len(full) <= _MOST_PIECES and not _overlap(full)


def _overlap(boxes: Sequence[tuple[tuple[int, int], ...]]) -> bool:
    import numpy as np

    bounds = np.array(boxes, np.int64)  # [pieces, axes, (low, high)]
    for place in range(len(boxes) - 1):
        rest = bounds[place + 1 :]
        meets = (rest[:, :, 0] < bounds[place, :, 1]) & (bounds[place, :, 0] < rest[:, :, 1])
        if meets.all(axis=1).any():
            return True
    return False
