"""Comparing two tensors in one pass over both, in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from avreview.artifact import Tensor

    Array = np.ndarray[Any, Any]

# Unit roundoff of the formats that weights are stored in: half the distance from 1 to the next larger number.
ROUNDOFF = {
    "float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4, "float8_e4m3fnuz": 2.0**-4, "float8_e5m2": 2.0**-3, "float8_e5m2fnuz": 2.0**-3,
}  # fmt: skip
_NARROW = 2.0**-20  # a roundoff above it belongs to a format narrower than float32
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float8_e4m3fn": 2.0**-9, "float8_e5m2": 2.0**-16}


class Comparison(NamedTuple):
    """How two tensors of equal shape differ.

    `changed` counts elements that differ after both were rounded to the narrower of the two formats; a NaN equals a
    NaN in the same place. `difference` is the largest |a − b| beyond what rounding to that format explains, as a
    share of the largest |b| (infinite where one is finite and the other not). `aa`, `bb`, `ab` are the sums of
    squares and the inner product over finite elements.
    """

    elements: int
    changed: int
    difference: float
    aa: float
    bb: float
    ab: float

    @property
    def cosine(self) -> float:
        """Of the angle between the two, 0 where one is all zero; 1 where both are equal."""
        if not self.changed:
            return 1.0
        length = math.sqrt(self.aa) * math.sqrt(self.bb)
        if not 0.0 < length < math.inf:  # all zero, or squares beyond what a double holds
            return 0.0
        return min(max(self.ab / length, -1.0), 1.0)

    @property
    def distance(self) -> float:
        """‖a − b‖ / ‖b‖; infinite where b is all zero and a is not."""
        squared = max(self.aa + self.bb - 2.0 * self.ab, 0.0) if self.changed else 0.0
        return math.sqrt(squared / self.bb) if self.bb > 0 else (math.inf if squared else 0.0)

    def agrees(self, tolerance: float) -> bool:
        return self.difference <= tolerance


def narrower(first: str, second: str) -> str:
    """The floating-point type of the two that holds fewer digits."""
    return max(first, second, key=lambda dtype: ROUNDOFF.get(dtype, 0.0))


def compare(tensor: Tensor, other: Tensor) -> Comparison:
    """Compares two floating-point tensors of equal size in their own order, a chunk of each at a time."""
    comparer = Comparer(narrower(tensor.dtype, other.dtype))
    for left, right in _aligned(tensor.chunks(), other.chunks()):
        comparer.add(left, right)
    return comparer.result()


def compare_arrays(left: Array, right: Array, dtype: str, slack: Array | float = 0.0) -> Comparison:
    """Compares two arrays of one shape that are held in memory; `slack` is a further allowance for each element."""
    comparer = Comparer(dtype)
    step = 1 << 16
    flat, other = left.reshape(-1), right.reshape(-1)
    spread = None if isinstance(slack, float) else slack.reshape(-1)
    for start in range(0, flat.size, step):
        part = slice(start, start + step)
        comparer.add(flat[part], other[part], slack if spread is None else spread[part])
    return comparer.result()


class Comparer:
    """Adds up what a Comparison says, chunk by chunk. `dtype` is the narrower of the two formats."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._roundoff = ROUNDOFF.get(dtype, 0.0)
        self._elements = self._changed = 0
        self._largest = self._excess = self._aa = self._bb = self._ab = 0.0

    def add(self, left: Array, right: Array, slack: Array | float = 0.0) -> None:
        """One chunk of each, flat and of equal size."""
        import numpy as np

        self._elements += left.size
        if not left.size:
            return
        if left.dtype == right.dtype and np.array_equal(left, right):  # false where there is a NaN
            b = right.astype(np.float64)
            squares = float(np.einsum("i,i", b, b))
            if math.isfinite(squares):
                self._largest = max(self._largest, float(b.max()), -float(b.min()))
                self._add_products(squares, squares, squares)
                return
        a, b = self._rounded(left), self._rounded(right)
        finite = np.isfinite(a) & np.isfinite(b)
        if not finite.all():
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            odd = ~finite & ~same
            if odd.any():
                self._changed += int(np.count_nonzero(odd))
                self._excess = math.inf
            a, b = a[finite], b[finite]
            slack = slack[finite] if isinstance(slack, np.ndarray) else slack
        self._add_finite(a, b, slack)

    def _add_finite(self, a: Array, b: Array, slack: Array | float) -> None:
        import numpy as np

        if not a.size:
            return
        gap = np.abs(a - b)
        self._changed += int(np.count_nonzero(gap))
        magnitude = np.abs(b)
        self._largest = max(self._largest, float(magnitude.max()))
        if gap.any():
            allowed = slack
            if self._roundoff > _NARROW:  # one rounding in computing it and one in storing it
                allowed = allowed + 2 * self._roundoff * magnitude + _SMALLEST.get(self._dtype, 0.0)
            self._excess = max(self._excess, float((gap - allowed).max()))
        # Not np.dot: for so many elements BLAS wakes its threads, which takes longer than the product.
        self._add_products(*(float(np.einsum("i,i", x, y)) for x, y in ((a, a), (b, b), (a, b))))

    def _add_products(self, aa: float, bb: float, ab: float) -> None:
        self._aa += aa
        self._bb += bb
        self._ab += ab

    def _rounded(self, chunk: Array) -> Array:
        """The chunk in the narrower format, as float64 to calculate with."""
        import numpy as np

        if self._roundoff > _NARROW and chunk.dtype.name != self._dtype:
            from avreview.load.dtypes import numpy_dtype

            chunk = chunk.astype(numpy_dtype(self._dtype))
        elif self._dtype == "float32" and chunk.dtype == np.float64:
            chunk = chunk.astype(np.float32)
        return chunk.astype(np.float64)

    def result(self) -> Comparison:
        difference = max(self._excess, 0.0)
        if difference:
            difference = difference / self._largest if self._largest > 0 else math.inf
        return Comparison(self._elements, self._changed, difference, self._aa, self._bb, self._ab)


def _aligned(left: Iterable[Array], right: Iterable[Array]) -> Iterator[tuple[Array, Array]]:
    """The two sequences of chunks cut to runs of equal length: not every storage fills its chunks."""
    others = iter(right)
    other: Array | None = None
    for chunk in left:
        while len(chunk):
            if other is None or not len(other):
                other = next(others, None)
                if other is None:
                    return
                continue
            size = min(len(chunk), len(other))
            yield chunk[:size], other[:size]
            chunk, other = chunk[size:], other[size:]
