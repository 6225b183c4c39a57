"""Sigmoid and softmax at the outputs, and what they are applied to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.flow import MOVES
from avreview.facts.graphs import the_graph
from avreview.facts.layers import Layers
from avreview.facts.weights import Constants

_SQUASHING = ("Sigmoid", "Softmax")
_MOVES = MOVES | {"Gather", "Concat", "Split"}


class RepeatedActivation(NamedTuple):
    """A squashing operator, or the last one of a written-out form, applied to the result of another."""

    first: Node
    second: Node
    kinds: tuple[str, str]  # Sigmoid, Softmax or LogSoftmax, of both


class OutputActivations(NamedTuple):
    """What squashes the outputs: every Sigmoid or Softmax with no weight layer behind it, and repeated ones."""

    last: Sequence[Node]
    repeated: Sequence[RepeatedActivation]


@fact
def output_activations(artifact: Artifact, layers: Layers, constants: Constants) -> OutputActivations:
    """Walks back from the outputs as far as the last weight layers."""
    graph = the_graph(artifact)
    finder = _Finder(graph, constants)
    ends = [(node, squashing) for node in _before_outputs(graph, layers) if (squashing := finder.squashing(node))]
    repeated = [
        RepeatedActivation(before, node, (first, second))
        for node, (second, source) in ends
        for before, first in finder.squashed(source)
    ]
    return OutputActivations([node for node, _ in ends], repeated)


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


class _Finder:
    def __init__(self, graph: Graph, constants: Constants) -> None:
        self._graph = graph
        self._constants = constants

    def squashing(self, node: Node) -> tuple[str, str] | None:
        """What a node squashes by, and the value it squashes; for a written-out form, at its last node."""
        if node.op in (*_SQUASHING, "LogSoftmax"):
            return node.op, node.input(0)
        if node.op == "Reciprocal":
            return self._logistic(node.input(0))
        if node.op != "Div":
            return None
        if self._constants.scalar(node.input(0)) == 1:
            return self._logistic(node.input(1))
        exponential, total = (self._graph.producer.get(key) for key in node.inputs[:2])
        if exponential is None or total is None or (exponential.op, total.op) != ("Exp", "ReduceSum"):
            return None
        return ("Softmax", self._shifted(exponential.input(0))) if total.input(0) == node.input(0) else None

    def squashed(self, key: str) -> Iterator[tuple[Node, str]]:
        """The Sigmoid or Softmax whose unchanged values a value holds."""
        for _ in range(16):
            node = self._graph.producer.get(key)
            if node is None:
                return
            squashing = self.squashing(node)
            if squashing is not None and squashing[0] in _SQUASHING:
                yield node, squashing[0]
                return
            if node.op not in _MOVES:
                return
            key = node.input(0)

    def _logistic(self, key: str) -> tuple[str, str] | None:
        """1 + Exp(-x), of which a sigmoid is the reciprocal."""
        total = self._graph.producer.get(key)
        if total is None or total.op != "Add" or len(total.inputs) != 2:
            return None
        for one, rest in (total.inputs, total.inputs[::-1]):
            exponential = self._graph.producer.get(rest)
            if exponential is not None and exponential.op == "Exp" and self._constants.scalar(one) == 1:
                negative = self._graph.producer.get(exponential.input(0))
                if negative is not None and negative.op == "Neg":
                    return "Sigmoid", negative.input(0)
        return None

    def _shifted(self, key: str) -> str:
        """The value behind the subtraction of its maximum, which changes no softmax."""
        node = self._graph.producer.get(key)
        if node is None or node.op != "Sub":
            return key
        largest = self._graph.producer.get(node.input(1))
        return node.input(0) if largest is not None and largest.op == "ReduceMax" else key


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
