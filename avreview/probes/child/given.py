"""The samples that the person supplied, read from their file as they are asked for."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avreview.errors import ArtifactError
from avreview.load.dtypes import numpy_dtype
from avreview.load.wording import quoted
from avreview.probes.child.refusal import Refused
from avreview.probes.given import Given, GivenArray, open_given

Array = np.ndarray[Any, Any]

_PIECE = 1 << 20  # bytes that are unpacked at a time
_RAW = frozenset({"2-byte", "1-byte"})


class GivenSamples:
    """The arrays of a file, one for each planned input. Raises Refused where they are not those that were planned."""

    def __init__(self, path: str, entries: Sequence[Mapping[str, Any]]) -> None:
        try:
            given = open_given(path)
            self._arrays = {entry["name"]: _read(given, entry) for entry in entries}
        except ArtifactError as error:
            raise Refused(str(error)) from None
        self._axes = {entry["name"]: entry["batch_axis"] for entry in entries}
        counted = [self._arrays[name].shape[axis] for name, axis in self._axes.items() if axis is not None]
        self.count: int = min(counted, default=1)

    def find(self, number: int, *, again: bool) -> int | None:
        """The given sample that a sample number stands for; None where one has to be made up.

        Where none can be made up (`again`), the given ones are used in turn.
        """
        if not any(axis is not None for axis in self._axes.values()):
            return 0
        if 0 <= number < self.count:
            return number
        if number < 0 and -number <= self.count // 2:
            return self.count + number
        return number % self.count if again else None

    def sample(self, name: str, number: int) -> Array:
        """One sample of an input, with an extent of 1 along its batch axis; the whole array where it has none."""
        axis, array = self._axes[name], self._arrays[name]
        if axis is not None:
            array = array[(slice(None),) * axis + (slice(number, number + 1),)]
        return np.array(array, order="C")  # a copy: the file may be mapped


def _read(given: Given, entry: Mapping[str, Any]) -> Array:
    """An array as the model takes it. Raises ArtifactError where it is not what its header said before."""
    array = given.named(entry["name"])
    if array is None or len(array.header.shape) != len(entry["shape"]):
        raise ArtifactError(given.path, "changed while it was read", "review it when nothing writes to it")
    flat = _elements(given.path, array)
    shape = array.header.shape
    values = flat.reshape(shape[::-1]).transpose() if array.header.fortran else flat.reshape(shape)
    return _typed(given.path, entry["name"], values, entry["dtype"], array.header.dtype)


def _elements(path: str, array: GivenArray) -> Array:
    header = array.header
    if array.member is None:
        if not header.size:
            return np.empty(0, header.descr)
        return np.frombuffer(array.source.map(), header.descr, header.elements, array.offset)
    return np.frombuffer(_unpacked(path, array), header.descr, header.elements, header.length)


def _unpacked(path: str, array: GivenArray) -> bytearray:
    """The bytes of a compressed member, as many as its directory entry says, with the right checksum."""
    member = array.member
    assert member is not None
    content, checksum = bytearray(), 0
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for start in range(0, member.packed, _PIECE):
            packed = array.source.read(member.offset + start, min(_PIECE, member.packed - start))
            while packed and len(content) <= member.size:
                piece = inflater.decompress(packed, _PIECE)
                content += piece
                checksum = zlib.crc32(piece, checksum)
                packed = inflater.unconsumed_tail
    except zlib.error:
        content.clear()
    if len(content) != member.size or checksum != member.crc:
        raise ArtifactError(path, f"its array {quoted(array.name)} is damaged", "write it with numpy.savez again")
    return content


def _typed(path: str, name: str, values: Array, dtype: str, have: str) -> Array:
    """The values in the model's type. Raises ArtifactError for an integer that does not fit into it."""
    if dtype == "string":
        return values.astype(object)
    wanted = numpy_dtype(dtype)
    if have in _RAW:
        return np.asarray(values, order="C").view(wanted)
    if values.dtype == wanted:
        return values
    if wanted.kind in "iu" and values.size:
        limits = np.iinfo(wanted)
        low, high = int(values.min()), int(values.max())
        if low < limits.min or high > limits.max:
            wrong = f"its array {quoted(name)} holds {low if low < limits.min else high}, too large for {dtype}"
            raise ArtifactError(path, wrong, f"give values from {limits.min} to {limits.max}")
    return values.astype(wanted)
