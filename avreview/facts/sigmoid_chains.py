"""How many sigmoids multiply their slopes along a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.graphs import the_graph
from avreview.facts.layers import Layers
from avreview.facts.norms import NormLayers
from avreview.facts.weights import Constants

_Chain = tuple[Node, ...]


class SigmoidChains(NamedTuple):
    """The longest chain of sigmoids that ends at each sigmoid nothing continues, without a norm or a way around."""

    chains: Sequence[_Chain]


@fact
def sigmoid_chains(artifact: Artifact, constants: Constants, layers: Layers, norms: NormLayers) -> SigmoidChains:
    """Counts forward through the graph, keeping for each value the longest chain that leads to it."""
    graph = the_graph(artifact)
    after_layer = {layer.activation.node.index for layer in layers.all if layer.activation is not None}
    longest: dict[str, _Chain] = {}
    ended: dict[int, _Chain] = {}
    for node in graph.nodes:
        chain = _before(constants, node, longest)
        if node.op == "Sigmoid" and node.index in after_layer and not _is_gate(graph, constants, node):
            if chain:
                ended.pop(chain[-1].index, None)
            chain = (*chain, node)
            ended[node.index] = chain
        for output in node.outputs:
            if output in norms.by_output:
                chain = ()
            if chain:
                longest[output] = chain
    return SigmoidChains([ended[index] for index in sorted(ended)])


def _before(constants: Constants, node: Node, longest: dict[str, _Chain]) -> _Chain:
    chains = [longest.get(key, ()) for key in (*node.inputs, *node.branch_results) if key]
    if not any(chains):
        return ()
    computed = [longest.get(key, ()) for key in node.inputs if key and constants.weight(key) is None]
    if node.op in ("Add", "Sum", "Concat") and len(computed) > 1:
        return min(computed, key=len)  # a way around: the gradient takes it
    return max(chains, key=len)


def _is_gate(graph: Graph, constants: Constants, node: Node) -> bool:
    """A sigmoid whose result multiplies another signal."""
    return any(
        reader.op == "Mul" and any(key != node.outputs[0] and constants.weight(key) is None for key in reader.inputs)
        for reader in graph.consumers.get(node.outputs[0], ())
    )
