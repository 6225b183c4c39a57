from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import Assess
from draws import normal, torch_default, truncated, uniform
from item1_networks import Step, network, relu, zeros
from models import Array, ModelBuilder

from avreview.engine.review import Severity, Verdict

WIDTH = 128  # 16,384 weights: enough to tell a normal draw
RELU = math.sqrt(2.0)


def silu(model: ModelBuilder) -> ModelBuilder:
    before = model.value
    return model.sigmoid("act").op("Mul", before, module="act")


# Each activation as it is written behind the value at hand, and the gain that it asks for.
ACTIVATIONS: dict[str, tuple[Step, float]] = {
    "relu": (lambda m: m.relu("act"), RELU),
    "relu6": (lambda m: m.op("Clip", m.scalar(0), m.scalar(6), module="act"), RELU),
    "gelu": (lambda m: m.op("Gelu", module="act", domain="com.microsoft"), RELU),
    "silu": (silu, RELU),
    "elu": (lambda m: m.op("Elu", module="act"), RELU),
    "leaky_relu": (lambda m: m.op("LeakyRelu", module="act", alpha=0.5), math.sqrt(2 / 1.25)),
    "tanh": (lambda m: m.op("Tanh", module="act"), 5 / 3),
    "sigmoid": (lambda m: m.sigmoid("act"), 1.0),
    "selu": (lambda m: m.op("Selu", module="act"), 0.75),
}


def gained(gain: float, fan: float = WIDTH, *, seed: int = 0) -> Array:
    """A square weight drawn from a normal of that gain for that fan."""
    return normal(WIDTH, WIDTH, std=gain / math.sqrt(fan), seed=seed)


# AV101


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_av101_names_a_layer_whose_gain_does_not_suit_its_activation(assess: Assess, name: str) -> None:
    activation, wanted = ACTIVATIONS[name]
    finding = assess(network(gained(wanted * 2), activation), "AV101").found(Severity.WARNING, "fc1")
    assert finding.location.node == "/fc1/Gemm"
    assert finding.location.tensor == "fc1.weight"
    assert finding.observed["activation"] == name
    assert finding.observed["gain"] == pytest.approx(wanted * 2, rel=0.03)
    assert finding.expected["gain"] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_av101_is_silent_where_the_gain_suits(assess: Assess, name: str) -> None:
    activation, wanted = ACTIVATIONS[name]
    assert assess(network(gained(wanted), activation), "AV101").passed


@pytest.mark.parametrize("name", ["tanh", "selu"])
def test_av101_accepts_the_linear_gain_too_before_tanh_and_selu(assess: Assess, name: str) -> None:
    assert assess(network(gained(1.0), ACTIVATIONS[name][0]), "AV101").passed


@pytest.mark.parametrize(("factor", "fires"), [(1.15, False), (1.3, True), (1 / 1.15, False), (1 / 1.3, True)])
def test_av101_fires_from_a_factor_of_one_fifth_on(assess: Assess, factor: float, fires: bool) -> None:
    assert bool(assess(network(gained(RELU * factor), relu), "AV101").findings) is fires


def test_av101_never_judges_a_trained_layer(assess: Assess) -> None:
    trained = ModelBuilder(seed=7).trained(WIDTH, WIDTH, scale=0.9)
    assert assess(network(trained, relu), "AV101").passed


def test_av101_needs_a_companion_to_believe_in_a_normal_draw(assess: Assess) -> None:
    bias = ModelBuilder().trained(WIDTH, scale=0.1)
    assert assess(network(gained(1.0), relu, bias), "AV101").passed


def test_av101_leaves_out_a_layer_with_a_norm_before_its_activation(assess: Assess) -> None:
    def normed(model: ModelBuilder) -> ModelBuilder:
        return model.batch_norm("bn").relu("act")

    assert assess(network(gained(RELU * 2), normed), "AV101").passed


def test_av101_leaves_out_the_layer_that_gives_the_output(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, WIDTH]).gemm("fc1", WIDTH).relu()
    model.gemm("head", WIDTH, weight=gained(3.0), bias=zeros(WIDTH)).sigmoid().output("y")
    assert assess(model, "AV101").passed


def test_av101_leaves_a_frameworks_default_to_av109(assess: Assess) -> None:
    model = network(torch_default(WIDTH, WIDTH), relu)
    assert assess(model, "AV101").passed
    assert assess(model, "AV109").findings


def test_av101_puts_layers_of_one_scheme_and_one_activation_into_one_finding(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, WIDTH])
    for number in range(3):
        model.gemm(f"mlp.{number}", WIDTH, weight=gained(1.0, seed=number), bias=zeros(WIDTH)).relu(f"act.{number}")
    model.gemm("mlp.3", WIDTH, weight=gained(5 / 3, seed=3), bias=zeros(WIDTH)).sigmoid("act.3")
    outcome = assess(model.gemm("head", 512).output("y"), "AV101")
    assert outcome.modules == ["mlp.0", "mlp.1", "mlp.2", "mlp.3"]
    assert [len(finding.also) for finding in outcome.findings] == [2, 0]


@pytest.mark.parametrize("rule", ["AV101", "AV106", "AV108", "AV109", "AV201"])
def test_initialization_rules_do_not_apply_without_a_layer(assess: Assess, rule: str) -> None:
    outcome = assess(ModelBuilder().input("x", [1, 8]).relu().output("y"), rule)
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert outcome.reason is not None
    assert "layer" in outcome.reason


@pytest.mark.parametrize("rule", ["AV101", "AV108", "AV109", "AV201"])
def test_initialization_rules_say_that_they_need_weights_in_floating_point(assess: Assess, rule: str) -> None:
    model = ModelBuilder().input("x", [1, 16])
    model.tensor("w", np.arange(256, dtype=np.int8).reshape(16, 16))
    model.node("DequantizeLinear", ["w", model.scalar(0.01)], channels=16, rank=2)
    outcome = assess(model.node("MatMul", ["x", model.value], module="fc").output("y"), rule)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert outcome.reason is not None
    assert "floating point" in outcome.reason


# AV108


def grouped(fan: float, *, groups: int = 8, bias: bool = True) -> ModelBuilder:
    """A grouped convolution, 64 to 128 channels, drawn with ReLU's gain for some fan. Its true fan_in is 72."""
    weight = normal(128, 64 // groups, 3, 3, std=RELU / math.sqrt(fan))
    model = ModelBuilder().input("x", [1, 64, 8, 8])
    model.conv("mix", 128, groups=groups, weight=weight, bias=zeros(128)).relu()
    return model.conv("head", 4, 1).output("y")


@pytest.mark.parametrize(
    ("model", "fan_in", "fan_out"),
    [(grouped(64 * 9), 72, 144), (grouped(128 * 9), 72, 144)],
    ids=["fan_in without groups", "fan_out without groups"],
)
def test_av108_names_a_grouped_convolution_scaled_without_regard_to_groups(
    assess: Assess, model: ModelBuilder, fan_in: int, fan_out: int
) -> None:
    finding = assess(model, "AV108").found(Severity.NOTE, "mix")
    assert finding.location.tensor == "mix.weight"
    assert finding.observed["groups"] == 8
    assert (finding.observed["fan_in"], finding.observed["fan_out"]) == (fan_in, fan_out)
    assert finding.expected == {"fan": fan_in}
    assert assess(model, "AV101").passed


@pytest.mark.parametrize("fan", [72, 108], ids=["fan_in", "the mean of both fans"])
def test_av108_accepts_the_true_fan(assess: Assess, fan: int) -> None:
    assert assess(grouped(fan), "AV108").passed


def test_av108_names_a_layer_scaled_for_fan_out(assess: Assess) -> None:
    def widening(fan: int) -> ModelBuilder:
        return network(normal(512, 64, std=RELU / math.sqrt(fan)), relu)

    assert assess(widening(512), "AV108").found(Severity.NOTE, "fc1").observed["fan_out"] == 512
    assert assess(widening(64), "AV108").passed


def upsampling(std: float) -> ModelBuilder:
    """The card's transposed convolution: each output sums 256 · (4/2)² inputs."""
    model = ModelBuilder().input("x", [1, 256, 4, 4])
    weight = normal(256, 16, 4, 4, std=std)
    attributes = {"op": "ConvTranspose", "strides": [2, 2], "pads": [1, 1, 1, 1]}
    model.conv("up", 16, 4, weight=weight, bias=zeros(16), **attributes).relu()  # type: ignore[arg-type]
    return model.conv("head", 4, 1).output("y")


def test_av108_names_a_transposed_convolution_whose_channels_were_taken_for_swapped(assess: Assess) -> None:
    finding = assess(upsampling((2 / (16 * 16)) ** 0.5), "AV108").found(Severity.NOTE, "up")
    assert finding.observed["fan_in"] == 256 * 16
    assert finding.observed["fan_out"] == 16 * 16


@pytest.mark.parametrize("fan", [256 * 4, 256 * 16], ids=["with the stride", "without it"])
@pytest.mark.parametrize("rule", ["AV101", "AV108"])
def test_av108_accepts_a_transposed_convolutions_fan_with_and_without_its_stride(
    assess: Assess, rule: str, fan: int
) -> None:
    assert assess(upsampling((2 / fan) ** 0.5), rule).passed


# AV109


def glorot(out: int, into: int) -> Array:
    return uniform(out, into, bound=math.sqrt(6 / (into + out)))


@pytest.mark.parametrize(
    ("weight", "framework"),
    [
        (torch_default(128, 64), "PyTorch"),
        (glorot(128, 128), "Keras"),
        (truncated(128, 64, std=1 / 8), "Flax"),
        (uniform(128, 256, bound=0.07), "MXNet"),
    ],
    ids=["PyTorch", "Keras", "Flax", "MXNet"],
)
def test_av109_names_the_framework_whose_default_was_left(assess: Assess, weight: Array, framework: str) -> None:
    finding = assess(network(weight, relu), "AV109").found(Severity.NOTE, "fc1")
    assert framework in finding.message
    assert finding.location.tensor == "fc1.weight"
    assert finding.expected["gain"] == pytest.approx(RELU, rel=1e-3)


@pytest.mark.parametrize(
    ("weight", "activation"),
    [
        (glorot(128, 128), ACTIVATIONS["tanh"][0]),
        (glorot(128, 128), ACTIVATIONS["sigmoid"][0]),
        (truncated(128, 64, std=1 / 8), ACTIVATIONS["selu"][0]),
        (uniform(128, 64, bound=math.sqrt(6 / 64)), relu),
        (torch_default(128, 64), lambda m: m.layer_norm("norm").relu("act")),
    ],
    ids=["glorot before tanh", "glorot before sigmoid", "lecun before selu", "kaiming before relu", "norm between"],
)
def test_av109_is_silent_where_the_default_suits_or_a_norm_makes_up_for_it(
    assess: Assess, weight: Array, activation: Step
) -> None:
    assert assess(network(weight, activation), "AV109").passed


def test_av109_asks_for_the_gain_of_the_slope_that_is_there(assess: Assess) -> None:
    finding = assess(network(torch_default(128, 64), ACTIVATIONS["leaky_relu"][0]), "AV109").only
    assert finding.expected["gain"] == pytest.approx(math.sqrt(2 / 1.25), rel=1e-3)


def test_av109_puts_all_layers_of_one_default_into_one_finding(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 64])
    for number in range(4):
        weight, bias = torch_default(64, 64, seed=number), uniform(64, bound=1 / 8, seed=10 + number)
        model.gemm(f"mlp.{number}", 64, weight=weight, bias=bias).relu()
    outcome = assess(model.gemm("head", 4).output("y"), "AV109")
    outcome.found(Severity.NOTE, "mlp.0", "mlp.1", "mlp.2", "mlp.3")
