"""Does the gradient keep its scale on its way back through the layers?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any, NamedTuple

from avreview.engine.resolve import fact
from avreview.probes.live import LiveModel

_SAMPLES = 8
_MOST_LAYERS = 400  # of which pairs are compared: more are thinned out evenly


class GradientLayer(NamedTuple):
    """A weight layer of the reference: the variance of dL/dh at its output h, the median over its `units`.

    The variance is summed over positions: a stride or a pooling spreads a gradient over more of them, each of which
    gets less. None where no gradient came by, 0 where it is 0 for most units.
    """

    path: str
    kind: str
    variance: float | None
    units: int = 1
    recurrent: bool = False

    @property
    def is_reached(self) -> bool:
        return bool(self.variance) and math.isfinite(self.variance or 0.0)


class GradientDepth(NamedTuple):
    """The gradient's way back through a live module; layers in the order of the forward pass.

    `statistics` says what batch norms divided by: `batch`, `running` in an exported program, or `none` where there are
    none. `frozen` are parameters that the reference itself trains no more, `unused` those that the outputs do not
    depend on.
    """

    layers: Sequence[GradientLayer]
    statistics: str
    frozen: Sequence[str]
    unused: Sequence[str]
    inputs: Mapping[str, Any]

    @property
    def variance(self) -> Mapping[str, float]:
        """By module path, of the layers that a gradient reached, in data-flow order."""
        return {layer.path: layer.variance or 0.0 for layer in self.layers if layer.is_reached}

    @property
    def broken(self) -> Sequence[str]:
        """Layers whose gradient is not finite."""
        return [layer.path for layer in self.layers if layer.variance is not None and not math.isfinite(layer.variance)]

    @property
    def judged(self) -> Sequence[GradientLayer]:
        """Those that the ratio is of: the gates of a recurrent layer close on its gradient as its input wants it."""
        return [layer for layer in self.layers if layer.is_reached and not layer.recurrent]

    @property
    def ratio(self) -> float:
        """By how much the gradient grows a layer on its way back: below 1 it vanishes. NaN for fewer than two layers.

        Judged is the variance of all units together, which layers that keep the signal's variance keep as well,
        whatever their widths (Glorot and Bengio 2010, eq. 6; for one unit it goes by fan_out / fan_in). The ratio is
        exp(−slope) of the Theil–Sen line through its logarithm over depth, the median slope of all pairs of layers:
        layers inside a residual branch differ from those on the trunk by a constant factor, by which the ratios of
        neighbours alternate and which this leaves out.
        """
        points = [(place, math.log((layer.variance or 1.0) * layer.units)) for place, layer in enumerate(self.judged)]
        points = points[:: -(-len(points) // _MOST_LAYERS)] if points else []
        slopes = [(later - earlier) / (after - before) for (before, earlier), (after, later) in combinations(points, 2)]
        return math.exp(-median(slopes)) if slopes else math.nan


@fact(only_for_rules=True)
def gradient_depth(live: LiveModel) -> GradientDepth:
    """Runs the reference forward and backward once."""
    answer = live.run("gradients", samples=_SAMPLES)
    return GradientDepth(
        [GradientLayer(**entry) for entry in answer["layers"]],
        answer["statistics"],
        answer["frozen"],
        answer["unused"],
        answer["inputs_used"],
    )
