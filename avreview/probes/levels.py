"""Do the outputs depend on how the runtime optimizes the graph?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from avreview.engine.cards import catalogue
from avreview.engine.resolve import NotAvailable, fact
from avreview.facts.randomness import Randomness
from avreview.probes.chance import require_none
from avreview.probes.compared import FULL, HALF
from avreview.probes.plan import InputPlan
from avreview.probes.precision import Precision
from avreview.probes.probing import Probing

_SAMPLES = 1


class LevelDrift(NamedTuple):
    """How far each output moves between all graph optimizations off and all on.

    `drift` is the largest |difference| / largest |output|, for integers the share of elements that differ.
    `sensitivity` is the same for inputs moved by one unit in the last place, for outputs that drift over the limit
    that goes with `precision`. `departing` are the outputs over both bounds, `left_out` says why others show nothing.
    `level` is the lowest level that makes the difference, `optimization` the one that does it by itself.
    """

    precision: str
    max_drift: float
    drift: Mapping[str, float]
    sensitivity: Mapping[str, float]
    departing: tuple[str, ...]
    left_out: Mapping[str, str]
    level: str | None = None
    optimization: str | None = None


@fact(only_for_rules=True)
def level_drift(probing: Probing, plan: InputPlan, precision: Precision, randomness: Randomness) -> LevelDrift:
    """Raises NotAvailable for a model that does not repeat, and where no output can be compared."""
    probing.require("levels")
    require_none(randomness)
    limits = catalogue()["AV405"].limits
    bounds = {FULL: limits.max_drift, HALF: limits.max_drift_half}
    most = float(bounds.get(precision.kind, limits.max_drift_quantized))
    answer = probing.run(
        "levels",
        plan,
        samples=_SAMPLES,
        max_drift=most,
        max_changed=float(limits.max_changed),
        max_sensitivity_ratio=float(limits.max_sensitivity_ratio),
    )
    if not answer["repeats"]:
        raise NotAvailable("its outputs change from run to run on the same input (AV702), optimized or not")
    outputs = answer["outputs"]
    drift = {name: float(how["drift"]) for name, how in outputs.items() if "drift" in how}
    left_out = {name: str(how["why"]) for name, how in outputs.items() if "why" in how}
    if not drift:
        name, why = next(iter(left_out.items()), ("", "the model has none"))
        raise NotAvailable(f"no output can be compared ({repr(name) + ': ' if name else ''}{why})")
    return LevelDrift(
        precision.kind,
        most,
        drift,
        answer["sensitivity"],
        tuple(answer["departing"]),
        left_out,
        answer.get("level"),
        answer.get("optimization"),
    )
