"""The scale that residual branches end in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.drawing import Drawing
from avreview.facts.flow import MOVES, ancestors, only_consumer
from avreview.facts.layers import Layer, Layers
from avreview.facts.parameters import statistics_of
from avreview.facts.statistics import Statistics
from avreview.facts.units import UnitWeights
from avreview.facts.weights import Constants, Weight


class ResidualBranch(NamedTuple):
    """A branch whose last layer, norm or factor decides how much of it reaches the sum."""

    layer: Layer
    addition: Node
    largest: float  # the scale's largest element, which the whole scale is no smaller than
    by: str  # what gives the scale: `norm`, `factor` or `weight`
    weight: Weight

    def scale(self, most: float) -> float:
        """What the branch is multiplied by: of a weight its largest unit, worked out only where it may be `most`."""
        return self.largest if self.by != "weight" or self.largest > most else _largest_unit(self.layer)


class ResidualBranches(NamedTuple):
    """Every residual branch, with its end scale."""

    graph: Graph
    all: Sequence[ResidualBranch]

    def has_shortcut(self, branch: ResidualBranch) -> bool:
        """True when the sum's other side goes around the branch: it is among what the branch is computed from."""
        own = branch.layer.node
        behind = {
            key
            for node in ancestors(self.graph, own.outputs[0])
            for key in node.inputs
            if key and key not in self.graph.constants
        }
        others = [key for key in branch.addition.inputs if key and own not in ancestors(self.graph, key)]
        return any(key in behind or self._shares(key, behind) for key in others)

    def _shares(self, key: str, behind: set[str]) -> bool:
        """A shortcut with a layer of its own (a projection) starts at a value of the branch too."""
        near = list(ancestors(self.graph, key, limit=6))
        return any(source in behind for node in near for source in node.inputs if source)


@fact
def residual_branches(
    drawing: Drawing, constants: Constants, layers: Layers, statistics: Statistics
) -> ResidualBranches:
    """Finds, for each layer that ends in a sum, what scales its result."""
    graph = drawing.graph
    found = list(_branches(graph, constants, layers, statistics))
    if not found:
        drawing.require_flow()
    return ResidualBranches(graph, found)


def _branches(graph: Graph, constants: Constants, layers: Layers, statistics: Statistics) -> Iterator[ResidualBranch]:
    for layer in layers.weighted:
        addition, factor = _end(graph, constants, layer)
        if addition is None or layer.weight is None:
            continue
        if factor is not None:
            yield ResidualBranch(layer, addition, float(abs(factor.read()).max(initial=0)), "factor", factor)
        elif layer.norm is not None and layer.norm.gamma is not None and layer.activation is None:
            gamma = layer.norm.gamma
            yield ResidualBranch(layer, addition, float(abs(gamma.read()).max(initial=0)), "norm", gamma)
        elif layer.norm is None and layer.activation is None and UnitWeights(layer).readable:
            measured = statistics_of(statistics, layer.weight)
            largest = measured.abs_max if measured is not None else _largest_unit(layer)
            yield ResidualBranch(layer, addition, largest, "weight", layer.weight)


def _end(graph: Graph, constants: Constants, layer: Layer) -> tuple[Node | None, Weight | None]:
    """The sum that a layer's result ends in, and a constant factor (LayerScale) on the way to it."""
    if layer.residual is not None:
        return layer.residual, None
    key, factor = layer.norm.output if layer.norm is not None else layer.output, None
    for _ in range(6):
        node = only_consumer(graph, key)
        if node is None:
            return None, None
        others = [name for name in node.inputs if name and name != key]
        if node.op == "Mul" and factor is None and len(others) == 1:
            factor = constants.weight(others[0])
            if factor is None:
                return None, None
        elif node.op == "Add" and factor is not None and all(constants.weight(name) is None for name in others):
            return node, factor
        elif node.op not in MOVES:
            return None, None
        key = node.outputs[0]
    return None, None


def _largest_unit(layer: Layer) -> float:
    """The largest root of a sum of squares over one unit's weights, from a block of them."""
    import numpy as np

    block = UnitWeights(layer).block(1 << 20).astype(np.float64)
    return float(np.sqrt((block**2).sum(axis=1)).max(initial=0))
