"""The learned parameters of a graph: constants that a layer, a norm or a table takes, and in which role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Tensor
from avreview.engine.resolve import fact
from avreview.engine.review import Location
from avreview.facts.drawing import Drawing
from avreview.facts.layers import RECURRENT, Layers
from avreview.facts.modules import locate, parameter_module
from avreview.facts.norms import NormLayers
from avreview.facts.statistics import Statistics, TensorStatistics
from avreview.facts.weights import Constants, Weight


class Parameter(NamedTuple):
    """A constant that was learned, what it serves as, and where it is used first."""

    tensor: Tensor
    role: str  # weight, bias, scale, shift, running mean, running variance, table, factor
    at: Location

    def first_non_finite(self, *, infinite: bool = True) -> int | None:
        """The flat index of the first NaN, or with `infinite` of the first NaN or infinity."""
        import numpy as np

        passed = 0
        for chunk in self.tensor.chunks():
            bad = ~np.isfinite(chunk) if infinite else np.isnan(chunk)
            if bad.any():
                return passed + int(bad.argmax())
            passed += len(chunk)
        return None


class Parameters(NamedTuple):
    """Every floating-point parameter, each tensor once, in data-flow order."""

    all: Sequence[Parameter]


@fact
def statistics(artifact: Artifact) -> Statistics:
    """Statistics of the file's tensors, each measured when first asked for."""
    return Statistics(artifact.tensors)


@fact
def parameters(
    artifact: Artifact, drawing: Drawing, constants: Constants, layers: Layers, norms: NormLayers
) -> Parameters:
    """Collects what layers and norms take, tables that are looked up, and constant factors of more than one element.

    Of a checkpoint every other tensor counts as well: each was put there to be loaded.
    """
    graph = drawing.graph
    path = artifact.provenance.path
    found: dict[int, Parameter] = {}
    uses = (
        *_of_layers(path, constants, layers),
        *_of_norms(path, norms),
        *_others(path, graph, constants),
        *_rest(artifact, drawing),
    )
    for weight, role, at in uses:
        tensor = weight.tensor
        if tensor.is_floating and tensor.size and id(tensor) not in found:
            found[id(tensor)] = Parameter(tensor, role, at)
    return Parameters(list(found.values()))


_Use = tuple[Weight, str, Location]


def _of_layers(path: str, constants: Constants, layers: Layers) -> Iterator[_Use]:
    for layer in layers.all:
        if layer.weight is not None:
            yield layer.weight, "weight", layer.location(path)
        if layer.bias is not None:
            yield layer.bias, "bias", locate(path, layer.node, layer.module, layer.bias.name)
        if layer.kind in RECURRENT and (hidden := constants.weight(layer.node.input(2))) is not None:
            yield hidden, "weight", locate(path, layer.node, layer.module, hidden.name)


def _of_norms(path: str, norms: NormLayers) -> Iterator[_Use]:
    for norm in norms.all:
        roles = (
            (norm.gamma, "scale"),
            (norm.beta, "shift"),
            (norm.mean, "running mean"),
            (norm.variance, "running variance"),
        )
        for weight, role in roles:
            if weight is not None:
                yield weight, role, norm.location(path, weight.name)


def _others(path: str, graph: Graph, constants: Constants) -> Iterator[_Use]:
    """Embedding tables, and constants of several elements that data is multiplied with or added to."""
    for node in graph.nodes:
        places: Sequence[int] = {"Gather": (0,), "Mul": (0, 1), "Add": (0, 1), "PRelu": (1,)}.get(node.op, ())
        for place in places:
            weight = constants.weight(node.input(place)) if node.input(place) else None
            if weight is not None and weight.tensor.size > 1:
                role = "table" if node.op == "Gather" else "factor"
                module = parameter_module(weight.name)
                yield weight, role, locate(path, node, module, weight.name)


def _rest(artifact: Artifact, drawing: Drawing) -> Iterator[_Use]:
    """Every tensor of a checkpoint; where it is used is not known."""
    if drawing.is_whole:
        return
    for name, tensor in artifact.tensors.items():
        at = Location(artifact.provenance.path, module=name.rpartition(".")[0] or None, tensor=tensor.name)
        yield Weight(name, tensor, shape=tensor.shape), "tensor", at


def statistics_of(statistics: Statistics, weight: Weight) -> TensorStatistics | None:
    """Statistics of a weight's own values; None where the file holds integers and a scale."""
    return statistics.of(weight.tensor) if weight.is_plain else None
