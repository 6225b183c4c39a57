from __future__ import annotations

import numpy as np
import pytest
from conftest import Assess
from draws import normal, orthogonal, torch_default, truncated, uniform
from models import Array, ModelBuilder
from onnx import TensorProto

from avreview.engine.review import Severity


def zeros(count: int) -> Array:
    return np.zeros(count, np.float32)


def detector(head: Array | None = None, bias: Array | None = None) -> ModelBuilder:
    """A trained backbone of 20,000 weights, a hidden head layer of [64, 64], and a trained output layer."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("backbone.0.conv", 32).relu("backbone.0.act")
    model.conv("backbone.1.conv", 64).relu("backbone.1.act").op("GlobalAveragePool", module="pool")
    model.node("Flatten", module="flat", rank=2)
    model.gemm("head.hidden", 64, weight=head, bias=True if bias is None else bias).relu("head.act")
    return model.gemm("head.out", 8).output("boxes")


PLAIN = zeros(64)
DRAWS: dict[str, tuple[Array, Array | None, str]] = {
    "PyTorch's default": (torch_default(64, 64), None, "kaiming_uniform(a=sqrt(5), fan_in)"),
    "Keras' default": (uniform(64, 64, bound=(6 / 128) ** 0.5), None, "xavier_uniform"),
    "He, uniform": (uniform(64, 64, bound=(6 / 64) ** 0.5), None, "kaiming_uniform(relu"),
    "He, normal": (normal(64, 64, std=(2 / 64) ** 0.5), PLAIN, "kaiming_normal(relu"),
    "Flax' default": (truncated(64, 64, std=1 / 8), PLAIN, "lecun_normal"),
    "orthogonal": (orthogonal(64, 64), PLAIN, "orthogonal(1)"),
    "transformers'": (normal(64, 64, std=0.02), PLAIN, "normal(0.02)"),
}


@pytest.mark.parametrize("name", DRAWS)
def test_av201_names_the_module_that_was_never_trained(assess: Assess, name: str) -> None:
    weight, bias, scheme = DRAWS[name]
    finding = assess(detector(weight, bias), "AV201").found(Severity.ERROR, "head.hidden")
    assert finding.location.tensor == "head.hidden.weight"
    assert finding.location.node == "/head/hidden/Gemm"
    assert scheme in finding.observed["scheme"]
    assert finding.observed["elements"] == 64 * 64
    assert finding.observed["weights"] == 1
    assert 0 < finding.observed["share_of_model"] < 0.5


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_av201_knows_a_draw_in_any_precision(assess: Assess, kind: type) -> None:
    weight: Array = torch_default(64, 64).astype(kind)
    model = ModelBuilder()
    dtype = {2: TensorProto.FLOAT16, 4: TensorProto.FLOAT, 8: TensorProto.DOUBLE}[weight.itemsize]
    model.input("x", [1, 64], dtype).gemm("trained", 128, weight=model.trained(128, 64).astype(kind), bias=False)
    model.gemm("middle", 64, weight=model.trained(64, 128).astype(kind), bias=False)
    model.gemm("fresh", 64, weight=weight, bias=False).output("y", dtype=dtype)
    assert assess(model, "AV201").found(Severity.ERROR, "fresh")


def test_av201_is_silent_on_a_trained_model(assess: Assess) -> None:
    assert assess(detector(), "AV201").passed


def nudged(weight: Array) -> Array:
    """The draw after training: one direction was learned, as large as the draw."""
    source = np.random.default_rng(9)
    update = np.outer(source.normal(size=64), source.normal(size=64)) * weight.std()
    moved: Array = weight + update.astype(np.float32)
    return moved


@pytest.mark.parametrize("name", DRAWS)
def test_av201_is_silent_once_training_moved_the_weight(assess: Assess, name: str) -> None:
    weight, bias, _ = DRAWS[name]
    assert assess(detector(nudged(weight), bias), "AV201").passed


@pytest.mark.parametrize("name", ["He, normal", "orthogonal", "transformers'"])
def test_av201_does_not_believe_in_a_normal_draw_beside_a_trained_bias(assess: Assess, name: str) -> None:
    assert assess(detector(DRAWS[name][0]), "AV201").passed


def test_av201_takes_a_norm_that_is_still_the_identity_for_a_companion(assess: Assess) -> None:
    def normed(scale: Array | None, shift: Array | None) -> ModelBuilder:
        model = ModelBuilder().input("x", [1, 64, 8, 8]).conv("trained", 64).relu()
        model.conv("fresh.conv", 64, weight=normal(64, 64, 3, 3, std=(2 / 576) ** 0.5), bias=False)
        return model.batch_norm("fresh.bn", scale=scale, bias=shift).relu().conv("head", 4).output("y")

    finding = assess(normed(np.ones(64, np.float32), PLAIN), "AV201").found(Severity.ERROR, "fresh")
    assert finding.observed["companion"] == "identity-norm"
    assert assess(normed(None, None), "AV201").passed


@pytest.mark.parametrize(
    ("weight", "fires"),
    [(torch_default(8, 32), True), (torch_default(7, 32), False)],
    ids=["256 elements", "224 elements"],
)
def test_av201_does_not_report_a_tiny_module_by_itself(assess: Assess, weight: Array, fires: bool) -> None:
    model = ModelBuilder().input("x", [1, 32]).gemm("trunk", 32).relu().gemm("trunk2", 32).relu()
    model.gemm("tiny", len(weight), weight=weight, bias=True).output("y")
    assert bool(assess(model, "AV201").findings) is fires


def test_av201_judges_below_1024_elements_only_the_layers_own_default(assess: Assess) -> None:
    def small(bound: float) -> ModelBuilder:
        model = ModelBuilder().input("x", [1, 32]).gemm("trunk", 32).relu()
        return model.gemm("small", 16, weight=uniform(16, 32, bound=bound)).output("y")

    assert assess(small((6 / 32) ** 0.5), "AV201").passed
    assert assess(small(32**-0.5), "AV201").found(Severity.ERROR, "small")


def mlp(model: ModelBuilder, module: str, fresh: bool, seed: int) -> ModelBuilder:
    """Two linear layers, both drawn afresh or both trained."""
    for number in range(2):
        weight = torch_default(64, 64, seed=seed + number) if fresh else None
        model.gemm(f"{module}.{number}", 64, weight=weight).relu(f"{module}.act{number}")
    return model


def test_av201_reports_the_largest_module_in_which_nothing_was_trained(assess: Assess) -> None:
    model = mlp(ModelBuilder().input("x", [1, 64]), "backbone", False, 0)
    mlp(mlp(mlp(model, "heads.lane.deep", True, 10), "heads.lane.wide", True, 20), "heads.box", False, 30)
    finding = assess(model.gemm("out", 8).output("y"), "AV201").only
    assert finding.location.module == "heads.lane"
    assert [place.module for place in finding.also] == [f"heads.lane.{name}" for name in ("deep.1", "wide.0", "wide.1")]
    assert finding.observed["weights"] == 4


def test_av201_reports_modules_apart_when_something_trained_stands_between(assess: Assess) -> None:
    model = mlp(ModelBuilder().input("x", [1, 64]), "backbone", False, 0)
    mlp(mlp(mlp(model, "lane", True, 10), "box", False, 20), "depth", True, 30)
    outcome = assess(model.gemm("out", 8).output("y"), "AV201")
    assert [finding.location.module for finding in outcome.findings] == ["lane", "depth"]


def test_av201_makes_one_finding_of_a_wholly_untrained_model(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 64])
    for number, module in enumerate(("backbone", "neck", "head")):
        mlp(model, module, True, 10 * number)
    finding = assess(model.output("y"), "AV201").only
    assert "untrained" in finding.message
    assert len(finding.also) == 5
    assert finding.observed["share_of_model"] == 1.0


@pytest.mark.parametrize(("outputs", "message"), [(28, "the model is untrained"), (29, "was never trained")])
def test_av201_calls_the_model_untrained_from_nine_tenths_of_its_weights_on(
    assess: Assess, outputs: int, message: str
) -> None:
    model = ModelBuilder().input("x", [1, 64])
    mlp(mlp(model, "first", True, 0), "second", True, 10)
    model.gemm("head", outputs).output("y")
    findings = assess(model, "AV201").findings
    assert message in findings[0].message.lower()


def test_av201_looks_at_each_weight_of_a_recurrent_layer(assess: Assess) -> None:
    model = ModelBuilder().input("x", [5, 1, 32])
    hidden = 32
    trained, fresh = model.trained(1, 4 * hidden, 32), uniform(1, 4 * hidden, hidden, bound=hidden**-0.5)
    inputs = ["x", model.tensor("lstm.w", trained), model.tensor("lstm.r", fresh)]
    model.node("LSTM", inputs, module="temporal.lstm", hidden_size=hidden, channels=hidden, rank=4)
    model.node("Squeeze", [model.value, model.ints(1)], module="squeeze", rank=3)
    finding = assess(model.linear("head", 128).output("y"), "AV201").found(Severity.ERROR, "temporal.lstm")
    assert finding.location.tensor == "lstm.r"
    assert finding.observed["scheme"] == "rnn_uniform(hidden)"


def test_av201_leaves_constants_to_av102(assess: Assess) -> None:
    assert assess(detector(np.full((64, 64), 0.1, np.float32)), "AV201").passed
