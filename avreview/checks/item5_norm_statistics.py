"""Question 5: are normalization stats frozen, synced, or recalibrated?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from avreview.checks.words import count, listed, shown_floats
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location, Severity
from avreview.facts.initialization import Initializations
from avreview.facts.layers import Layer, Layers
from avreview.facts.norm_health import NormHealth, StoredStatistics, channels_where
from avreview.facts.norm_prediction import NormPredictions
from avreview.facts.norms import Norm, NormLayers


@check("AV501")
def norm_stats_never_updated(
    norms: NormLayers, layers: Layers, health: NormHealth, inits: Initializations, limits: Thresholds
) -> Iterator[Violation]:
    """Running statistics or an affine part as they were created, also where the norm was folded away."""
    folded = [layer for layer in layers.all if layer.folded_norm]
    if not health.all and not folded:
        raise NotApplicable("the model has no norm with running statistics")
    if inits.wholly_untrained:
        return
    tolerance = limits.reset_tolerance
    untouched = [entry.norm for entry in health.all if entry.statistics_are_initial(tolerance)]
    initial = [entry.norm for entry in health.all if entry.affine_is_initial(tolerance) and entry.norm not in untouched]
    if len(health.all) - len(untouched) - len(initial) < limits.min_trained_norms:
        initial = []
    zero_bias = [layer for layer in folded if _folded_without_shift(layer)]
    places = [norm.location(norms.artifact) for norm in (*untouched, *initial)]
    places += [layer.location(norms.artifact) for layer in zero_bias]
    if places:
        yield Violation(
            at=places[0],
            also=places[1:],
            message=f"{count(len(places), 'batch norm')} still {'has' if len(places) == 1 else 'have'} "
            f"the statistics or the scale and shift {'it was' if len(places) == 1 else 'they were'} created with.",
            observed={
                "mean_0_variance_1": len(untouched),
                "gamma_1_beta_0": len(initial),
                "folded_with_zero_shift": len(zero_bias),
                "of": len(health.all) + len(folded),
            },
            expected={"untouched": 0},
        )


def _folded_without_shift(layer: Layer) -> bool:
    """A folded norm leaves β − μγ/σ as bias: 0 in every channel only when mean and shift both are."""
    if layer.bias is None:
        return not layer.node.input(2)
    return bool(layer.bias.tensor.size) and not layer.bias.read().any()


def _require_statistics(health: NormHealth, layers: Layers) -> None:
    """Raises when no running statistics are left: NotAvailable where an exporter folded them away."""
    if health.all:
        return
    if any(layer.folded_norm for layer in layers.all):
        raise NotAvailable("needs running statistics, which were folded into the layers before; export without folding")
    raise NotApplicable("the model has no norm with running statistics")


@check("AV502")
def norm_stats_degenerate(
    norms: NormLayers, layers: Layers, health: NormHealth, limits: Thresholds
) -> Iterator[Violation]:
    """Variances that no data gives, and channels that are dead or blown up; one finding a problem."""
    _require_statistics(health, layers)
    found: dict[tuple[str, Severity | None], list[tuple[Norm, list[int]]]] = {}
    for entry in health.all:
        for what, severity, where in _problems(entry, limits):
            if channels := channels_where(where):
                found.setdefault((what, severity), []).append((entry.norm, channels))
    for (what, severity), places in found.items():
        total = sum(len(channels) for _, channels in places)
        of = f" in {len(places)} norms" if len(places) > 1 else ""
        locations = [norm.location(norms.artifact, norm.variance.name if norm.variance else None) for norm, _ in places]
        yield Violation(
            at=locations[0],
            also=locations[1:],
            message=f"{count(total, 'channel')}{of} with {what}.",
            observed={"problem": what, "channels": places[0][1][:16], "number": total},
            expected={"number": 0},
            severity=severity,
        )


def _problems(entry: StoredStatistics, limits: Thresholds) -> Iterator[tuple[str, Severity | None, Any]]:
    """What can be wrong, how bad it is, and in which channels of the norm."""
    import numpy as np

    finite = np.isfinite(entry.mean) & np.isfinite(entry.variance)
    yield "mean or variance not finite", None, ~finite
    variance = np.where(finite, entry.variance, 1.0)
    yield "negative variance", None, variance < 0
    yield "variance of exactly 0", None, variance == 0
    if entry.is_half:
        tiny = (variance > 0) & (variance < limits.fp16_underflow)
        yield "variance outside float16", Severity.WARNING, tiny | (variance > limits.fp16_overflow)
    dead = (abs(entry.gamma) <= limits.dead_gamma) & (variance < limits.dead_variance) & (variance > 0)
    frozen = (variance > 0) & (variance <= limits.dead_input_variance) & ~dead
    yield "dead channel", Severity.NOTE, dead
    yield "constant input", Severity.NOTE, frozen
    alive = finite & (variance > 0) & ~dead & ~frozen
    yield (
        f"gain over {limits.max_gain:g}",
        Severity.NOTE,
        alive & (abs(entry.gamma) / entry.deviation > limits.max_gain),
    )
    shift = alive & (abs(entry.mean) / entry.deviation > limits.max_mean_to_std)
    yield "mean far outside its deviation", Severity.NOTE, shift


@check("AV504")
def norm_eps_or_momentum_unusual(norms: NormLayers, health: NormHealth, limits: Thresholds) -> Iterator[Violation]:
    """An eps that the precision rounds away, a momentum that freezes or forgets the statistics."""
    norms.drawing.require_settings()
    every = norms.some(norms.all, "normalization layers")
    small: dict[float, list[Norm]] = {}
    momenta: dict[float, list[Norm]] = {}
    for norm in every:
        is_half = health.half(norm) and not _stashes_in_single(norm)
        floor = limits.fp16_eps_floor if is_half else limits.fp32_eps_floor
        if norm.eps is not None and norm.eps < floor:
            small.setdefault(norm.eps, []).append(norm)
        if norm.momentum is not None and 1 - norm.momentum in (limits.frozen_momentum, limits.last_batch_momentum):
            momenta.setdefault(norm.momentum, []).append(norm)
    for eps, found in small.items():
        message = f"{count(len(found), 'norm')} with an eps of {eps:.3g}, under what the precision resolves."
        yield _setting(norms, found, message, {"eps": shown_floats(eps)}, {"eps": "1e-5 or so"})
    for momentum, found in momenta.items():
        what = "never updates its statistics" if momentum == 1 else "keeps the statistics of the last batch alone"
        yield _setting(
            norms, found, f"{count(len(found), 'batch norm')} with a momentum that {what}.",
            {"onnx_momentum": momentum, "pytorch_momentum": "0 or None" if momentum == 1 else 1.0},
            {"pytorch_momentum": "between 0 and 1"},
        )  # fmt: skip


# ONNX operators that compute mean and variance in the precision that `stash_type` names, and since which opset.
_STASHING = {"LayerNormalization": 17, "GroupNormalization": 21, "RMSNormalization": 23}
_SINGLE = 1  # TensorProto.FLOAT, the default


def _stashes_in_single(norm: Norm) -> bool:
    """Whether the operator adds eps in float32 by its definition, whatever its input is."""
    node, since = norm.node, _STASHING.get(norm.node.op)
    is_one = since is not None and not node.domain and node.version >= since
    return is_one and node.attributes.get("stash_type", _SINGLE) == _SINGLE


def _setting(
    norms: NormLayers, found: Sequence[Norm], message: str, observed: dict[str, object], expected: dict[str, object]
) -> Violation:
    places: list[Location] = [norm.location(norms.artifact) for norm in found]
    return Violation(at=places[0], also=places[1:], message=message, observed=observed, expected=expected)


@check("AV509")
def norm_stats_inconsistent(
    norms: NormLayers, layers: Layers, health: NormHealth, predictions: NormPredictions, limits: Thresholds
) -> Iterator[Violation]:
    """A stored running mean that the norm in front of it does not predict."""
    _require_statistics(health, layers)
    judged = [entry for entry in predictions.all if entry.channels >= limits.min_channels]
    if not judged:
        norms.drawing.require_flow()
        raise NotApplicable("no two batch norms follow one another with only a layer and an activation between")
    for entry in judged:
        if entry.correlation < limits.warning_correlation:
            yield Violation(
                at=entry.norm.location(norms.artifact, entry.norm.mean.name if entry.norm.mean else None),
                also=[entry.before.location(norms.artifact)],
                message="The stored running mean is not the one that the norm before it predicts.",
                observed={"correlation": round(entry.correlation, 3), "channels": entry.channels},
                expected={"correlation": f"at least {limits.warning_correlation:g}"},
                severity=None if entry.correlation < limits.error_correlation else Severity.WARNING,
            )


@answer(5)
def what_state_are_statistics_in(norms: NormLayers, layers: Layers, health: NormHealth) -> AnswerText:
    """Says how many norms keep statistics and what the file shows of them."""
    folded = sum(layer.folded_norm is True for layer in layers.all)
    words = []
    if health.all:
        low, high = health.variance_range
        words.append(f"{count(len(health.all), 'norm')} keep running statistics, variances {low:.2g} to {high:.2g}")
    if folded:
        words.append(f"{count(folded, 'batch norm')} folded into the layer before, statistics and all")
    if not words:
        kinds = listed(dict.fromkeys(norm.kind for norm in norms.all))
        words.append(f"no norm keeps running statistics ({kinds})" if kinds else "the model has no normalization layer")
    sentence = "; ".join(words)
    what = "An export" if norms.drawing.is_whole else "A checkpoint"
    return AnswerText(
        f"{sentence[:1].upper()}{sentence[1:]}. {what} does not show whether they were synced or recalibrated.",
        [entry.row() for entry in health.all],
    )
