"""Whether an input's absolute scale survives the norms behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.graphs import the_graph
from avreview.facts.layers import Layers
from avreview.facts.norms import SAMPLE, Norm, NormLayers

_PARTS = frozenset({"Div", "Mul", "Pow", "ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare", "Reshape", "Sub"})


class ScalePaths(NamedTuple):
    """The paths from inputs to per-sample norms."""

    graph: Graph
    norms: NormLayers
    layers: Layers

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
            norm = self.norms.by_input.get(key)
            if norm is not None and norm.statistics == SAMPLE:
                found[norm.node.index] = norm
            if key in outputs or passed > most_layers:
                return []
            for node in self.graph.consumers.get(key, ()):
                if norm is not None and norm.statistics == SAMPLE and _belongs(node, norm):
                    continue
                if node.op in ("Shape", "Size"):
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
    written_out = norm.form == "decomposed" or norm.kind == "GroupNorm"
    return written_out and node.op in _PARTS


@fact
def scale_paths(artifact: Artifact, norms: NormLayers, layers: Layers) -> ScalePaths:
    """The graph's paths from inputs to norms."""
    return ScalePaths(the_graph(artifact), norms, layers)
