from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from conftest import Assess
from draws import normal, torch_default, truncated, uniform
from models import Array, ModelBuilder

from avreview.engine.review import Severity, Verdict

WIDTH = 128  # 16,384 weights: enough to tell a normal draw
RELU = math.sqrt(2.0)
Step = Callable[[ModelBuilder], ModelBuilder]


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


def zeros(count: int) -> Array:
    return np.zeros(count, np.float32)


def gained(gain: float, fan: float = WIDTH, *, seed: int = 0) -> Array:
    """A square weight drawn from a normal of that gain for that fan."""
    return normal(WIDTH, WIDTH, std=gain / math.sqrt(fan), seed=seed)


def network(weight: Array, activation: Step, bias: Array | None = None) -> ModelBuilder:
    """Three linear layers: the first as given, the others trained."""
    shift = zeros(len(weight)) if bias is None else bias
    model = ModelBuilder().input("x", ["batch", weight.shape[1]]).gemm("fc1", len(weight), weight=weight, bias=shift)
    return activation(model).gemm("fc2", 512).relu("act2").gemm("head", 8).output("y")


def relu(model: ModelBuilder) -> ModelBuilder:
    return model.relu("act")


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


# AV102


def copied(weight: Array, units: int) -> Array:
    """Every unit among the first `units` replaced by the first."""
    weight = weight.copy()
    weight[:units] = weight[0]
    return weight


def test_av102_names_a_layer_whose_weight_is_constant(assess: Assess) -> None:
    weight = np.full((32, 16), 0.01, np.float32)
    finding = assess(network(weight, relu), "AV102").found(Severity.ERROR, "fc1")
    assert finding.location.tensor == "fc1.weight"
    assert "constant" in finding.message


def test_av102_puts_all_constant_layers_into_one_finding(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 16])
    for number in range(4):
        model.gemm(f"mlp.{number}", 16, weight=np.full((16, 16), 0.1, np.float32)).relu()
    assess(model.gemm("head", 3).output("y"), "AV102").found(Severity.ERROR, *(f"mlp.{n}" for n in range(4)))


@pytest.mark.parametrize("form", ["Gemm", "Gemm [in, out]", "MatMul", "Conv", "ConvTranspose"])
def test_av102_counts_copies_in_every_kind_of_layer(assess: Assess, form: str) -> None:
    weight, bias = copied(ModelBuilder(seed=3).trained(32, 16), 12), zeros(32)
    image = "Conv" in form
    model = ModelBuilder().input("x", [1, 16, 4, 4] if image else [1, 16])
    if form.startswith("Gemm"):
        straight = form == "Gemm"
        model.gemm("fc1", 32, weight=weight if straight else weight.T.copy(), bias=bias, transposed=straight)
    elif form == "MatMul":
        model.linear("fc1", 32, weight=weight.T.copy(), bias=bias)
    else:
        stored = weight if form == "Conv" else weight.T.copy()
        model.conv("fc1", 32, 1, op=form, weight=stored[..., None, None], bias=bias)
    model.relu()
    model = model.conv("head", 4, 1) if image else model.gemm("head", 4)
    finding = assess(model.output("y"), "AV102").found(Severity.ERROR, "fc1")
    assert finding.observed == {"copied_units": 12, "units": 32}


def test_av102_is_silent_on_units_that_differ(assess: Assess) -> None:
    assert assess(network(ModelBuilder(seed=3).trained(32, 16), relu), "AV102").passed


@pytest.mark.parametrize(("units", "fires"), [(3, False), (4, True)])
def test_av102_fires_over_a_tenth_of_the_units(assess: Assess, units: int, fires: bool) -> None:
    weight = copied(ModelBuilder(seed=3).trained(32, 16), units)
    assert bool(assess(network(weight, relu), "AV102").findings) is fires


@pytest.mark.parametrize(("difference", "fires"), [(0.5e-6, True), (1e-5, False)])
def test_av102_takes_for_copies_what_agrees_to_a_millionth_of_the_largest_weight(
    assess: Assess, difference: float, fires: bool
) -> None:
    weight = copied(ModelBuilder(seed=3).trained(32, 64), 16).astype(np.float64)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (16, 64)) * difference * abs(weight).max()
    weight[:16] += noise
    outcome = assess(network(weight.astype(np.float32), relu), "AV102")
    assert [finding.observed["copied_units"] for finding in outcome.findings] == ([16] if fires else [])


def test_av102_does_not_take_units_with_different_biases_for_copies(assess: Assess) -> None:
    weight = copied(ModelBuilder(seed=3).trained(32, 16), 12)
    assert assess(network(weight, relu, np.linspace(-1, 1, 32, dtype=np.float32)), "AV102").passed


def test_av102_pairs_copies_that_stand_among_units_with_other_biases(assess: Assess) -> None:
    weight = copied(ModelBuilder(seed=3).trained(32, 16), 12)
    bias = np.tile(np.array([0.5, -0.5], np.float32), 16)
    assert assess(network(weight, relu, bias), "AV102").only.observed["copied_units"] == 12


def test_av102_compares_units_of_a_grouped_convolution_within_their_group_only(assess: Assess) -> None:
    def grouped(weight: Array) -> ModelBuilder:
        model = ModelBuilder().input("x", [1, 16, 4, 4])
        return model.conv("mix", 16, groups=4, weight=weight, bias=False).relu().conv("head", 4, 1).output("y")

    own = ModelBuilder(seed=3).trained(4, 4, 3, 3)
    assert assess(grouped(np.tile(own, (4, 1, 1, 1))), "AV102").passed
    within = np.repeat(own, 4, axis=0)
    assert assess(grouped(within), "AV102").only.observed["copied_units"] == 16


def test_av102_does_not_judge_units_of_fewer_than_four_inputs(assess: Assess) -> None:
    def depthwise(kernel: int) -> ModelBuilder:
        weight = np.full((8, 1, kernel, kernel), 0.5, np.float32)
        model = ModelBuilder().input("x", [1, 8, 4, 4]).conv("blur", 8, kernel, groups=8, weight=weight, bias=False)
        return model.relu().conv("head", 4, 1).output("y")

    assert assess(depthwise(1), "AV102").passed
    assert assess(depthwise(3), "AV102").findings


def test_av102_leaves_out_the_layer_that_gives_the_output(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 16]).gemm("fc1", 32).relu()
    model.gemm("head", 4, weight=np.zeros((4, 32), np.float32)).output("y")
    assert assess(model, "AV102").passed


def test_av102_leaves_zero_units_to_av106_and_a_zero_branch_to_av110(assess: Assess) -> None:
    weight = ModelBuilder(seed=3).trained(32, 16)
    weight[:20] = 0
    assert assess(network(weight, relu), "AV102").passed
    assert assess(residual(weight=np.zeros((16, 16, 3, 3), np.float32)), "AV102").passed


def test_av102_does_not_apply_without_a_layer(assess: Assess) -> None:
    assert assess(ModelBuilder().input("x", [1, 8]).relu().output("y"), "AV102").verdict is Verdict.NOT_APPLICABLE


# AV106


def half_empty(units: int = 20) -> Array:
    weight = ModelBuilder(seed=3).trained(32, 16)
    weight[:units] = 0
    return weight


@pytest.mark.parametrize("bias", [0.0, -1.0, 1.0])
def test_av106_names_a_layer_most_of_whose_filters_are_zero(assess: Assess, bias: float) -> None:
    outcome = assess(network(half_empty(), relu, np.full(32, bias, np.float32)), "AV106")
    finding = outcome.found(Severity.WARNING, "fc1")
    assert finding.location.tensor == "fc1.weight"
    assert finding.observed["zero"] == 20
    assert finding.observed["never_fire"] == (0 if bias > 0 else 20)
    assert finding.observed["first_units"] == list(range(16))


@pytest.mark.parametrize(("units", "fires"), [(16, False), (17, True)])
def test_av106_fires_over_half_of_the_units(assess: Assess, units: int, fires: bool) -> None:
    assert bool(assess(network(half_empty(units), relu), "AV106").findings) is fires


def negative(inside: Step, bias: float = -0.1, sign: int = -1) -> ModelBuilder:
    """A layer 24 of whose 32 filters have weights of one sign, behind the given steps."""
    model = inside(ModelBuilder().input("x", [1, 16, 8, 8]).conv("first", 16))
    weight = model.trained(32, 16, 1, 1)
    weight[:24] = sign * abs(weight[:24])
    model.conv("second", 32, 1, weight=weight, bias=np.full(32, bias, np.float32))
    return model.relu("act").conv("head", 4, 1).output("y")


NOT_NEGATIVE: dict[str, Step] = {
    "relu": lambda m: m.relu(),
    "sigmoid": lambda m: m.sigmoid(),
    "softmax": lambda m: m.op("Softmax", axis=1),
    "relu and pooling": lambda m: m.relu().op("MaxPool", kernel_shape=[2, 2]),
    "relu and a dropout": lambda m: m.relu().dropout(training=False),
}


@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_av106_finds_units_that_no_input_which_is_not_negative_can_make_fire(assess: Assess, name: str) -> None:
    finding = assess(negative(NOT_NEGATIVE[name]), "AV106").found(Severity.WARNING, "second")
    assert finding.observed["never_fire"] == 24
    assert finding.observed["zero"] == 0


@pytest.mark.parametrize(
    "model",
    [
        negative(relu, bias=0.1),
        negative(lambda m: m),
        negative(lambda m: m.op("LeakyRelu")),
        negative(lambda m: m.relu().op("Resize", "", m.scalar(2.0), mode="cubic")),
        negative(relu, sign=1),
    ],
    ids=["positive bias", "any input", "leaky input", "cubic interpolation overshoots", "positive weights"],
)
def test_av106_is_silent_where_a_unit_may_fire(assess: Assess, model: ModelBuilder) -> None:
    assert assess(model, "AV106").passed


def test_av106_is_silent_behind_an_activation_that_never_dies(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 16]).gemm("fc1", 16).relu()
    weight = -abs(model.trained(32, 16))
    model.gemm("fc2", 32, weight=weight, bias=zeros(32)).op("LeakyRelu").gemm("head", 4).output("y")
    assert assess(model, "AV106").passed


@pytest.mark.parametrize(("sign", "shift", "dead"), [(1, -1.0, True), (-1, -1.0, False), (1, 1.0, False)])
def test_av106_folds_a_batch_norm_into_the_units_first(assess: Assess, sign: int, shift: float, dead: bool) -> None:
    model = ModelBuilder().input("x", [1, 16, 8, 8]).conv("first", 16).relu()
    model.conv("second", 32, 1, weight=-abs(model.trained(32, 16, 1, 1)), bias=False)
    model.batch_norm("bn", scale=np.full(32, sign, np.float32), mean=zeros(32), bias=np.full(32, shift, np.float32))
    outcome = assess(model.relu().conv("head", 4, 1).output("y"), "AV106")
    assert outcome.modules == (["second"] if dead else [])


def test_av106_leaves_a_constant_layer_to_av102(assess: Assess) -> None:
    assert assess(network(np.zeros((32, 16), np.float32), relu), "AV106").passed


# AV107


def chain(sigmoids: int, between: Step = lambda m: m, every: int = 5) -> ModelBuilder:
    model = ModelBuilder().input("x", [1, 16])
    for number in range(sigmoids):
        model.gemm(f"mlp.{number}", 16).sigmoid(f"act.{number}")
        if number == every - 1:
            between(model)
    return model.gemm("head", 4).output("y")


def test_av107_names_the_first_and_the_last_of_nine_sigmoids(assess: Assess) -> None:
    finding = assess(chain(9), "AV107").found(Severity.WARNING, "act.0", "act.8")
    assert finding.location.node == "/act/0/Sigmoid"
    assert finding.observed["sigmoids"] == 9
    assert finding.observed["largest_slope_product"] == pytest.approx(0.25**9, rel=1e-2)


def test_av107_lets_eight_sigmoids_pass(assess: Assess) -> None:
    assert assess(chain(8), "AV107").passed


def around(model: ModelBuilder) -> ModelBuilder:
    """A residual sum whose other side goes around the sigmoids so far."""
    other, model.value = model.value, "x"
    model.gemm("shortcut", 16)
    return model.add(other)


@pytest.mark.parametrize(
    "between", [lambda m: m.batch_norm("bn"), lambda m: m.layer_norm("ln"), around], ids=["batch", "layer", "residual"]
)
def test_av107_counts_anew_behind_a_norm_or_a_way_around(assess: Assess, between: Step) -> None:
    assert assess(chain(12, between, every=6), "AV107").passed


def test_av107_does_not_count_gates(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 16])
    for number in range(12):
        signal = model.value
        model.gemm(f"gate.{number}", 16).sigmoid(f"act.{number}").op("Mul", signal)
    assert assess(model.gemm("head", 4).output("y"), "AV107").passed


def test_av107_does_not_take_a_bias_for_a_way_around(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 3, 16])
    for number in range(9):
        model.linear(f"mlp.{number}", 16).sigmoid(f"act.{number}")
    assert assess(model.linear("head", 4).output("y"), "AV107").only.observed["sigmoids"] == 9


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


# AV110


def residual(
    *, weight: Array | None = None, scale: Array | None = None, factor: Array | None = None, norm: bool = False
) -> ModelBuilder:
    """One residual block between trained layers; its branch ends as the arguments say."""
    model = ModelBuilder().input("x", [1, 3, 8, 8]).conv("stem", 16).relu("stem_act")
    shortcut = model.value
    model.conv("block.conv1", 16).relu("block.act").conv("block.conv2", 16, weight=weight, bias=not norm)
    if norm:
        model.batch_norm("block.bn2", scale=scale)
    if factor is not None:
        model.op("Mul", model.tensor("block.gamma", factor), module="block.scale")
    return model.add(shortcut, "block").relu("block.out").conv("head", 4, 1).output("y")


def per_channel(value: float) -> Array:
    return np.full((16, 1, 1), value, np.float32)


@pytest.mark.parametrize(
    ("model", "by", "tensor"),
    [
        (residual(norm=True, scale=zeros(16)), "norm", "block.bn2.weight"),
        (residual(factor=per_channel(1e-6)), "factor", "block.gamma"),
        (residual(weight=np.zeros((16, 16, 3, 3), np.float32)), "weight", "block.conv2.weight"),
    ],
    ids=["last norm", "LayerScale", "last layer"],
)
def test_av110_names_a_branch_that_ends_in_a_scale_of_zero(
    assess: Assess, model: ModelBuilder, by: str, tensor: str
) -> None:
    finding = assess(model, "AV110").found(Severity.WARNING, "block.conv2")
    assert finding.observed["by"] == by
    assert finding.observed["tensor"] == tensor


@pytest.mark.parametrize(
    "model",
    [residual(norm=True), residual(factor=per_channel(0.1)), residual()],
    ids=["last norm", "LayerScale", "last layer"],
)
def test_av110_is_silent_on_a_branch_that_adds_something(assess: Assess, model: ModelBuilder) -> None:
    assert assess(model, "AV110").passed


def test_av110_is_silent_when_one_channel_of_the_last_norm_is_open(assess: Assess) -> None:
    scale = zeros(16)
    scale[3] = 0.5
    assert assess(residual(norm=True, scale=scale), "AV110").passed


def test_av110_notes_a_zero_start_in_an_untrained_model(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 64]).gemm("stem", 64, weight=torch_default(64, 64), bias=zeros(64)).relu()
    shortcut = model.value
    model.gemm("block.fc1", 64, weight=torch_default(64, 64, seed=1), bias=zeros(64)).relu()
    model.gemm("block.fc2", 64, weight=torch_default(64, 64, seed=2), bias=zeros(64))
    model.op("Mul", model.tensor("block.gamma", np.full(64, 1e-6, np.float32)), module="block")
    model.add(shortcut).relu().gemm("head", 64, weight=torch_default(64, 64, seed=3), bias=zeros(64)).output("y")
    finding = assess(model, "AV110").found(Severity.NOTE, "block.fc2")
    assert "as it should" in finding.message


def test_av110_does_not_take_the_sum_of_two_branches_for_a_residual(assess: Assess) -> None:
    model = ModelBuilder().input("camera", [1, 3, 8, 8]).conv("camera_stem", 16)
    camera = model.value
    model.input("lidar", [1, 3, 8, 8]).conv("lidar_stem", 16, weight=np.zeros((16, 3, 3, 3), np.float32))
    assert assess(model.add(camera).relu().conv("head", 4, 1).output("y"), "AV110").passed


def test_av110_does_not_apply_without_a_residual_sum(assess: Assess) -> None:
    outcome = assess(network(ModelBuilder().trained(32, 16), relu), "AV110")
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert outcome.reason == "no layer ends in a residual sum"
