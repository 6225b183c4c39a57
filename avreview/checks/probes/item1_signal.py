"""Question 1 from a run: does the signal keep its scale through depth?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avreview.artifact import Artifact
from avreview.checks.words import count
from avreview.engine.cards import Thresholds, catalogue
from avreview.engine.checks import AnswerText, Violation, answer, check, evidence
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.facts.modules import locate
from avreview.probes.gradients import GradientDepth
from avreview.probes.signal import LayerSignal, Path, Signal


def _judged(signal: Signal, least: float) -> list[Path]:
    """The paths that are long enough for their drift to be judged."""
    return [path for path in signal.paths if len(path.layers) >= least]


@check("AV103")
def activation_variance_drift(artifact: Artifact, signal: Signal, limits: Thresholds) -> Iterator[Violation]:
    """A variance that shrinks or grows from layer to layer along a whole path."""
    judged = _judged(signal, limits.min_weight_layers)
    if not judged:
        _nothing_judged(signal, limits)
    for path in judged:
        drift = path.drift
        vanishes = drift.vanishes(limits.min_variance_ratio)
        if vanishes or drift.explodes(limits.max_variance_ratio):
            first, steepest = _turning_points(path, limits, vanishes=vanishes)
            most = f", most at {steepest.name}" if steepest is not first else ""
            variances = [_short(entry.variance) or 0.0 for entry in path.layers]
            yield Violation(
                at=first.layer.location(artifact.provenance.path),
                also=[steepest.layer.location(artifact.provenance.path)] if steepest is not first else (),
                message=f"The signal {'vanishes' if vanishes else 'explodes'} along {len(path.layers)} weight layers, "
                f"from a variance of {variances[0]:.4g} to {variances[-1]:.4g} on {signal.inputs}: it changes by a "
                f"factor of {drift.trend:.4g} a layer, first at {first.name}{most}.",
                observed={
                    "trend": _short(drift.trend),
                    "quartiles": [_short(drift.low), _short(drift.high)],
                    "variances": variances,
                    "inputs": signal.inputs,
                },
                expected={"trend": f"from {limits.min_variance_ratio:g} to {limits.max_variance_ratio:g} a layer"},
            )


def _nothing_judged(signal: Signal, limits: Thresholds) -> None:
    lost = [entry.left_out for entry in signal.layers if entry.left_out]
    if len(signal.layers) >= limits.min_weight_layers and len(signal.layers) - len(lost) < limits.min_weight_layers:
        number = f"{len(lost)} of {count(len(signal.layers), 'weight layer')}"
        raise NotAvailable(f"the signal of {number} could not be measured; the first {lost[0]}")
    least = f"{limits.min_weight_layers:g}"
    raise NotApplicable(f"no path through the model has {least} weight layers whose signal goes on to another one")


def _turning_points(path: Path, limits: Thresholds, *, vanishes: bool) -> tuple[LayerSignal, LayerSignal]:
    """The first layer whose ratio is out of the band on the side of the drift, and the one where it is farthest out."""
    behind = list(zip(path.ratios, path.layers[1:], strict=True))
    out = [
        (ratio if vanishes else -ratio, place, entry)
        for place, (ratio, entry) in enumerate(behind)
        if (ratio < limits.min_variance_ratio if vanishes else ratio > limits.max_variance_ratio)
    ]
    return out[0][2], min(out)[2]


@check("AV105")
def saturated_activation(artifact: Artifact, signal: Signal, limits: Thresholds) -> Iterator[Violation]:
    """Activations between layers most of whose elements lie where the function is flat."""
    if signal.unseen and not signal.saturations:
        number = count(signal.unseen, "activation")
        raise NotAvailable(f"{number} between layers could not be measured: inside a branch or a loop, or not finite")
    if not signal.saturations:
        raise NotApplicable("the model has no tanh or sigmoid between layers")
    flat = [entry for entry in signal.saturations if entry.share > limits.max_saturated_share]
    if flat:
        path = artifact.provenance.path
        worst = max(flat, key=lambda entry: entry.share)
        yield Violation(
            at=locate(path, flat[0].activation.node),
            also=[locate(path, entry.activation.node) for entry in flat[1:]],
            message=f"{len(flat)} of {count(len(signal.saturations), 'activation')} between layers "
            f"{'is' if len(flat) == 1 else 'are'} saturated on {signal.inputs}: up to {worst.share:.0%} of the elements"
            f" of {worst.name} lie where {worst.activation.name} is flat.",
            observed={"saturated_share": _short(worst.share), "activations": len(flat), "inputs": signal.inputs},
            expected={"saturated_share": f"at most {limits.max_saturated_share:g}"},
        )


@answer(1)
def does_the_signal_keep_its_scale(signal: Signal) -> AnswerText:
    """How far the signal drifts, and on what."""
    limits = catalogue()["AV103"].limits
    judged = _judged(signal, limits.min_weight_layers)
    if not judged:
        return AnswerText(f"The signal was followed on {signal.inputs}; no path is long enough for a drift.")
    worst = max(judged, key=lambda path: abs(math.log(min(max(path.drift.trend, 1e-30), 1e30))))
    leaves = worst.drift.vanishes(limits.min_variance_ratio) or worst.drift.explodes(limits.max_variance_ratio)
    return AnswerText(
        f"On {signal.inputs} the signal's variance {'drifts' if leaves else 'keeps its scale'}: a factor of "
        f"{worst.drift.trend:.4g} a layer over {len(worst.layers)} weight layers."
    )


@evidence("signal")
def signal_through_depth(signal: Signal, gradients: GradientDepth | None) -> dict[str, Any]:
    """What a picture of the signal through depth is drawn from; beside it the gradient's way back, by module."""
    limits = catalogue()["AV103"].limits
    places = {entry.layer.node.index: place for place, entry in enumerate(signal.layers)}
    shares = {entry.activation.output: entry.share for entry in signal.saturations}
    back = gradients.variance if gradients is not None else {}
    return {
        "inputs": signal.inputs,
        "samples": signal.samples,
        "band": {"min": limits.min_variance_ratio, "max": limits.max_variance_ratio},
        "layers": [_row(entry, signal.layers, places, shares, back) for entry in signal.layers],
        "paths": [
            {
                "layers": [places[entry.layer.node.index] for entry in path.layers],
                "ratio": _short(statistics.median(path.ratios)),
                "trend": _short(path.drift.trend),
                "quartiles": [_short(path.drift.low), _short(path.drift.high)],
                "judged": len(path.layers) >= limits.min_weight_layers,
            }
            for path in signal.paths
        ],
        "activations": [
            {
                "module": locate("", entry.activation.node).module,
                "node": entry.activation.node.label,
                "kind": entry.activation.name,
                "saturated": _short(entry.share),
            }
            for entry in signal.saturations
        ],
    }


def _row(
    entry: LayerSignal,
    layers: Sequence[LayerSignal],
    places: Mapping[int, int],
    shares: Mapping[str, float],
    gradients: Mapping[str, float],
) -> dict[str, Any]:
    before, follows = entry.step.before, entry.layer.activation
    return {
        "module": entry.layer.module,
        "node": entry.layer.node.label,
        "kind": entry.layer.kind,
        "activation": follows.name if follows is not None else None,
        "variance": _short(entry.variance),
        "ratio": _short(_ratio(layers[places[before]], entry)) if before is not None else None,
        "before": None if before is None else places[before],
        "saturated": _short(shares.get(follows.output)) if follows is not None else None,
        "silent": entry.silent,
        "units": entry.units,
        **({"gradient": _short(gradients.get(entry.layer.module or ""))} if gradients else {}),
        **({"left_out": entry.left_out} if entry.left_out else {}),
    }


def _ratio(before: LayerSignal, behind: LayerSignal) -> float | None:
    if not before.variance or behind.variance is None:
        return None
    return behind.variance / before.variance


def _short(value: float | None) -> float | None:
    """Four significant digits: what lies behind them differs from one processor to the next."""
    return None if value is None else float(f"{value:.4g}")
