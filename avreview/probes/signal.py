"""How the signal's variance goes through depth, which activations saturate, and which layers stay silent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Artifact, Node
from avreview.engine.cards import catalogue
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.graphs import the_graph
from avreview.facts.layers import RECURRENT, Layer, Layers
from avreview.facts.modules import module_path
from avreview.facts.silence import Silence, SilentLayer
from avreview.facts.weights import Constants
from avreview.probes.drift import Drift, drift, ratio
from avreview.probes.plan import InputPlan
from avreview.probes.probing import Probing
from avreview.probes.signal_paths import Squashing, Step, chains, squashings, steps

_SAMPLES = 8
_SCOPE = "\x1f"  # in the key of a value inside a loop, a branch or a function: it cannot be measured from outside
_RECTIFIERS = ("relu", "relu6")
_QUANTIZED_OUTPUT = {"QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7}  # where the scale of an integer output stands


class LayerSignal(NamedTuple):
    """One weight layer: the variance across samples of its output, the median over its units.

    `silent` counts those of its `units` that never fired, where a rectifier stands behind them. `left_out` says why
    there is no variance.
    """

    layer: Layer
    step: Step
    variance: float | None
    silent: int | None
    units: int
    left_out: str | None = None

    @property
    def name(self) -> str:
        return self.layer.module or self.layer.node.label


class Saturation(NamedTuple):
    """An activation between layers and the share of its elements that lie where it is flat."""

    activation: Squashing
    share: float

    @property
    def name(self) -> str:
        return module_path(self.activation.node) or self.activation.node.label


class Path(NamedTuple):
    """Weight layers that follow one another, each with a variance, and the drift along them."""

    layers: Sequence[LayerSignal]
    drift: Drift

    @property
    def ratios(self) -> list[float]:
        """The variance of each layer over that of the one before it; one less than there are layers."""
        variances = [entry.variance or 0.0 for entry in self.layers]
        return [ratio(before, behind) for before, behind in itertools.pairwise(variances)]


class Signal(NamedTuple):
    """What one probe measured; layers and activations in data-flow order."""

    layers: Sequence[LayerSignal]
    saturations: Sequence[Saturation]
    paths: Sequence[Path]
    samples: int
    given: int  # of the samples, how many the person gave; the others are synthetic
    unseen: int  # activations between layers that could not be measured

    @property
    def inputs(self) -> str:
        """What the model was run on, in words."""
        made = self.samples - self.given
        parts = [f"{number} {kind}" for number, kind in ((self.given, "given"), (made, "synthetic")) if number]
        return f"{' and '.join(parts)} {'sample' if self.samples == 1 else 'samples'}"


class _Tap(NamedTuple):
    """A value to be measured, as `avreview.probes.child.signal.Tap`, and the node it is measured for."""

    key: str
    measure: str
    units: int
    logistic: bool
    node: Node
    scale: float = 1.0  # by which an integer is multiplied


@fact(only_for_rules=True)
def signal(artifact: Artifact, probing: Probing, plan: InputPlan, layers: Layers, constants: Constants) -> Signal:
    """Runs the model once, with reductions behind every weight layer and activation. NotApplicable without layers."""
    graph = the_graph(artifact)
    probing.require("signal")
    if not layers.all:
        raise NotApplicable("the model has no layer with weights")
    between = squashings(graph, constants, layers)
    taps = _taps(layers, constants, between)
    if not taps:
        raise NotAvailable("every layer stands inside a function, a branch or a loop, where nothing can be measured")
    level = catalogue()["AV105"].limits.saturation_level
    answer = probing.run(
        "signal", plan, taps=[tap[:4] for tap in taps], level=level, samples=_SAMPLES, opset=graph.opsets.get("", 1)
    )
    measured = {(tap.node.index, tap.measure): (tap, entry) for tap, entry in zip(taps, answer["taps"], strict=True)}
    order = steps(graph, constants, layers)
    found = {layer.node.index: _layer(layer, order[layer.node.index], measured) for layer in layers.all}
    saturations = [seen for entry in between if (seen := _saturation(entry, measured)) is not None]
    return Signal(
        list(found.values()),
        saturations,
        [path for chain in chains(order) if (path := _path([found[index] for index in chain])) is not None],
        int(answer["samples"]),
        int(answer["given"]),
        len(between) - len(saturations),
    )


def _taps(layers: Layers, constants: Constants, between: Sequence[Squashing]) -> list[_Tap]:
    taps: list[_Tap] = []
    for layer in layers.all:
        axis, follows = _unit_axis(layer), layer.activation
        scale = _scale(layer, constants)
        if scale is not None:
            taps.append(_Tap(layer.output, "variance", axis, False, layer.node, scale))
        if follows is not None and follows.name in _RECTIFIERS:
            taps.append(_Tap(follows.output, "silence", axis, False, layer.node))
    taps += [_Tap(entry.output, "saturation", -1, entry.is_logistic, entry.node) for entry in between]
    return sorted((tap for tap in taps if tap.key and _SCOPE not in tap.key), key=lambda tap: tap.node.index)


def _unit_axis(layer: Layer) -> int:
    if "Conv" in layer.kind:
        return 1
    return -2 if layer.kind == "MatMul" and layer.unit_axis == -2 else -1


def _scale(layer: Layer, constants: Constants) -> float | None:
    """What an integer output is multiplied by; 1 for a float one, None where that is not known."""
    node = layer.node
    if layer.output not in node.outputs[:1]:
        return 1.0  # a bias, or the factor of a quantized product, has made it a float
    place = _QUANTIZED_OUTPUT.get(node.op)
    if place is not None and node.input(place):
        return constants.scalar(node.input(place))
    return None if node.op in ("MatMulInteger", "ConvInteger") else 1.0


def _layer(layer: Layer, step: Step, measured: Mapping[tuple[int, str], tuple[_Tap, Mapping[str, Any]]]) -> LayerSignal:
    index = layer.node.index
    inside = "stands inside a function, a branch or a loop" if _SCOPE in layer.output else "gives unscaled integers"
    missing: tuple[None, Mapping[str, Any]] = (None, {"left_out": inside})
    tap, entry = measured.get((index, "variance"), missing)
    _, watched = measured.get((index, "silence"), (None, {}))
    variance = entry.get("variance")
    return LayerSignal(
        layer,
        step,
        None if variance is None or tap is None else variance * tap.scale**2,
        watched.get("silent"),
        int(watched.get("units", entry.get("units", layer.units))),
        entry.get("left_out"),
    )


def _saturation(
    entry: Squashing, measured: Mapping[tuple[int, str], tuple[_Tap, Mapping[str, Any]]]
) -> Saturation | None:
    share = measured.get((entry.node.index, "saturation"), (None, {}))[1].get("share")
    return None if share is None or math.isnan(share) else Saturation(entry, share)


def _path(chain: Sequence[LayerSignal]) -> Path | None:
    """The path that those of a chain's layers make whose variance is known, from the first on that the input reaches.

    A beginning of variance 0 depends on no input: positions that are embedded, queries that were learned.
    """
    known = [entry for entry in chain if entry.variance is not None and not math.isnan(entry.variance)]
    while known and not known[0].variance:
        known = known[1:]
    found = drift([entry.variance or 0.0 for entry in known])
    return None if found is None else Path(known, found)


@fact(only_for_rules=True)
def silence(signal: Signal) -> Silence:
    """The layers in front of a rectifier; a recurrent one has none."""
    watched = [
        SilentLayer(entry.layer, entry.silent, entry.units)
        for entry in signal.layers
        if entry.silent is not None and entry.layer.kind not in RECURRENT
    ]
    return Silence(watched, signal.samples, signal.inputs)
