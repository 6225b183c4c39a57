from __future__ import annotations

import numpy as np
import pytest
from conftest import Assess
from draws import torch_default
from item1_networks import Step, network, relu, residual, zeros
from models import Array, ModelBuilder

from avreview.engine.review import Severity, Verdict

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


# AV110


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
