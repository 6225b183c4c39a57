from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Assess
from models import ModelBuilder
from onnx import TensorProto, helper

from avreview.artifact import Artifact
from avreview.checkpoint import Module
from avreview.engine.review import Severity, Verdict


def image(opset: int = 17, name: str = "image", channels: int = 3) -> ModelBuilder:
    return ModelBuilder(opset).input(name, ["batch", channels, 8, 8])


# AV301


def batch_norm(opset: int, *, training: bool) -> ModelBuilder:
    model = image(opset).conv("stem.conv", 16, bias=False)
    return model.batch_norm("stem.bn", training=training).relu("stem.act").output("features")


@pytest.mark.parametrize("opset", [9, 11, 13, 14, 17, 21])
def test_av301_batch_norm_in_training_mode(assess: Assess, opset: int) -> None:
    finding = assess(batch_norm(opset, training=True), "AV301").found(Severity.ERROR, "stem.bn")
    assert finding.location.node == "/stem/bn/BatchNormalization"
    assert ("training_mode=1" if opset >= 14 else "5 outputs") in finding.observed["evidence"]
    assert assess(batch_norm(opset, training=False), "AV301").passed


def is_test(value: int) -> ModelBuilder:
    return image(6).conv("stem.conv", 16).batch_norm("stem.bn", is_test=value).output("features")


def test_av301_is_test_of_opset_6(assess: Assess) -> None:
    assert assess(is_test(0), "AV301").found(Severity.ERROR, "stem.bn").observed["evidence"] == "is_test=0"
    assert assess(is_test(1), "AV301").passed


def computed_statistics(*, from_data: bool) -> ModelBuilder:
    """Statistics computed from the layer's own output, or from constants, in front of the norm."""
    model = image().conv("stem.conv", 16)
    data = model.value
    statistics = []
    for name in ("mean", "var"):
        source = data if from_data else model.tensor(name, model.trained(16, 8, scale=0.1) + 1)
        axes = [0, 2, 3] if from_data else [1]
        statistics.append(model.node("ReduceMean", [source], module="stem.bn", axes=axes, keepdims=0).value)
    affine = [model.tensor(f"stem.bn.{name}", model.trained(16)) for name in ("weight", "bias")]
    model.node("BatchNormalization", [data, *affine, *statistics], module="stem.bn", channels=16, rank=4)
    return model.output("features")


def test_av301_statistics_computed_from_the_data(assess: Assess) -> None:
    finding = assess(computed_statistics(from_data=True), "AV301").found(Severity.ERROR, "stem.bn")
    assert "computed from the data" in finding.observed["evidence"]
    assert assess(computed_statistics(from_data=False), "AV301").passed


def test_av301_running_statistics_behind_identity_and_reshape_are_constant(assess: Assess) -> None:
    model = image().conv("stem.conv", 16)
    data = model.value
    names = [model.tensor(f"stem.bn.{name}", np.abs(model.trained(1, 16)) + 0.1) for name in ("g", "b", "m", "v")]
    inputs = []
    for name in names:
        model.node("Identity", [name], rank=2)
        inputs.append(model.node("Reshape", [model.value, model.ints(16)], rank=1).value)
    model.node("BatchNormalization", [data, *inputs], module="stem.bn", channels=16, rank=4).output("features")
    assert assess(model, "AV301").passed


def written_norm(*axes: int) -> ModelBuilder:
    model = image().conv("stem.conv", 16)
    data = model.value
    model.node("ReduceMean", module="stem.norm", axes=list(axes), keepdims=1)
    difference = model.node("Sub", [data, model.value], module="stem.norm").value
    model.op("Mul", difference, module="stem.norm").node("ReduceMean", module="stem.norm", axes=list(axes), keepdims=1)
    model.op("Add", model.scalar(1e-5), module="stem.norm").op("Sqrt", module="stem.norm")
    return model.node("Div", [difference, model.value], module="stem.norm").relu("stem.act").output("features")


@pytest.mark.parametrize("axes", [(0, 2, 3), (-4, -2, -1), (0, 3)])
def test_av301_batch_norm_written_by_hand(assess: Assess, axes: tuple[int, ...]) -> None:
    finding = assess(written_norm(*axes), "AV301").found(Severity.ERROR, "stem.norm")
    assert finding.location.node == "/stem/norm/Div"
    assert "the batch axis among them" in finding.observed["evidence"]


@pytest.mark.parametrize("axes", [(2, 3), (1,), (1, 2, 3), (-1,)])
def test_av301_norms_of_each_sample_written_by_hand_are_silent(assess: Assess, axes: tuple[int, ...]) -> None:
    assert assess(written_norm(*axes), "AV301").passed


@pytest.mark.parametrize(("axes", "batch"), [(None, True), ([0, 2, 3], True), ([-4, 2, 3], True), ([2, 3], False)])
def test_av301_mean_variance_normalization(assess: Assess, axes: list[int] | None, batch: bool) -> None:
    attributes: dict[str, Any] = {} if axes is None else {"axes": axes}
    model = image().conv("stem.conv", 16).node("MeanVarianceNormalization", module="stem.mvn", **attributes)
    assessed = assess(model.output("features"), "AV301")
    assert assessed.modules == (["stem.mvn"] if batch else [])


def many_norms(training: set[int]) -> ModelBuilder:
    model = image()
    for block in range(20):
        model.conv(f"blocks.{block}.conv", 8, bias=False)
        model.batch_norm(f"blocks.{block}.bn", training=block in training).relu(f"blocks.{block}.act")
    return model.output("features")


def test_av301_one_cause_is_one_finding(assess: Assess) -> None:
    finding = assess(many_norms(set(range(20))), "AV301").found(
        Severity.ERROR, *[f"blocks.{block}.bn" for block in range(20)]
    )
    assert len(finding.also) == 19
    assert finding.observed["norms"] == 20


def test_av301_names_the_one_norm_of_twenty(assess: Assess) -> None:
    finding = assess(many_norms({13}), "AV301").found(Severity.ERROR, "blocks.13.bn")
    assert finding.message.startswith("1 norm of 20 ")


@pytest.mark.parametrize("rule", ["AV301", "AV303", "AV304"])
def test_without_a_norm_there_is_nothing_to_judge(assess: Assess, rule: str) -> None:
    assessed = assess(image().conv("stem.conv", 16).relu("stem.act").output("features"), rule)
    assert assessed.verdict is Verdict.NOT_APPLICABLE
    assert assessed.reason is not None
    assert "no" in assessed.reason.split()


# AV303


def recurrent(norm: str, *, layers_between: int = 0, before: bool = False) -> ModelBuilder:
    """[time, batch, features] through an LSTM, with the norm in front of it or behind it."""
    model = ModelBuilder().input("features", [5, "batch", 32])
    if before:
        add_norm(model, norm, "backbone.norm")
    weights = [model.tensor(f"temporal.{n}", model.trained(1, 64, 32 if n == "W" else 16)) for n in ("W", "R")]
    model.node("LSTM", [model.value, *weights], module="temporal.lstm", hidden_size=16, channels=16, rank=4)
    model.node("Squeeze", [model.value, model.ints(1)], channels=16, rank=3)
    for place in range(layers_between):
        model.linear(f"head.{place}", 16).relu(f"head.{place}.act")
    if not before:
        add_norm(model, norm, "temporal.norm")
    return model.linear("head.out", 4).output("scores")


def add_norm(model: ModelBuilder, norm: str, module: str) -> None:
    if norm == "batch":
        model.batch_norm(module)
    else:
        model.layer_norm(module)


def test_av303_batch_norm_behind_an_lstm(assess: Assess) -> None:
    finding = assess(recurrent("batch"), "AV303").found(Severity.NOTE, "temporal.norm")
    assert finding.location.node == "/temporal/norm/BatchNormalization"
    assert assess(recurrent("layer"), "AV303").verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("layers", [0, 1, 2, 3, 4])
def test_av303_reaches_over_two_weight_layers(assess: Assess, layers: int) -> None:
    assert bool(assess(recurrent("batch", layers_between=layers), "AV303").findings) is (layers <= 2)


def test_av303_backbone_in_front_is_silent(assess: Assess) -> None:
    assert assess(recurrent("batch", before=True), "AV303").passed


def attention(norm: str, *, softmax: bool = True) -> ModelBuilder:
    model = ModelBuilder().input("tokens", ["batch", 5, 16])
    data = model.value
    query, key, value = (model.at(data).linear(f"attention.{name}", 16).value for name in ("q", "k", "v"))
    key = model.at(key).transpose(0, 2, 1, module="attention").value
    model.node("MatMul", [query, key], module="attention", channels=5)
    if softmax:
        model.op("Softmax", module="attention", axis=-1)
    model.node("MatMul", [model.value, value], module="attention", channels=16)
    add_norm(model, norm, "encoder.norm")
    return model.linear("head", 4).output("scores")


def test_av303_batch_norm_behind_written_out_attention(assess: Assess) -> None:
    assert assess(attention("batch"), "AV303").found(Severity.NOTE, "encoder.norm")
    assert assess(attention("layer"), "AV303").verdict is Verdict.NOT_APPLICABLE
    without = assess(attention("batch", softmax=False), "AV303")
    assert without.verdict is Verdict.NOT_APPLICABLE
    assert without.reason is not None
    assert "recurrent" in without.reason


def looped(op: str) -> ModelBuilder:
    """A loop over moments with a norm in its body."""
    model = ModelBuilder().input("state", ["batch", 16])
    names = [model.tensor(f"cell.bn.{name}", np.abs(model.trained(16)) + 0.1) for name in ("g", "b", "m", "v")]
    norm = helper.make_node(op, ["now", *names[: 4 if op[0] == "B" else 2]], ["next"], f"/cell/bn/{op}")
    keep = helper.make_node("Identity", ["going"], ["still"], "/cell/Identity")
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [norm, keep],
        "body",
        [info("step", TensorProto.INT64, []), info("going", TensorProto.BOOL, []), info("now", 1, ["batch", 16])],
        [info("still", TensorProto.BOOL, []), info("next", 1, ["batch", 16])],
    )
    trips, start = model.tensor("trips", np.array(5)), model.tensor("start", np.array(True))
    return model.node("Loop", [trips, start, "state"], body=body, channels=16, rank=2).linear("head", 4).output("out")


def test_av303_batch_norm_in_a_loop(assess: Assess) -> None:
    finding = assess(looped("BatchNormalization"), "AV303").only
    assert finding.severity is Severity.NOTE
    assert finding.location.node is not None
    assert finding.location.node.endswith("/cell/bn/BatchNormalization")
    assert assess(looped("LayerNormalization"), "AV303").verdict is Verdict.NOT_APPLICABLE


# AV304


def biased(bias: bool | str, layer: str = "conv", norm: str = "batch") -> ModelBuilder:
    """A layer with a bias (or none, or zeros) in front of a norm."""
    model = ModelBuilder().input("image", ["batch", 16, 8, 8] if "onv" in layer else ["batch", 16])
    shift = np.zeros(16, np.float32) if bias == "zeros" else bool(bias)
    if layer in ("conv", "ConvTranspose"):
        model.conv("stem.layer", 16, op="Conv" if layer == "conv" else layer, bias=shift)
    elif layer == "gemm":
        model.gemm("stem.layer", 16, bias=shift)
    else:
        model.linear("stem.layer", 16, bias=shift)
    if norm == "instance":
        scale, offset = (model.tensor(f"stem.norm.{name}", model.trained(16)) for name in ("weight", "bias"))
        model.node("InstanceNormalization", [model.value, scale, offset], module="stem.norm")
    else:
        add_norm(model, norm, "stem.norm")
    return model.relu("stem.act").output("features")


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("layer", ["conv", "ConvTranspose", "gemm", "linear"])
def test_av304_bias_in_front_of_a_norm(assess: Assess, layer: str, norm: str) -> None:
    finding = assess(biased(True, layer, norm), "AV304").found(Severity.NOTE, "stem.layer")
    assert finding.location.tensor == "stem.layer.weight"
    assert assess(biased(False, layer, norm), "AV304").passed
    assert assess(biased("zeros", layer, norm), "AV304").passed


def test_av304_layer_norm_keeps_a_bias(assess: Assess) -> None:
    assessed = assess(biased(True, "linear", "layer"), "AV304")
    assert assessed.verdict is Verdict.NOT_APPLICABLE


def test_av304_looks_through_moves_but_not_past_another_reader(assess: Assess) -> None:
    def model(*, read_twice: bool) -> ModelBuilder:
        built = image().conv("stem.layer", 16)
        own = built.value
        built.op("Identity").op("Cast", to=1).batch_norm("stem.norm").relu("stem.act").output("features")
        return built.at(own).sigmoid("gate").output("gates") if read_twice else built

    assert assess(model(read_twice=False), "AV304").found(Severity.NOTE, "stem.layer")
    assert assess(model(read_twice=True), "AV304").verdict is Verdict.NOT_APPLICABLE


def test_av304_lists_every_layer_once(assess: Assess) -> None:
    model = image()
    for block in range(3):
        model.conv(f"blocks.{block}.conv", 8, bias=block != 1).batch_norm(f"blocks.{block}.bn").relu()
    finding = assess(model.output("features"), "AV304").found(Severity.NOTE, "blocks.0.conv", "blocks.2.conv")
    assert finding.message.startswith("2 layers of 3 ")


# AV305


def placed(orders: str, *, fork: bool = False) -> ModelBuilder:
    """Blocks of a convolution, and a norm before (b) or after (a) its activation."""
    model = image()
    for block, order in enumerate(orders):
        model.conv(f"blocks.{block}.conv", 8, bias=False)
        if order == "b":
            model.batch_norm(f"blocks.{block}.bn").relu(f"blocks.{block}.act")
        else:
            model.relu(f"blocks.{block}.act")
            activated = model.value
            model.batch_norm(f"blocks.{block}.bn")
            if fork:
                model.add(activated)
    return model.conv("head", 4).output("scores")


@pytest.mark.parametrize("orders", ["bbbaa", "bbaa", "aabaab"])
def test_av305_both_orders(assess: Assess, orders: str) -> None:
    rarer = min("ba", key=orders.count)
    modules = [f"blocks.{block}.conv" for block, order in enumerate(orders) if order == rarer]
    finding = assess(placed(orders), "AV305").found(Severity.NOTE, *modules)
    assert finding.observed["norm_before_activation"] == orders.count("b")
    assert finding.observed["norm_after_activation"] == orders.count("a")


@pytest.mark.parametrize("orders", ["bbbb", "aaaa", "bbba", "abbb"])
def test_av305_one_order_with_at_most_one_exception(assess: Assess, orders: str) -> None:
    assert assess(placed(orders), "AV305").passed


def test_av305_leaves_out_blocks_that_fork(assess: Assess) -> None:
    assert assess(placed("bbbaa", fork=True), "AV305").passed


def test_av305_without_blocks(assess: Assess) -> None:
    model = image().conv("stem", 8).relu("act").conv("head", 4).output("scores")
    assert assess(model, "AV305").verdict is Verdict.NOT_APPLICABLE


# AV306


def normalized(name: str, norm: str, *, layers: int = 0, bypass: bool = False) -> ModelBuilder:
    """An input through some layers and a norm; `bypass` keeps a way around it."""
    model = image(name=name, channels=8)
    for place in range(layers):
        model.conv(f"stem.{place}", 8)
    before = model.value
    NORMS[norm](model)
    if bypass:
        model.add(before)
    return model.conv("backbone", 8).relu().conv("head", 4).output("scores")


def _instance(model: ModelBuilder) -> None:
    scale, offset = (model.tensor(f"norm.{name}", model.trained(8)) for name in ("weight", "bias"))
    model.node("InstanceNormalization", [model.value, scale, offset], module="norm")


def _group(model: ModelBuilder) -> None:
    """GroupNorm as the TorchScript exporter writes it: between two reshapes."""
    scale, offset = (model.tensor(f"group.{name}", model.trained(2)) for name in ("weight", "bias"))
    model.node("Shape", module="norm", rank=1)
    shape, data = model.value, model.nodes[-1].input[0]
    model.at(data).reshape(0, 2, -1, channels=2, module="norm")
    model.node("InstanceNormalization", [model.value, scale, offset], module="norm")
    model.node("Reshape", [model.value, shape], module="norm", channels=8, rank=4)
    affine = [model.tensor(f"norm.{name}", model.trained(8, 1, 1)) for name in ("weight", "bias")]
    model.op("Mul", affine[0], module="norm").op("Add", affine[1], module="norm")


def _written(model: ModelBuilder) -> None:
    data = model.value
    model.node("ReduceMean", module="norm", axes=[2, 3], keepdims=1)
    difference = model.node("Sub", [data, model.value], module="norm").value
    model.op("Mul", difference, module="norm").node("ReduceMean", module="norm", axes=[2, 3], keepdims=1)
    model.op("Add", model.scalar(1e-5), module="norm").op("Sqrt", module="norm")
    model.node("Div", [difference, model.value], module="norm")


def _own_maximum(model: ModelBuilder) -> None:
    data = model.value
    model.node("ReduceMax", module="norm", axes=[1, 2, 3], keepdims=1)
    model.node("Div", [data, model.value], module="norm")


def _own_length(model: ModelBuilder) -> None:
    data = model.value
    model.node("ReduceL2", module="norm", axes=[1], keepdims=1)
    model.node("Div", [data, model.value], module="norm")


NORMS: dict[str, Callable[[ModelBuilder], object]] = {
    "instance": _instance,
    "group": _group,
    "layer": lambda model: model.layer_norm("norm"),
    "written out": _written,
    "own maximum": _own_maximum,
    "own length": _own_length,
    "unit length": lambda model: model.node("LpNormalization", module="norm", axis=1),
    "batch": lambda model: model.batch_norm("norm"),
    "fixed constants": lambda model: model.op("Sub", model.scalar(3.5)).op("Div", model.scalar(12.0)),
}
PER_SAMPLE = [name for name in NORMS if name not in ("batch", "fixed constants")]


@pytest.mark.parametrize("norm", PER_SAMPLE)
def test_av306_per_sample_norm_of_a_measuring_sensor(assess: Assess, norm: str) -> None:
    finding = assess(normalized("radar_grid", norm), "AV306").found(Severity.WARNING, "norm")
    assert finding.observed["input"] == "radar_grid"
    assert finding.observed["sensor"] == "radar"
    assert assess(normalized("radar_grid", norm, bypass=True), "AV306").passed
    assert assess(normalized("image", norm), "AV306").verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("norm", ["batch", "fixed constants"])
def test_av306_norms_that_keep_the_scale(assess: Assess, norm: str) -> None:
    assert assess(normalized("radar_grid", norm), "AV306").passed


@pytest.mark.parametrize(("layers", "hides"), [(0, True), (1, True), (2, False)])
def test_av306_norm_must_stand_close_to_the_input(assess: Assess, layers: int, hides: bool) -> None:
    assert bool(assess(normalized("lidar_bev", "instance", layers=layers), "AV306").findings) is hides


@pytest.mark.parametrize(
    ("name", "sensor"),
    [("points", "lidar"), ("intensity", "lidar"), ("radarCube", "radar"), ("depth", "depth"), ("occ", "occupancy")],
)
def test_av306_knows_a_sensor_by_its_inputs_name(assess: Assess, name: str, sensor: str) -> None:
    assert assess(normalized(name, "instance"), "AV306").only.observed["sensor"] == sensor


def test_av306_the_person_knows_better(assess: Assess) -> None:
    unnamed = assess(normalized("x", "instance"), "AV306")
    assert unnamed.verdict is Verdict.NOT_ASSESSED
    assert unnamed.reason is not None
    assert "--modality" in unnamed.reason
    assert assess(normalized("x", "instance"), "AV306", modality="lidar").only.observed["sensor"] == "lidar"
    assert assess(normalized("points", "instance"), "AV306", modality="camera").verdict is Verdict.NOT_APPLICABLE


# AV307


def cameras(
    name: str = "images", count: int | str = 6, norm: str = "batch", *, split: bool = False, flatten: bool = False
) -> ModelBuilder:
    model = ModelBuilder().input(name, ["batch", count, 3, 8, 8])
    if flatten:
        model.op("Identity", module="fold")
    model.reshape(-1, 3, 8, 8, channels=3, module="fold").conv("backbone.conv", 8, bias=False)
    if split:
        model.node("Reshape", [model.value, model.ints(-1, 6, 8, 8, 8)], channels=8, rank=5, module="split")
        model.reshape(0, 48, 8, 8, channels=48, module="join")
    if norm == "batch":
        model.batch_norm("backbone.bn")
    elif norm == "group":
        model.channels[model.value] = 8
        _group(model)
    return model.relu("backbone.act").conv("head", 4).output("scores")


@pytest.mark.parametrize("count", [2, 6, "cameras"])
@pytest.mark.parametrize("name", ["images", "cam_imgs", "multi_view"])
def test_av307_cameras_folded_into_the_batch(assess: Assess, name: str, count: int | str) -> None:
    finding = assess(cameras(name, count), "AV307").only
    assert finding.severity is Severity.NOTE
    assert finding.location.node == "/fold/Reshape"
    assert [place.module for place in finding.also] == ["backbone.bn"]
    assert finding.observed["cameras"] == (count if isinstance(count, int) else None)


def test_av307_sees_through_what_keeps_the_axes(assess: Assess) -> None:
    assert assess(cameras(flatten=True), "AV307").only.location.node == "/fold/Reshape"


def test_av307_counts_norms_folded_into_their_layers(assess: Assess) -> None:
    model = ModelBuilder().input("images", ["batch", 6, 3, 8, 8]).reshape(-1, 3, 8, 8, channels=3, module="fold")
    inputs = [model.tensor("onnx::Conv_12", model.trained(8, 3, 3, 3)), model.tensor("onnx::Conv_13", model.trained(8))]
    model.node("Conv", [model.value, *inputs], module="backbone.conv", channels=8).relu("backbone.act").output("out")
    assert [place.module for place in assess(model, "AV307").only.also] == ["backbone.conv"]


def test_av307_axes_split_before_the_norm(assess: Assess) -> None:
    assert assess(cameras(split=True), "AV307").passed


def test_av307_group_norm_shares_nothing(assess: Assess) -> None:
    assert assess(cameras(norm="group"), "AV307").passed


@pytest.mark.parametrize(("name", "count"), [("images", 1), ("image_sequence", 6), ("voxels", 6), ("video_frames", 6)])
def test_av307_no_camera_axis(assess: Assess, name: str, count: int) -> None:
    assert assess(cameras(name, count), "AV307").verdict is Verdict.NOT_APPLICABLE


def test_av307_one_camera_an_input(assess: Assess) -> None:
    model = image().conv("stem.conv", 8, bias=False).batch_norm("stem.bn").output("features")
    assert assess(model, "AV307").verdict is Verdict.NOT_APPLICABLE


def test_av303_in_a_module_tree_by_what_stands_beside_the_norm(assess: Assess) -> None:
    def model(kind: str, place: str) -> Artifact:
        norm = {f"{place}.{name}": np.ones(4, np.float32) for name in ("weight", "bias", "running_mean", "running_var")}
        blocks = (
            ("", "Net", ("backbone", "temporal")),
            ("backbone", "Net", ("bn",)),
            ("temporal", "Block", ("mix", "bn")),
        )
        modules = [Module(path, name, "nets", children=children) for path, name, children in blocks]
        modules += [
            Module("temporal.mix", kind, "torch.nn"),
            Module(place, "BatchNorm1d", "torch.nn.modules.batchnorm"),
        ]
        return checkpoint(norm, modules=modules)

    for kind in ("MultiheadAttention", "LSTM", "GRUCell", "WindowAttention"):
        assess(model(kind, "temporal.bn"), "AV303").found(Severity.NOTE, "temporal.bn")
        assert assess(model(kind, "backbone.bn"), "AV303").verdict is Verdict.NOT_ASSESSED
    assert not assess(model("Linear", "temporal.bn"), "AV303").findings
