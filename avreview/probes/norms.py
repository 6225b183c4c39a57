"""Do the statistics that batch norms keep describe the data at hand?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.engine.cards import Thresholds, catalogue
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.layers import Layers
from avreview.facts.norm_health import NormHealth, StoredStatistics
from avreview.facts.norms import RUNNING
from avreview.probes.plan import InputPlan
from avreview.probes.probing import Probing

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SAMPLES = 8  # of a batch: only how much is in memory at once depends on it


class NormShift(NamedTuple):
    """One norm's stored statistics, and how far those of the given data are from them, by channel in float64.

    `mean_shift` counts the stored deviations √(variance + eps) between the means; `variance_ratio` is the new variance
    over the stored one, eps added to both, as the norm divides by their sum: so a channel that is constant is no
    matter. A channel has moved where one of them is over its limit by more than its standard errors explain. Both are
    NaN where the data gave no finite number, which counts as moved.
    """

    stored: StoredStatistics
    mean_shift: Array
    variance_ratio: Array
    moved: Array

    @property
    def moved_share(self) -> float:
        return float(self.moved.mean())

    @property
    def layer(self) -> str:
        return self.stored.norm.module or self.stored.norm.node.label


class Recalibration(NamedTuple):
    """Every norm that could be observed, in data-flow order, on `samples` samples of the given data.

    `hidden` are norms inside subgraphs and functions, `folded` counts those that an exporter merged into a layer.
    """

    samples: int
    norms: Sequence[NormShift]
    hidden: Sequence[StoredStatistics]
    folded: int


@fact(only_for_rules=True)
def recalibration(health: NormHealth, layers: Layers, probing: Probing, plan: InputPlan) -> Recalibration:
    """Runs the model on the inputs given with --inputs. Raises NotAvailable without them."""
    folded = sum(layer.folded_norm is True for layer in layers.all)
    entries = [entry for entry in health.all if entry.norm.statistics == RUNNING]
    if not entries and folded:
        raise NotAvailable("needs running statistics, which were folded into the layers before; export without folding")
    if not entries:
        raise NotApplicable("the model has no norm with running statistics")
    probing.require("norms")
    if plan.given is None:
        raise NotAvailable("needs inputs that represent what the model is deployed on; pass --inputs")
    limits = catalogue()["AV505"].limits
    wanted = [{"input": entry.norm.input, "channels": len(entry.mean)} for entry in entries]
    answer = probing.run("norms", plan, norms=wanted, samples=_SAMPLES, least=int(limits.min_samples))
    shifts: list[NormShift] = []
    hidden: list[StoredStatistics] = []
    for entry, found in zip(entries, answer["norms"], strict=True):
        if found is None:
            hidden.append(entry)
        else:
            shifts.append(_shift(entry, found, limits))
    return Recalibration(int(answer["samples"]), shifts, hidden, folded)


def _shift(stored: StoredStatistics, found: Mapping[str, Any], limits: Thresholds) -> NormShift:
    import numpy as np

    mean, variance, mean_error, variance_error = (  # None becomes NaN
        np.array(found[part], np.float64) for part in ("mean", "variance", "mean_error", "variance_error")
    )
    eps, factor, sure = stored.norm.eps or 0.0, limits.max_variance_ratio, limits.standard_errors
    with np.errstate(all="ignore"):
        divisor = np.maximum(stored.variance, 0) + eps
        shift, ratio = (mean - stored.mean) / np.sqrt(divisor), (variance + eps) / divisor
        doubt = sure * mean_error / np.sqrt(divisor), sure * variance_error / divisor
        as_stored = (abs(shift) - doubt[0] <= limits.max_mean_shift) & (ratio - doubt[1] <= factor)
        as_stored &= ratio + doubt[1] >= 1 / factor
    return NormShift(stored, shift, ratio, ~as_stored)
