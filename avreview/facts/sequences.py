"""Where a graph works along a sequence: recurrence, loops, attention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.drawing import Drawing
from avreview.facts.flow import MOVES
from avreview.facts.modules import module_path
from avreview.facts.weights import Constants

_OPERATORS = frozenset({
    "LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "Attention", "QAttention", "MultiHeadAttention", "GroupQueryAttention",
})  # fmt: skip
_SEQUENTIAL = re.compile(r"^(LSTM|GRU|RNN)(Cell)?$|Attention")
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class Sequences(NamedTuple):
    """The operators that work along a sequence, and how far behind them each node stands."""

    operators: Sequence[Node]
    distance: dict[int, int]  # node index → weight layers since the nearest sequence operator
    inside: frozenset[int]  # indices of the nodes in loop bodies, or in one module with a sequence operator

    def reaches(self, node: Node, most: int) -> bool:
        """True for a node inside a loop or a sequence module, or at most `most` weight layers behind an operator."""
        return node.index in self.inside or self.distance.get(node.index, most + 1) <= most


@fact
def sequences(drawing: Drawing, constants: Constants) -> Sequences:
    """Finds recurrent operators, loop bodies and attention, also written out as Softmax(Q Kᵀ) V."""
    graph = drawing.graph
    if not drawing.is_whole:
        return _by_modules(drawing)
    loops = {node.label for node in graph.nodes if node.op in ("Loop", "Scan")}
    looped = frozenset(node.index for node in graph.nodes if loops and _in_loop(node, loops))
    operators = [node for node in graph.nodes if node.op in _OPERATORS or node.op in ("Loop", "Scan")]
    operators += [node for node in graph.nodes if node.op == "MatMul" and _is_attention(graph, constants, node)]
    operators.sort(key=lambda node: node.index)
    return Sequences(operators, _distances(graph, constants, operators), looped)


def _by_modules(drawing: Drawing) -> Sequences:
    """What a module tree tells: a node is inside a sequence model where its module's parent holds such a module too.

    The root is no such parent: a backbone beside a temporal head is not one with it.
    """
    found = {path for path, module in drawing.modules.items() if _SEQUENTIAL.search(module.kind)}
    parents = {path.rpartition(".")[0] for path in found} - {""}
    nodes = drawing.graph.nodes
    operators = [node for node in nodes if (module_path(node) or "") in found]
    inside = {node.index for node in nodes if (module_path(node) or "").rpartition(".")[0] in parents}
    return Sequences(operators, {}, frozenset(inside))


def _in_loop(node: Node, loops: set[str]) -> bool:
    return any(node.scope == label or node.scope.startswith(f"{label}/") for label in loops)


def _is_attention(graph: Graph, constants: Constants, node: Node) -> bool:
    """The second product of written-out attention: computed weights from a Softmax, times computed values."""
    if any(constants.weight(key) is not None for key in node.inputs[:2]):
        return False
    key = node.input(0)
    for _ in range(6):
        before = graph.producer.get(key)
        if before is None:
            return False
        if before.op == "Softmax":
            return True
        if before.op not in MOVES and before.op not in ("Where", "Mul"):
            return False
        key = before.input(1 if before.op == "Where" else 0)
    return False


def _distances(graph: Graph, constants: Constants, operators: Sequence[Node]) -> dict[int, int]:
    distance = {node.index: 0 for node in operators}
    for node in graph.nodes:  # in data-flow order: every producer has its distance already
        if node.index in distance:
            continue
        sources = (graph.producer.get(key) for key in (*node.inputs, *node.branch_results) if key)
        before = [distance[source.index] for source in sources if source is not None and source.index in distance]
        if before:
            weighted = node.op in _WEIGHTED and any(constants.weight(key) is not None for key in node.inputs if key)
            distance[node.index] = min(before) + weighted
    return distance
