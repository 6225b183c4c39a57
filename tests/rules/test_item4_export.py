from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import Assess
from models import ModelBuilder
from onnx import TensorProto, helper

from avreview.engine.review import Severity, Verdict


def features(opset: int = 17, channels: int = 8) -> ModelBuilder:
    """An image through one convolution, its result at hand."""
    return ModelBuilder(opset).input("image", [2, 3, 8, 8]).conv("stem", channels)


def head(model: ModelBuilder) -> ModelBuilder:
    return model.conv("head", 4).output("scores")


# AV401

NOISES: dict[str, Callable[[ModelBuilder], ModelBuilder]] = {
    "RandomNormalLike": lambda model: model.op("RandomNormalLike", module="noise"),
    "RandomUniformLike": lambda model: model.op("RandomUniformLike", module="noise", seed=1.0),
    "RandomNormal": lambda model: model.node("RandomNormal", [], module="noise", shape=[2, 8, 8, 8]),
    "RandomUniform": lambda model: model.node("RandomUniform", [], module="noise", shape=[2, 8, 8, 8]),
}


@pytest.mark.parametrize("op", NOISES)
def test_av401_noise(assess: Assess, op: str) -> None:
    model = features()
    data = model.value
    finding = assess(head(NOISES[op](model).add(data, "noise")), "AV401").found(Severity.ERROR, "noise")
    assert finding.location.node == f"/noise/{op}"
    assert finding.observed["operators"] == op
    assert assess(head(features()), "AV401").passed


def test_av401_sampling(assess: Assess) -> None:
    model = ModelBuilder().input("scene", [2, 16]).linear("policy", 8).op("Softmax", module="policy").op("Log")
    model.node("Multinomial", module="sampler", dtype=TensorProto.INT64, sample_size=1)
    finding = assess(model.output("action", dtype=TensorProto.INT64), "AV401").found(Severity.ERROR, "sampler")
    assert finding.location.node == "/sampler/Multinomial"


def uniform(model: ModelBuilder, *shape: int) -> ModelBuilder:
    like = model.tensor("ones_" + "_".join(map(str, shape)), np.ones(shape, np.float32))
    return model.node("RandomUniformLike", [like], module="drop")


def less(model: ModelBuilder, *shape: int) -> ModelBuilder:
    """timm's form: u < keep, cast, over keep."""
    uniform(model, *shape).op("Less", model.scalar(0.75), module="drop").op("Cast", module="drop", to=1)
    return model.op("Div", model.scalar(0.75), module="drop")


def floor(model: ModelBuilder, *shape: int) -> ModelBuilder:
    """The first Swin's form: floor(keep + u), over keep."""
    uniform(model, *shape).op("Add", model.scalar(0.75), module="drop").op("Floor", module="drop")
    return model.op("Div", model.scalar(0.75), module="drop")


def bernoulli(model: ModelBuilder, *shape: int) -> ModelBuilder:
    keep = model.tensor("keep", np.full(shape, 0.75, np.float32))
    return model.node("Bernoulli", [keep], module="drop").op("Mul", model.scalar(1 / 0.75), module="drop")


def reshaped(model: ModelBuilder, *shape: int) -> ModelBuilder:
    """One number for each sample first, the further axes later."""
    return less(model, shape[0]).reshape(*shape, module="drop") if shape[1:] == (1, 1, 1) else less(model, *shape)


MASKS = {"less": less, "floor": floor, "bernoulli": bernoulli, "reshaped": reshaped}


def masked(form: str, *shape: int) -> ModelBuilder:
    model = features()
    data = model.value
    MASKS[form](model, *shape)
    branch = model.node("Mul", [data, model.value], module="drop", channels=8, rank=4).value
    return head(model.at(data).add(branch, "sum"))


@pytest.mark.parametrize("form", MASKS)
def test_av401_drop_path(assess: Assess, form: str) -> None:
    finding = assess(masked(form, 2, 1, 1, 1), "AV401").found(Severity.ERROR, "drop")
    assert finding.location.node is not None
    assert finding.location.node.startswith("/drop/Mul")
    assert "stochastic depth" in finding.message


@pytest.mark.parametrize("shape", [(2, 8, 8, 8), (2, 8, 1, 1)])
@pytest.mark.parametrize("form", MASKS)
def test_av401_leaves_dropout_to_av701(assess: Assess, form: str, shape: tuple[int, ...]) -> None:
    assert assess(masked(form, *shape), "AV401").passed
    assert assess(masked(form, *shape), "AV701").found(Severity.ERROR, "drop")


def test_av401_a_draw_that_reaches_no_output(assess: Assess) -> None:
    model = head(features())
    model.node("RandomNormal", [], module="unused", shape=[2]).op("Relu", module="unused")
    assert assess(model, "AV401").passed


def test_av401_in_a_branch(assess: Assess) -> None:
    """Either branch of an If; what it computes reaches the output."""
    model = features()
    outside = model.value
    info = helper.make_tensor_value_info
    branches = {}
    for name, op in (("then_branch", "RandomNormalLike"), ("else_branch", "Identity")):
        node = helper.make_node(op, [outside], [f"{name}_out"], f"/gate/noise/{op}")
        branches[name] = helper.make_graph([node], name, [], [info(f"{name}_out", 1, None)])
    condition = model.tensor("condition", np.array(True))
    model.node("If", [condition], module="gate", channels=8, rank=4, **branches)
    location = assess(head(model), "AV401").only.location
    assert location.node is not None
    assert location.node.endswith("/gate/noise/RandomNormalLike")


def test_av401_in_a_local_function(assess: Assess) -> None:
    model = features()
    body = [helper.make_node("RandomNormalLike", ["x"], ["r"], "draw"), helper.make_node("Add", ["x", "r"], ["y"])]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("pkg.noise", "Noise", ["x"], ["y"], body, imports))
    model.domains["pkg.noise"] = 1
    location = assess(head(model.op("Noise", module="augment", domain="pkg.noise")), "AV401").only.location
    assert location.node is not None
    assert location.node.startswith("/augment/Noise")
    assert location.node.endswith("draw")


def test_av401_one_finding_lists_every_node(assess: Assess) -> None:
    model = features()
    for block in range(3):
        data = model.value
        model.op("RandomNormalLike", module=f"blocks.{block}.noise").add(data, f"blocks.{block}")
    finding = assess(head(model), "AV401").found(Severity.ERROR, *[f"blocks.{block}.noise" for block in range(3)])
    assert finding.observed["places"] == 3


# AV409: with nothing to compare the export with, there is no good twin yet.


def test_av409_an_export_alone_is_no_evidence(assess: Assess) -> None:
    finding = assess(head(features()), "AV409").found(Severity.NOTE, None)
    assert finding.location.node is None
    assert finding.observed["outputs_compared"] == 0


# AV410


def reshaped_batch(target: list[int], *, batch: int | str = "batch", op: str = "Reshape") -> ModelBuilder:
    """[batch, 3, 8, 8] → convolution → a reshape to `target` → a linear layer."""
    model = ModelBuilder().input("image", [batch, 3, 8, 8]).conv("stem", 8).relu("act")
    model.node(op, [model.value, model.tensor("target", np.array(target))], module="neck.flatten", rank=len(target))
    return model.relu("end").output("out")


@pytest.mark.parametrize("target", [[1, 512], [2, 8, 64], [1, -1], [4, 8, 8, 8]])
def test_av410_reshape_to_the_examples_batch(assess: Assess, target: list[int]) -> None:
    finding = assess(reshaped_batch(target), "AV410").found(Severity.WARNING, "neck.flatten")
    assert finding.location.node == "/neck/flatten/Reshape"
    assert finding.observed["target_shape"] == target


@pytest.mark.parametrize("target", [[-1, 512], [0, 512], [0, -1], [0, 0, -1]])
def test_av410_reshape_that_keeps_the_batch(assess: Assess, target: list[int]) -> None:
    assert assess(reshaped_batch(target), "AV410").passed


def test_av410_expand(assess: Assess) -> None:
    assert assess(reshaped_batch([4, 8, 8, 8], op="Expand"), "AV410").found(Severity.WARNING, "neck.flatten")
    assert assess(reshaped_batch([1, 8, 8, 8], op="Expand"), "AV410").passed


@pytest.mark.parametrize("dynamic", ["batch", "", -1])
def test_av410_knows_a_dynamic_axis(assess: Assess, dynamic: int | str) -> None:
    assert assess(reshaped_batch([1, 512], batch=dynamic), "AV410").findings


def test_av410_an_instance_norm_with_stored_statistics(assess: Assess) -> None:
    """PyTorch's exporter writes it as a batch norm of batch × channels."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 8).reshape(1, -1, 8, 8, module="norm")
    assert assess(model.output("features"), "AV410").findings
    model.outputs.clear()
    model.channels[model.value] = 16
    assert assess(model.batch_norm("norm").reshape(-1, 8, 8, 8).output("out"), "AV410").passed


def test_av410_declared_fixed(assess: Assess) -> None:
    assert assess(reshaped_batch([1, 512], batch=1), "AV410").verdict is Verdict.NOT_APPLICABLE


def test_av410_axis_that_no_longer_is_the_batch(assess: Assess) -> None:
    """Behind a transposition the first axis holds channels, which a constant may fix."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 8).transpose(1, 0, 2, 3)
    assert assess(model.reshape(8, -1).output("out"), "AV410").passed


def test_av410_one_finding_lists_every_node(assess: Assess) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 8)
    data = model.value
    model.reshape(1, 512, module="left").output("left")
    model.at(data).reshape(1, 8, 64, module="right").output("right")
    assert assess(model, "AV410").found(Severity.WARNING, "left", "right")


@pytest.mark.parametrize(("declared", "found"), [(1, True), ("batch", False), (None, False)])
def test_av410_output_declared_with_one_size(assess: Assess, declared: int | str | None, found: bool) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 8).relu("act")
    assessed = assess(model.output("out", [declared, 8, 8, 8]), "AV410")
    assert assessed.modules == (["act"] if found else [])


# AV411


def written_sigmoid(model: ModelBuilder, module: str) -> ModelBuilder:
    model.op("Neg", module=module).op("Exp", module=module).op("Add", model.scalar(1.0), module=module)
    return model.node("Div", [model.scalar(1.0), model.value], module=module)


def written_softmax(model: ModelBuilder, module: str) -> ModelBuilder:
    data = model.value
    model.node("ReduceMax", module=module, axes=[1], keepdims=1)
    model.node("Sub", [data, model.value], module=module)
    exponential = model.op("Exp", module=module).value
    model.node("ReduceSum", [exponential, model.ints(1)], module=module, keepdims=1)
    return model.node("Div", [exponential, model.value], module=module)


SQUASHING: dict[str, Callable[[ModelBuilder, str], ModelBuilder]] = {
    "Sigmoid": lambda model, module: model.op("Sigmoid", module=module),
    "Softmax": lambda model, module: model.op("Softmax", module=module, axis=1),
    "written Sigmoid": written_sigmoid,
    "written Softmax": written_softmax,
}


def logits() -> ModelBuilder:
    return ModelBuilder().input("features", ["batch", 16]).gemm("head.fc", 10)


@pytest.mark.parametrize("second", SQUASHING)
@pytest.mark.parametrize("first", SQUASHING)
def test_av411_squashed_twice(assess: Assess, first: str, second: str) -> None:
    model = SQUASHING[second](SQUASHING[first](logits(), "head.inner"), "head.outer").output("scores")
    finding = assess(model, "AV411").found(Severity.WARNING, "head.outer", "head.inner")
    kinds = first.removeprefix("written "), second.removeprefix("written ")
    assert (finding.observed["first"], finding.observed["second"]) == kinds


@pytest.mark.parametrize("only", SQUASHING)
def test_av411_squashed_once(assess: Assess, only: str) -> None:
    assert assess(SQUASHING[only](logits(), "head.inner").output("scores"), "AV411").passed


def test_av411_looks_through_what_moves_values(assess: Assess) -> None:
    model = logits().sigmoid("head.inner").reshape(-1, 2, 5).transpose(0, 2, 1).op("Identity")
    model.op("Slice", model.ints(0), model.ints(1), model.ints(1)).sigmoid("head.outer").op("Cast", to=1)
    assert assess(model.output("scores"), "AV411").found(Severity.WARNING, "head.outer", "head.inner")


@pytest.mark.parametrize(("first", "found"), [("Softmax", True), ("LogSoftmax", False)])
def test_av411_log_softmax_is_a_second_but_no_first(assess: Assess, first: str, found: bool) -> None:
    second = "LogSoftmax" if found else "Softmax"
    model = logits().op(first, module="inner", axis=1).op(second, module="outer", axis=1).output("scores")
    assert bool(assess(model, "AV411").findings) is found


def test_av411_weights_or_arithmetic_between(assess: Assess) -> None:
    attention = logits().op("Softmax", module="attention", axis=1).gemm("head.out", 4).sigmoid("head.act")
    assert assess(attention.output("scores"), "AV411").passed
    tempered = logits().sigmoid("inner")
    tempered.op("Mul", tempered.scalar(4.0)).sigmoid("outer").output("scores")
    assert assess(tempered, "AV411").passed


def test_av411_inside_the_network_is_not_judged(assess: Assess) -> None:
    model = logits().sigmoid("inner").sigmoid("outer").gemm("head.out", 4).output("scores")
    assert assess(model, "AV411").passed


# AV413

SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"
SCOPES = "pkg.torch.onnx.name_scopes"
FX_NODE = "pkg.torch.onnx.fx_node"


def recorded(*mutated: str) -> ModelBuilder:
    """What PyTorch 2's exporter writes: the program's signature in the graph's metadata."""
    model = head(features())
    kept = "conv2d: USER_OUTPUT\n"
    changed = [f"add_{number}: BUFFER_MUTATION target='{name}'\n" for number, name in enumerate(mutated)]
    model.graph_metadata[SIGNATURE] = "# inputs\nx: USER_INPUT\n# outputs\n" + "".join(changed) + kept
    return model


def test_av413_recorded_buffer_mutations(assess: Assess) -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    mutated = [f"{module}.{buffer}" for module in ("backbone.bn1", "neck.2.norm") for buffer in buffers]
    finding = assess(recorded(*mutated), "AV413").found(Severity.WARNING, "backbone.bn1", "neck.2.norm")
    assert finding.observed["mutated_buffers"] == 6
    assert "2 norms" in finding.message
    assert assess(recorded(), "AV413").passed


def test_av413_other_buffers_may_change(assess: Assess) -> None:
    assert assess(recorded("memory.queue", "counter.steps"), "AV413").passed


def traced(target: str) -> ModelBuilder:
    scopes = {SCOPES: "['', 'neck', 'neck.bn3', 'batch_norm']", FX_NODE: f"%bn : call_function[target={target}]"}
    return head(features().op("Relu", module="any", metadata=scopes))


def test_av413_recorded_training_operator(assess: Assess) -> None:
    finding = assess(traced("torch.ops.aten._native_batch_norm_legit_functional.default"), "AV413")
    assert finding.found(Severity.WARNING, "neck.bn3").observed["training_operators"] == 1
    assert assess(traced("torch.ops.aten._native_batch_norm_legit_no_training.default"), "AV413").passed


def test_av413_without_a_record(assess: Assess) -> None:
    assessed = assess(head(features()), "AV413")
    assert assessed.verdict is Verdict.NOT_APPLICABLE
    assert assessed.reason is not None
    assert "no record" in assessed.reason
