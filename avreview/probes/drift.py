"""How a variance drifts along a chain of layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

_MOST = 400  # layers of which pairs are compared: more are thinned out evenly


class Drift(NamedTuple):
    """The drift of a variance per layer, as a ratio; 1 is none.

    Any two layers of a chain give a ratio per layer: that of their variances, rooted by how many layers lie from one
    to the other. `trend` is the median over all pairs (the slope of Theil and Sen, of the logarithm); a quarter of the
    pairs lie under `low` and a quarter over `high`. Consecutive layers alone would mislead: where wide and narrow
    layers take turns, or those of an attention block, their ratios go up and down and the whole goes nowhere.
    """

    trend: float
    low: float
    high: float

    def vanishes(self, least: float) -> bool:
        """Whether three quarters of the pairs shrink by more than `least` a layer."""
        return self.high < least

    def explodes(self, most: float) -> bool:
        """Whether three quarters of the pairs grow by more than `most` a layer."""
        return self.low > most


def drift(variances: Sequence[float]) -> Drift | None:
    """The drift along a chain; None for fewer than two variances.

    A variance of 0 behind one that was not is a signal that has gone, and so is every further 0; inf is one that has
    exploded.
    """
    thinned = list(enumerate(variances))[:: -(-len(variances) // _MOST) or 1]
    pairs = itertools.combinations(thinned, 2)
    slopes = sorted(_log_ratio(early, late) / (behind - before) for (before, early), (behind, late) in pairs)
    if not slopes:
        return None
    last = len(slopes) - 1
    return Drift(*(_exp(slopes[place]) for place in (last // 2, last // 4, last - last // 4)))


def ratio(before: float, behind: float) -> float:
    """The ratio of two variances as `drift` counts it."""
    return _exp(_log_ratio(before, behind))


def _log_ratio(before: float, behind: float) -> float:
    if behind == 0:
        return -math.inf
    if before == 0 or math.isinf(behind):
        return math.inf
    return -math.inf if math.isinf(before) else math.log(behind) - math.log(before)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
