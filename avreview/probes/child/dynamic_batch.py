"""Another form of a model whose batch is fixed at one: the same model with a batch of any size.

The inputs' batch axes are declared free, and each constant target shape that says 1 where the batch stands is made to
follow it. This cannot be done to every model: what is left fixed shows when the form runs a larger batch, or gives
another result for a batch of one, and the caller has to look at both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from avreview.artifact import Graph, Node
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.runtime import Runtime

if TYPE_CHECKING:
    import onnx

_BATCH = "avreview_batch"
_LARGEST = 1 << 16  # elements of a target shape; more are no shape


def made_dynamic(runtime: Runtime, inputs: Inputs) -> bytes:
    """The model with a free batch axis, serialized. Its outputs and inner values are left to shape inference."""
    import onnx

    proto = onnx.load(runtime.path, load_external_data=False)
    axes = {entry["name"]: entry["batch_axis"] for entry in inputs.entries if entry["batch_axis"] is not None}
    for info in proto.graph.input:
        if info.name in axes:
            info.type.tensor_type.shape.dim[axes[info.name]].dim_param = _BATCH
    for info in proto.graph.output:
        info.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
    targets = _targets(runtime.graph, set(axes))
    for node in proto.graph.node:
        target = targets.get(next(iter(node.output), ""))
        if target is not None:
            node.input[1] = _added(proto.graph, target)
    return bytes(proto.SerializeToString())


def _targets(graph: Graph, inputs: set[str]) -> dict[str, list[int]]:
    """By the result of a reshape at the top level: its target shape, made to follow the batch."""
    fed = _fed(graph, inputs)
    found: dict[str, list[int]] = {}
    for node in graph.nodes:
        tensor = graph.constants.get(node.input(1))
        if node.op != "Reshape" or node.domain or tensor is None or node.input(0) not in fed or tensor.size > _LARGEST:
            continue
        target = _following([int(extent) for extent in np.atleast_1d(tensor.copy())], node)
        if target is not None:
            found[node.outputs[0]] = target
    return found


def _fed(graph: Graph, inputs: set[str]) -> set[str]:
    """The values that are computed from these inputs."""
    found = set(inputs)
    for node in graph.nodes:
        if any(key in found for key in (*node.inputs, *node.branch_results)):
            found.update(key for key in node.outputs if key)
    return found


def _following(target: Sequence[int], node: Node) -> list[int] | None:
    """The target with its leading 1 made the batch; None where it has none or cannot say so."""
    if len(target) < 2 or target[0] != 1:
        return None
    if -1 not in target:
        return [-1, *target[1:]]
    return None if node.attributes.get("allowzero") else [0, *target[1:]]


def _added(graph: onnx.GraphProto, target: Sequence[int]) -> str:
    from onnx import numpy_helper

    name = f"{_BATCH}_{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), name))
    return name
