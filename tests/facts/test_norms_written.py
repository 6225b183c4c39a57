from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from conftest import Facts
from expressions import Term, reciprocal, sqrt
from models import ModelBuilder
from onnx import TensorProto, helper

from avreview.facts.norms import BATCH, SAMPLE, Norm, NormLayers

EPS = 1e-3
IMAGE = (4, 8, 6, 6)
TOKENS = (4, 10, 8)
Reduce = Callable[[Term], Term]
Spelling = Callable[[Term, Reduce], Term]


def reducing(axes: Sequence[int], op: str = "ReduceMean") -> Reduce:
    """The mean over some axes, in the form of the model's opset: an attribute before 18, an input from there on."""

    def reduce(x: Term) -> Term:
        if x.model.opset >= (13 if op == "ReduceSum" else 18):
            return x.op(op, x.model.tensor("axes", np.array(axes, np.int64)), keepdims=1)
        return x.op(op, axes=list(axes), keepdims=1)

    return reduce


def squared_difference(x: Term, mean: Reduce) -> Term:
    """`tf.nn.moments`: the difference is computed a second time for the variance."""
    difference = x - mean(x)
    return mean(difference * difference)


def shared_difference(x: Term, mean: Reduce) -> Term:
    difference = x - mean(x)
    return difference / sqrt(mean(difference**2) + EPS)


def own_difference(x: Term, mean: Reduce) -> Term:
    variance = squared_difference(x, mean)
    return (x - mean(x)) / sqrt(variance + EPS)


def reciprocal_root(x: Term, mean: Reduce) -> Term:
    difference = x - mean(x)
    return difference * reciprocal(sqrt(mean(difference * difference) + EPS))


def one_over_root(x: Term, mean: Reduce) -> Term:
    difference = x - mean(x)
    return difference * (1.0 / sqrt(EPS + mean(difference * difference)))


def power(x: Term, mean: Reduce) -> Term:
    difference = x - mean(x)
    return (mean(difference**2) + EPS) ** -0.5 * difference


def positive_power(x: Term, mean: Reduce) -> Term:
    difference = x - mean(x)
    return difference / (mean(difference**2) + EPS) ** 0.5


def unbiased(x: Term, mean: Reduce) -> Term:
    """`torch.var`: the mean of squares times n / (n - 1)."""
    difference = x - mean(x)
    return difference / sqrt(mean(difference * difference) * 143.0 / 142.0 + EPS)


def fast_variance(x: Term, mean: Reduce) -> Term:
    """Flax: E[x²] - E[x]², not less than 0."""
    average = mean(x)
    variance = (mean(x * x) - average * average).op("Max", 0.0)
    return (x - average) * reciprocal(sqrt(variance + EPS))


def fast_variance_by_powers(x: Term, mean: Reduce) -> Term:
    average = mean(x)
    return (x - average) / sqrt(mean(x**2) - average**2 + EPS)


CENTRED: dict[str, Spelling] = {
    spelling.__name__: spelling
    for spelling in (
        shared_difference, own_difference, reciprocal_root, one_over_root, power, positive_power, unbiased,
        fast_variance, fast_variance_by_powers,
    )
}  # fmt: skip
KINDS = {
    "BatchNorm": (IMAGE, (0, 2, 3), BATCH),
    "BatchNorm, negative axes": (IMAGE, (-4, -2, -1), BATCH),
    "BatchNorm of tokens": (TOKENS, (0, 1), BATCH),
    "InstanceNorm": (IMAGE, (2, 3), SAMPLE),
    "InstanceNorm, negative axes": (IMAGE, (-1, -2), SAMPLE),
    "LayerNorm": (TOKENS, (-1,), SAMPLE),
    "LayerNorm, counted from 0": (TOKENS, (2,), SAMPLE),
    "LayerNorm of images": (IMAGE, (1, 2, 3), SAMPLE),
    "LayerNorm over channels": (IMAGE, (1,), SAMPLE),
}


def norms(fact: Facts, model: ModelBuilder) -> Sequence[Norm]:
    found: Sequence[Norm] = fact(model, NormLayers).all
    return found


def written(spelling: Spelling, shape: Sequence[int], axes: Sequence[int], opset: int = 17) -> ModelBuilder:
    model = ModelBuilder(opset).input("x", list(shape))
    spelling(Term(model), reducing(axes))
    return model


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("spelling", CENTRED)
def test_a_norm_is_what_its_axes_make_it_however_it_is_written(fact: Facts, spelling: str, name: str) -> None:
    shape, axes, statistics = KINDS[name]
    model = written(CENTRED[spelling], shape, axes)
    result = model.value
    (norm,) = norms(fact, model.relu().output("y"))
    kind = name.partition(",")[0].partition(" ")[0]
    assert (norm.kind, norm.statistics, norm.form) == (kind, statistics, "decomposed")
    assert (norm.input, norm.output) == ("x", result)
    assert norm.eps == pytest.approx(EPS)
    assert bool(norm.evidence) is (statistics == BATCH)


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm"])
def test_axes_are_read_from_the_attribute_and_from_the_input(fact: Facts, opset: int, name: str) -> None:
    shape, axes, statistics = KINDS[name]
    (norm,) = norms(fact, written(shared_difference, shape, axes, opset).output("y"))
    assert (norm.kind, norm.statistics) == (name, statistics)


def rms_by_root(x: Term, mean: Reduce) -> Term:
    return x / sqrt(mean(x**2) + EPS)


def rms_by_reciprocal(x: Term, mean: Reduce) -> Term:
    return x * reciprocal(sqrt(mean(x * x) + EPS))


def rms_by_power(x: Term, mean: Reduce) -> Term:
    return x * (mean(x**2) + EPS) ** -0.5


@pytest.mark.parametrize("spelling", [rms_by_root, rms_by_reciprocal, rms_by_power])
def test_without_a_mean_to_subtract_it_is_an_rms_norm(fact: Facts, spelling: Spelling) -> None:
    (norm,) = norms(fact, written(spelling, TOKENS, (-1,)).output("y"))
    assert (norm.kind, norm.statistics, norm.input) == ("RMSNorm", SAMPLE, "x")
    assert norm.eps == pytest.approx(EPS)


def parameter(x: Term, name: str, shape: Sequence[int]) -> Term:
    return Term(x.model, x.model.tensor(name, x.model.trained(*shape)))


def affine_behind(x: Term, mean: Reduce, shape: Sequence[int]) -> Term:
    normalized = shared_difference(x, mean)
    return normalized * parameter(x, "norm.weight", shape) + parameter(x, "norm.bias", shape)


def affine_in_front(x: Term, mean: Reduce, shape: Sequence[int]) -> Term:
    normalized = shared_difference(x, mean)
    return parameter(x, "norm.bias", shape) + parameter(x, "norm.weight", shape) * normalized


@pytest.mark.parametrize("spelling", [affine_behind, affine_in_front])
@pytest.mark.parametrize(("shape", "axes", "per"), [(IMAGE, (0, 2, 3), (1, 8, 1, 1)), (TOKENS, (-1,), (8,))])
def test_scale_and_shift_belong_to_the_norm(
    fact: Facts, spelling: Callable[..., Term], shape: Sequence[int], axes: Sequence[int], per: Sequence[int]
) -> None:
    model = ModelBuilder().input("x", list(shape))
    result = spelling(Term(model), reducing(axes), per).value
    (norm,) = norms(fact, model.relu().output("y"))
    assert norm.gamma is not None
    assert norm.beta is not None
    assert (norm.gamma.name, norm.beta.name) == ("norm.weight", "norm.bias")
    assert norm.output == result


def tensorflow(x: Term, mean: Reduce) -> Term:
    """`tf.nn.batch_normalization`: x · (γ · rsqrt(σ² + ε)) + (β - μ · γ · rsqrt(σ² + ε))."""
    average = mean(x)
    difference = x - average
    variance = mean(difference * difference)
    factor = reciprocal(sqrt(variance + EPS)) * parameter(x, "gamma", (1, 8, 1, 1))
    return x * factor + (parameter(x, "beta", (1, 8, 1, 1)) - average * factor)


def test_tensorflows_batch_normalization_is_one_norm(fact: Facts) -> None:
    (norm,) = norms(fact, written(tensorflow, IMAGE, (0, 2, 3)).relu().output("y"))
    assert (norm.kind, norm.statistics, norm.input) == ("BatchNorm", BATCH, "x")


def test_a_batch_norm_of_a_dense_layers_result_has_one_axis(fact: Facts) -> None:
    model = ModelBuilder().input("x", ["batch", 16]).gemm("fc", 8)
    start = model.value
    shared_difference(Term(model), reducing((0,)))
    (norm,) = norms(fact, model.output("y"))
    assert (norm.kind, norm.statistics, norm.input) == ("BatchNorm", BATCH, start)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0,)], ids=["over everything", "over time"])
def test_a_normalization_of_the_input_is_no_layer(fact: Facts, axes: Sequence[int]) -> None:
    assert not norms(fact, written(shared_difference, IMAGE, axes).output("y"))


def test_a_division_by_the_root_of_a_constant_is_no_norm(fact: Facts) -> None:
    model = ModelBuilder().input("x", list(TOKENS))
    x = Term(model)
    x / sqrt(Term(model, model.scalar(64.0)))
    assert not norms(fact, model.output("y"))


def test_a_division_by_anothers_deviation_is_no_norm(fact: Facts) -> None:
    model = ModelBuilder().input("other", list(TOKENS)).input("x", list(TOKENS))
    mean, other = reducing((-1,)), Term(model, "other")
    difference = other - mean(other)
    Term(model, "x") / sqrt(mean(difference * difference) + EPS)
    assert not norms(fact, model.output("y"))


@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm"])
def test_a_norm_inside_a_local_function_is_found(fact: Facts, name: str) -> None:
    shape, axes, statistics = KINDS[name]
    inner = written(shared_difference, shape, axes)
    inner.nodes.append(helper.make_node("Identity", [inner.value], ["normalized"]))
    constants = [helper.make_node("Constant", [], [key], value=value) for key, value in inner.tensors.items()]
    function = helper.make_function(
        "net", "Normalize", ["x"], ["normalized"], [*constants, *inner.nodes], [helper.make_opsetid("", 17)]
    )
    model = ModelBuilder().input("image", list(shape))
    model.functions.append(function)
    model.domains["net"] = 1
    model.node("Normalize", domain="net").relu().output("y")
    (norm,) = norms(fact, model)
    assert (norm.kind, norm.statistics) == (name, statistics)


def test_two_norms_behind_one_another_are_two(fact: Facts) -> None:
    model = written(shared_difference, TOKENS, (-1,))
    first = model.linear("fc", 8).value
    shared_difference(Term(model), reducing((-1,)))
    assert [norm.input for norm in norms(fact, model.output("y"))] == ["x", first]


def test_batch_statistics_handed_to_the_operator_are_batch_statistics(fact: Facts) -> None:
    """What `track_running_stats=False` is exported as."""
    model = ModelBuilder().input("x", list(IMAGE))
    x = Term(model)
    mean = x.op("ReduceMean", axes=[0, 2, 3], keepdims=0)
    difference = x - x.op("ReduceMean", axes=[0, 2, 3], keepdims=1)
    variance = (difference * difference).op("ReduceMean", axes=[0, 2, 3], keepdims=0)
    weight, bias = (model.tensor(f"bn.{name}", model.trained(8)) for name in ("weight", "bias"))
    model.node("BatchNormalization", ["x", weight, bias, mean.value, variance.value], module="bn").output("y")
    (norm,) = norms(fact, model)
    assert (norm.form, norm.statistics, norm.mean) == ("operator", BATCH, None)
    assert "computed from the data" in norm.evidence


@pytest.mark.parametrize(("axes", "kind"), [((0, 2, 3), "BatchNorm"), ((2, 3), "InstanceNorm")])
def test_mean_variance_normalization_is_what_its_axes_make_it(fact: Facts, axes: Sequence[int], kind: str) -> None:
    model = ModelBuilder().input("x", list(IMAGE), TensorProto.FLOAT)
    (norm,) = norms(fact, model.op("MeanVarianceNormalization", axes=list(axes)).output("y"))
    assert norm.kind == kind


@pytest.mark.parametrize("affine", [True, False])
def test_an_instance_norm_between_two_reshapes_is_a_group_norm(fact: Facts, affine: bool) -> None:
    model = ModelBuilder().input("x", list(IMAGE)).reshape(0, 2, -1)
    ones, none = np.ones(2, np.float32), np.zeros(2, np.float32)
    model.op("InstanceNormalization", model.tensor("ones", ones), model.tensor("none", none), epsilon=1e-5)
    model.reshape(*IMAGE)
    if affine:
        x = Term(model)
        x * parameter(x, "gn.weight", (8, 1, 1)) + parameter(x, "gn.bias", (8, 1, 1))
    result = model.value
    (norm,) = norms(fact, model.relu().output("y"))
    assert (norm.kind, norm.groups, norm.input, norm.output) == ("GroupNorm", 2, "x", result)
    assert (norm.gamma is not None) is affine
