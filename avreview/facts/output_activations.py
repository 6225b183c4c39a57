"""Sigmoid and softmax at the outputs, and what they are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.flow import MOVES
from avreview.facts.graphs import the_graph
from avreview.facts.layers import Layers

_SQUASHING = ("Sigmoid", "Softmax")
_MOVES = MOVES | {"Gather", "Concat", "Split"}


class RepeatedActivation(NamedTuple):
    """A squashing operator applied to the result of another."""

    first: Node
    second: Node


class OutputActivations(NamedTuple):
    """What squashes the outputs: every Sigmoid or Softmax with no weight layer behind it, and repeated ones."""

    last: Sequence[Node]
    repeated: Sequence[RepeatedActivation]


@fact
def output_activations(artifact: Artifact, layers: Layers) -> OutputActivations:
    """Walks back from the outputs as far as the last weight layers."""
    graph = the_graph(artifact)
    last = [node for node in _before_outputs(graph, layers) if node.op in (*_SQUASHING, "LogSoftmax")]
    repeated = [RepeatedActivation(first, node) for node in last if (first := _squashed_before(graph, node))]
    return OutputActivations(last, repeated)


def _before_outputs(graph: Graph, layers: Layers) -> list[Node]:
    """The nodes between the last weight layers and the outputs, in data-flow order."""
    found: dict[int, Node] = {}
    waiting = [info.name for info in graph.outputs]
    while waiting:
        node = graph.producer.get(waiting.pop())
        if node is None or node.index in found or node.index in layers.by_node:
            continue
        found[node.index] = node
        waiting += [key for key in (*node.inputs, *node.branch_results) if key]
    return [found[index] for index in sorted(found)]


def _squashed_before(graph: Graph, node: Node) -> Node | None:
    """The Sigmoid or Softmax whose unchanged values `node` squashes again."""
    key = node.input(0)
    for _ in range(16):
        before = graph.producer.get(key)
        if before is None:
            return None
        if before.op in _SQUASHING:
            return before
        if before.op not in _MOVES:
            return None
        key = before.input(0)
    return None


def final_layers(graph: Graph, layers: Layers) -> frozenset[int]:
    """The indices of the weight layers behind which no other stands: they give the model's outputs."""
    found: set[int] = set()
    seen: set[int] = set()
    waiting = [info.name for info in graph.outputs]
    while waiting:
        node = graph.producer.get(waiting.pop())
        if node is None or node.index in seen:
            continue
        seen.add(node.index)
        if node.index in layers.by_node:
            found.add(node.index)
            continue
        waiting += [key for key in (*node.inputs, *node.branch_results) if key]
    return frozenset(found)
