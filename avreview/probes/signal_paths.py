"""Which weight layers follow one another along the signal's way, and which activations stand on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.facts.flow import MOVES
from avreview.facts.layers import RECURRENT, Layers
from avreview.facts.weights import Constants

# Behind these a value's scale is no longer that of what went in: what counts, picks, averages or weighs it.
_ENDS = frozenset({
    "ArgMax", "ArgMin", "Attention", "Equal", "Exp", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater",
    "GreaterOrEqual", "GroupQueryAttention", "Less", "LessOrEqual", "Log", "LogSoftmax", "MultiHeadAttention",
    "NonMaxSuppression", "NonZero", "QAttention", "QLinearGlobalAveragePool", "QLinearSoftmax", "ReduceL1", "ReduceL2",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Shape", "Size", "Softmax", "TopK",
})  # fmt: skip
_SQUASHING = {"Tanh": "tanh", "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid"}
_JUDGED = frozenset({*_SQUASHING.values(), "hardtanh"})
# What hands a value on, scaled or shifted at most.
_HANDS_ON = MOVES | {
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Div", "Gather", "GlobalAveragePool", "MaxPool",
    "Mul", "Neg", "Pad", "Resize", "Sub", "Upsample", "Where",
}  # fmt: skip
_FARTHEST = 64  # nodes behind an activation that are looked at


class Step(NamedTuple):
    """A weight layer on the signal's way: the layer `before` it (None at a beginning), and its place in that order.

    `goes_on` is False where no further layer takes its signal up: a head, a gate, attention's queries and keys.
    """

    before: int | None
    depth: int
    goes_on: bool


class Squashing(NamedTuple):
    """A tanh or sigmoid (or a hard variant) between layers: neither a gate nor the model's output."""

    name: str
    output: str
    node: Node

    @property
    def is_logistic(self) -> bool:
        """Whether it goes from 0 to 1, and not from -1 to 1."""
        return "sigmoid" in self.name


def steps(graph: Graph, constants: Constants, layers: Layers) -> dict[int, Step]:
    """The weight layers by node index. Of several layers in front of one the deepest counts."""
    nearest: dict[str, int] = {}
    depth: dict[int, int] = {}
    before: dict[int, int | None] = {}
    for node in graph.nodes:
        sources = {nearest[key] for key in (*node.inputs, *node.branch_results) if key in nearest}
        last = max(sources, key=lambda index: (depth[index], index), default=None)
        layer = layers.by_node.get(node.index)
        if layer is not None:
            before[node.index] = last
            depth[node.index] = 1 if last is None else depth[last] + 1
            last = node.index if layer.kind not in RECURRENT else None
        elif node.op in _ENDS or (last is not None and node.op in _SQUASHING and _is_gate(graph, constants, node)):
            last = None
        if last is not None:
            nearest.update(dict.fromkeys(filter(None, node.outputs), last))
    taken_up = set(before.values())
    return {index: Step(before[index], depth[index], index in taken_up) for index in before}


def squashings(graph: Graph, constants: Constants, layers: Layers) -> list[Squashing]:
    """The activations between layers that can saturate, in data-flow order."""
    found = {node.outputs[0]: Squashing(_SQUASHING[node.op], node.outputs[0], node)
             for node in graph.nodes if node.op in _SQUASHING and not node.domain}  # fmt: skip
    for layer in layers.all:
        follows = layer.activation
        if follows is not None and follows.name in _JUDGED:
            found.setdefault(follows.output, Squashing(follows.name, follows.output, follows.node))
    between = [entry for entry in found.values() if _leads_to(graph, constants, layers, entry.output) == "layer"]
    return sorted(between, key=lambda entry: entry.node.index)


def _is_gate(graph: Graph, constants: Constants, node: Node) -> bool:
    return _leads_to(graph, constants, None, node.outputs[0]) == "gate"


def _leads_to(graph: Graph, constants: Constants, layers: Layers | None, key: str) -> str:
    """Where a value goes: a `gate`, where it multiplies another signal, else a `layer`, else the `end`."""
    waiting, seen = [key], {key}
    found = "end"
    while waiting and len(seen) < _FARTHEST:
        current = waiting.pop(0)
        for node in graph.consumers.get(current, ()):
            others = [entry for entry in node.inputs if entry and entry != current]
            computed = [entry for entry in others if constants.weight(entry) is None]
            if layers is not None and node.index in layers.by_node:
                found = "layer"
            elif node.op in ("Mul", "Div", "MatMul", "Pow") and computed:
                return "gate"
            elif node.op in _HANDS_ON or node.op.endswith("Normalization"):
                fresh = [output for output in node.outputs if output and output not in seen]
                seen.update(fresh)
                waiting += fresh
    return found


def chains(order: Mapping[int, Step]) -> list[list[int]]:
    """From each beginning the longest chain of layers that follow one another, without a last one that ends there."""
    beginning: dict[int, int] = {}
    end: dict[int, int] = {}
    for index, step in order.items():  # in data-flow order: what stands before a layer has been seen
        own = beginning[index] = index if step.before is None else beginning[step.before]
        rival = order[end.setdefault(own, index)]
        if (step.depth, step.goes_on) >= (rival.depth, rival.goes_on):
            end[own] = index
    return [_chain(order, last) for _, last in sorted(end.items())]


def _chain(order: Mapping[int, Step], last: int) -> list[int]:
    chain = [last]
    while (before := order[chain[-1]].before) is not None:
        chain.append(before)
    chain.reverse()
    return chain if order[last].goes_on else chain[:-1]
