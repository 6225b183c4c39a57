"""Norms that are written out in elementary operators: mean, difference, square, mean, root, division.

Anchored at the root. Whatever the exporter's order, a norm divides (or multiplies by the reciprocal) by the root of
a mean of squares plus a small constant; the axes of that mean tell which norm it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.facts.flow import only_consumer
from avreview.facts.shapes import Shapes, reduced_axes
from avreview.facts.weights import Constants, Weight

_MEANS = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "GlobalAveragePool", "ReduceL2")


class WrittenNorm(NamedTuple):
    """A norm written out: `node` is its division, `input` what it normalizes."""

    kind: str
    node: Node
    input: str
    output: str
    eps: float | None
    gamma: Weight | None
    beta: Weight | None
    evidence: str


class _Deviation(NamedTuple):
    """The deviation that a norm divides by: of which value, what was squared, over which axes, with which eps."""

    source: str
    squared: str
    mean: Node
    eps: float | None
    centred: bool  # a mean was subtracted: not RMS


def written_norms(graph: Graph, constants: Constants, shapes: Shapes) -> Iterator[WrittenNorm]:
    """Every written-out norm of the graph, each once."""
    finder = _Finder(graph, constants, shapes)
    seen: set[int] = set()
    for node in graph.nodes:
        is_root = node.op == "Sqrt" or (node.op == "Pow" and constants.scalar(node.input(1)) in (0.5, -0.5))
        if is_root and not node.domain:
            for norm in finder.behind(node):
                if norm.node.index not in seen:
                    seen.add(norm.node.index)
                    yield norm


class _Finder:
    def __init__(self, graph: Graph, constants: Constants, shapes: Shapes) -> None:
        self._graph = graph
        self._constants = constants
        self._shapes = shapes

    def behind(self, root: Node) -> Iterator[WrittenNorm]:
        deviation = self._deviation(root.input(0))
        if deviation is None:
            return
        for division, normalized in self._divisions(root):
            source = self._same(normalized, deviation)
            if source is None:
                continue
            rank = self._shapes.rank(source)
            axes = self._axes(deviation.mean, rank)
            kind = self._kind(source, axes, rank, deviation)
            if kind is None:
                continue
            gamma, beta, output = self._affine(division.outputs[0])
            evidence = f"a mean over axes {list(axes or ())}, the batch axis among them" if kind == "BatchNorm" else ""
            yield WrittenNorm(kind, division, source, output, deviation.eps, gamma, beta, evidence)

    def _deviation(self, key: str) -> _Deviation | None:
        """Walks back from under the root to the mean of squares: past eps, a clamp, Bessel's correction."""
        eps = None
        for _ in range(6):
            node = self._graph.producer.get(key)
            if node is None:
                return None
            if node.op in _MEANS:
                return self._squares(node, eps)
            if node.op in ("Add", "Max", "Clip", "Mul", "Div", "Cast", "Relu", "Identity"):
                places = [place for place in node.inputs if place and place not in self._graph.constants]
                constant = next((n for k in node.inputs if k and (n := self._constants.scalar(k)) is not None), None)
                if node.op in ("Add", "Max") and constant is not None and eps is None:
                    eps = constant
                data = [place for place in places if self._constants.weight(place) is None]
                if not data:
                    return None
                key = data[0]
                continue
            return self._difference_of_squares(node, eps) if node.op == "Sub" else None
        return None

    def _squares(self, mean: Node, eps: float | None) -> _Deviation | None:
        key = mean.input(0)
        if mean.op in ("ReduceSumSquare", "ReduceL2"):
            squared: str | None = key
        else:
            squared = self._squared(key)
        if squared is None:
            return None
        difference = self._graph.producer.get(squared)
        if difference is not None and difference.op == "Sub" and self._is_mean(difference.input(1)):
            return _Deviation(difference.input(0), squared, mean, eps, centred=True)
        return _Deviation(squared, squared, mean, eps, centred=False)

    def _difference_of_squares(self, node: Node, eps: float | None) -> _Deviation | None:
        """A variance as the mean of squares less the square of the mean: Flax' fast form."""
        squares, average = self._graph.producer.get(node.input(0)), self._squared(node.input(1))
        mean = self._graph.producer.get(average) if average is not None else None
        if squares is None or mean is None or squares.op not in _MEANS or mean.op not in _MEANS:
            return None
        squared = self._squared(squares.input(0))
        if squared is None or mean.input(0) != squared:
            return None
        return _Deviation(squared, squared, squares, eps, centred=True)

    def _squared(self, key: str) -> str | None:
        node = self._graph.producer.get(key)
        if node is None:
            return None
        if node.op == "Pow" and self._constants.scalar(node.input(1)) == 2:
            return node.input(0)
        if node.op == "Mul" and node.input(0) == node.input(1):
            return node.input(0)
        return None

    def _is_mean(self, key: str) -> bool:
        for _ in range(4):
            node = self._graph.producer.get(key)
            if node is None:
                return False
            if node.op in _MEANS:
                return True
            if node.op not in ("Cast", "Identity", "Div", "Mul", "Reshape", "Unsqueeze", "Expand"):
                return False
            key = node.input(0)
        return False

    def _divisions(self, root: Node) -> Iterator[tuple[Node, str]]:
        """The nodes that scale something by the deviation's reciprocal, and what they scale."""
        inverted = root.op == "Pow" and (self._constants.scalar(root.input(1)) or 0) < 0
        waiting = [(root.outputs[0], inverted, 4)]
        while waiting:
            key, reciprocal, left = waiting.pop()
            for node in self._graph.consumers.get(key, ()):
                other = next((name for name in node.inputs if name and name != key), "")
                divides = node.op == "Div" and not reciprocal and node.input(1) == key
                multiplies = node.op == "Mul" and reciprocal and other
                if (divides or multiplies) and not self._constants.weight(other):
                    yield node, other
                elif left and node.op == "Reciprocal":
                    waiting.append((node.outputs[0], not reciprocal, left - 1))
                elif left and node.op == "Div" and node.input(1) == key:
                    waiting.append((node.outputs[0], True, left - 1))  # a constant over the deviation
                elif left and node.op in ("Mul", "Add", "Cast", "Identity", "Expand", "Reshape", "Max"):
                    waiting.append((node.outputs[0], reciprocal, left - 1))  # times γ, plus eps outside the root

    def _same(self, normalized: str, deviation: _Deviation) -> str | None:
        """The norm's input, when what is scaled is what was squared: the same value, or the same difference."""
        source = deviation.source
        if normalized in (deviation.squared, source):
            return source
        own = self._graph.producer.get(normalized)
        is_difference = own is not None and own.op == "Sub" and own.input(0) == source
        return source if deviation.centred and is_difference else None

    def _axes(self, mean: Node, rank: int | None) -> tuple[int, ...] | None:
        if mean.op == "GlobalAveragePool":
            return tuple(range(2, rank)) if rank else (2, 3)
        return reduced_axes(mean, self._constants, rank)

    def _kind(self, source: str, axes: tuple[int, ...] | None, rank: int | None, deviation: _Deviation) -> str | None:
        if axes is None:
            return None
        over_batch = 0 in axes and (len(axes) > 1 or self._axis_is_batch(source, rank))
        if over_batch and deviation.centred and (rank is None or len(axes) < rank):
            return "BatchNorm"
        if 0 in axes:
            return None  # over everything, or over time: a normalization of the input, not of a layer
        if not deviation.centred:
            return "RMSNorm"
        spatial = rank is not None and rank > 2 and axes == tuple(range(2, rank))
        return "InstanceNorm" if spatial and rank != 3 else "LayerNorm"

    def _axis_is_batch(self, source: str, rank: int | None) -> bool:
        """For a mean over axis 0 alone: true for a matrix of samples that a dense layer made."""
        producer = self._graph.producer.get(source)
        return rank == 2 and producer is not None and producer.op in ("Gemm", "MatMul", "Add")

    def _affine(self, key: str) -> tuple[Weight | None, Weight | None, str]:
        gamma, key = self._constant_operand("Mul", key)
        beta, key = self._constant_operand("Add", key)
        return gamma, beta, key

    def _constant_operand(self, op: str, key: str) -> tuple[Weight | None, str]:
        node = only_consumer(self._graph, key)
        if node is not None and node.op == "Cast":
            node = only_consumer(self._graph, node.outputs[0])
        if node is None or node.op != op or len(node.inputs) != 2:
            return None, key
        weights = [weight for name in node.inputs if (weight := self._constants.weight(name)) is not None]
        return (weights[0], node.outputs[0]) if weights else (None, key)
