"""The shapes that initial weights are drawn from, and how far a sample may stray from one.

Each shape is described at mean 0 and standard deviation 1 by its distribution function and its even moments. From
the moments follow the standard errors of the variance, of skewness and kurtosis, and of sums of squares; sums of
squares are brought to a normal scale with the cube root of Wilson and Hilferty (1931).
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_GRID_END, _GRID_POINTS = 8.0, 16_385  # linear interpolation of Φ is then good to 3e-8


class Shape(NamedTuple):
    """A symmetric distribution with variance 1: E[x⁴], E[x⁶], E[x⁸] and the largest |x| it can give."""

    name: str
    fourth: float
    sixth: float
    eighth: float
    cut: float

    def variance_z(self, ratio: float, count: int) -> float:
        """Standard errors between 1 and a measured variance over the expected one."""
        return (ratio - 1.0) / math.sqrt((self.fourth - 1.0) / count)

    def kurtosis_z(self, kurtosis: float, count: int) -> float:
        """Standard errors to a measured kurtosis (delta method, symmetric distribution)."""
        b = self.fourth
        return (kurtosis - b) / math.sqrt((self.eighth - 4.0 * b * self.sixth + 4.0 * b**3 - b**2) / count)

    def skewness_z(self, skewness: float, count: int) -> float:
        return skewness / math.sqrt((self.sixth - 6.0 * self.fourth + 9.0) / count)

    def mean_energy_z(self, energy: Array, terms: int) -> Array:
        """Normal scores of means of `terms` squares."""
        scores: Array = _cube_root_score(energy, 2.0 * terms / (self.fourth - 1.0))
        return scores

    def energy_spread_z(self, energy: Array, terms: int) -> float:
        """Normal score of the variance between groups, each the mean of `terms` squares.

        Strongly negative where the groups are more alike than chance has it: orthogonal rows, normalized rows.
        """
        groups = energy.size
        of_square = self.fourth - 1.0
        excess = (self.eighth - 4.0 * self.sixth + 6.0 * self.fourth - 3.0) / of_square**2 - 3.0
        ratio = float(energy.var(ddof=1)) * terms / of_square
        return float(_cube_root_score(ratio, 2.0 / (2.0 / (groups - 1) + excess / terms / groups)))

    def sum_spread_z(self, sums: Array, terms: int) -> float:
        """Normal score of the mean square of sums of `terms` elements."""
        ratio = float((sums * sums).mean()) / terms
        return float(_cube_root_score(ratio, 2.0 * sums.size / (2.0 + (self.fourth - 3.0) / terms)))

    def cdf(self, values: Array) -> Array:
        """P(x <= value) for values in units of the standard deviation."""
        import numpy as np

        if self.name == "uniform":
            return np.asarray(np.clip(0.5 + values / (2.0 * self.cut), 0.0, 1.0))
        if math.isinf(self.cut):
            return _normal_cdf(values)
        outer = 2.0  # the cut in units of the parent normal
        tail = 0.5 * math.erfc(outer / math.sqrt(2.0))
        inside = _normal_cdf(values * (outer / self.cut))
        return np.asarray(np.clip((inside - tail) / (1.0 - 2.0 * tail), 0.0, 1.0))


def _truncated_at_two() -> Shape:
    """A normal cut at ±2 of its standard deviations and scaled to variance 1 (Flax, Keras, TensorFlow)."""
    cut = 2.0
    inside = math.erf(cut / math.sqrt(2.0))
    edge = 2.0 * math.exp(-cut * cut / 2.0) / math.sqrt(2.0 * math.pi) / inside
    moments = [1.0]
    for power in (2, 4, 6, 8):
        moments.append((power - 1) * moments[-1] - edge * cut ** (power - 1))
    _, second, fourth, sixth, eighth = moments
    return Shape("truncated-normal", fourth / second**2, sixth / second**3, eighth / second**4, cut / second**0.5)


UNIFORM = Shape("uniform", 9 / 5, 27 / 7, 9.0, math.sqrt(3.0))
NORMAL = Shape("normal", 3.0, 15.0, 105.0, math.inf)
TRUNCATED = _truncated_at_two()
TRUNCATION_STD = 2.0 / TRUNCATED.cut  # 0.87962566: what cutting at ±2 leaves of the standard deviation


def kolmogorov_smirnov(ordered: Array, shape: Shape, std: float) -> float:
    """D·√n between sorted values and the shape at this standard deviation."""
    import numpy as np

    count = ordered.size
    expected = shape.cdf(ordered / std)
    steps = np.arange(count + 1) / count
    gap = max(float((expected - steps[:-1]).max()), float((steps[1:] - expected).max()))
    return gap * math.sqrt(count)


def _cube_root_score(ratio: Any, freedom: float) -> Any:
    """Wilson and Hilferty: (χ²_k / k)^(1/3) is nearly normal with mean 1 - 2/(9k) and variance 2/(9k)."""
    import numpy as np

    spread = 2.0 / (9.0 * freedom)
    return (np.cbrt(ratio) - (1.0 - spread)) / math.sqrt(spread)


def _normal_cdf(values: Array) -> Array:
    import numpy as np

    grid, probability = _normal_table()
    return np.asarray(np.interp(values, grid, probability))


@functools.lru_cache(maxsize=1)
def _normal_table() -> tuple[Array, Array]:
    import numpy as np

    grid = np.linspace(-_GRID_END, _GRID_END, _GRID_POINTS)
    return grid, np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in grid.tolist()])
