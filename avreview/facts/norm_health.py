"""The running statistics of batch norms, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.engine.resolve import fact
from avreview.facts.modules import parameter_module
from avreview.facts.norms import Norm, NormLayers

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class StoredStatistics(NamedTuple):
    """A norm's mean, variance, scale and shift, float64, one element a channel."""

    norm: Norm
    mean: Array
    variance: Array
    gamma: Array
    beta: Array

    @property
    def deviation(self) -> Array:
        """√(variance + eps), what the norm divides by."""
        import numpy as np

        return np.sqrt(np.maximum(self.variance, 0) + (self.norm.eps or 1e-5))

    @property
    def is_half(self) -> bool:
        return NormHealth.half(self.norm)

    def statistics_are_initial(self, tolerance: float) -> bool:
        """Mean 0 and variance 1 (or 1 − eps, as FrozenBatchNorm begins) in every channel."""
        ones = [abs(self.variance - start).max() <= tolerance for start in (1.0, 1.0 - (self.norm.eps or 0.0))]
        return bool(abs(self.mean).max() <= tolerance and any(ones))

    def affine_is_initial(self, tolerance: float) -> bool:
        """Scale 1 and shift 0 in every channel, where both are parameters: a norm without them has constants."""
        names = [part.name for part in (self.norm.gamma, self.norm.beta) if part is not None]
        if len(names) < 2 or not all(map(parameter_module, names)):
            return False
        return bool(abs(self.gamma - 1).max() <= tolerance and abs(self.beta).max() <= tolerance)

    def row(self) -> dict[str, str | float | int | None]:
        """The norm's line in the answer's table."""
        return {
            "layer": self.norm.module or self.norm.node.label,
            "channels": len(self.mean),
            "mean": f"{self.mean.min():.3g} to {self.mean.max():.3g}",
            "variance": f"{self.variance.min():.3g} to {self.variance.max():.3g}",
        }


class NormHealth(NamedTuple):
    """Every batch norm whose running statistics the file holds."""

    all: Sequence[StoredStatistics]

    @property
    def variance_range(self) -> tuple[float, float]:
        """The least and the largest running variance of the model."""
        return min(float(e.variance.min()) for e in self.all), max(float(e.variance.max()) for e in self.all)

    @staticmethod
    def half(norm: Norm) -> bool:
        """True when the norm computes in float16."""
        parts = (norm.variance, norm.gamma, norm.beta)
        return any(part is not None and part.tensor.dtype == "float16" for part in parts)


@fact
def norm_health(norms: NormLayers) -> NormHealth:
    """Reads the statistics of every batch norm that keeps them."""
    return NormHealth([entry for norm in norms.tracked if (entry := _read(norm)) is not None])


def _read(norm: Norm) -> StoredStatistics | None:
    import numpy as np

    if norm.mean is None or norm.variance is None:
        return None
    mean, variance = (part.read().astype(np.float64).reshape(-1) for part in (norm.mean, norm.variance))
    if not len(mean) or len(mean) != len(variance):
        return None
    gamma = norm.gamma.read().astype(np.float64).reshape(-1) if norm.gamma is not None else np.ones_like(mean)
    beta = norm.beta.read().astype(np.float64).reshape(-1) if norm.beta is not None else np.zeros_like(mean)
    if len(gamma) != len(mean) or len(beta) != len(mean):
        return None
    return StoredStatistics(norm, mean, variance, gamma, beta)


def channels_where(mask: Any) -> list[int]:
    """The channels in which a condition holds."""
    import numpy as np

    return [int(channel) for channel in np.flatnonzero(mask)]
