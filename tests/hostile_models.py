"""Models that do what no model should, each in a few bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def _info(name: str, shape: Sequence[int | str] | None = (1, 4), kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: Sequence[onnx.NodeProto], tensors: Sequence[onnx.TensorProto] = (), opset: int = 17, domain: str = ""
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", [_info("x")], [_info("y", None)], tensors)
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def endless() -> onnx.ModelProto:
    """A Loop whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["again"]), helper.make_node("Add", ["v", "v"], ["sum"])],
        "body",
        [_info("i", [], TensorProto.INT64), _info("c", [], TensorProto.BOOL), _info("v")],
        [_info("again", [], TensorProto.BOOL), _info("sum")],
    )
    loop = helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)
    return _model([loop], [numpy_helper.from_array(np.array(True), "true")])


def hungry() -> onnx.ModelProto:
    """160 GB of zeros."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["z"], keepdims=0),
        helper.make_node("Add", ["x", "z"], ["y"]),
    ]
    return _model(nodes, [numpy_helper.from_array(np.array([200_000, 200_000], np.int64), "shape")])


def custom() -> onnx.ModelProto:
    """An operator that nobody has."""
    return _model([helper.make_node("BevPool", ["x"], ["y"], domain="team.bev")], domain="team.bev")


def unknown() -> onnx.ModelProto:
    """An operator that ONNX does not define."""
    return _model([helper.make_node("Frobnicate", ["x"], ["y"])])


def kernelless() -> onnx.ModelProto:
    """A random operator of an opset for which the runtime has no kernel."""
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    return _model(nodes, opset=22)


def misshapen() -> onnx.ModelProto:
    """A Reshape that fits no input of the declared shape."""
    shape = numpy_helper.from_array(np.array([3, 7], np.int64), "shape")
    return _model([helper.make_node("Reshape", ["x", "shape"], ["y"])], [shape])


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "hostile.onnx"
    path.write_bytes(model.SerializeToString())
    return path
