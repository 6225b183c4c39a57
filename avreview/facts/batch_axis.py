"""Where the batch axis of a graph goes, and where an example's batch size is baked in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import NotApplicable, fact
from avreview.facts.flow import only_consumer
from avreview.facts.graphs import the_graph
from avreview.facts.shapes import Shapes
from avreview.facts.weights import Constants

# What keeps the first axis of its first input as the first axis of its result.
_KEEPS_FIRST = frozenset({
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Conv", "ConvTranspose", "CumSum",
    "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "GlobalAveragePool",
    "GlobalMaxPool", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "MaxPool", "Mish", "Mul", "Neg", "PRelu",
    "Pad", "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Resize", "Round", "Selu", "Sigmoid", "Softmax", "Softplus",
    "SpaceToDepth", "Sqrt", "Sub", "Tanh", "Upsample",
})  # fmt: skip


class BakedBatch(NamedTuple):
    """A node that fixes the first axis of a tensor whose first axis is the dynamic batch.

    `target` is the shape it asks for, or the declared one of the output that it computes.
    """

    node: Node
    target: tuple[int | str | None, ...]


class BatchAxis(NamedTuple):
    """The places where a dynamic batch meets a fixed size."""

    baked: Sequence[BakedBatch]


class BatchRuns(NamedTuple):
    """The batch sizes that were tried, where the model was run: a record that `avreview.probes.batch` fills.

    `ran` are the sizes that ran, `failed` holds the runtime's words for others, `node` is the one it named.
    `fixed_outputs` declare the batch by its name and do not follow it.
    """

    ran: tuple[int, ...]
    failed: Mapping[int, str]
    node: Node | None
    fixed_outputs: tuple[str, ...]


@fact
def batch_axis(artifact: Artifact, constants: Constants, shapes: Shapes) -> BatchAxis:
    """Follows the dynamic first axis of the inputs through the graph. NotApplicable when every batch is fixed."""
    graph = the_graph(artifact)
    carries = {info.name for info in graph.inputs if info.dims and not _is_fixed(info.dims[0]) and len(info.dims) > 1}
    if not carries:
        raise NotApplicable("no input declares its first axis as dynamic")
    baked = []
    for node in graph.nodes:
        if node.domain or not node.outputs or not any(key in carries for key in node.inputs):
            continue
        if node.op in ("Reshape", "Expand"):
            target = constants.integers(node.input(1))
            if target and _bakes(node, target, carries, shapes) and not _is_of_norm(graph, node, target):
                baked.append(BakedBatch(node, target))
            elif node.input(0) in carries and (not target or (target[0] in (0, -1) and _keeps(node, target, shapes))):
                carries.add(node.outputs[0])  # a target computed from shapes follows the batch
        elif _carries_on(graph, node, carries, shapes):
            carries.add(node.outputs[0])
    return BatchAxis([*baked, *_declared(graph, carries)])


def _declared(graph: Graph, carries: set[str]) -> Iterator[BakedBatch]:
    """Outputs that follow the batch but are declared with one size of it."""
    for info in graph.outputs:
        node = graph.producer.get(info.name)
        if node is not None and info.name in carries and info.dims and _is_fixed(info.dims[0]):
            yield BakedBatch(node, info.dims)


def _is_fixed(extent: int | str | None) -> bool:
    return isinstance(extent, int) and extent >= 0


def _bakes(node: Node, target: tuple[int, ...], carries: set[str], shapes: Shapes) -> bool:
    if node.input(0) not in carries or target[0] < 1:
        return False
    if node.op == "Expand":  # a 1 in front leaves the axis as it is; a longer target puts a new axis in front
        return target[0] > 1 and len(target) == (shapes.rank(node.input(0)) or 0)
    return True


def _is_of_norm(graph: Graph, node: Node, target: tuple[int, ...]) -> bool:
    """[1, batch × channels, …] in front of a batch norm: how PyTorch writes an instance norm with stored statistics."""
    reader = only_consumer(graph, node.outputs[0])
    return target[:2] == (1, -1) and reader is not None and reader.op == "BatchNormalization"


def _keeps(node: Node, target: tuple[int, ...], shapes: Shapes) -> bool:
    """A reshape to (-1, …) keeps the batch only when it merges nothing into it: when the sizes behind agree."""
    if node.op == "Expand" or target[0] == 0:
        return True
    dims = shapes.dims(node.input(0))
    if dims is None or any(not isinstance(extent, int) for extent in dims[1:]):
        return False
    behind = [extent for extent in dims[1:] if isinstance(extent, int)]
    own = [*behind, *[0] * len(target)]
    return math.prod(behind) == math.prod(extent or own[place] for place, extent in enumerate(target[1:]))


def _carries_on(graph: Graph, node: Node, carries: set[str], shapes: Shapes) -> bool:
    if node.op in _KEEPS_FIRST:
        ranks = [shapes.rank(key) for key in node.inputs if key]
        if node.input(0) in carries:
            longest = max((rank for rank in ranks if rank is not None), default=0)
            return len(node.inputs) == 1 or (shapes.rank(node.input(0)) or 0) >= longest or node.op not in _TWO_SIDED
        return node.op in _TWO_SIDED and all(shapes.rank(key) == ranks[0] for key in node.inputs if key in carries)
    if node.op == "Concat":
        return int(node.attributes.get("axis", 0)) != 0 and node.input(0) in carries
    if node.op == "Transpose":
        order = node.attributes.get("perm")
        return order is not None and len(order) > 0 and order[0] == 0 and node.input(0) in carries
    if node.op == "Flatten":
        return node.attributes.get("axis", 1) == 1 and node.input(0) in carries
    if node.op in ("Gemm", "MatMul"):
        return node.input(0) in carries and not node.attributes.get("transA")
    return False


_TWO_SIDED = frozenset({"Add", "Div", "Mul", "Pow", "Sub"})
