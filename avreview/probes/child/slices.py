"""What of a value belongs to one sample of a batch.

The samples lie along one axis, with one or several rows each. Rows of one sample stand together (sample by sample:
`[sample, row]` merged into one axis) or apart (`[row, sample]` merged).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.probes.child.compare import equal

Array = np.ndarray[Any, Any]

CLEAN, DEPARTS, MERGED = "clean", "departs", "merged"


class Seat(NamedTuple):
    """The place of sample 0 in a batch: the `place`-th of `size`."""

    place: int
    size: int

    @classmethod
    def middle(cls, size: int) -> Seat:
        """Among its neighbours, so that what flows along the batch in either direction reaches it."""
        return cls(size // 2, size)

    @property
    def usual(self) -> list[int]:
        """The numbers of the samples of the batch."""
        others = list(range(1, self.size))
        return [*others[: self.place], 0, *others[self.place :]]

    @property
    def exchanged(self) -> list[int]:
        """The same with the neighbours exchanged for samples of another distribution."""
        return [-number for number in self.usual]

    def rows(self, array: Array, axis: int, *, together: bool = True) -> Array:
        """The sample's part of `array`, whose extent along `axis` is a multiple of `size`."""
        each = array.shape[axis] // self.size
        rows = slice(self.place * each, (self.place + 1) * each) if together else slice(self.place, None, self.size)
        return array[(slice(None),) * axis + (rows,)]


def batch_axis(shape: Sequence[int], size: int, other: tuple[Sequence[int], int] | None, usual: int = 0) -> int | None:
    """The axis along which an output of `shape` holds a batch of `size`; None where none is sure to.

    `other` is the shape that another batch size gave: the axis is then the one that follows the batch. Without it
    the axis has to be the `usual` one, or the first.
    """
    if other is None:
        return next((axis for axis in (usual, 0) if axis < len(shape) and shape[axis] == size), None)
    follows = _axes(shape, size, other)
    exact = [axis for axis in follows if shape[axis] == size]
    return next(iter(exact or follows), None)


def status(one: Array, swapped: Array, seat: Seat, other: tuple[Sequence[int], int] | None) -> str:
    """How a value inside the model stands to a swap of the sample's neighbours.

    `clean`: the sample's part is the same. `departs`: it is not. `merged`: the value differs, and no axis holds the
    samples, as in a mean over the batch. `other` is as for `batch_axis`; without it any axis is taken for the one
    that holds the samples along which the sample's part is the same.
    """
    if one.shape != swapped.shape or equal(one, swapped):
        return CLEAN  # another shape cannot be laid beside it: nothing is said of it
    axes = _axes(one.shape, seat.size, other)
    for axis in axes:
        for together in (True, False):
            if equal(seat.rows(one, axis, together=together), seat.rows(swapped, axis, together=together)):
                return CLEAN
    return DEPARTS if axes else MERGED


def _axes(shape: Sequence[int], size: int, other: tuple[Sequence[int], int] | None) -> list[int]:
    """The axes that may hold the samples."""
    if other is None:
        exact = [axis for axis, extent in enumerate(shape) if extent == size]
        return [0] * bool(shape and shape[0] % size == 0 and 0 not in exact) + exact
    shape_there, size_there = other
    if len(shape_there) != len(shape):
        return []
    return [axis for axis in range(len(shape)) if shape[axis] * size_there == shape_there[axis] * size > 0]
