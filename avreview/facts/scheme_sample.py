"""A logical weight as rows of output units: a sample of it, and how finely its values are rounded.

Rows may be any view, such as a transposed memory map; nothing is read before it is needed.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from avreview.facts.statistics import TensorStatistics, measure_array

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SAMPLE_ELEMENTS = 1 << 20  # 4 MB of float32, tested in about 10 ms
ORDERED_ELEMENTS = 1 << 14


class WeightSample:
    """Rows of a logical weight, shape [units, inputs]: a unit's row holds everything it multiplies its inputs by.

    A Conv's weight [out, in/groups, k, k] has the rows `weight.reshape(out, -1)`; a ConvTranspose's needs its two
    channel axes swapped first, and recurrent gates are best tested one gate at a time. `statistics` are those of
    the whole weight and are measured from `rows` when they are not given.

    Up to 1,048,576 elements all rows are used, beyond that whole rows evenly spaced. The energies of rows and
    columns are taken over this block. For the Kolmogorov-Smirnov test 16,384 of its elements are sorted: it then
    sees a distribution function that is off by about 1.5 % anywhere, where all of a million elements would show
    0.2 %; what training does to single rows and columns, and to the kurtosis of the whole, is left to the others.
    """

    def __init__(self, rows: Array, statistics: TensorStatistics | None = None) -> None:
        if rows.ndim != 2:
            raise ValueError(f"a weight sample is [units, inputs], not {rows.ndim}-dimensional")
        self.rows = rows
        self.units, self.inputs = rows.shape
        self._statistics = statistics

    @functools.cached_property
    def statistics(self) -> TensorStatistics:
        return self._statistics or measure_array(self.rows)

    @property
    def floating(self) -> bool:
        """False for integers, and for the 8-bit floats: quantized values have no shape left to test."""
        dtype = self.rows.dtype
        return dtype.itemsize > 1 and str(dtype.name).startswith(("float", "bfloat"))

    @functools.cached_property
    def block(self) -> Array:
        """The sampled rows as contiguous float32, shape [rows, inputs]."""
        import numpy as np

        wanted = max(2, SAMPLE_ELEMENTS // max(self.inputs, 1))
        if self.units <= wanted:
            return np.ascontiguousarray(self.rows, dtype=np.float32)
        chosen = np.arange(wanted) * self.units // wanted
        return np.ascontiguousarray(self.rows[chosen], dtype=np.float32)

    @property
    def is_whole(self) -> bool:
        return bool(len(self.block) == self.units)

    @functools.cached_property
    def ordered(self) -> Array:
        """At most 16,384 elements of the block, spread over all its columns, sorted."""
        import numpy as np

        flat = self.block.reshape(-1)
        stride = max(1, flat.size // ORDERED_ELEMENTS)
        while math.gcd(stride, self.inputs) > 1:  # a shared factor would visit only some of the columns
            stride -= 1
        return np.sort(flat[::stride][:ORDERED_ELEMENTS])

    @functools.cached_property
    def rounding(self) -> float:
        """The largest relative rounding error of the values: 2^-24 float32, 2^-11 float16, 2^-8 bfloat16.

        Seen from the mantissas, since an export in float32 may hold what was trained and stored in half.
        """
        import numpy as np

        used = int(np.bitwise_or.reduce(self.ordered.view(np.uint32))) & 0x7FFFFF
        bits = 23 - ((used & -used).bit_length() - 1) if used else 0
        return math.ldexp(1.0, -bits - 1)

    @functools.cached_property
    def is_quantized(self) -> bool:
        """True where few levels are shared by many elements: a dequantized 8-bit weight."""
        import numpy as np

        levels = 1 + int(np.count_nonzero(np.diff(self.ordered)))
        return levels <= min(512, self.ordered.size // 2)
