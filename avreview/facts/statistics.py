"""What a tensor holds, measured in one pass over its bytes.

Each chunk is reduced to its central moments while it lies in the processor's cache; the chunks' moments are joined
about the common mean at the end (Chan, Golub and LeVeque 1983; for the third and fourth moment Pébay,
SAND2008-6212). A chunk whose mean is large against its spread is shifted by that mean first, and one whose fourth
powers leave the range of float32 is measured in float64, so neither cancellation nor overflow goes unnoticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np

    from avreview.artifact import Storage, Tensor

    Array = np.ndarray[Any, Any]

CHUNK = 65_536  # elements; a multiple of _COLUMNS
_COLUMNS = 256  # a chunk is summed as a matrix of so many columns: short sums in float32, then one of those
_SMALL = 4_096  # up to here float64 costs nothing
_SHIFT_ABOVE = 0.25  # |mean| / rms from which raw sums of fourth powers begin to cancel
_SMALLEST, _LARGEST = 1e-8, 1e8  # extremes for which float32 holds 65,536 summed fourth powers
_WIDE = 1e60  # the largest magnitude whose fourth powers are summed in float64 as they are
_HALF_FINITE = 65_520.0  # what a float16 would have to reach to be Inf or NaN

_SHAPE_CHUNKS, _SHAPE_STRIDE = 16, 4  # skewness and kurtosis: every chunk of the first 16, then one in 4

_Moments = tuple[int, float, float, float, float, float]  # n, mean, sums of 2nd to 4th powers about it, their unit


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """The moments and extremes of a tensor's finite elements; NaN and Inf are counted and left out.

    `variance` is the population's (divided by n). `skewness` and `kurtosis` (3 for a normal, 1.8 for a uniform)
    are taken over `shape_count` elements: all of them up to 1,048,576, from there on each fourth run of 65,536.
    They are NaN where the variance is 0, and what has no finite element has NaN throughout. A complex number
    counts as its two parts. A float64 tensor's variance is Inf when it is too large for a double.
    """

    count: int
    nan: int
    inf: int
    zeros: int
    mean: float
    variance: float
    skewness: float
    kurtosis: float
    shape_count: int
    minimum: float
    maximum: float

    @property
    def finite(self) -> int:
        """How many elements are neither NaN nor infinite."""
        return self.count - self.nan - self.inf

    @property
    def all_finite(self) -> bool:
        return self.nan == 0 and self.inf == 0

    @property
    def std(self) -> float:
        return math.sqrt(self.variance)

    @property
    def abs_max(self) -> float:
        return max(abs(self.minimum), abs(self.maximum))

    @property
    def is_constant(self) -> bool:
        """True when every element is finite and the same."""
        return self.finite > 0 and self.all_finite and self.minimum == self.maximum


class Statistics(Mapping[str, TensorStatistics]):
    """Statistics by tensor name, each measured when it is first asked for and kept.

    Iterating over names or asking `in` reads nothing; `values()` and `items()` measure as they go.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._by_storage: dict[int, TensorStatistics] = {}  # tied tensors are measured once
        self._kept: list[Storage] = []  # so that no other storage can take over the identity of a measured one

    def __getitem__(self, name: str) -> TensorStatistics:
        return self.of(self._tensors[name])

    def of(self, tensor: Tensor) -> TensorStatistics:
        """The statistics of a tensor at hand, measured once like those asked for by name."""
        known = self._by_storage.get(id(tensor.storage))
        if known is None:
            known = self._by_storage[id(tensor.storage)] = measure(tensor)
            self._kept.append(tensor.storage)
        return known

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def measure(tensor: Tensor) -> TensorStatistics:
    """The statistics of a numeric tensor, reading it once. Raises TypeError for strings and objects."""
    return _measure(tensor.chunks(CHUNK))


def measure_array(array: Array) -> TensorStatistics:
    """The statistics of an array of any shape, which need not be contiguous."""
    import numpy as np

    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        return _measure(flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK))
    blocks = np.nditer(array, flags=["external_loop", "buffered", "zerosize_ok"], order="K", buffersize=CHUNK)
    return _measure(cast("Iterable[Array]", blocks))


def _measure(chunks: Iterable[Array]) -> TensorStatistics:
    reducer: _Reducer | None = None
    for chunk in chunks:
        if chunk.size:
            if reducer is None:
                reducer = _Reducer(chunk.dtype)
            reducer.add(chunk)
    if reducer is None or not reducer.moments:
        count, nan, inf = (reducer.count, reducer.nan, reducer.inf) if reducer else (0, 0, 0)
        none = math.nan
        return TensorStatistics(count, nan, inf, 0, none, none, none, none, 0, none, none)
    n, mean, m2, _, _, unit = _join(reducer.moments)
    shape_count, skewness, kurtosis = _shape(_join([m for m in reducer.moments if m[4] == m[4]]))
    return TensorStatistics(
        count=reducer.count,
        nan=reducer.nan,
        inf=reducer.inf,
        zeros=reducer.zeros,
        mean=min(max(mean * unit, reducer.low), reducer.high),
        variance=m2 / n * unit * unit,
        skewness=skewness,
        kurtosis=kurtosis,
        shape_count=shape_count,
        minimum=reducer.low,
        maximum=reducer.high,
    )


def _shape(moments: _Moments) -> tuple[int, float, float]:
    """The number of elements, skewness and kurtosis; NaN where there is no spread that a double can hold."""
    n, _, m2, m3, m4, _ = moments
    variance = m2 / n
    if variance * variance <= 0.0:
        return n, math.nan, math.nan
    return n, m3 / n / (variance * math.sqrt(variance)), m4 / n / (variance * variance)


def _join(moments: list[_Moments]) -> _Moments:
    """Moments of disjoint sets, moved to their common mean and added; NaN where one of them is."""
    if len(moments) == 1:
        return moments[0]
    import numpy as np

    sizes, means, m2, m3, m4, units = np.array(moments, np.float64).T
    unit = float(units.max())
    scale = units / unit
    means, m2, m3, m4 = means * scale, m2 * scale**2, m3 * scale**3, m4 * scale**4
    total = float(sizes.sum())
    mean = float((sizes / total * means).sum())
    gap = means - mean
    fourth = m4 + 4.0 * gap * m3 + 6.0 * gap**2 * m2 + sizes * gap**4
    third = m3 + 3.0 * gap * m2 + sizes * gap**3
    second = m2 + sizes * gap**2
    return int(total), mean, float(second.sum()), float(third.sum()), float(fourth.sum()), unit


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """An uninitialized array at a multiple of 64 bytes; malloc puts large ones at a page and 16, which is slow."""
    import numpy as np

    room = np.empty(size * dtype.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size * dtype.itemsize].view(dtype)


class _Reducer:
    """Turns chunks of one dtype into counts, extremes and moments, through buffers kept from chunk to chunk."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        import numpy as np

        self._np = np
        self.count = self.nan = self.inf = self.zeros = 0
        self.low, self.high = math.inf, -math.inf
        self.moments: list[_Moments] = []
        self._limit = math.inf  # an absolute value from which a widened element stands for Inf or NaN
        self._buffers: dict[str, Array] = {}
        self._widen = self._widening(dtype)

    def add(self, chunk: Array) -> None:
        np = self._np
        values = self._widen(chunk)
        low, high = float(np.minimum.reduce(values)), float(np.maximum.reduce(values))
        self.count += values.size
        if -self._limit < low and high < self._limit:  # false where either is NaN
            self._add_finite(values, low, high)
            return
        exact = chunk.reshape(-1).view(f"f{chunk.itemsize // 2}") if chunk.dtype.kind == "c" else chunk
        exact = exact.astype(np.float64)
        finite = exact[np.isfinite(exact)]
        missing = int(np.count_nonzero(np.isnan(exact)))
        self.nan += missing
        self.inf += exact.size - finite.size - missing
        if finite.size:
            self._add_finite(finite, float(np.minimum.reduce(finite)), float(np.maximum.reduce(finite)))

    def _add_finite(self, values: Array, low: float, high: float) -> None:
        np = self._np
        n = values.size
        if low < self.low:
            self.low = low
        if high > self.high:
            self.high = high
        if low <= 0.0 <= high:
            is_zero = np.equal(values, 0, out=self._buffer("zeros", n, np.bool_))
            if is_zero.any():
                self.zeros += int(np.count_nonzero(is_zero))
        if low == high:
            self.moments.append((n, low, 0.0, 0.0, 0.0, 1.0))
        elif n > _SMALL and values.dtype == np.float32 and _SMALLEST < max(-low, high) < _LARGEST:
            self.moments.append(self._moments32(values))
        else:
            self.moments.append(self._moments64(values, max(-low, high)))

    def _moments64(self, values: Array, largest: float) -> _Moments:
        np = self._np
        wide = values.astype(np.float64)
        unit = 1.0
        if largest > _WIDE:
            unit = math.ldexp(1.0, math.frexp(largest)[1] - 1)
            wide *= 1.0 / unit
        mean = float(np.add.reduce(wide)) / wide.size
        wide -= mean
        square = wide * wide
        m2, m3, m4 = np.add.reduce(square), np.dot(square, wide), np.dot(square, square)
        return wide.size, mean, float(m2), float(m3), float(m4), unit

    def _moments32(self, values: Array) -> _Moments:
        """Raw power sums in float32 blocks, about 0 where that is sound and about the chunk's mean where not."""
        np = self._np
        n = values.size
        with_shape = len(self.moments) < _SHAPE_CHUNKS or len(self.moments) % _SHAPE_STRIDE == 0
        first, second, origin = self._sum(values), float(np.dot(values, values)), 0.0
        if first * first > _SHIFT_ABOVE * _SHIFT_ABOVE * n * second:
            shift = np.float32(first / n)
            values = np.subtract(values, shift, out=self._buffer("shifted", n, np.float32))
            first, second, origin = self._sum(values), float(np.dot(values, values)), float(shift)
        mean = first / n
        m2 = max(second - mean * first, 0.0)
        if not with_shape:
            return n, origin + mean, m2, math.nan, math.nan, 1.0
        square = np.multiply(values, values, out=self._buffer("square", n, np.float32))
        third, fourth = float(np.dot(square, values)), float(np.dot(square, square))
        m3 = third + mean * (2.0 * mean * first - 3.0 * second)
        m4 = fourth - mean * (4.0 * third - mean * (6.0 * second - 3.0 * mean * first))
        return n, origin + mean, m2, m3, max(m4, 0.0), 1.0

    def _sum(self, values: Array) -> float:
        rows, rest = divmod(values.size, _COLUMNS)
        if rest:
            return float(self._np.add.reduce(values))  # pairwise; only a tensor's last chunk comes here
        ones = self._buffer("ones", rows, self._np.float32)
        return float(self._np.add.reduce(ones @ values.reshape(rows, _COLUMNS)))

    def _buffer(self, name: str, size: int, dtype: Any) -> Array:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = _aligned(size, self._np.dtype(dtype))
            buffer.fill(1)  # what "ones" has to hold, and never read elsewhere before it is written
        return buffer if buffer.size == size else buffer[:size]

    def _widening(self, dtype: np.dtype[Any]) -> Callable[[Array], Array]:
        """How chunks of this dtype become float32 or float64, without loss but for integers beyond 2^53."""
        np = self._np
        if dtype.kind == "c":
            part = np.dtype(f"f{dtype.itemsize // 2}")
            return lambda chunk: np.ascontiguousarray(chunk).view(part)
        if dtype.kind in "OSUMmT":
            raise TypeError(f"a tensor of dtype {dtype} has no statistics")
        if dtype == np.float16:
            self._limit = _HALF_FINITE
            return self._widen_half
        if dtype.itemsize == 1 and dtype.kind != "b" and "float" in dtype.name:
            table = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
            return lambda chunk: cast("Array", table[chunk.view(np.uint8)])
        if dtype in (np.float32, np.float64):
            return lambda chunk: chunk
        target = np.float32 if dtype.itemsize <= 2 else np.float64
        return lambda chunk: chunk.astype(target)

    def _widen_half(self, chunk: Array) -> Array:
        """float16 by its bits: sign and exponent put into float32's places, then scaled by 2^(127 - 15).

        Five times as fast as a cast without hardware for it, and exact down to the subnormals. Inf and NaN come
        out at 65,536 and above, which no finite float16 reaches.
        """
        np = self._np
        bits = self._buffer("half", chunk.size, np.int32)
        np.copyto(bits, chunk.view(np.int16))
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, -0x70002000, out=bits)  # 0x8FFFE000: the sign's copies above the exponent go
        values: Array = bits.view(np.float32)
        np.multiply(values, np.float32(2.0**112), out=values)
        return values
