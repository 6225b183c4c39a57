"""What stands around a dropout: the dense layers next to it, the norm behind it."""

from __future__ import annotations

from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.drawing import Drawing
from avreview.facts.layers import Layers
from avreview.facts.modules import module_path
from avreview.facts.norms import RUNNING, Norm, NormLayers
from avreview.facts.randomness import Dropout

_DENSE = ("Gemm", "MatMul")
_STEPS = 4  # nodes between a dropout and the dense layer it belongs to: activation, bias, reshape


class DropoutContext(NamedTuple):
    """The neighbourhood of dropouts in the graph; in a drawn one also among the modules registered next to them."""

    drawing: Drawing
    graph: Graph
    layers: Layers
    norms: NormLayers

    def dense_width(self, node: Node) -> int:
        """The largest number of inputs or outputs of the dense layers directly around a node; 0 without one."""
        found = [self._nearest(node, forward=forward) for forward in (False, True)]
        if not self.drawing.is_whole:
            found += [self._registered(node, step) for step in (-1, 1)]
        return max((max(layer.fan_in, layer.units) for layer in found if layer is not None), default=0)

    def _registered(self, node: Node, step: int) -> _DenseLayer | None:
        """The dense layer registered nearest before or after a drawn node, in the same parent module."""
        parent = (module_path(node) or "").rpartition(".")[0]
        for index in range(node.index + step, node.index + step * (_STEPS + 1), step):
            if not 0 <= index < len(self.graph.nodes):
                return None
            if (module_path(self.graph.nodes[index]) or "").rpartition(".")[0] != parent:
                return None
            layer = self.layers.by_node.get(index)
            if layer is not None:
                return _DenseLayer(layer.fan_in, layer.units) if layer.kind in _DENSE else None
        return None

    def _nearest(self, node: Node, *, forward: bool) -> _DenseLayer | None:
        for _ in range(_STEPS):
            if forward:
                readers = self.graph.consumers.get(node.outputs[0], ())
                following = readers[0] if readers else None
            else:
                following = self.graph.producer.get(node.input(0))
            if following is None:
                return None
            layer = self.layers.by_node.get(following.index)
            if layer is not None:
                return _DenseLayer(layer.fan_in, layer.units) if layer.kind in _DENSE else None
            node = following
        return None

    def next_batch_norm(self, dropout: Dropout, most_layers: int) -> Norm | None:
        """The running-statistics batch norm that a dropout's signal reaches first, or None.

        Any other norm ends the search: it measures at inference what it divides by.
        """
        waiting, seen = [(dropout.output, 0)], {dropout.output}
        while waiting:
            key, passed = waiting.pop(0)
            norm = self.norms.by_input.get(key)
            if norm is not None:
                if norm.kind == "BatchNorm" and norm.statistics == RUNNING:
                    return norm
                continue
            for node in self.graph.consumers.get(key, ()):
                further = passed + (node.index in self.layers.by_node)
                if further <= most_layers and node.outputs and node.outputs[0] not in seen and node.op != "Shape":
                    seen.add(node.outputs[0])
                    waiting.append((node.outputs[0], further))
        return None


class _DenseLayer(NamedTuple):
    fan_in: int
    units: int


@fact
def dropout_context(drawing: Drawing, layers: Layers, norms: NormLayers) -> DropoutContext:
    """The graph around its dropouts."""
    return DropoutContext(drawing, drawing.graph, layers, norms)
