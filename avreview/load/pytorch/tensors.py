"""Tensors as views of a torch file's storages.

Nothing of a tensor's bytes is read here. What a view says of itself is checked: a view that leaves its storage, or
one made to look larger than the file can be, is a ValueError whose text is one phrase.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from avreview.artifact import Quantization, Storage, Tensor
from avreview.load.dtypes import BITS, byte_length
from avreview.load.pytorch.storages import DTYPES, TorchStorage, element_bytes, whole_numbers
from avreview.load.pytorch.strided import Reading, StridedStorage, is_contiguous, is_nested, span
from avreview.load.source import Source
from avreview.load.storage import RawStorage
from avreview.load.wording import quoted

_AS_BITS = frozenset(("float4_e2m1fn_x2", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"))
_MAX_ELEMENTS = 1 << 60
_MOST_VIEWED = 8  # times the file's size that all its different views together may have, and a bit on top
_FREELY_VIEWED = 1 << 30
_MOST_CHANNELS = 1 << 20  # with a scale each
_OVERLAPPING = 1 << 22  # bytes that a view whose elements overlap may reach


class View(NamedTuple):
    """A tensor's place in its storage, in elements."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Tensors:
    """Makes the tensors of one file. Views that are one and the same share one storage object.

    `wants_values` is set when a tensor needed another one's values while the file had not yet said where they are:
    then it holds NaN in their place.
    """

    def __init__(self, source: Source, *, swapped: bool = False) -> None:
        self.source = source
        self.wants_values = False
        self._swapped = swapped  # the file is big-endian
        self._unseen: Counter[str] = Counter()
        self._views: dict[tuple[Any, ...], Storage] = {}
        self._owners: dict[int, TorchStorage] = {}  # by the identity of what is in _views
        self._room = _MOST_VIEWED * source.size + _FREELY_VIEWED

    @property
    def limitations(self) -> list[str]:
        """What could not be read as it is."""
        return [f"{count:,} tensor{'s'[: count > 1]} {what}" for what, count in self._unseen.items()]

    def limit(self, what: str) -> None:
        """Notes that a tensor cannot be seen as it is: `what` goes on after "1 tensor"."""
        self._unseen[what] += 1

    def tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, kind: str | None = None, reading: Reading | None = None
    ) -> Tensor:
        """A view of a storage, of the storage's element type or of torch's type `kind`, as yet without a name.

        Raises ValueError when the storage does not reach that far.
        """
        if not isinstance(storage, TorchStorage):
            raise ValueError("a tensor without a storage")
        kind = storage.kind if kind is None else kind
        dtype = DTYPES.get(kind)
        if dtype is None:
            raise ValueError(f"a tensor of the unknown type {quoted(kind)}")
        view = _checked(offset, size, stride)
        if kind == "complex32":
            self.limit("of complex32, read as pairs of float16")
            view = View(2 * view.offset, (*view.shape, 2), (*(2 * step for step in view.strides), 1))
        elif kind in _AS_BITS:
            self.limit(f"of {kind}, read as {dtype}")
        swapped = self._swapped and element_bytes(storage.kind) > 1
        reading = (reading or Reading())._replace(swapped=swapped)
        return Tensor("", view.shape, dtype, self._storage(storage, view, dtype, reading))

    def _storage(self, storage: TorchStorage, view: View, dtype: str, reading: Reading) -> Storage:
        key = (storage, view, dtype, reading)
        known = self._views.get(key)
        if known is None:
            known = self._views[key] = self._new_storage(storage, view, dtype, reading)
            self._owners[id(known)] = storage
        return known

    def _new_storage(self, storage: TorchStorage, view: View, dtype: str, reading: Reading) -> Storage:
        elements = math.prod(view.shape)
        if not elements:
            return RawStorage(storage.source, 0, dtype, 0)
        needed = byte_length(dtype, view.offset + span(view.shape, view.strides))
        if needed > storage.nbytes:
            raise ValueError(f"a tensor that reaches to byte {needed:,} of a storage of {storage.nbytes:,}")
        contiguous = is_contiguous(view.shape, view.strides)
        if BITS[dtype] < 8 and (not contiguous or view.offset * BITS[dtype] % 8):
            raise ValueError(f"a tensor of {dtype} that is not stored in order")
        if needed > _OVERLAPPING and not is_nested(view.shape, view.strides):
            raise ValueError("a large tensor whose elements overlap")
        self.charge(dtype, view.shape)
        offset = byte_length(dtype, view.offset)
        made: RawStorage | StridedStorage
        if contiguous and reading == Reading():
            made = RawStorage(storage.source, offset, dtype, elements)
        else:
            made = StridedStorage(storage.source, offset, dtype, view.shape, view.strides, reading)
        storage.hold(made)
        return made

    def charge(self, dtype: str, shape: tuple[int, ...]) -> None:
        """Takes account of a new view. Raises ValueError when all of them are much larger than the file."""
        self._room -= byte_length(dtype, math.prod(shape))
        if self._room < 0:
            raise ValueError("tensors that are together much larger than the file")

    def quantized(self, tensor: Tensor, scheme: str, parameters: Sequence[Any]) -> Tensor:
        """The tensor with what its integers stand for. Raises ValueError when the parameters do not fit it."""
        if scheme == "per_tensor_affine" and len(parameters) == 2:
            scale, zero_point = map(_number, parameters)
            return replace(tensor, quantization=Quantization((scale,), (zero_point,)))
        if scheme in ("per_channel_affine", "per_channel_affine_float_qparams") and len(parameters) == 3:
            scales, zero_points, axis = parameters
            if type(axis) is not int or not 0 <= axis < len(tensor.shape):
                raise ValueError("a tensor quantized along an axis that it does not have")
            channels = tensor.shape[axis]
            if channels > _MOST_CHANNELS:
                raise ValueError(f"a tensor quantized in {channels:,} channels")
            found = Quantization(self.numbers(scales, channels), self.numbers(zero_points, channels), axis)
            return replace(tensor, quantization=found)
        raise ValueError(f"a tensor quantized by the unknown scheme {quoted(scheme)}")

    def numbers(self, of: Any, count: int) -> tuple[float, ...]:
        """The `count` numbers of a list or a one-dimensional tensor. Raises ValueError for any other number of them."""
        if isinstance(of, Tensor) and of.shape == (count,):
            owner = self._owners.get(id(of.storage))
            if owner is not None and not owner.is_placed and count:
                self.wants_values = True
                return (math.nan,)
            return tuple(map(float, of.copy().tolist()))
        if isinstance(of, list | tuple) and len(of) == count:
            return tuple(map(_number, of))
        raise ValueError("a tensor quantized without a scale for each channel")


def _checked(offset: Any, size: Any, stride: Any) -> View:
    shape, strides = whole_numbers(size), whole_numbers(stride)
    (start,) = whole_numbers((offset,))
    if len(shape) != len(strides):
        raise ValueError(f"a tensor of {len(shape)} dimensions and {len(strides)} strides")
    if math.prod(extent or 1 for extent in shape) > _MAX_ELEMENTS:
        raise ValueError(f"a tensor of the impossible shape {list(shape)}")
    return View(start, shape, strides)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError("a tensor quantized by what is no number")
    return float(value)
