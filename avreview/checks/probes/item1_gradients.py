"""Question 1 from a run of the source model: does the gradient keep its scale on its way back?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from avreview.artifact import Artifact
from avreview.checks.words import count, shown_floats
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check, evidence
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location
from avreview.probes.gradients import GradientDepth


@check("AV104")
def gradient_variance_drift(artifact: Artifact, depth: GradientDepth, limits: Thresholds) -> Iterator[Violation]:
    """The gradient's variance grows or shrinks steadily from layer to layer."""
    least = int(limits.min_weight_layers)
    _require_layers(depth, least)
    low, high = limits.min_variance_ratio, limits.max_variance_ratio
    if depth.statistics == "batch":
        high = limits.max_ratio_with_batch_norm
    if low <= depth.ratio <= high:
        return
    judged = [layer.path for layer in depth.judged]
    first, last = judged[0], judged[-1]
    yield Violation(
        at=Location(artifact.provenance.path, module=first),
        also=[Location(artifact.provenance.path, module=last)],
        message=f"On its way back through {count(len(judged), 'layer')} the gradient's variance "
        f"{'shrinks' if depth.ratio < low else 'grows'} by a factor of {depth.ratio:.3g} a layer, from "
        f"{depth.variance[last]:.2g} at {last} to {depth.variance[first]:.2g} at {first}.",
        observed={"ratio": shown_floats(depth.ratio), "layers": len(judged), "statistics": depth.statistics},
        expected={"ratio": f"{low:g} to {high:g}"},
    )


def _require_layers(depth: GradientDepth, least: int) -> None:
    """Raises where too few layers have a gradient to be judged."""
    usable = [layer for layer in depth.layers if not layer.recurrent]
    if len(usable) < least:
        beside = "" if len(usable) == len(depth.layers) else " that are not recurrent"
        raise NotApplicable(f"the reference has only {count(len(usable), 'layer')} with weights{beside}")
    if len(depth.judged) >= least:
        return
    if depth.broken:
        raise NotAvailable(
            f"needs finite gradients: at {len(depth.broken)} of {count(len(depth.layers), 'layer')} "
            f"(first {depth.broken[0]}) they are not; pass --inputs with real ones"
        )
    raise NotAvailable(
        f"needs gradients: they reach only {len(depth.judged)} of {count(len(usable), 'layer')} "
        "(a head or branch whose weights are all 0 lets none through); pass a trained reference"
    )


@evidence("gradients")
def gradients(depth: GradientDepth) -> dict[str, Any]:
    """Each layer's variance and its ratio to that of the next, from which the gradient comes."""
    values = depth.variance
    ratios = {path: values[path] / values[after] for path, after in itertools.pairwise(values)}
    rows = [
        {
            "layer": layer.path,
            "kind": layer.kind,
            "units": layer.units,
            "variance": _shown(values.get(layer.path)),
            "ratio": _shown(ratios.get(layer.path)),
        }
        for layer in depth.layers
    ]
    return {
        "layers": rows,
        "ratio": shown_floats(depth.ratio) if depth.ratio == depth.ratio else None,
        "statistics": depth.statistics,
        "without_gradient": [layer.path for layer in depth.layers if not layer.is_reached],
        "frozen_parameters": list(depth.frozen),
        "unused_parameters": list(depth.unused),
        "inputs": depth.inputs,
    }


def _shown(value: float | None) -> float | None:
    """Three significant digits."""
    return None if value is None else float(f"{value:.3g}")
