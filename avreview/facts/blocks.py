"""Blocks of a weight layer, a norm and an activation, by the order of the last two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import fact
from avreview.facts.activations import ActivationFinder
from avreview.facts.drawing import Drawing
from avreview.facts.flow import only_consumer
from avreview.facts.layers import Layer, Layers
from avreview.facts.norms import NormLayers

_GATES = ("sigmoid", "hardsigmoid", "softmax", "log_softmax")


class Blocks(NamedTuple):
    """Layers whose result goes through exactly one norm and one activation, undivided."""

    artifact: str
    before: Sequence[Layer]  # norm, then activation
    after: Sequence[Layer]  # activation, then norm


@fact
def blocks(
    artifact: Artifact, drawing: Drawing, layers: Layers, norms: NormLayers, activations: ActivationFinder
) -> Blocks:
    """Sorts the layers by the order in which norm and activation follow them."""
    graph = drawing.graph
    before, after = [], []
    for layer in layers.weighted:
        if layer.activation is None or layer.activation.name in _GATES:
            continue
        if layer.norm is not None:
            before.append(layer)
            continue
        norm = norms.by_input.get(layer.activation.output)
        alone = only_consumer(graph, layer.activation.output) is not None
        if norm is not None and alone and activations.after(norm.output) is None:
            after.append(layer)
    return Blocks(artifact.provenance.path, before, after)
