"""torch's sparse tensors as the dense ones they stand for.

Layouts: https://pytorch.org/docs/stable/sparse.html. Values may have dense axes behind the sparse ones; the
compressed layouts may have batch axes before them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from avreview.artifact import Tensor
from avreview.errors import ArtifactError
from avreview.load.dtypes import numpy_dtype
from avreview.load.storage import InMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Array = np.ndarray[Any, Any]

LARGEST = 1 << 26  # elements of a tensor that is made dense
_BY_ROWS = ("sparse_csr", "sparse_bsr")
_IN_BLOCKS = ("sparse_bsr", "sparse_bsc")


class CoordinateStorage(InMemory):
    """COO: `indices` is [sparse axes, n], `values` [n, *dense axes]. Values of one place are added up."""

    def __init__(self, path: str, indices: Tensor, values: Tensor, shape: tuple[int, ...]) -> None:
        if len(indices.shape) != 2 or not values.shape or indices.shape[1] != values.shape[0]:
            raise ValueError("a sparse tensor whose values and indices do not fit one another")
        if shape[indices.shape[0] :] != values.shape[1:] or len(shape) < indices.shape[0]:
            raise ValueError("a sparse tensor whose values do not fit its shape")
        _check(indices, shape)
        self._path = path
        self._indices = indices
        self._values = values
        self._shape = shape

    def array(self) -> Array:
        import numpy as np

        indices, values = self._indices.copy(), self._values.copy()
        limits = np.array(self._shape[: len(indices)], np.int64).reshape(-1, 1)
        if ((indices < 0) | (indices >= limits)).any():
            raise _outside(self._path)
        dense = np.zeros(self._shape, numpy_dtype(self._values.dtype))
        if len(indices):
            np.add.at(dense, tuple(indices), values)
        else:
            dense[...] = values.sum(axis=0)
        return dense.reshape(-1)


class CompressedStorage(InMemory):
    """CSR, CSC, BSR and BSC: `ends` is [*batch, rows or columns + 1], `places` [*batch, n], `values` [*batch, n, …]."""

    def __init__(self, path: str, layout: str, parts: Sequence[Tensor], shape: tuple[int, ...]) -> None:
        ends, places, values = parts
        batch = len(ends.shape) - 1
        blocks = 2 if layout in _IN_BLOCKS else 0
        self._block = values.shape[batch + 1 : batch + 1 + blocks] or (1, 1)
        dense = values.shape[batch + 1 + blocks :]
        matrix = shape[batch : batch + 2]
        fits = (
            batch >= 0
            and len(self._block) == len(matrix) == 2
            and places.shape == values.shape[: batch + 1] == (*shape[:batch], places.shape[-1])
            and shape[batch + 2 :] == dense
            and 0 not in self._block
            and not any(extent % block for extent, block in zip(matrix, self._block, strict=True))
        )
        if not fits:
            raise ValueError("a sparse tensor whose parts do not fit one another")
        grid = tuple(extent // block for extent, block in zip(matrix, self._block, strict=True))
        self._by_rows = layout in _BY_ROWS
        major = grid[0] if self._by_rows else grid[1]
        if ends.shape != (*shape[:batch], major + 1):
            raise ValueError("a sparse tensor whose parts do not fit one another")
        _check(ends, shape)
        _check(places, shape)
        self._path = path
        self._parts = ends, places, values
        self._shape = shape
        self._batch = batch
        self._grid = grid

    def array(self) -> Array:
        import numpy as np

        ends, places, values = (part.copy() for part in self._parts)
        batches = math.prod(self._shape[: self._batch])
        dense_axes = self._shape[self._batch + 2 :]
        (rows, columns), (high, wide) = self._grid, self._block
        dense = np.zeros((batches, rows, columns, high, wide, *dense_axes), numpy_dtype(self._parts[2].dtype))
        ends = ends.reshape(batches, -1)
        places = places.reshape(batches, -1)
        values = values.reshape(batches, places.shape[1], high, wide, *dense_axes)
        for batch in range(batches):
            major, minor = self._coordinates(ends[batch], places[batch])
            row, column = (major, minor) if self._by_rows else (minor, major)
            dense[batch, row, column] += values[batch]  # a sum, like torch's: 0 + -0 is 0
        return np.moveaxis(dense, 3, 2).reshape(-1)

    def _coordinates(self, ends: Array, places: Array) -> tuple[Array, Array]:
        """The place of every value or block along the compressed axis, and along the other one."""
        import numpy as np

        counts = np.diff(ends)
        across = self._grid[1] if self._by_rows else self._grid[0]
        bad = ends[0] != 0 or ends[-1] != len(places) or (counts < 0).any()
        if bad or ((places < 0) | (places >= across)).any():
            raise _outside(self._path)
        return np.repeat(np.arange(len(counts)), counts), places


def _check(indices: Tensor, shape: tuple[int, ...]) -> None:
    if indices.dtype not in ("int32", "int64"):
        raise ValueError("a sparse tensor whose indices are no integers")
    if math.prod(shape) > LARGEST:
        raise ValueError(f"a sparse tensor of {math.prod(shape):,} elements")


def _outside(path: str) -> ArtifactError:
    return ArtifactError(path, "has a sparse tensor with elements outside its shape", "save the checkpoint again")
