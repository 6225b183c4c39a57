"""Seeded changes in small exports: each is told once, in its section, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import ModelBuilder
from onnx import TensorProto, helper, numpy_helper

from avreview.compare.artifacts import compare_artifacts
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.load import open_artifact

Edit = Callable[[onnx.ModelProto], None]


def detector(*, opset: int = 17, prefix: str = "", **changes: Any) -> ModelBuilder:
    """A small network with a norm, a residual sum, dropout and a head; `changes` build it otherwise."""
    model = ModelBuilder(opset).input("image", [1, 3, 16, 16])
    if changes.get("normalized"):
        model.op("Sub", model.tensor("mean", np.array([123.7, 116.3, 103.5], np.float32).reshape(1, 3, 1, 1)))
        model.op("Div", model.tensor("std", np.array([58.4, 57.1, 57.4], np.float32).reshape(1, 3, 1, 1)))
    model.conv(f"{prefix}stem.conv", 8).batch_norm(f"{prefix}stem.bn", epsilon=changes.get("eps", 1e-5))
    model.relu(f"{prefix}stem.act")
    branch = model.value
    model.conv(f"{prefix}block.conv1", 8)
    if changes.get("extra_norm"):
        state = model.random.bit_generator.state
        model.batch_norm(f"{prefix}block.bn1")
        model.random.bit_generator.state = state
    model.op(changes.get("activation", "Relu"), module=f"{prefix}block.act1")
    model.conv(f"{prefix}block.conv2", 8).add(branch, f"{prefix}block").relu(f"{prefix}block.act2")
    if changes.get("second_softmax"):
        model.op("Softmax", axis=1)
    model.node("GlobalAveragePool", module=f"{prefix}pool", rank=4).node(
        "Flatten", module=f"{prefix}flat", rank=2, axis=1
    )
    if (rate := changes.get("dropout", 0.1)) is not None:
        model.dropout(f"{prefix}drop", rate, training=changes.get("training", False))
    return model.gemm(f"{prefix}head", 4).output("scores", [1, 4])


def section(sections: list[Section], name: str) -> Section:
    return next(each for each in sections if each.name == name)


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., list[Section]]:
    """The sections of two models."""

    def run(old: ModelBuilder | onnx.ModelProto, new: ModelBuilder | onnx.ModelProto) -> list[Section]:
        artifacts = []
        for name, model in (("old", old), ("new", new)):
            path = tmp_path / f"{name}.onnx"
            proto = model.build() if isinstance(model, ModelBuilder) else model
            path.write_bytes(proto.SerializeToString())
            artifacts.append(open_artifact(path))
        return compare_artifacts(*artifacts)[0]

    return run


def only(sections: list[Section], name: str) -> Change:
    """The one change there is in all sections, which stands in the section of that name."""
    found = {each.name: list(each.changes) for each in sections if each.changes}
    assert list(found) == [name], found
    assert len(found[name]) == 1, found[name]
    return found[name][0]


def edited(edit: Edit) -> onnx.ModelProto:
    proto = detector().build()
    edit(proto)
    return proto


def node(proto: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(each for each in proto.graph.node if each.name == name)


def weight(proto: onnx.ModelProto, name: str, change: Callable[[Any], Any]) -> None:
    tensor = next(each for each in proto.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


def test_identical_models_differ_in_nothing(compared: Callable[..., list[Section]]) -> None:
    assert all(not each.changes for each in compared(detector(normalized=True), detector(normalized=True)))


# Weights and statistics


def test_a_weight_that_moved_tells_how_far(compared: Callable[..., list[Section]]) -> None:
    change = only(compared(detector(), edited(lambda p: weight(p, "block.conv2.weight", lambda w: w * 1.1))), "weights")
    assert (change.kind, change.where) == (CHANGED, "block.conv2")
    assert change.amount == pytest.approx(0.1, rel=1e-4)
    assert "weight 10 %" in change.what


def test_a_weight_that_became_nan_is_not_told_as_a_distance(compared: Callable[..., list[Section]]) -> None:
    def spoil(values: Any) -> Any:
        values = values.copy()
        values.flat[3] = np.nan
        return values

    change = only(compared(detector(), edited(lambda p: weight(p, "head.weight", spoil))), "weights")
    assert "NaN or infinity" in change.what


def test_a_wider_layer_has_another_shape(compared: Callable[..., list[Section]]) -> None:
    def widen(proto: onnx.ModelProto) -> None:
        weight(proto, "head.weight", lambda w: np.concatenate([w, w * 0.5]))
        weight(proto, "head.bias", lambda b: np.concatenate([b, b]))

    sections = compared(detector(), edited(widen))
    changes = section(sections, "weights").changes
    assert [(each.where, each.old, each.new) for each in changes] == [
        ("head", [4, 8], [8, 8]),
        ("head", [4], [8]),
    ]
    assert sum(len(each.changes) for each in sections) == 2


def test_a_bias_that_came_is_told(compared: Callable[..., list[Section]]) -> None:
    def without(proto: onnx.ModelProto) -> None:
        del node(proto, "/head/Gemm").input[2]

    change = only(compared(edited(without), detector()), "weights")
    assert (change.kind, change.where, change.what) == (ADDED, "head", "bias [4]")


def test_running_statistics_that_moved_belong_to_the_norms(compared: Callable[..., list[Section]]) -> None:
    change = only(compared(detector(), edited(lambda p: weight(p, "stem.bn.running_mean", lambda m: m + 1))), "norms")
    assert (change.kind, change.where) == (CHANGED, "stem.bn")
    assert "running statistics moved: means by up to" in change.what


# Norms


def test_an_eps_is_told_with_both_values(compared: Callable[..., list[Section]]) -> None:
    change = only(compared(detector(), detector(eps=1e-3)), "norms")
    assert (change.where, change.what) == ("stem.bn", "BatchNorm: eps")
    assert change.old["eps"] == pytest.approx(1e-5)
    assert change.new["eps"] == pytest.approx(1e-3)


@pytest.mark.parametrize(("old", "new", "kind"), [({}, {"extra_norm": 1}, ADDED), ({"extra_norm": 1}, {}, REMOVED)])
def test_a_norm_that_came_or_went(
    compared: Callable[..., list[Section]], old: dict[str, Any], new: dict[str, Any], kind: str
) -> None:
    change = only(compared(detector(**old), detector(**new)), "norms")
    assert (change.kind, change.where) == (kind, "block.bn1")


def test_training_mode_is_another_source_of_statistics(compared: Callable[..., list[Section]]) -> None:
    def train(proto: onnx.ModelProto) -> None:
        norm = node(proto, "/stem/bn/BatchNormalization")
        norm.attribute.append(helper.make_attribute("training_mode", 1))
        norm.output.extend(["mean_out", "var_out"])

    change = only(compared(detector(), edited(train)), "norms")
    assert change.old == {"source of its statistics": "running", "training mode": False}
    assert change.new == {"source of its statistics": "batch", "training mode": True}


def test_a_norm_that_was_folded_in_is_no_weight_that_moved(compared: Callable[..., list[Section]]) -> None:
    def fold(proto: onnx.ModelProto) -> None:
        values = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
        gamma, beta, mean, var = (values[f"stem.bn.{n}"] for n in ("weight", "bias", "running_mean", "running_var"))
        factor = gamma / np.sqrt(var + 1e-5)
        weight(proto, "stem.conv.weight", lambda w: (w * factor[:, None, None, None]).astype(np.float32))
        weight(proto, "stem.conv.bias", lambda b: ((b - mean) * factor + beta).astype(np.float32))
        norm = node(proto, "/stem/bn/BatchNormalization")
        node(proto, "/stem/act/Relu").input[0] = norm.input[0]
        proto.graph.node.remove(norm)

    sections = compared(detector(), edited(fold))
    assert only(sections, "norms").what == "BatchNorm, folded into the layer in front of it"
    assert "came" not in section(compared(edited(fold), detector()), "norms").summary
    assert only(compared(edited(fold), detector()), "norms").kind == ADDED


# Dropout


@pytest.mark.parametrize(("old", "new", "kind"), [({"dropout": None}, {}, ADDED), ({}, {"dropout": None}, REMOVED)])
def test_a_dropout_that_came_or_went(
    compared: Callable[..., list[Section]], old: dict[str, Any], new: dict[str, Any], kind: str
) -> None:
    change = only(compared(detector(**old), detector(**new)), "dropout")
    assert (change.kind, change.where) == (kind, "drop")


@pytest.mark.parametrize(("setting", "word"), [({"dropout": 0.3}, "rate"), ({"training": True}, "active")])
def test_a_dropout_that_works_otherwise(
    compared: Callable[..., list[Section]], setting: dict[str, Any], word: str
) -> None:
    change = only(compared(detector(), detector(**setting)), "dropout")
    assert (change.kind, change.where, change.what) == (CHANGED, "drop", f"dropout: {word}")


# Structure


def test_another_operator_in_the_same_place(compared: Callable[..., list[Section]]) -> None:
    change = only(compared(detector(), detector(activation="LeakyRelu")), "structure")
    assert (change.kind, change.old, change.new) == (CHANGED, "Relu", "LeakyRelu")
    assert "block/act1" in change.where


def test_an_operator_that_came(compared: Callable[..., list[Section]]) -> None:
    change = only(compared(detector(), detector(second_softmax=True)), "structure")
    assert (change.kind, change.where, change.new) == (ADDED, "/Softmax", "Softmax")


def test_an_attribute(compared: Callable[..., list[Section]]) -> None:
    def stride(proto: onnx.ModelProto) -> None:
        node(proto, "/block/conv2/Conv").attribute.append(helper.make_attribute("strides", [2, 2]))

    change = only(compared(detector(), edited(stride)), "structure")
    assert (change.where, change.what) == ("/block/conv2/Conv", "Conv: strides")
    assert (change.old, change.new) == ({"strides": None}, {"strides": (2, 2)})


def test_a_default_that_is_written_out_is_no_change(compared: Callable[..., list[Section]]) -> None:
    def spell(proto: onnx.ModelProto) -> None:
        node(proto, "/block/conv2/Conv").attribute.append(helper.make_attribute("strides", [1, 1]))
        node(proto, "/block/conv2/Conv").attribute.append(helper.make_attribute("auto_pad", "NOTSET"))
        node(proto, "/head/Gemm").attribute.append(helper.make_attribute("alpha", 1.0))

    assert not any(each.changes for each in compared(detector(), edited(spell)))


def test_a_residual_that_comes_from_elsewhere(compared: Callable[..., list[Section]]) -> None:
    def rewire(proto: onnx.ModelProto) -> None:
        add = node(proto, "/block/Add")
        add.input[:] = [node(proto, "/block/conv1/Conv").output[0] if "stem" in name else name for name in add.input]

    change = only(compared(detector(), edited(rewire)), "structure")
    assert (change.where, change.what) == ("/block/Add", "Add reads from elsewhere")
    assert (change.old, change.new) == ("/stem/act/Relu", "/block/conv1/Conv")


def test_summands_in_another_order_are_no_change(compared: Callable[..., list[Section]]) -> None:
    def turn(proto: onnx.ModelProto) -> None:
        add = node(proto, "/block/Add")
        add.input[:] = list(add.input)[::-1]

    assert not any(each.changes for each in compared(detector(), edited(turn)))


def test_inputs_and_outputs(compared: Callable[..., list[Section]]) -> None:
    def widen(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"

    change = only(compared(detector(), edited(widen)), "structure")
    assert (change.where, change.what) == ("image", "input: type or shape")
    assert (change.old, change.new) == ("float32 [1, 3, 16, 16]", "float32 [batch, 3, 16, 16]")


def test_nodes_that_another_exporter_numbers_anew_are_the_same(compared: Callable[..., list[Section]]) -> None:
    def renumber(proto: onnx.ModelProto) -> None:
        for number, each in enumerate(proto.graph.node):
            each.name = f"{each.op_type}_{number + 100}"

    assert not any(each.changes for each in compared(detector(), edited(renumber)))


def test_tensors_without_names_are_paired_by_their_content_and_place(compared: Callable[..., list[Section]]) -> None:
    def nameless(proto: onnx.ModelProto) -> None:
        for number, tensor in enumerate(proto.graph.initializer):
            for each in proto.graph.node:
                each.input[:] = [str(number + 7) if name == tensor.name else name for name in each.input]
            tensor.name = str(number + 7)

    assert not any(each.changes for each in compared(detector(), edited(nameless)))

    def moved(proto: onnx.ModelProto) -> None:
        weight(proto, "block.conv1.weight", lambda w: w[::-1].copy())
        nameless(proto)

    assert only(compared(detector(), edited(moved)), "weights").where == "block.conv1"


def test_modules_behind_another_prefix_are_the_same(compared: Callable[..., list[Section]]) -> None:
    assert not any(each.changes for each in compared(detector(), detector(prefix="model.")))


# Precision and format


def test_half_precision_is_told_once(compared: Callable[..., list[Section]]) -> None:
    def halve(proto: onnx.ModelProto) -> None:
        for tensor in list(proto.graph.initializer):
            if tensor.data_type == TensorProto.FLOAT and tensor.dims:
                weight(proto, tensor.name, lambda w: w.astype(np.float16))
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16

    sections = compared(detector(dropout=None), halved := detector(dropout=None).build())
    halve(halved)
    sections = compared(detector(dropout=None), halved)
    (change,) = section(sections, "precision").changes
    assert (change.old, change.new) == ("float32", "float16")
    assert not section(sections, "weights").changes
    assert not section(sections, "norms").changes
    assert [each.what for each in section(sections, "structure").changes] == [
        "input: type or shape",
        "output: type or shape",
    ]


def test_quantized_weights_are_no_weights_that_moved(compared: Callable[..., list[Section]]) -> None:
    def quantize(proto: onnx.ModelProto) -> None:
        tensor = next(each for each in proto.graph.initializer if each.name == "block.conv1.weight")
        values = numpy_helper.to_array(tensor)
        scale = np.float32(np.abs(values).max() / 127)
        tensor.CopyFrom(numpy_helper.from_array(np.round(values / scale).astype(np.int8), "block.conv1.weight_q"))
        proto.graph.initializer.append(numpy_helper.from_array(np.array(scale), "scale"))
        dequantize = helper.make_node(
            "DequantizeLinear", ["block.conv1.weight_q", "scale"], ["block.conv1.weight"], "dequantize"
        )
        proto.graph.node.insert(0, dequantize)

    sections = compared(detector(), edited(quantize))
    assert [each.name for each in sections if each.changes] == ["precision"]
    told = {each.what.partition(";")[0]: each for each in section(sections, "precision").changes}
    assert set(told) == {"stored as int8: 1 tensor", "quantization"}
    assert told["quantization"].new == {"DequantizeLinear": 1}
    assert "1 weights moved by it, by up to" in told["quantization"].what


def test_opset_and_producer(compared: Callable[..., list[Section]]) -> None:
    def other(proto: onnx.ModelProto) -> None:
        proto.producer_version = "2.14.0"
        proto.opset_import[0].version = 18

    changes = section(compared(detector(), edited(other)), "precision").changes
    assert [(each.what, each.old, each.new) for each in changes] == [
        ("producer", "pytorch 2.13.0", "pytorch 2.14.0"),
        ("operator sets", {"ai.onnx": 17}, {"ai.onnx": 18}),
    ]


# Input normalization


@pytest.mark.parametrize(("old", "new", "kind"), [({}, {"normalized": 1}, ADDED), ({"normalized": 1}, {}, REMOVED)])
def test_preprocessing_that_came_or_went(
    compared: Callable[..., list[Section]], old: dict[str, Any], new: dict[str, Any], kind: str
) -> None:
    change = only(compared(detector(**old), detector(**new)), "inputs")
    assert (change.kind, change.where) == (kind, "image")
    assert (change.new or change.old)["mean"] == [123.7, 116.3, 103.5]
    assert (change.new or change.old)["deviation"] == pytest.approx([58.4, 57.1, 57.4])


def _scaled(mean: list[float], std: list[float]) -> ModelBuilder:
    model = ModelBuilder().input("image", [1, 3, 8, 8])
    model.op("Div", model.scalar(255))
    model.op("Sub", model.tensor("mean", np.array(mean, np.float32).reshape(3, 1, 1)))
    model.op("Mul", model.tensor("factor", (1 / np.array(std, np.float32)).reshape(3, 1, 1)))
    return model.conv("conv", 4).output("y")


def test_a_normalization_written_otherwise_says_that_it_agrees(compared: Callable[..., list[Section]]) -> None:
    plain = ModelBuilder().input("image", [1, 3, 8, 8])
    plain.op("Sub", plain.tensor("mean", np.array([123.675, 116.28, 103.53], np.float32).reshape(3, 1, 1)))
    plain.op("Div", plain.tensor("std", np.array([58.395, 57.12, 57.375], np.float32).reshape(3, 1, 1)))
    plain.conv("conv", 4).output("y")
    other = _scaled([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert "agree within AV408's limit" in only(compared(plain, other), "inputs").what
    wrong = _scaled([0.406, 0.456, 0.485], [0.225, 0.224, 0.229])
    assert "agree" not in only(compared(plain, wrong), "inputs").what


def test_channels_in_another_order_in_the_graph(compared: Callable[..., list[Section]]) -> None:
    def swapped() -> ModelBuilder:
        model = ModelBuilder().input("image", [1, 3, 8, 8])
        model.node("Gather", [model.value, model.ints(2, 1, 0)], axis=1)
        return model.conv("conv", 4).output("y")

    plain = ModelBuilder().input("image", [1, 3, 8, 8]).conv("conv", 4).output("y")
    change = only(compared(plain, swapped()), "inputs")
    assert change.new["steps"] == ["entries of axis 1 in the order [2, 1, 0]"]


def test_channels_in_another_order_in_the_first_layer(compared: Callable[..., list[Section]]) -> None:
    edit: Edit = lambda p: weight(p, "stem.conv.weight", lambda w: w[:, ::-1].copy())  # noqa: E731
    change = only(compared(detector(), edited(edit)), "inputs")
    assert change.where == "stem.conv"
    assert "reverse order" in change.what


def test_a_normalization_folded_into_the_first_layer(compared: Callable[..., list[Section]]) -> None:
    factors = np.array([1 / 58.4, 1 / 57.1, 1 / 57.4], np.float32).reshape(1, 3, 1, 1)

    def fold(proto: onnx.ModelProto) -> None:
        weight(proto, "stem.conv.weight", lambda w: w * factors)
        weight(proto, "stem.conv.bias", lambda b: b - 0.5)

    change = only(compared(detector(), edited(fold)), "inputs")
    assert "a normalization was folded into it, or taken out" in change.what


def test_an_eps_that_is_folded_in_is_no_normalization_of_the_input(compared: Callable[..., list[Section]]) -> None:
    change = only(
        compared(detector(), edited(lambda p: weight(p, "stem.conv.weight", lambda w: w * 0.9995))), "weights"
    )
    assert change.where == "stem.conv"
