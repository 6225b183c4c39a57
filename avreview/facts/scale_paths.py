"""Whether an input's absolute scale survives the norms behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.graphs import the_graph
from avreview.facts.layers import Layers
from avreview.facts.modules import module_path
from avreview.facts.norms import SAMPLE, Norm, NormLayers
from avreview.facts.shapes import Shapes, reduced_axes
from avreview.facts.weights import Constants

_SIZES = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceSum", "ReduceSumSquare"})
_AROUND = frozenset({"Add", "Cast", "Clip", "Expand", "Identity", "Max", "Pow", "Reshape", "Sqrt", "Unsqueeze"})


class ScalePaths(NamedTuple):
    """The paths from inputs to per-sample norms."""

    graph: Graph
    layers: Layers
    by_input: Mapping[str, Sequence[Norm]]  # per-sample norms

    def hiding_norms(self, name: str, most_layers: int) -> Sequence[Norm]:
        """The per-sample norms that every path from the input `name` meets behind at most `most_layers` weight layers.

        Empty when some path passes that many layers, or reaches an output, with its scale.
        """
        found: dict[int, Norm] = {}
        seen = {(name, 0)}
        waiting = [(name, 0)]
        outputs = {info.name for info in self.graph.outputs}
        while waiting:
            key, passed = waiting.pop()
            norms = self.by_input.get(key, ())
            found.update({norm.node.index: norm for norm in norms})
            if key in outputs or passed > most_layers:
                return []
            for node in self.graph.consumers.get(key, ()):
                if node.op in ("Shape", "Size") or any(_belongs(node, norm) for norm in norms):
                    continue
                further = passed + (node.index in self.layers.by_node)
                for output in node.outputs:
                    if output and (output, further) not in seen:
                        seen.add((output, further))
                        waiting.append((output, further))
        return [found[index] for index in sorted(found)]


def _belongs(node: Node, norm: Norm) -> bool:
    """True for a reader of the norm's input that is part of the norm: nothing but its result leaves it."""
    if node.index == norm.node.index:
        return True
    if norm.form != "decomposed":
        return norm.kind == "GroupNorm" and node.op == "Reshape"
    squares = node.op == "Mul" and node.input(0) == node.input(1)
    return squares or node.op in ("Abs", "GlobalAveragePool", "Pow", "Sub") or node.op.startswith("Reduce")


@fact
def scale_paths(
    artifact: Artifact, norms: NormLayers, layers: Layers, constants: Constants, shapes: Shapes
) -> ScalePaths:
    """The graph's paths from inputs to what divides each sample by a measure of its own."""
    graph = the_graph(artifact)
    by_input: dict[str, list[Norm]] = {}
    per_sample = [norm for norm in norms.all if norm.statistics == SAMPLE]
    for norm in (*per_sample, *_Divisions(graph, constants, shapes).all()):
        by_input.setdefault(norm.input, []).append(norm)
    return ScalePaths(graph, layers, by_input)


class _Divisions:
    """Finds divisions of a sample by its own maximum or length, which are norms for this purpose alone."""

    def __init__(self, graph: Graph, constants: Constants, shapes: Shapes) -> None:
        self._graph = graph
        self._constants = constants
        self._shapes = shapes

    def all(self) -> Iterator[Norm]:
        for node in self._graph.nodes:
            if node.op == "LpNormalization":
                yield Norm("division by its length", node, module_path(node), SAMPLE, node.input(0), node.outputs[0])
            elif node.op == "Div" and (source := self._own_size(node)) is not None:
                kind = "division by its own size"
                yield Norm(kind, node, module_path(node), SAMPLE, source, node.outputs[0], form="decomposed")

    def _own_size(self, division: Node) -> str | None:
        """What a division divides by a size of itself: over any axes but the batch."""
        size = self._graph.producer.get(division.input(1))
        for _ in range(6):
            if size is None or size.op in _SIZES or size.op not in _AROUND:
                break
            data = next((key for key in size.inputs if key and self._constants.weight(key) is None), "")
            size = self._graph.producer.get(data)
        if size is None or size.op not in _SIZES:
            return None
        axes = reduced_axes(size, self._constants, self._shapes.rank(size.input(0)))
        if not axes or 0 in axes:
            return None
        measured = self._graph.producer.get(size.input(0))
        is_power = measured is not None and measured.op in ("Abs", "Mul", "Pow")
        if is_power and measured is not None and measured.input(0) == division.input(0):
            return measured.input(0)
        return size.input(0) if size.input(0) == division.input(0) and size.op != "ReduceSum" else None
