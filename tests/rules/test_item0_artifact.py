from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Assess
from models import Array, ModelBuilder
from onnx import TensorProto, helper

from avreview.engine.review import Severity, Verdict


def small() -> ModelBuilder:
    """Two convolutions, a norm and a linear layer on sequences."""
    return (
        ModelBuilder()
        .input("image", ["batch", 3, 8, 8])
        .conv("stem.conv", 8)
        .batch_norm("stem.bn")
        .relu("stem.act")
        .conv("head", 4, 1)
        .output("scores", ["batch", 4, 8, 8])
    )


def spoiled(tensor: str, value: float, place: int = 5) -> ModelBuilder:
    model = small()
    array = onnx.numpy_helper.to_array(model.tensors[tensor]).copy()
    array.reshape(-1)[place] = value
    model.tensor(tensor, array)
    return model


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("tensor", "role"),
    [
        ("stem.conv.weight", "weight"),
        ("stem.conv.bias", "bias"),
        ("stem.bn.weight", "scale"),
        ("stem.bn.bias", "shift"),
        ("stem.bn.running_mean", "running mean"),
        ("stem.bn.running_var", "running variance"),
    ],
)
def test_av001_names_the_tensor_that_holds_a_value_that_is_no_number(
    assess: Assess, tensor: str, role: str, value: float
) -> None:
    finding = assess(spoiled(tensor, value), "AV001").found(Severity.ERROR, tensor.rpartition(".")[0])
    assert finding.location.tensor == tensor
    assert role in finding.message
    kind = "nan" if np.isnan(value) else "inf"
    assert finding.observed[kind] == 1
    assert finding.observed["first"] == 5


def test_av001_is_silent_on_finite_weights(assess: Assess) -> None:
    assert assess(small(), "AV001").passed


def test_av001_names_each_tensor_once_however_often_it_is_used(assess: Assess) -> None:
    model = ModelBuilder().input("tokens", [1, 5, 16]).linear("first", 16, bias=False)
    shared = model.trained(16, 16)
    shared[3, 4] = np.nan
    model.tensor("first.weight", shared)
    model.node("MatMul", [model.value, "first.weight"], module="second").output("y")
    finding = assess(model, "AV001").found(Severity.ERROR, "first")
    assert finding.observed["first"] == 3 * 16 + 4


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_av001_reads_every_floating_point_type(assess: Assess, dtype: type) -> None:
    weight: Array = np.ones((16, 16), dtype)
    weight[1, 1] = np.inf
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = ModelBuilder().input("x", [1, 16], kind).gemm("fc", 16, weight=weight, bias=False).output("y", dtype=kind)
    assert assess(model, "AV001").found(Severity.ERROR, "fc").observed["inf"] == 1


@pytest.mark.parametrize(("value", "fires"), [(-np.inf, False), (np.nan, True)])
def test_av001_lets_a_mask_hold_infinity_but_never_nan(assess: Assess, value: float, fires: bool) -> None:
    model = ModelBuilder().input("tokens", [1, 6, 16]).linear("query", 6)
    mask = np.triu(np.full((6, 6), value, np.float32), 1)
    model.add(model.tensor("mask", mask), "attention").op("Softmax", module="attention").output("weights")
    assert bool(assess(model, "AV001").findings) is fires


def test_av001_reads_embedding_tables_and_constant_factors(assess: Assess) -> None:
    model = ModelBuilder().input("ids", [1, 6], TensorProto.INT64)
    table = model.trained(10, 16)
    table[9, 0] = np.nan
    model.node("Gather", [model.tensor("embedding.weight", table), "ids"], channels=16, rank=3)
    model.linear("head", 4).output("y")
    assert assess(model, "AV001").only.location.tensor == "embedding.weight"


def test_av001_does_not_apply_to_a_model_without_parameters(assess: Assess) -> None:
    outcome = assess(ModelBuilder().input("x", [1, 4]).relu().output("y"), "AV001")
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert outcome.reason == "the model has no parameters"


def with_node(**changes: Any) -> onnx.ModelProto:
    """The small model with its second convolution changed."""
    model = small().build()
    node = next(node for node in model.graph.node if node.name == "/head/Conv")
    for name, value in changes.items():
        if name == "input":
            node.input[0] = value
        elif name == "op":
            node.op_type = value
        else:
            node.attribute.append(helper.make_attribute(name, value))
    return model


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (with_node(input="nobody_makes_it"), "nobody_makes_it"),
        (with_node(op="Convulution"), "Convulution"),
        (with_node(colour="red"), "colour"),
    ],
    ids=["input that nothing produces", "unknown operator", "unknown attribute"],
)
def test_av002_quotes_what_the_checker_says(assess: Assess, model: onnx.ModelProto, word: str) -> None:
    finding = assess(model, "AV002").found(Severity.ERROR, None)
    assert word in finding.observed["onnx.checker"]


def test_av002_is_silent_on_a_valid_model(assess: Assess) -> None:
    assert assess(small(), "AV002").passed


def test_av002_is_silent_on_a_custom_domain_that_is_declared(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 4])
    model.domains["com.vendor"] = 1
    model.node("Voxelize", domain="com.vendor").output("y", [1, 4])
    assert assess(model, "AV002").passed
