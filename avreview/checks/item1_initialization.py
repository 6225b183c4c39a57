"""Question 1: does initialization match activation?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from avreview.artifact import Artifact
from avreview.checks.words import count, listed, verb
from avreview.engine.cards import Thresholds, catalogue
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Severity
from avreview.facts.dead_units import UnitReview
from avreview.facts.initialization import Initialization, Initializations
from avreview.facts.modules import locate
from avreview.facts.residual_branches import ResidualBranches
from avreview.facts.sigmoid_chains import SigmoidChains
from avreview.facts.silence import Silence

_RELU_LIKE = frozenset({
    "relu", "relu6", "gelu", "gelu_tanh", "quick_gelu", "silu", "elu", "celu", "mish", "hardswish", "softplus",
})  # fmt: skip


def _judged(inits: Initializations) -> list[Initialization]:
    """Weights at an initialization whose activation follows at once: neither an output's nor in front of a norm.

    Raises NotAvailable when there are such weights and what follows them is not known of any.
    """
    inits.require()
    judged = [
        entry
        for entry in inits.untouched
        if not entry.is_final
        and entry.layer.norm is None
        and not entry.layer.folded_norm
        and entry.layer.activation is not None
        and entry.match is not None
    ]
    unknown = sum(not entry.follower_known for entry in inits.untouched)
    if unknown and not judged:
        raise NotAvailable(
            f"needs the activations behind {count(unknown, 'weight')} that {verb(unknown, 'are', 'is')} still at an "
            "initialization; pass an ONNX export"
        )
    return judged


def wanted_gains(activation: str, slope: float | None, gains: Thresholds) -> tuple[float, ...]:
    """The gains that suit an activation, the textbook's first; () where none is published."""
    if activation in ("leaky_relu", "prelu"):
        return (gains.gain_relu / math.sqrt(1 + (slope or 0.0) ** 2),)
    if activation in _RELU_LIKE:
        return (gains.gain_relu,)
    return {
        "tanh": (gains.gain_tanh, gains.gain_linear),
        "sigmoid": (gains.gain_sigmoid,),
        "hardsigmoid": (gains.gain_sigmoid,),
        "softmax": (gains.gain_linear,),
        "selu": (gains.gain_selu, gains.gain_linear),
    }.get(activation, ())


def _fits(entry: Initialization, fans: Sequence[float], gains: Thresholds, ratio: float) -> bool:
    """True when std·√fan is within `ratio` of a wanted gain for one of the fans."""
    if entry.match is None or entry.layer.activation is None:
        return True
    wanted = wanted_gains(entry.layer.activation.name, entry.layer.activation.slope, gains)
    std = entry.match.gain / math.sqrt(entry.layer.fan_in)
    near = [max(std * math.sqrt(fan) / gain, gain / (std * math.sqrt(fan))) for fan in fans for gain in wanted if fan]
    return not wanted or not near or min(near) <= ratio


def _true_fans(entry: Initialization) -> tuple[float, ...]:
    """fan_in, fan_out, their mean; for a transposed convolution also the inputs that its stride leaves to an output."""
    layer = entry.layer
    thinned = layer.fan_in / math.prod(layer.node.attributes.get("strides") or (1,))
    fans = (layer.fan_in, layer.fan_out, (layer.fan_in + layer.fan_out) / 2)
    return (*fans, thinned) if layer.kind == "ConvTranspose" else fans


def _wrong_fans(entry: Initialization, least_ratio: float) -> list[float]:
    """Fans that somebody may have taken for fan_in: fan_out, and either without regard to groups."""
    layer = entry.layer
    fans = [layer.fan_out, layer.fan_in * layer.groups, layer.fan_out * layer.groups]
    return [fan for fan in fans if fan and max(fan / layer.fan_in, layer.fan_in / fan) >= least_ratio]


def _is_default(entry: Initialization) -> bool:
    return entry.match is not None and bool(entry.match.default_of)


def _is_wrong_fan(entry: Initialization, gains: Thresholds, ratio: float, least: float) -> bool:
    fan_in, _, *others = _true_fans(entry)
    return not _fits(entry, (fan_in, *others), gains, ratio) and (
        bool(wrong := _wrong_fans(entry, least)) and _fits(entry, wrong, gains, ratio)
    )


@check("AV101")
def init_activation_mismatch(inits: Initializations, limits: Thresholds) -> Iterator[Violation]:
    """A layer at an initialization whose gain suits its activation under no fan."""
    least = catalogue()["AV108"].limits.min_fan_ratio
    found = [
        entry
        for entry in _judged(inits)
        if not _is_default(entry)
        and not _fits(entry, _true_fans(entry), limits, limits.max_gain_ratio)
        and not _is_wrong_fan(entry, limits, limits.max_gain_ratio, least)
    ]
    for entries in _grouped(found, lambda entry: (entry.scheme, _activation(entry))):
        gains = wanted_gains(_activation(entries[0]), entries[0].layer.activation.slope, limits)  # type: ignore[union-attr]
        yield _init_violation(
            inits, entries,
            f"{count(len(entries), 'layer')} in front of {_activation(entries[0])} at {entries[0].scheme}.",
            {"gain": round(entries[0].match.gain, 4), "activation": _activation(entries[0])},  # type: ignore[union-attr]
            {"gain": round(gains[0], 4)},
        )  # fmt: skip


@check("AV108")
def fan_mode_mismatch(inits: Initializations, limits: Thresholds) -> Iterator[Violation]:
    """A scale that suits the activation only for a fan counted wrongly."""
    gains = catalogue()["AV101"].limits
    for entry in _judged(inits):
        if not _is_default(entry) and _is_wrong_fan(entry, gains, limits.max_gain_ratio, limits.min_fan_ratio):
            layer = entry.layer
            yield _init_violation(
                inits, [entry], f"The scale in front of {_activation(entry)} fits another fan than fan_in.",
                {"scheme": entry.scheme, "gain": round(entry.match.gain, 4), "fan_in": layer.fan_in,  # type: ignore[union-attr]
                 "fan_out": layer.fan_out, "groups": layer.groups},
                {"fan": layer.fan_in},
            )  # fmt: skip


@check("AV109")
def framework_default_left(inits: Initializations, limits: Thresholds) -> Iterator[Violation]:
    """A framework's default in front of an activation that asks for another gain."""
    gains = catalogue()["AV101"].limits
    found = [
        entry
        for entry in _judged(inits)
        if _is_default(entry) and not _fits(entry, (entry.layer.fan_in,), gains, limits.max_gain_ratio)
    ]
    for entries in _grouped(found, lambda entry: entry.scheme):
        match = entries[0].match
        yield _init_violation(
            inits, entries,
            f"{count(len(entries), 'layer')} in front of {listed(dict.fromkeys(map(_activation, entries)))} "
            f"at the default of {listed(match.default_of)}.",  # type: ignore[union-attr]
            {"scheme": entries[0].scheme, "gain": round(match.gain, 4)},  # type: ignore[union-attr]
            {"gain": round(wanted_gains(_activation(entries[0]), entries[0].layer.activation.slope, gains)[0], 4)},  # type: ignore[union-attr]
        )  # fmt: skip


def _activation(entry: Initialization) -> str:
    return entry.layer.activation.name if entry.layer.activation is not None else "linear"


def _grouped(
    entries: Sequence[Initialization], key: Callable[[Initialization], object]
) -> Iterator[list[Initialization]]:
    groups: dict[object, list[Initialization]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    yield from groups.values()


def _init_violation(
    inits: Initializations,
    entries: Sequence[Initialization],
    message: str,
    observed: dict[str, object],
    expected: dict[str, object],
) -> Violation:
    places = [entry.layer.location(inits.artifact) for entry in entries]
    return Violation(at=places[0], also=places[1:], message=message, observed=observed, expected=expected)


@check("AV102")
def symmetric_weights(artifact: Artifact, reviewed: UnitReview, limits: Thresholds) -> Iterator[Violation]:
    """Constant weights, or output units that are copies of one another."""
    faults = reviewed.faults(limits.copy_tolerance)
    if not faults:
        raise NotApplicable("the model has no layer whose units can be compared")
    judged = [entry for entry in faults if not entry.is_final and entry.layer.fan_in >= limits.min_fan_in]
    path = artifact.provenance.path
    # An all-zero end of a residual branch is AV110's.
    constant = [entry.layer.location(path) for entry in judged if entry.constant and entry.layer.residual is None]
    if constant:
        yield Violation(
            at=constant[0],
            also=constant[1:],
            message=f"The weights of {count(len(constant), 'layer')} are constant: symmetry was never broken.",
            observed={"constant_layers": len(constant), "of": len(judged)},
            expected={"constant_layers": 0},
        )
    for entry in judged:
        units = entry.layer.units
        if len(entry.copied) / units > limits.max_copied_share:
            yield Violation(
                at=entry.layer.location(path),
                message=f"{len(entry.copied)} of {units} units are copies of one another: symmetry was never broken.",
                observed={"copied_units": len(entry.copied), "units": units},
                expected={"copied_units": 0},
            )


@check("AV106")
def dead_units(
    artifact: Artifact, units: UnitReview, silence: Silence | None, limits: Thresholds
) -> Iterator[Violation]:
    """Layers most of whose units are zero or can never fire, and those all of whose units stayed silent in a run."""
    faults = units.faults(limits.zero_filter_ratio)
    if not faults and silence is None:
        raise NotApplicable("the model has no layer whose units can be read")
    path = artifact.provenance.path
    known: set[int] = set()
    for entry in faults:
        dead = sorted({*entry.zero, *entry.silent})
        if entry.constant:
            known.add(entry.layer.node.index)
        elif len(dead) / entry.layer.units > limits.max_dead_share:
            known.add(entry.layer.node.index)
            yield Violation(
                at=entry.layer.location(path),
                message=f"{len(dead)} of {entry.layer.units} units are zero or can never fire.",
                observed={"zero": len(entry.zero), "never_fire": len(entry.silent), "first_units": dead[:16]},
                expected={"dead_share": f"at most {limits.max_dead_share:g}"},
            )
    if silence is not None:
        yield from _silent_layers(path, silence, known)


def _silent_layers(path: str, silence: Silence, known: set[int]) -> Iterator[Violation]:
    """Layers behind whose rectifier nothing came out in a run, but for those that are `known` from their weights."""
    for watched in silence.layers:
        if watched.units > 1 and watched.silent == watched.units and watched.layer.node.index not in known:
            yield Violation(
                at=watched.layer.location(path),
                message=f"None of the {watched.units} units fired on {silence.inputs}.",
                observed={"silent_units": watched.silent, "inputs": silence.inputs},
                expected={"silent_units": f"under {watched.units}"},
            )


@check("AV107")
def deep_sigmoid_chain(artifact: Artifact, chains: SigmoidChains, limits: Thresholds) -> Iterator[Violation]:
    """Sigmoids whose slopes multiply to next to nothing along a path."""
    for chain in chains.chains:
        product = limits.sigmoid_max_slope ** len(chain)
        if product < limits.min_slope_product:
            path = artifact.provenance.path
            yield Violation(
                at=locate(path, chain[0]),
                also=[locate(path, chain[-1])],
                message=f"{len(chain)} sigmoids in a row without a norm or a way around.",
                observed={"sigmoids": len(chain), "largest_slope_product": float(f"{product:.3g}")},
                expected={"slope_product": f"at least {limits.min_slope_product:g}"},
            )


@check("AV110")
def residual_branch_dead(
    artifact: Artifact, branches: ResidualBranches, inits: Initializations, limits: Thresholds
) -> Iterator[Violation]:
    """A residual branch that ends in a scale of about 0, in a model that was trained."""
    if not branches.all:
        raise NotApplicable("no layer ends in a residual sum")
    for branch in branches.all:
        scale = branch.scale(limits.max_branch_scale)
        if scale <= limits.max_branch_scale and branches.has_shortcut(branch):
            untrained = inits.wholly_untrained
            yield Violation(
                at=branch.layer.location(artifact.provenance.path),
                message="The residual branch starts at a scale of 0, as it should in an untrained model."
                if untrained
                else f"The residual branch ends in a scale of about 0 (its {branch.by}): it adds nothing.",
                observed={"scale": float(f"{scale:.3g}"), "by": branch.by, "tensor": branch.weight.name},
                expected={"scale": f"over {limits.max_branch_scale:g} after training"},
                severity=Severity.NOTE if untrained else None,
            )


@answer(1)
def does_initialization_match(inits: Initializations) -> AnswerText:
    """Says how many layers are still at an initialization, and in front of what."""
    untouched = inits.untouched
    if not inits.all:
        return AnswerText("No layer's weights can be judged.")
    if not untouched:
        return AnswerText(f"No layer is still at its initialization ({count(len(inits.all), 'weight')} judged).")
    rows = [
        {
            "layer": entry.layer.module or entry.layer.node.label,
            "initialization": entry.scheme,
            "gain": round(entry.match.gain, 3) if entry.match else None,
            "activation": entry.layer.activation.name if entry.layer.activation else None,
            "norm": entry.layer.norm.kind if entry.layer.norm else None,
        }
        for entry in untouched
    ]
    return AnswerText(f"{len(untouched)} of {count(len(inits.all), 'weight')} are still at an initialization.", rows)
