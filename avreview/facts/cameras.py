"""Camera axes that are folded into the batch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node, ValueInfo
from avreview.engine.resolve import fact
from avreview.engine.review import Location
from avreview.facts.flow import MOVES
from avreview.facts.graphs import the_graph
from avreview.facts.layers import Layer, Layers
from avreview.facts.modules import locate
from avreview.facts.norms import Norm, NormLayers
from avreview.facts.shapes import Shapes

_CAMERA_NAME = re.compile(r"cam|view|img|image", re.IGNORECASE)
_TIME_NAME = re.compile(r"seq|temporal|history|frame|sweep|clip|video|prev", re.IGNORECASE)
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Cast"})


class Fold(NamedTuple):
    """A reshape that makes one axis of batch and cameras, and the batch norms behind it."""

    node: Node
    input: str
    cameras: int | None
    batch_norms: Sequence[Norm]
    folded: Sequence[Layer]  # layers into which a batch norm was folded

    def location(self, artifact: str) -> Location:
        return locate(artifact, self.node)

    def places(self, artifact: str) -> list[Location]:
        """Where the shared batch norms are, those folded into a layer included."""
        folded = [layer.location(artifact) for layer in self.folded]
        return [*(norm.location(artifact) for norm in self.batch_norms), *folded]


class FoldedCameras(NamedTuple):
    """Every fold of a camera axis into the batch."""

    folds: Sequence[Fold]


@fact
def folded_cameras(artifact: Artifact, shapes: Shapes, norms: NormLayers, layers: Layers) -> FoldedCameras:
    """Follows inputs of five axes and more to a reshape that merges the first two."""
    graph = the_graph(artifact)
    folds = []
    for info in graph.inputs:
        node = _folding(graph, shapes, layers, info)
        if node is not None and info.dims is not None:
            behind = _behind(graph, shapes, node, len(info.dims))
            folds.append(
                Fold(
                    node,
                    info.name,
                    _cameras(info),
                    [norm for norm in norms.batch_norms if norm.node.index in behind],
                    [layer for layer in layers.all if layer.folded_norm and layer.node.index in behind],
                )
            )
    return FoldedCameras(folds)


def _cameras(info: ValueInfo) -> int | None:
    extent = info.dims[1] if info.dims is not None else None
    return extent if isinstance(extent, int) else None


def _folding(graph: Graph, shapes: Shapes, layers: Layers, info: ValueInfo) -> Node | None:
    """The reshape that merges the first two of an input's axes, when the second holds cameras."""
    if info.dims is None or len(info.dims) < 5:
        return None
    if not _CAMERA_NAME.search(info.name) or _TIME_NAME.search(info.name):
        return None  # the axis holds something else; moments, most often
    key = info.name
    for _ in range(12):
        readers = [node for node in graph.consumers.get(key, ()) if node.op != "Shape"]
        if not readers:
            return None
        node = readers[0]
        if node.op in ("Reshape", "Flatten") and _rank(shapes, graph, layers, node) == len(info.dims) - 1:
            return node
        if node.op not in MOVES | _ELEMENTWISE:
            return None
        key = node.outputs[0]
    return None


def _rank(shapes: Shapes, graph: Graph, layers: Layers, node: Node) -> int | None:
    """The rank of a node's result; where its target is computed, that of the convolution which reads it."""
    rank = shapes.rank(node.outputs[0])
    if rank is None:
        readers = [layers.by_node.get(reader.index) for reader in graph.consumers.get(node.outputs[0], ())]
        convs = [layer.weight for layer in readers if layer is not None and layer.kind == "Conv"]
        rank = next((len(weight.shape) for weight in convs if weight is not None and weight.shape), None)
    return rank


def _behind(graph: Graph, shapes: Shapes, fold: Node, rank: int) -> set[int]:
    """The nodes that the folded batch reaches before its axes are split again."""
    found: set[int] = set()
    waiting = [fold]
    while waiting:
        for output in waiting.pop().outputs:
            for node in graph.consumers.get(output, ()):
                splits = node.op == "Reshape" and (shapes.rank(node.outputs[0]) or 0) >= rank
                if node.index not in found and not splits and node.op != "Shape":
                    found.add(node.index)
                    waiting.append(node)
    return found
