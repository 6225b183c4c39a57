from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import Assess
from models import Array, ModelBuilder
from onnx import TensorProto

from avreview.engine.review import Severity, Verdict

CHANNELS = 16


def full(value: float, dtype: type = np.float32) -> Array:
    return np.full(CHANNELS, value, dtype)


def with_first(value: float, rest: float = 1.0, dtype: type = np.float32) -> Array:
    """`value` in channel 0, `rest` elsewhere."""
    array = full(rest, dtype)
    array[0] = value
    return array


def chain(*norms: dict[str, Any]) -> ModelBuilder:
    """Blocks of a convolution, a batch norm with what is given for it, and a ReLU."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8])
    for block, given in enumerate(norms):
        model.conv(f"blocks.{block}.conv", CHANNELS, bias=False)
        model.batch_norm(f"blocks.{block}.bn", **given).relu(f"blocks.{block}.act")
    return model.conv("head", 4).output("scores")


TRAINED: dict[str, Any] = {}
NEW_STATISTICS = {"mean": full(0), "variance": full(1)}
NEW_AFFINE = {"scale": full(1), "bias": full(0)}


# AV501


@pytest.mark.parametrize("variance", [1.0, 1.0 - 1e-5, 1.0 + 5e-7])
def test_av501_statistics_as_created(assess: Assess, variance: float) -> None:
    new = {"mean": full(0), "variance": full(variance)}
    finding = assess(chain(TRAINED, new, TRAINED), "AV501").found(Severity.ERROR, "blocks.1.bn")
    assert finding.location.node == "/blocks/1/bn/BatchNormalization"
    assert finding.observed["mean_0_variance_1"] == 1
    assert finding.observed["of"] == 3


@pytest.mark.parametrize(
    "moved",
    [
        {"mean": with_first(1e-3, 0), "variance": full(1)},
        {"mean": full(0), "variance": with_first(1.001)},
        {"mean": full(0), "variance": full(0.9)},
        {"scale": with_first(1.01), "bias": full(0)},
        {"scale": full(1), "bias": with_first(0.01, 0)},
    ],
)
def test_av501_one_channel_that_moved_is_enough(assess: Assess, moved: dict[str, Array]) -> None:
    assert assess(chain(TRAINED, moved, TRAINED), "AV501").passed


def test_av501_scale_and_shift_as_created(assess: Assess) -> None:
    finding = assess(chain(TRAINED, NEW_AFFINE), "AV501").found(Severity.ERROR, "blocks.1.bn")
    assert finding.observed["gamma_1_beta_0"] == 1


def test_av501_scale_and_shift_need_a_trained_norm_beside_them(assess: Assess) -> None:
    assert assess(chain(NEW_AFFINE, NEW_AFFINE), "AV501").passed


def test_av501_scale_and_shift_that_are_no_parameters(assess: Assess) -> None:
    """`affine=False`: the exporter writes unnamed constants."""
    model = chain(TRAINED, NEW_AFFINE)
    for part in ("weight", "bias"):
        tensor = model.tensors.pop(f"blocks.1.bn.{part}")
        model.tensor(f"onnx::BatchNormalization_{part}", tensor)
        for node in model.nodes:
            own = [f"onnx::BatchNormalization_{part}" if name == f"blocks.1.bn.{part}" else name for name in node.input]
            node.input[:] = own
    assert assess(model, "AV501").passed


def test_av501_one_finding_lists_all(assess: Assess) -> None:
    assessed = assess(chain(NEW_STATISTICS, TRAINED, NEW_STATISTICS, NEW_AFFINE), "AV501")
    finding = assessed.found(Severity.ERROR, "blocks.0.bn", "blocks.2.bn", "blocks.3.bn")
    assert finding.message.startswith("3 batch norms still have")


def test_av501_an_untrained_model_is_av201s(assess: Assess) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8])
    for block in range(3):
        shape = (64, model.channels[model.value], 3, 3)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        weight = model.random.uniform(-bound, bound, shape).astype(np.float32)
        model.conv(f"blocks.{block}.conv", 64, weight=weight, bias=False)
        zeros, ones = np.zeros(64, np.float32), np.ones(64, np.float32)
        model.batch_norm(f"blocks.{block}.bn", scale=ones, bias=zeros, mean=zeros, variance=ones).relu()
    assert assess(model.output("features"), "AV201").findings
    assert assess(model, "AV501").passed


def folded(bias: Array | None, *, by: str) -> ModelBuilder:
    """Convolutions into which a norm was folded: TorchScript renames the weight, onnxscript names its rule."""
    model = chain(TRAINED)
    model.outputs.clear()
    weight = model.tensor("onnx::Conv_40" if by == "name" else "neck.conv.weight", model.trained(8, 4, 3, 3))
    inputs = [model.value, weight]
    if bias is not None:
        inputs.append(model.tensor("onnx::Conv_41" if by == "name" else "neck.conv.weight_bias", bias))
    rule = {"pkg.onnxscript.rewriter.rule_name": "FuseBatchNormIntoConv"} if by == "metadata" else {}
    return model.node("Conv", inputs, module="neck.conv", channels=8, metadata=rule).output("features")


@pytest.mark.parametrize("by", ["name", "metadata"])
def test_av501_folded_norm_without_mean_and_shift(assess: Assess, by: str) -> None:
    zeros = np.zeros(8, np.float32)
    finding = assess(folded(zeros, by=by), "AV501").found(Severity.ERROR, "neck.conv")
    assert finding.observed["folded_with_zero_shift"] == 1
    assert assess(folded(zeros + 0.1, by=by), "AV501").passed


def test_av501_folded_without_a_bias(assess: Assess) -> None:
    """TorchScript leaves a bias wherever it folded a norm; a renamed weight without one was weight-normalized."""
    assert assess(folded(None, by="metadata"), "AV501").found(Severity.ERROR, "neck.conv")
    assert assess(folded(None, by="name"), "AV501").passed


def test_av501_a_zero_bias_alone_says_nothing(assess: Assess) -> None:
    assert assess(folded(np.zeros(8, np.float32), by="nothing"), "AV501").passed


@pytest.mark.parametrize("rule", ["AV501", "AV502", "AV509"])
def test_without_running_statistics_there_is_nothing_to_judge(assess: Assess, rule: str) -> None:
    model = ModelBuilder().input("tokens", ["batch", 5, 16]).layer_norm("norm").linear("head", 4).output("scores")
    assessed = assess(model, rule)
    assert assessed.verdict is Verdict.NOT_APPLICABLE
    assert assessed.reason is not None
    assert "norm" in assessed.reason


# AV502


def test_av502_healthy_statistics(assess: Assess) -> None:
    assert assess(chain(TRAINED, TRAINED), "AV502").passed


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"variance": with_first(-0.02)}, "negative variance"),
        ({"variance": with_first(0.0)}, "variance of exactly 0"),
        ({"variance": with_first(math.nan)}, "mean or variance not finite"),
        ({"variance": with_first(math.inf)}, "mean or variance not finite"),
        ({"mean": with_first(math.nan)}, "mean or variance not finite"),
        ({"mean": with_first(-math.inf)}, "mean or variance not finite"),
    ],
)
def test_av502_statistics_that_no_signal_leaves(assess: Assess, bad: dict[str, Array], problem: str) -> None:
    finding = assess(chain(TRAINED, bad), "AV502").found(Severity.ERROR, "blocks.1.bn")
    assert finding.location.tensor == "blocks.1.bn.running_var"
    assert finding.observed == {"problem": problem, "channels": [0], "number": 1}


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        ({"variance": with_first(1e-13), "scale": with_first(1e-7), "mean": full(0)}, "dead channel"),
        ({"variance": with_first(1e-40), "mean": full(0)}, "constant input"),
        ({"variance": with_first(1e-4), "scale": with_first(3.0), "mean": full(0)}, "gain over 100"),
        ({"mean": with_first(150.0), "variance": full(1.0)}, "mean far outside its deviation"),
    ],
)
def test_av502_oddities_are_notes(assess: Assess, odd: dict[str, Array], problem: str) -> None:
    finding = assess(chain(TRAINED, odd), "AV502").found(Severity.NOTE, "blocks.1.bn")
    assert finding.observed["problem"] == problem
    assert finding.observed["channels"] == [0]


@pytest.mark.parametrize(
    "fair",
    [
        {"variance": with_first(1e-13), "scale": full(0.1), "mean": full(0)},  # small alone is no fault
        {"variance": with_first(1e6)},
        {"variance": with_first(1e-4), "scale": with_first(0.9), "mean": full(0)},
        {"mean": with_first(90.0), "variance": full(1.0)},
    ],
)
def test_av502_values_that_healthy_files_hold(assess: Assess, fair: dict[str, Array]) -> None:
    assert assess(chain(TRAINED, fair), "AV502").passed


def test_av502_is_one_finding_a_problem(assess: Assess) -> None:
    finding = assess(chain({"variance": with_first(-1.0)}, {"variance": with_first(-2.0)}), "AV502").found(
        Severity.ERROR, "blocks.0.bn", "blocks.1.bn"
    )
    assert finding.observed == {"problem": "negative variance", "channels": [0], "number": 2}
    assert finding.message == "2 channels in 2 norms with negative variance."


def test_av502_lists_channels_of_a_norm(assess: Assess) -> None:
    variance = full(1)
    variance[[2, 5, 11]] = -1
    finding = assess(chain({"variance": variance}), "AV502").found(Severity.ERROR, "blocks.0.bn")
    assert finding.observed["channels"] == [2, 5, 11]
    assert finding.message.startswith("3 channels ")


@pytest.mark.parametrize(("variance", "found"), [(1e-9, True), (1e6, True), (1e-6, False), (1e4, False)])
def test_av502_variance_that_float16_cannot_hold(assess: Assess, variance: float, found: bool) -> None:
    half = {"scale": full(0.01, np.float16), "bias": full(0.2, np.float16)}
    mixed = half | {"variance": with_first(variance), "mean": full(0)}
    assessed = assess(chain(mixed), "AV502")
    assert [finding.severity for finding in assessed.findings] == [Severity.WARNING] * found
    single = {"scale": full(0.01), "bias": full(0.2), "variance": with_first(variance), "mean": full(0)}
    assert assess(chain(single), "AV502").passed


# AV504


STASHING = ("GroupNormalization", "LayerNormalization", "RMSNormalization")


def normalized(op: str, eps: float, dtype: type = np.float32, **attributes: int) -> ModelBuilder:
    """One norm of any kind, in float32 or float16."""
    kind = TensorProto.FLOAT16 if dtype is np.float16 else TensorProto.FLOAT
    model = ModelBuilder(23).input("x", ["batch", CHANNELS, 8, CHANNELS], kind)
    count = {"BatchNormalization": 4, "RMSNormalization": 1}.get(op, 2)
    names = [model.tensor(f"norm.{name}", full(0.7, dtype)) for name in ("weight", "bias", "mean", "var")[:count]]
    groups = {"num_groups": 4} if op == "GroupNormalization" else {}
    return model.op(op, *names, module="norm", epsilon=eps, **groups, **attributes).output("y", dtype=kind)


OPERATORS = (
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization",
)  # fmt: skip


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize(
    ("dtype", "eps", "found"),
    [
        (np.float16, 1e-8, True),
        (np.float16, 1e-12, True),
        (np.float16, 1e-7, False),
        (np.float32, 1e-14, True),
        (np.float32, 0.0, True),
        (np.float32, 1e-12, False),
        (np.float32, 1e-3, False),
    ],
)
def test_av504_eps_under_the_precision(assess: Assess, op: str, dtype: type, eps: float, found: bool) -> None:
    stash = {"stash_type": TensorProto.FLOAT16} if dtype is np.float16 and op in STASHING else {}
    assessed = assess(normalized(op, eps, dtype, **stash), "AV504")
    if found:
        assert assessed.found(Severity.WARNING, "norm").observed["eps"] == pytest.approx(eps)
    else:
        assert assessed.passed


@pytest.mark.parametrize("op", STASHING)
def test_av504_an_operator_that_computes_in_float32_by_definition_keeps_a_small_eps(assess: Assess, op: str) -> None:
    assert assess(normalized(op, 1e-12, np.float16), "AV504").passed
    assert assess(normalized(op, 1e-14, np.float16), "AV504").found(Severity.WARNING, "norm")


@pytest.mark.parametrize(("momentum", "found"), [(1.0, "0 or None"), (0.0, 1.0), (0.9, None), (0.99, None)])
def test_av504_momentum_that_averages_nothing(assess: Assess, momentum: float, found: str | float | None) -> None:
    """ONNX's momentum is 1 minus PyTorch's."""
    assessed = assess(chain(TRAINED, {"momentum": momentum}), "AV504")
    if found is None:
        assert assessed.passed
    else:
        finding = assessed.found(Severity.WARNING, "blocks.1.bn")
        assert finding.observed == {"onnx_momentum": momentum, "pytorch_momentum": found}


def test_av504_norms_with_the_same_value_are_one_finding(assess: Assess) -> None:
    model = chain({"epsilon": 1e-15}, {"epsilon": 1e-14}, {"epsilon": 1e-15}, {})
    findings = assess(model, "AV504").findings
    modules = [[place.module for place in (finding.location, *finding.also)] for finding in findings]
    assert modules == [["blocks.0.bn", "blocks.2.bn"], ["blocks.1.bn"]]


def test_av504_without_a_norm(assess: Assess) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("head", 4).output("scores")
    assert assess(model, "AV504").verdict is Verdict.NOT_APPLICABLE


# AV509


def relu_mean(beta: Array, gamma: Array) -> Array:
    """E[max(0, z)] for z ~ N(beta, gamma²), by the formula: beta·Φ(beta/γ) + γ·φ(beta/γ)."""
    ratio = beta / np.abs(gamma)
    below = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in ratio])
    density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    mean: Array = beta * below + np.abs(gamma) * density
    return mean


def consistent(
    correlation: float | None = 1.0,
    *,
    layer: str = "conv",
    between: str = "Relu",
    channels: int = 32,
    permuted: bool = False,
) -> ModelBuilder:
    """Norm → activation → layer → norm, whose stored mean correlates as asked with the predicted one."""
    spatial: list[int | str] = ["batch", 3, 8, 8] if layer != "gemm" else ["batch", 3]
    model = ModelBuilder(seed=3).input("image", spatial)
    model = model.gemm("stem", channels) if layer == "gemm" else model.conv("stem", channels)
    gamma, beta = 1 + model.trained(channels, scale=0.3), model.trained(channels, scale=0.7)
    model.batch_norm("norm1", scale=gamma, bias=beta)
    source = model.value
    if between in ("Relu", "residual", "pool"):
        model.op("Relu", module="act")
    if between == "residual":
        model.add(source, "sum")
    if between == "pool":
        model.op("MaxPool", module="pool", kernel_shape=[2, 2], strides=[2, 2])
    incoming = beta if between == "nothing" else relu_mean(beta, gamma)
    if layer == "gemm":
        weight = model.trained(channels, channels)
        predicted = weight @ incoming
        model.gemm("layer", channels, weight=weight, bias=False)
    else:
        groups = 4 if layer == "grouped" else 1
        weight = model.trained(channels, channels // groups, 3, 3)
        matrix = weight.sum((2, 3)).reshape(groups, channels // groups, -1)
        predicted = (matrix @ incoming.reshape(groups, -1, 1)).reshape(-1)
        model.conv("layer", channels, weight=weight, bias=False, groups=groups)
    constant = np.full(channels, 0.3, np.float32)
    mean = constant if correlation is None else correlated(model.random, predicted, correlation)
    mean = np.roll(mean, 5) if permuted else mean
    return model.batch_norm("norm2", mean=mean).relu("end").output("features")


def correlated(random: np.random.Generator, values: Array, correlation: float) -> Array:
    """Numbers whose correlation with `values` is exactly the given one."""
    target = values - values.mean()
    noise = random.standard_normal(len(values))
    noise -= noise.mean()
    noise -= target * (noise @ target) / (target @ target)
    mixed = correlation * target / np.linalg.norm(target)
    mixed += math.sqrt(1 - correlation**2) * noise / np.linalg.norm(noise)
    scaled: Array = (3 * mixed + 0.2).astype(np.float32)
    return scaled


@pytest.mark.parametrize("between", ["Relu", "nothing"])
@pytest.mark.parametrize("layer", ["conv", "grouped", "gemm"])
def test_av509_statistics_of_other_weights(assess: Assess, layer: str, between: str) -> None:
    finding = assess(consistent(layer=layer, between=between, permuted=True), "AV509").found(
        Severity.ERROR, "norm2", "norm1"
    )
    assert finding.location.tensor == "norm2.running_mean"
    assert finding.observed["channels"] == 32
    assert assess(consistent(layer=layer, between=between), "AV509").passed


@pytest.mark.parametrize(
    ("correlation", "severity"),
    [(-0.9, Severity.ERROR), (0.0, Severity.ERROR), (0.48, Severity.ERROR), (0.6, Severity.WARNING), (0.72, None)],
)
def test_av509_severity_by_correlation(assess: Assess, correlation: float, severity: Severity | None) -> None:
    assessed = assess(consistent(correlation), "AV509")
    if severity is None:
        assert assessed.passed
    else:
        assert assessed.only.severity is severity
        assert assessed.only.observed["correlation"] == pytest.approx(correlation, abs=0.005)


@pytest.mark.parametrize("between", ["residual", "pool"])
def test_av509_leaves_out_what_it_cannot_predict(assess: Assess, between: str) -> None:
    assert assess(consistent(between=between, permuted=True), "AV509").verdict is Verdict.NOT_APPLICABLE


def test_av509_leaves_out_few_channels_and_constant_means(assess: Assess) -> None:
    assert assess(consistent(0.0, channels=8), "AV509").findings
    assert assess(consistent(0.0, channels=4), "AV509").verdict is Verdict.NOT_APPLICABLE
    assert assess(consistent(None), "AV509").verdict is Verdict.NOT_APPLICABLE
