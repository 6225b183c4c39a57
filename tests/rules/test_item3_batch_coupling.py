from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import EVERY_PROBE, Assess, Assessed
from models import ModelBuilder
from onnx import TensorProto

from avreview.engine.review import Severity, Verdict
from avreview.probes.request import ProbeRequest, named_probes

Fault = Callable[[ModelBuilder], ModelBuilder]


def network(inside: Fault, *, batch: int | str = "batch", opset: int = 17) -> ModelBuilder:
    """A convolution, what is tried behind it, and a head of convolutions: [batch, 3, 8, 8] → [batch, 4, 8, 8]."""
    model = ModelBuilder(opset).input("image", [batch, 3, 8, 8]).conv("stem.conv", 6).relu("stem.act")
    return inside(model).conv("head.conv", 6).relu("head.act").conv("head.out", 4).output("scores")


@pytest.fixture
def judged(assess: Assess) -> Callable[[ModelBuilder], Assessed]:
    return lambda model: assess(model, "AV302", probes=EVERY_PROBE)


def in_training(model: ModelBuilder) -> ModelBuilder:
    return model.batch_norm("neck.norm", training=True)


def without_statistics(model: ModelBuilder) -> ModelBuilder:
    """`track_running_stats=False`: the mean is computed from the batch."""
    data = model.value
    mean = model.node("ReduceMean", module="neck.norm", axes=[0, 2, 3], keepdims=0, rank=1).value
    given = [model.tensor(f"norm.{name}", np.ones(6, np.float32)) for name in ("weight", "bias", "var")]
    return model.node("BatchNormalization", [data, *given[:2], mean, given[2]], module="neck.norm", channels=6, rank=4)


def by_hand(model: ModelBuilder) -> ModelBuilder:
    """(x - mean) / sqrt(mean of squares) over batch and image."""
    data = model.value
    mean = model.node("ReduceMean", module="neck.mean", axes=[0, 2, 3], keepdims=1).value
    centred = model.node("Sub", [data, mean], module="neck").value
    model.op("Mul", centred, module="neck").node("ReduceMean", module="neck.power", axes=[0, 2, 3], keepdims=1)
    spread = model.op("Sqrt", module="neck").value
    return model.node("Div", [centred, spread], module="neck")


def softmax_over_batch(model: ModelBuilder) -> ModelBuilder:
    return model.op("Softmax", module="neck.softmax", axis=0)


def sorted_over_batch(model: ModelBuilder) -> ModelBuilder:
    data = model.value
    model.node("Shape", module="neck.shape", rank=1).node("Gather", [model.value, model.ints(0)], module="neck.size")
    size = model.value
    model.node("TopK", [data, size], module="neck.sort", outputs=2, axis=0)
    return model


def reshaped_across(model: ModelBuilder) -> ModelBuilder:
    """Channels first, then a view that takes them for samples."""
    return model.transpose(1, 0, 2, 3, module="neck.swap").reshape(-1, 6, 8, 8, channels=6, module="neck.view")


def recurrence_over_batch(model: ModelBuilder) -> ModelBuilder:
    """`batch_first` forgotten: [batch, time, features] runs as [time, batch, features]."""
    model.reshape(0, 6, 64, channels=64, module="neck.flatten")
    weights = [model.tensor("lstm.w", model.trained(1, 256, 64)), model.tensor("lstm.r", model.trained(1, 256, 64))]
    model.node("LSTM", [model.value, *weights], module="neck.lstm", hidden_size=64, channels=64, rank=4)
    return model.node("Squeeze", [model.value, model.ints(1)], module="neck").reshape(0, 6, 8, 8, channels=6)


def first_sample_for_all(model: ModelBuilder) -> ModelBuilder:
    data = model.value
    model.node("Gather", [data, model.ints(0)], module="neck.first", axis=0)
    return model.node("Add", [data, model.value], module="neck")


def cumulative(model: ModelBuilder) -> ModelBuilder:
    return model.node("CumSum", [model.value, model.tensor("axis", np.array(0))], module="neck.sum", reverse=1)


FAULTS: dict[str, tuple[Fault, str]] = {
    "in training": (in_training, "/neck/norm/BatchNormalization"),
    "without statistics": (without_statistics, "/neck/norm/ReduceMean"),
    "by hand": (by_hand, "/neck/mean/ReduceMean"),
    "softmax": (softmax_over_batch, "/neck/softmax/Softmax"),
    "sorted": (sorted_over_batch, "/neck/sort/TopK"),
    "reshaped": (reshaped_across, "/neck/view/Reshape"),
    "recurrence": (recurrence_over_batch, "/neck/lstm/LSTM"),
    "first sample": (first_sample_for_all, "/neck/first/Gather"),
    "cumulative": (cumulative, "/neck/sum/CumSum"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_av302_the_culprit_is_named(judged: Callable[[ModelBuilder], Assessed], fault: str) -> None:
    inside, node = FAULTS[fault]
    finding = judged(network(inside)).only
    assert finding.severity is Severity.ERROR
    assert finding.location.node == node
    assert finding.location.module == ".".join(node.split("/")[1:-1])
    assert finding.observed["largest_difference"] > 1e-3


@pytest.mark.parametrize("opset", [9, 13, 15])
def test_av302_batch_norm_in_training_mode_at_any_opset(judged: Callable[[ModelBuilder], Assessed], opset: int) -> None:
    judged(network(in_training, opset=opset)).found(Severity.ERROR, "neck.norm")


def per_sample(model: ModelBuilder) -> ModelBuilder:
    """What each sample does by itself: a norm with stored statistics, group and layer norm, softmax over channels."""
    model.batch_norm("norm").reshape(0, 2, -1, module="group")
    given = [model.tensor(f"group.{name}", np.ones(2, np.float32)) for name in ("weight", "bias")]
    model.op("InstanceNormalization", *given, module="group").reshape(-1, 6, 8, 8, channels=6, module="group")
    model.op("Softmax", module="softmax", axis=1).transpose(0, 2, 3, 1)
    return model.layer_norm("layer_norm").transpose(0, 3, 1, 2)


@pytest.mark.parametrize("batch", ["batch", "", 2, 1])
def test_av302_passes_where_each_sample_stands_by_itself(
    judged: Callable[[ModelBuilder], Assessed], batch: int | str
) -> None:
    assert judged(network(per_sample, batch=batch)).passed


@pytest.mark.parametrize("batch", [2, 6])
@pytest.mark.parametrize("fault", ["in training", "by hand", "cumulative"])
def test_av302_a_fixed_batch_works_as_it_is(judged: Callable[[ModelBuilder], Assessed], batch: int, fault: str) -> None:
    inside, node = FAULTS[fault]
    finding = judged(network(inside, batch=batch)).only
    assert finding.location.node == node
    assert f"fixed at {batch}: if those are the cameras" in finding.message


@pytest.mark.parametrize("fault", ["in training", "by hand", "softmax"])
def test_av302_a_batch_of_one_is_made_free(judged: Callable[[ModelBuilder], Assessed], fault: str) -> None:
    inside, node = FAULTS[fault]
    model = network(lambda made: inside(made.reshape(1, 6, 64).reshape(1, -1, 8, 8, channels=6)), batch=1)
    finding = judged(model).only
    assert finding.severity is Severity.ERROR
    assert finding.location.node == node
    assert "which was made free for the test" in finding.message


def test_av302_a_batch_of_one_that_stays_one(judged: Callable[[ModelBuilder], Assessed]) -> None:
    """A class token for one sample cannot stand in front of three."""
    model = ModelBuilder().input("tokens", [1, 5, 8])
    token = model.tensor("token", model.trained(1, 1, 8))
    model.node("Concat", [token, model.value], module="embed", axis=1).linear("head", 4).output("scores")
    assessed = judged(model)
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "cannot be made dynamic for the test" in (assessed.reason or "")
    assert "export with a dynamic batch axis" in (assessed.reason or "")


def test_av302_what_the_change_mixes_is_no_finding(judged: Callable[[ModelBuilder], Assessed]) -> None:
    """[1, 6, 8, 8] seen as [6, -1]: one sample's channels, or with three samples a mixture of them."""
    model = network(lambda made: made.reshape(6, -1).transpose(1, 0).reshape(1, 6, 8, 8, channels=6), batch=1)
    assessed = judged(model)
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "without mixing samples" in (assessed.reason or "")


def quantized(module: str, model: ModelBuilder) -> ModelBuilder:
    """A linear layer whose input is quantized by one scale for the whole batch, as `quantize_dynamic` writes it."""
    model.node("DynamicQuantizeLinear", module=f"{module}.quantize", outputs=3)
    value, scale, zero = model.nodes[-1].output
    weight = model.random.integers(-100, 100, (16, 16)).astype(np.int8)
    given = [value, model.tensor(f"{module}.weight", weight), zero, model.tensor(f"{module}.zero", np.int8(0))]
    model.node("MatMulInteger", given, module=module, channels=16, rank=2).node("Cast", module=module, to=1)
    return model.op("Mul", scale, module=module).op("Mul", model.scalar(0.01), module=module)


def test_av302_dynamic_quantization_is_named_as_such(judged: Callable[[ModelBuilder], Assessed]) -> None:
    model = ModelBuilder().input("features", ["batch", 16])
    model = quantized("fc", model.linear("embed", 16).op("Tanh"))
    finding = judged(model.output("scores")).found(Severity.NOTE, "fc.quantize")
    assert "DynamicQuantizeLinear takes one scale for the whole batch, by design" in finding.message
    assert "Quantize activations statically" in finding.remedy
    coupled = ModelBuilder().input("features", ["batch", 16]).linear("embed", 16).op("Softmax", module="soft", axis=0)
    judged(quantized("fc", coupled).output("scores")).found(Severity.ERROR, "soft")


def test_av302_a_large_share_of_the_scale_is_a_warning(judged: Callable[[ModelBuilder], Assessed]) -> None:
    """A neighbour a hundred times larger leaves the sample three levels of 255."""
    model = ModelBuilder().input("features", ["batch", 16])
    squared = model.op("Mul", model.value).op("Mul", model.value).op("Mul", model.value).value
    judged(quantized("fc", model.at(squared)).output("scores")).found(Severity.WARNING, "fc.quantize")


def test_av302_the_batch_may_be_another_axis_of_the_output(judged: Callable[[ModelBuilder], Assessed]) -> None:
    model = ModelBuilder().input("features", ["batch", 5, 8]).linear("fc", 8).transpose(1, 0, 2)
    assert judged(model.output("scores")).passed
    model = ModelBuilder().input("features", ["batch", 5, 8]).op("Softmax", module="soft", axis=0).transpose(1, 0, 2)
    judged(model.output("scores")).found(Severity.ERROR, "soft")


def test_av302_outputs_of_no_sample_are_left_out(
    judged: Callable[[ModelBuilder], Assessed], reviewed: Callable[..., object]
) -> None:
    model = ModelBuilder().input("features", ["batch", 16]).linear("fc", 8).relu()
    data = model.output("scores").value
    model.at(data).node("NonZero", module="found").output("where", dtype=TensorProto.INT64)
    assert judged(model).passed
    model.outputs.pop(0)
    assessed = judged(model)
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert (assessed.reason or "").startswith("no output shows what belongs to one sample (output 'where': ")


@pytest.mark.parametrize(("fill", "why"), [(0.0, "the same for every sample"), (np.nan, "NaN throughout")])
def test_av302_a_constant_shows_nothing(judged: Callable[[ModelBuilder], Assessed], fill: float, why: str) -> None:
    model = ModelBuilder().input("features", ["batch", 16]).linear("fc", 8, weight=np.full((16, 8), fill, np.float32))
    assessed = judged(model.output("scores"))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert why in (assessed.reason or "")


def test_av302_a_model_that_does_not_repeat_is_not_judged(judged: Callable[[ModelBuilder], Assessed]) -> None:
    assessed = judged(network(lambda model: in_training(model.dropout("neck.drop"))))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "draws random numbers (a dropout, neck.drop)" in (assessed.reason or "")


def test_av302_a_model_that_takes_one_size(judged: Callable[[ModelBuilder], Assessed]) -> None:
    assessed = judged(network(lambda model: model.reshape(1, 6, 8, 8, channels=6)))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "runs with a batch of 1 alone" in (assessed.reason or "")


def test_av302_needs_a_batch_and_a_run(judged: Callable[[ModelBuilder], Assessed], assess: Assess) -> None:
    scalar = ModelBuilder().input("points", [100]).op("Relu").output("out", [100])
    assert judged(scalar).verdict is Verdict.NOT_APPLICABLE
    unasked = assess(network(in_training), "AV302", probes=ProbeRequest(named_probes(["levels"])))
    assert unasked.verdict is Verdict.NOT_ASSESSED
    assert "--probe=batch" in (unasked.reason or "")


# AV410


def sized_by_arithmetic(size: int) -> ModelBuilder:
    """A reshape whose target's first number is the example's, behind a Concat: no constant to look at."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 8)
    data = model.value
    rest = model.node("Shape", module="neck.shape", rank=1, start=1).value
    target = model.node("Concat", [model.ints(size), rest], module="neck.target", axis=0, rank=1).value
    return model.node("Reshape", [data, target], module="neck.view", channels=8, rank=4).relu("act")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_av410_other_sizes_fail_when_run(assess: Assess, size: int) -> None:
    model = sized_by_arithmetic(size).output("out", ["batch", 8, 8, 8])
    assert assess(model, "AV410").passed
    finding = assess(model, "AV410", probes=EVERY_PROBE).found(Severity.WARNING, "neck.view")
    assert finding.location.node == "/neck/view/Reshape"
    assert finding.observed["ran_with"] == [size]
    assert set(finding.observed["failed_with"]) == {1, 2, 3} - {size}
    assert "cannot be reshaped" in finding.observed["runtime"]


def test_av410_an_output_that_does_not_follow(assess: Assess) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 8)
    model.node("ReduceSum", [model.value, model.ints(0)], module="fuse", keepdims=1)
    fused = model.output("out", ["batch", 8, 8, 8])
    finding = assess(fused, "AV410", probes=EVERY_PROBE).only
    assert finding.location.tensor == "out"
    assert finding.observed["outputs_that_do_not_follow"] == ["out"]
    model.outputs.clear()
    assert assess(model.output(None, ["scenes", 8, 8, 8]), "AV410", probes=EVERY_PROBE).passed


def test_av410_one_finding_of_both(assess: Assess) -> None:
    """What the constant shows and what the run shows are one fault."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 8).reshape(2, 512, module="neck")
    finding = assess(model.output("out"), "AV410", probes=EVERY_PROBE).found(Severity.WARNING, "neck")
    assert finding.observed["target_shape"] == [2, 512]
    assert finding.observed["ran_with"] == [2]
    assert finding.observed["failed_with"] == [1, 3]


def test_av410_a_batch_of_any_size_passes_when_run(assess: Assess) -> None:
    assert assess(network(per_sample), "AV410", probes=EVERY_PROBE).passed
