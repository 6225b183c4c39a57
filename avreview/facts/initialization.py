"""Which layers are still at an initialization, and at which."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.engine.cards import Thresholds, catalogue
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.drawing import Drawing
from avreview.facts.gradients import Gradients
from avreview.facts.layers import RECURRENT, Layer, Layers
from avreview.facts.norms import Norm
from avreview.facts.output_activations import final_layers
from avreview.facts.parameters import statistics_of
from avreview.facts.scheme_names import Fans
from avreview.facts.scheme_sample import SAMPLE_ELEMENTS, WeightSample
from avreview.facts.schemes import Companion, Match, SchemeLimits, companion_of, recognise
from avreview.facts.statistics import Statistics, TensorStatistics
from avreview.facts.units import UnitWeights
from avreview.facts.weights import Constants, Weight

DRAWN = ("uniform", "normal", "truncated-normal", "orthogonal")
_MOST_RECURRENT = 1 << 22  # elements of a recurrent weight, which is read whole, direction by direction


class Initialization(NamedTuple):
    """A weight of a layer, and the draw that it cannot be told from (None: it was trained)."""

    layer: Layer
    weight: Weight
    elements: int
    match: Match | None
    is_final: bool
    follower_known: bool = True  # whether what reads the layer's result can be seen
    no_gradient: str = ""  # what in the optimizer's state shows that it never received one

    @property
    def untouched(self) -> bool:
        """True when nothing tells the weight from a fresh draw of a named scheme."""
        return self.match is not None and self.match.strength == "untouched" and self.match.distribution in DRAWN

    @property
    def scheme(self) -> str:
        """The scheme as a person would say it."""
        if self.match is None:
            return ""
        return self.match.schemes[0].label if self.match.schemes else f"{self.match.distribution} of any scale"


class Initializations(NamedTuple):
    """Every weight that could be judged, in data-flow order. `untrained_share` is by elements."""

    artifact: str
    all: Sequence[Initialization]
    unreadable: int
    untrained_share: float
    wholly_untrained: bool

    @property
    def untouched(self) -> list[Initialization]:
        return [entry for entry in self.all if entry.untouched]

    def require(self) -> None:
        """Raises NotAvailable or NotApplicable when no weight could be judged."""
        if not self.all and self.unreadable:
            raise NotAvailable("needs weights in floating point; the file holds only quantized, computed or tiny ones")
        if not self.all:
            raise NotApplicable("the model has no layer with weights")


@fact
def initializations(
    artifact: Artifact,
    drawing: Drawing,
    constants: Constants,
    layers: Layers,
    statistics: Statistics,
    gradients: Gradients | None,
) -> Initializations:
    """Tests every layer's weights. The limits are AV201's, whoever asks: a layer is trained or it is not."""
    limits = catalogue()["AV201"].limits
    judge = _Judge(constants, statistics, limits, gradients)
    final = final_layers(drawing.graph, layers)
    found: list[Initialization] = []
    unreadable = 0
    neighbours = {} if drawing.is_whole else _norms_behind(layers)
    for layer in layers.weighted:
        known = drawing.is_whole or layer.output in drawing.graph.consumers
        norm = layer.norm or neighbours.get(layer.node.index)
        entries = [
            entry._replace(follower_known=known) for entry in judge.layer(layer, layer.node.index in final, norm)
        ]
        unreadable += not entries
        found += entries
    total = sum(entry.elements for entry in found)
    share = sum(entry.elements for entry in found if entry.untouched) / total if total else 0.0
    return Initializations(
        artifact.provenance.path, found, unreadable, share, bool(total) and share >= limits.untrained_share
    )


def _norms_behind(layers: Layers) -> dict[int, Norm]:
    """The norm that was registered right after a layer and has a channel for each of its units, by the layer's index.

    A tree lists modules mostly in the order in which they are called, so this is the layer's norm as a rule. It
    counts as a companion alone: as evidence that nothing around the layer was trained either.
    """
    norms = {norm.node.index: norm for norm in layers.norms.all}
    return {
        layer.node.index: norm
        for layer in layers.weighted
        if (norm := norms.get(layer.node.index + 1)) is not None
        and norm.gamma is not None
        and norm.gamma.tensor.size == layer.units
    }


class _Judge:
    def __init__(
        self, constants: Constants, statistics: Statistics, limits: Thresholds, gradients: Gradients | None
    ) -> None:
        self._gradients = gradients
        self._constants = constants
        self._statistics = statistics
        self._limits = SchemeLimits.of(limits)
        self._smallest = limits.uniform_min_elements

    def layer(self, layer: Layer, is_final: bool, norm: Norm | None) -> Iterator[Initialization]:
        """The layer's weights that are large enough and readable; `norm` stands behind it."""
        if layer.weight is None or not layer.fan_in or not layer.weight.is_plain:
            return
        if layer.kind in RECURRENT:
            yield from self._recurrent(layer, is_final)
            return
        units = UnitWeights(layer)
        measured = statistics_of(self._statistics, layer.weight)
        if measured is None or measured.count < self._smallest or not units.readable:
            return
        fans = Fans(layer.fan_in, layer.fan_out, layer.groups, transposed=layer.kind == "ConvTranspose")
        if not self._may_be_fresh(measured):
            yield Initialization(layer, layer.weight, measured.count, None, is_final)
            return
        sample = WeightSample(units.block(SAMPLE_ELEMENTS), measured)
        match = recognise(sample, fans=fans, limits=self._limits, companion=self._companion(layer, norm))
        yield self._with_gradient(layer, layer.weight, sample, fans, match, is_final)

    def _with_gradient(
        self, layer: Layer, weight: Weight, sample: WeightSample, fans: Fans, match: Match | None, is_final: bool
    ) -> Initialization:
        """The match, which an optimizer that never saw a gradient for the weight makes certain."""
        never = self._gradients.never(weight.name) if match is not None and self._gradients is not None else ""
        if never and match is not None and match.companion is None:
            match = recognise(sample, fans=fans, limits=self._limits, companion=Companion("no-gradient", weight.name))
        return Initialization(layer, weight, sample.statistics.count, match, is_final, no_gradient=never)

    @staticmethod
    def _may_be_fresh(measured: TensorStatistics) -> bool:
        """Nothing is read again of a weight whose kurtosis no draw has: 1.8 uniform, 3 normal."""
        return measured.is_constant or not math.isfinite(measured.kurtosis) or 1.0 < measured.kurtosis < 4.5

    def _recurrent(self, layer: Layer, is_final: bool) -> Iterator[Initialization]:
        """Input and hidden weights of each direction by themselves: one of them alone may never have been trained."""
        for place in (1, 2):
            weight = self._constants.weight(layer.node.input(place))
            if weight is None or not weight.is_plain or weight.shape is None or len(weight.shape) != 3:
                continue
            if not self._smallest <= weight.tensor.size <= _MOST_RECURRENT:
                continue
            hidden = int(layer.node.attributes.get("hidden_size", 0)) or None
            for rows in weight.read():
                fans = Fans(rows.shape[1], rows.shape[0], hidden=hidden)
                sample = WeightSample(rows)
                match = recognise(sample, fans=fans, limits=self._limits)
                yield self._with_gradient(layer, weight, sample, fans, match, is_final)

    def _companion(self, layer: Layer, norm: Norm | None) -> Companion | None:
        gamma = norm.gamma if norm is not None else None
        beta = norm.beta if norm is not None else None
        return companion_of(
            limits=self._limits,
            bias=self._named(layer.bias),
            norm_scale=self._named(gamma),
            norm_shift=self._named(beta),
            bias_fan=layer.fan_in,
        )

    def _named(self, weight: Weight | None) -> tuple[str, TensorStatistics] | None:
        if weight is None or not weight.tensor.size:
            return None
        measured = statistics_of(self._statistics, weight)
        return None if measured is None else (weight.name, measured)
