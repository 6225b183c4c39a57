from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from conftest import Facts
from models import ModelBuilder
from onnx import TensorProto

from avreview.artifact import Artifact, Node
from avreview.facts.shapes import Dims, Shapes, reduced_axes
from avreview.facts.weights import Constants

Step = Callable[[ModelBuilder], ModelBuilder]
BATCH = "batch"


def image(opset: int = 17) -> ModelBuilder:
    return ModelBuilder(opset).input("x", [BATCH, 8, 6, 10])


STEPS: dict[str, tuple[Step, Dims]] = {
    "Relu": (lambda m: m.relu(), (BATCH, 8, 6, 10)),
    "Cast": (lambda m: m.op("Cast", to=TensorProto.DOUBLE), (BATCH, 8, 6, 10)),
    "BatchNormalization": (lambda m: m.batch_norm("bn"), (BATCH, 8, 6, 10)),
    "Softmax": (lambda m: m.op("Softmax"), (BATCH, 8, 6, 10)),
    "Conv": (lambda m: m.conv("l", 16), (BATCH, 16, None, None)),
    "ConvTranspose": (lambda m: m.conv("l", 16, groups=4, op="ConvTranspose"), (BATCH, 16, None, None)),
    "MaxPool": (lambda m: m.op("MaxPool", kernel_shape=[2, 2]), (BATCH, 8, None, None)),
    "GlobalAveragePool": (lambda m: m.op("GlobalAveragePool"), (BATCH, 8, 1, 1)),
    "a sum with a channel vector": (
        lambda m: m.add(m.tensor("b", np.zeros((8, 1, 1), np.float32))), (BATCH, 8, 6, 10),
    ),
    "a sum that widens": (lambda m: m.add(m.tensor("b", np.zeros((2, 1, 8, 6, 10), np.float32))), (2, BATCH, 8, 6, 10)),
    "a comparison": (lambda m: m.op("Less", m.scalar(0.5)), (BATCH, 8, 6, 10)),
    "Transpose": (lambda m: m.transpose(0, 2, 3, 1), (BATCH, 6, 10, 8)),
    "Transpose of all axes": (lambda m: m.op("Transpose"), (10, 6, 8, BATCH)),
    "Reshape": (lambda m: m.reshape(0, 8, -1), (BATCH, 8, None)),
    "Flatten": (lambda m: m.op("Flatten"), (BATCH, None)),
    "Unsqueeze": (lambda m: m.op("Unsqueeze", m.ints(1, -1)), (BATCH, 1, 8, 6, 10, 1)),
    "Squeeze": (lambda m: m.op("GlobalAveragePool").op("Squeeze", m.ints(-1, -2)), (BATCH, 8)),
    "ReduceMean": (lambda m: m.op("ReduceMean", axes=[2, 3]), (BATCH, 8, 1, 1)),
    "ReduceMean without its axes": (lambda m: m.op("ReduceMean", axes=[-1], keepdims=0), (BATCH, 8, 6)),
    "ReduceSum, axes as input": (lambda m: m.op("ReduceSum", m.ints(0, 2)), (1, 8, 1, 10)),
    "Concat": (lambda m: m.op("Concat", "x", axis=1), (BATCH, None, 6, 10)),
    "Slice": (lambda m: m.op("Slice", m.ints(0), m.ints(3), m.ints(2)), (BATCH, 8, None, 10)),
    "Gather": (lambda m: m.node("Gather", [m.value, m.tensor("i", np.array(2))], axis=1), (BATCH, 6, 10)),
    "Gather of two": (lambda m: m.node("Gather", [m.value, m.ints(1, 2)], axis=2), (BATCH, 8, 2, 10)),
    "Resize": (lambda m: m.op("Resize", "", m.tensor("s", np.array([1, 1, 2, 2], np.float32))), (BATCH, 8, None, None)),
    "Gemm": (lambda m: m.op("Flatten").at(m.value).node("Gemm", [m.value, weight(m, 16, 480)], transB=1), (BATCH, 16)),
    "MatMul": (lambda m: m.node("MatMul", [m.value, weight(m, 10, 4)]), (BATCH, 8, 6, 4)),
    "Reshape to another's shape": (
        lambda m: m.reshape(0, -1).node("Reshape", [m.value, m.node("Shape", ["x"]).value]), (BATCH, 8, 6, 10),
    ),
}  # fmt: skip


def weight(model: ModelBuilder, rows: int, columns: int) -> str:
    return model.tensor("w", np.zeros((rows, columns), np.float32))


def after(fact: Facts, model: ModelBuilder) -> Dims | None:
    key = model.value
    shapes: Shapes = fact(model.op("Identity").output("y"), Shapes)
    return shapes.dims(key)


@pytest.mark.parametrize("name", STEPS)
def test_what_follows_of_a_shape_is_said_and_no_more(fact: Facts, name: str) -> None:
    step, dims = STEPS[name]
    model = image()
    value = step(model).value
    assert after(fact, model.at(value)) == dims


@pytest.mark.parametrize("name", STEPS)
def test_shapes_agree_with_onnx_own(fact: Facts, name: str) -> None:
    """Every extent that is said is the one that `onnx.shape_inference` finds."""
    model = image()
    value = STEPS[name][0](model).value
    said = after(fact, model.at(value))
    # onnx.checker insists on an element type that a cast changed; only shapes matter here
    del model.outputs[:]
    model.outputs.append(onnx.helper.make_empty_tensor_value_info("y"))
    inferred = onnx.shape_inference.infer_shapes(model.build(), data_prop=True)
    info = next(info for info in inferred.graph.value_info if info.name == value)
    known = [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
    assert said is not None
    assert len(said) == len(known)
    for mine, theirs in zip(said, known, strict=True):
        unnamed = isinstance(mine, str) and str(theirs).startswith("unk__")  # onnx forgets a symbol's name
        assert mine is None or mine == theirs or unnamed


def test_a_declared_shape_counts_where_nothing_follows(fact: Facts) -> None:
    model = image()
    model.domains["com.vendor"] = 1
    model.node("Voxelize", domain="com.vendor").output("y", [BATCH, 3, 5])
    shapes: Shapes = fact(model, Shapes)
    assert shapes.dims("y") == (BATCH, 3, 5)
    assert shapes.rank("x") == 4


def test_a_shape_that_nobody_declares_is_not_known(fact: Facts) -> None:
    model = image()
    model.domains["com.vendor"] = 1
    value = model.node("Voxelize", domain="com.vendor").value
    shapes: Shapes = fact(model.relu().output("y"), Shapes)
    assert shapes.dims(value) is None
    assert shapes.rank(value) is None
    assert shapes.dims("never heard of") is None


def last_node(fact: Facts, model: ModelBuilder) -> Node:
    node: Node = fact(model, Artifact).graph.nodes[-1]
    return node


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    ("axes", "rank", "counted"), [((-1, 1), 4, (1, 3)), ((-2, -1), None, (-2, -1)), ((0,), 2, (0,))]
)
def test_reduced_axes_are_counted_from_the_front_where_the_rank_is_known(
    fact: Facts, opset: int, axes: tuple[int, ...], rank: int | None, counted: tuple[int, ...]
) -> None:
    model = image(opset)
    if opset == 13:
        model.op("ReduceMean", axes=list(axes))
    else:
        model.op("ReduceMean", model.tensor("axes", np.array(axes, np.int64)))
    assert reduced_axes(last_node(fact, model.output("y")), fact(model, Constants), rank) == counted


def test_no_axes_are_all_axes(fact: Facts) -> None:
    model = image().op("ReduceMean").output("y")
    node, constants = last_node(fact, model), fact(model, Constants)
    assert reduced_axes(node, constants, 3) == (0, 1, 2)
    assert reduced_axes(node, constants, None) is None
