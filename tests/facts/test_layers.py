from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Facts
from expressions import Term, sigmoid
from models import ModelBuilder

from avreview.facts.layers import Layer, Layers


def layers(fact: Facts, model: ModelBuilder) -> list[Layer]:
    return list(fact(model, Layers).all)


def only(fact: Facts, model: ModelBuilder) -> Layer:
    (layer,) = layers(fact, model)
    return layer


def image() -> ModelBuilder:
    return ModelBuilder().input("x", ["batch", 16, 8, 8])


def rows() -> ModelBuilder:
    return ModelBuilder().input("x", ["batch", 16])


@pytest.mark.parametrize(
    ("model", "kind", "units", "fan_in", "fan_out", "groups"),
    [
        (image().conv("l", 32), "Conv", 32, 144, 288, 1),
        (image().conv("l", 32, 1), "Conv", 32, 16, 32, 1),
        (image().conv("l", 32, groups=4), "Conv", 32, 36, 72, 4),
        (image().conv("l", 16, groups=16), "Conv", 16, 9, 9, 16),
        (image().conv("l", 32, groups=16), "Conv", 32, 9, 18, 16),
        (image().conv("l", 32, op="ConvTranspose"), "ConvTranspose", 32, 144, 288, 1),
        (image().conv("l", 32, groups=4, op="ConvTranspose"), "ConvTranspose", 32, 36, 72, 4),
        (rows().gemm("l", 10), "Gemm", 10, 16, 10, 1),
        (rows().gemm("l", 10, transposed=False), "Gemm", 10, 16, 10, 1),
        (rows().linear("l", 10), "MatMul", 10, 16, 10, 1),
        (ModelBuilder().input("x", ["batch", 5, 16]).linear("l", 10, bias=False), "MatMul", 10, 16, 10, 1),
    ],
    ids=[
        "Conv", "1x1", "grouped", "depthwise", "depthwise with a multiplier", "ConvTranspose", "ConvTranspose grouped",
        "Gemm transB", "Gemm", "MatMul", "MatMul of tokens",
    ],
)  # fmt: skip
def test_fans_are_counted_within_the_group(
    fact: Facts, model: ModelBuilder, kind: str, units: int, fan_in: int, fan_out: int, groups: int
) -> None:
    layer = only(fact, model.output("y"))
    assert (layer.kind, layer.units, layer.groups) == (kind, units, groups)
    assert (layer.fan_in, layer.fan_out) == (fan_in, fan_out)
    assert layer.module == "l"


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Linear"])
def test_fans_agree_with_pytorchs(fact: Facts, op: str, kernel: int, groups: int) -> None:
    """PyTorch counts by the stored shape: it exchanges a transposed convolution's fans, and knows no groups."""
    torch: Any = pytest.importorskip("torch")
    if op == "Linear":
        module = torch.nn.Linear(16, 32)
        model = rows().gemm("l", 32, weight=module.weight.detach().numpy())
    else:
        module = getattr(torch.nn, f"{op}2d")(16, 32, kernel, groups=groups)
        model = image().conv("l", 32, kernel, groups=groups, op=op, weight=module.weight.detach().numpy())
    first, second = torch.nn.init._calculate_fan_in_and_fan_out(module.weight)
    layer = only(fact, model.output("y"))
    if op == "ConvTranspose":
        first, second = second / groups, first
    elif op == "Conv":
        second = second / groups
    assert (layer.fan_in, layer.fan_out) == (first, second)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_a_recurrent_layer_has_the_fans_of_its_input_weights(fact: Facts, op: str, gates: int, directions: int) -> None:
    model = ModelBuilder().input("x", [5, 1, 12])
    weight, state = model.trained(directions, gates * 8, 12), model.trained(directions, gates * 8, 8)
    inputs = ["x", model.tensor("w", weight), model.tensor("r", state)]
    way = "bidirectional" if directions == 2 else "forward"
    model.node(op, inputs, module="rnn", hidden_size=8, direction=way, rank=4)
    layer = only(fact, model.output("y"))
    assert (layer.kind, layer.fan_in, layer.fan_out) == (op, 12, gates * 8)
    assert layer.units == directions * gates * 8
    assert layer.bias is None


def quantized_conv() -> ModelBuilder:
    model = ModelBuilder().input("x", [1, 16, 8, 8], 2)
    weight = np.random.default_rng(0).integers(-100, 100, (32, 4, 3, 3)).astype(np.int8)
    zero = model.scalar(0, np.uint8)
    scale, none = model.scalar(0.1), model.scalar(0, np.int8)
    bias = model.tensor("b", np.arange(32, dtype=np.int32))
    inputs = ["x", scale, zero, model.tensor("w", weight), scale, none, scale, zero, bias]
    return model.node("QLinearConv", inputs, module="l", group=4)


def quantized_matmul() -> ModelBuilder:
    model = ModelBuilder().input("x", [1, 16], 2)
    scale, zero, none = model.scalar(0.1), model.scalar(0, np.uint8), model.scalar(0, np.int8)
    weight = model.tensor("w", np.arange(160, dtype=np.uint8).astype(np.int8).reshape(16, 10))
    return model.node("QLinearMatMul", ["x", scale, zero, weight, scale, none, scale, zero], module="l")


@pytest.mark.parametrize(
    ("model", "kind", "units", "fan_in"),
    [(quantized_conv(), "Conv", 32, 36), (quantized_matmul(), "MatMul", 10, 16)],
    ids=["QLinearConv", "QLinearMatMul"],
)
def test_a_quantized_operator_is_the_layer_it_computes(
    fact: Facts, model: ModelBuilder, kind: str, units: int, fan_in: int
) -> None:
    layer = only(fact, model.output("y", dtype=2))
    assert (layer.kind, layer.units, layer.fan_in) == (kind, units, fan_in)
    assert layer.weight is not None
    assert layer.weight.name == "w"


def test_a_dequantized_weight_is_the_layers(fact: Facts) -> None:
    model = rows()
    stored = model.tensor("w", np.arange(160, dtype=np.uint8).astype(np.int8).reshape(10, 16))
    model.node("DequantizeLinear", [stored, model.scalar(0.1)], rank=2)
    layer = only(fact, model.node("Gemm", ["x", model.value], transB=1, module="l").output("y"))
    assert (layer.units, layer.fan_in) == (10, 16)
    assert layer.weight is not None
    assert layer.weight.quantized


def test_integer_layers_keep_the_bias_that_follows_their_scale(fact: Facts) -> None:
    model = ModelBuilder().input("x", [1, 16], 3)
    weight = model.tensor("w", np.arange(160, dtype=np.uint8).astype(np.int8).reshape(16, 10))
    model.node("MatMulInteger", ["x", weight], module="l").op("Cast", to=1).op("Mul", model.scalar(0.1))
    model.op("Add", model.tensor("b", model.trained(10))).relu()
    layer = only(fact, model.output("y"))
    assert layer.bias is not None
    assert layer.bias.name == "b"
    assert layer.activation is not None
    assert layer.activation.name == "relu"


def test_a_product_of_two_signals_is_no_layer(fact: Facts) -> None:
    model = ModelBuilder().input("k", [1, 4, 4]).input("q", [1, 4, 4])
    assert not layers(fact, model.node("MatMul", ["q", "k"]).output("y"))


def test_a_weight_may_stand_on_the_left(fact: Facts) -> None:
    model = ModelBuilder().input("x", [16, 5])
    layer = only(fact, model.node("MatMul", [model.tensor("w", model.trained(10, 16)), "x"], module="l").output("y"))
    assert (layer.units, layer.fan_in, layer.unit_axis) == (10, 16, -2)


@pytest.mark.parametrize("first", [True, False])
def test_a_sum_with_a_constant_behind_a_matmul_is_its_bias(fact: Facts, first: bool) -> None:
    model = ModelBuilder().input("x", [1, 5, 16]).linear("l", 10, bias=False)
    bias = model.tensor("b", model.trained(10))
    layer = only(fact, model.node("Add", [bias, model.value] if first else [model.value, bias]).relu().output("y"))
    assert layer.bias is not None
    assert layer.bias.name == "b"
    assert layer.activation is not None


def test_a_sum_with_a_constant_of_another_size_is_no_bias(fact: Facts) -> None:
    model = ModelBuilder().input("x", [1, 5, 16]).linear("l", 10, bias=False)
    assert only(fact, model.add(model.tensor("b", model.trained(1, 5, 10))).output("y")).bias is None


def test_what_follows_a_layer_is_its_norm_activation_and_residual_sum(fact: Facts) -> None:
    model = image().conv("stem", 16).relu()
    shortcut = model.value
    model.conv("block.conv1", 16).batch_norm("block.bn1").relu("block.act1")
    model.conv("block.conv2", 16).batch_norm("block.bn2").add(shortcut, "block").relu().conv("head", 4)
    stem, first, second, head = layers(fact, model.output("y"))
    assert (stem.norm, stem.residual) == (None, None)
    assert stem.activation is not None
    assert first.norm is not None
    assert first.activation is not None
    assert (first.norm.module, first.activation.name, first.residual) == ("block.bn1", "relu", None)
    assert second.norm is not None
    assert second.residual is not None
    assert (second.norm.module, second.activation, second.residual.op) == ("block.bn2", None, "Add")
    assert (head.norm, head.activation, head.residual) == (None, None, None)


def test_a_norm_behind_the_activation_is_not_the_layers(fact: Facts) -> None:
    layer, _ = layers(fact, image().conv("l", 16).relu().batch_norm("bn").conv("next", 4).output("y"))
    assert layer.norm is None
    assert layer.activation is not None


@pytest.mark.parametrize("mover", ["Identity", "Transpose", "Reshape", "inactive Dropout", "written-out SiLU"])
def test_what_moves_values_stands_between_without_harm(fact: Facts, mover: str) -> None:
    model = image().conv("l", 16)
    if mover == "Reshape":
        model.reshape(0, 16, -1)
    elif mover == "inactive Dropout":
        model.dropout(training=False)
    elif mover != "written-out SiLU":
        model.op(mover)
    x = Term(model)
    x * sigmoid(x)
    layer = only(fact, model.output("y"))
    assert layer.activation is not None
    assert layer.activation.name == "silu"


def renamed(weight: str, bias: str | None) -> ModelBuilder:
    """A convolution whose tensors have other names than a state_dict's."""
    model = image().conv("l", 16, bias=bias is not None)
    model.nodes[-1].input[1] = model.tensor(weight, model.trained(16, 16, 3, 3))
    if bias is not None:
        model.nodes[-1].input[2] = model.tensor(bias, model.trained(16))
    return model.output("y")


@pytest.mark.parametrize("bias", ["l.bias", None])
def test_folded_weight_normalization_is_no_folded_norm(fact: Facts, bias: str | None) -> None:
    assert only(fact, renamed(weight="onnx::Conv_12", bias=bias)).folded_norm is None


def test_what_reads_a_results_shape_or_type_does_not_divide_it(fact: Facts) -> None:
    model = image().conv("l", 16)
    made = model.value
    model.op("Shape").at(made).node("CastLike", [model.scalar(1.0), made]).at(made)
    layer = only(fact, model.node("Reshape", [made, "Shape"]).relu("act").output("y"))
    assert layer.activation is not None
    assert layer.activation.name == "relu"


def test_a_bias_behind_fake_quantization_is_the_layers(fact: Facts) -> None:
    model = rows()
    model.node("MatMul", [model.value, model.tensor("l.weight", model.trained(16, 10))], module="l", channels=10)
    scale, zero = model.scalar(0.1), model.tensor("zero", np.int8(0))
    model.op("QuantizeLinear", scale, zero).op("DequantizeLinear", scale, zero)
    layer = only(fact, model.op("Add", model.tensor("l.bias", model.trained(10))).relu("act").output("y"))
    assert layer.bias is not None
    assert layer.bias.name == "l.bias"
    assert layer.activation is not None


def test_queries_and_keys_of_a_joint_projection_are_layers(fact: Facts) -> None:
    model = ModelBuilder(18).input("x", ["batch", 5, 16])
    model.at(model.tensor("attn.in_proj_weight", model.trained(48, 16)))
    model.node("Split", [model.value, model.ints(16, 32)], module="attn", outputs=2)
    parts = list(model.nodes[-1].output)
    made = []
    for part in parts:
        model.at(part).transpose(1, 0)
        made.append(model.node("MatMul", ["x", model.value], module="attn", rank=3).value)
    queries, keys = layers(fact, model.node("Concat", made, axis=-1).output("y"))
    assert (queries.units, keys.units, keys.fan_in) == (16, 32, 16)
    assert queries.weight is not None
    assert queries.weight.name == "attn.in_proj_weight"


@pytest.mark.parametrize(("summand", "activation"), [(False, "relu"), (True, None)])
def test_a_fused_activation_behind_a_fused_sum_is_the_sums(fact: Facts, summand: bool, activation: str | None) -> None:
    model = image().conv("l", 16)
    node = model.nodes[-1]
    node.op_type, node.domain = "FusedConv", "com.microsoft"
    node.attribute.add(name="activation", s=b"Relu", type=3)
    node.input.extend(["x"] * summand)
    layer = only(fact, model.output("y"))
    assert (layer.activation.name if layer.activation else None) == activation


def test_an_exporter_that_folded_a_norm_says_so(fact: Facts) -> None:
    assert only(fact, renamed(weight="onnx::Conv_12", bias="onnx::Conv_13")).folded_norm is True
    assert only(fact, renamed(weight="onnx::Conv_12", bias="other.bias")).folded_norm is True  # merged with an equal
    assert only(fact, renamed(weight="ConvBnFusion_W_l.weight", bias="ConvBnFusion_BN_B_bn.bias")).folded_norm is True
    noted = image().conv("l", 16)
    noted.nodes[-1].metadata_props.add(key="pkg.onnxscript.rewriter.rule_name", value="FuseBatchNormIntoConv")
    assert only(fact, noted.output("y")).folded_norm is True
    assert only(fact, image().conv("l", 16).batch_norm("bn").output("y")).folded_norm is False
    assert only(fact, image().conv("l", 16).output("y")).folded_norm is None


@pytest.mark.parametrize(
    ("groups", "out", "depthwise"), [(1, 16, False), (4, 16, False), (16, 16, True), (16, 32, True)]
)
def test_a_depthwise_convolution_has_a_group_for_every_channel(
    fact: Facts, groups: int, out: int, depthwise: bool
) -> None:
    assert only(fact, image().conv("l", out, groups=groups).output("y")).is_depthwise is depthwise
