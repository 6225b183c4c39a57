"""Which weight set an export was made from, through everything that exporters do to weights on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Facts
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Array, ModelBuilder

from avreview.engine.resolve import NotAvailable
from avreview.facts.export_match import ExportMatch, SetMatch
from avreview.facts.folding import FoldableNorm, foldable_norms, solve_eps, unit_ratios
from avreview.facts.weight_matching import ABSENT, DIFFERS, EXACT, ROUNDING, Match

State = dict[str, Array]


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def normed(module: str = "bn", channels: int = 8, seed: int = 0) -> State:
    source = np.random.default_rng(seed)
    return {
        f"{module}.weight": source.normal(1, 0.3, channels).astype(np.float32),
        f"{module}.bias": source.normal(0, 0.3, channels).astype(np.float32),
        f"{module}.running_mean": source.normal(0, 0.3, channels).astype(np.float32),
        f"{module}.running_var": source.gamma(1, 0.2, channels).astype(np.float32) + 1e-4,
        f"{module}.num_batches_tracked": np.array(100),
    }


def folded(state: State, conv: str, norm: str, eps: float = 1e-5, dtype: type = np.float32) -> tuple[Array, Array]:
    """Weight and bias of a convolution with the norm behind it, as PyTorch folds it (torch.nn.utils.fusion)."""
    held: list[Array] = [
        state[f"{norm}.{leaf}"].astype(dtype) for leaf in ("weight", "bias", "running_mean", "running_var")
    ]
    gamma, beta, mean, variance = held
    factor: Array = (gamma / np.sqrt(variance + dtype(eps))).astype(dtype)
    bias: Array = state.get(f"{conv}.bias", np.zeros(1)).astype(dtype)
    weight: Array = state[f"{conv}.weight"].astype(dtype) * factor.reshape(-1, 1, 1, 1)
    return weight.astype(dtype), ((bias - mean) * factor + beta).astype(dtype)


def image() -> ModelBuilder:
    return ModelBuilder().input("image", ["batch", 3, 8, 8])


@pytest.fixture
def matched(fact: Facts) -> Callable[..., SetMatch]:
    def match(model: ModelBuilder, state: State, **options: Any) -> SetMatch:
        found: ExportMatch = fact(model, ExportMatch, checkpoint=checkpoint(state, **options))
        return found.sets["model"]

    return match


Matched = Callable[..., SetMatch]


def summary(found: SetMatch) -> dict[str, tuple[str, str]]:
    return {match.weight.name: (match.status, match.how) for match in found.matches}


def only(found: SetMatch, name: str) -> Match:
    (match,) = (match for match in found.matches if match.weight.name == name)
    return match


PLAIN: State = {
    "stem.conv.weight": drawn(8, 3, 3, 3),
    "stem.conv.bias": drawn(8),
    **normed("stem.bn"),
    "head.fc.weight": drawn(4, 8, seed=2),
    "head.fc.bias": drawn(4, seed=3),
}


def plain(state: State, prefix: str = "") -> ModelBuilder:
    """An export that kept every name and value, the head as MatMul and Add."""
    model = image().conv(f"{prefix}stem.conv", 8, weight=state["stem.conv.weight"], bias=state["stem.conv.bias"])
    held: dict[str, Any] = {
        "scale": state["stem.bn.weight"], "bias": state["stem.bn.bias"],
        "mean": state["stem.bn.running_mean"], "variance": state["stem.bn.running_var"],
    }  # fmt: skip
    model.batch_norm(f"{prefix}stem.bn", **held).relu().op("GlobalAveragePool").node("Flatten", rank=2)
    model.linear(f"{prefix}head.fc", 4, weight=state["head.fc.weight"].T, bias=state["head.fc.bias"])
    return model.output("scores")


@pytest.mark.parametrize("prefix", ["", "model.", "net.backbone."])
def test_an_export_that_kept_its_names(matched: Matched, prefix: str) -> None:
    found = matched(plain(PLAIN, prefix), PLAIN)
    assert found.agrees
    assert len(found.agreeing) == 8
    assert {match.status for match in found.matches} == {EXACT}
    assert not found.absent
    assert not found.unused
    assert only(found, f"{prefix}head.fc.weight").how == "transposed"


def test_one_weight_of_another_step_is_told(matched: Matched) -> None:
    other = {**PLAIN, "stem.conv.weight": PLAIN["stem.conv.weight"] + np.float32(0.001)}
    found = matched(plain(PLAIN), other)
    assert [match.weight.name for match in found.differing] == ["stem.conv.weight"]
    assert found.differing[0].names == ("stem.conv.weight",)


def nameless(state: State, *, eps: float = 1e-5, dtype: type = np.float32) -> ModelBuilder:
    """An export that folded the norm and lost the names, as the TorchScript exporter does; modules are in the paths."""
    weight, bias = folded(state, "stem.conv", "stem.bn", eps, dtype)
    model = image()
    model.tensor("onnx::Conv_9", weight)
    model.tensor("onnx::Conv_10", bias)
    model.node("Conv", ["image", "onnx::Conv_9", "onnx::Conv_10"], module="stem.conv", pads=[1] * 4, channels=8, rank=4)
    model.relu().op("GlobalAveragePool").node("Flatten", rank=2)
    model.tensor("onnx::MatMul_11", state["head.fc.weight"].T.astype(dtype))
    return model.node("MatMul", [model.value, "onnx::MatMul_11"], module="head.fc", channels=4, rank=2).output("y")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_folded_norm_is_found_behind_its_convolution(matched: Matched, dtype: type) -> None:
    found = matched(nameless(PLAIN, dtype=dtype), PLAIN)
    assert found.agrees
    weight, bias = only(found, "onnx::Conv_9"), only(found, "onnx::Conv_10")
    assert weight.status in (EXACT, ROUNDING)
    assert weight.how == bias.how == "batch norm folded in"
    assert weight.norm is not None
    assert weight.norm.module == "stem.bn"
    assert {"stem.conv.weight", "stem.bn.weight", "stem.bn.running_var"} <= set(weight.names)
    assert "stem.conv.bias" in bias.names


@pytest.mark.parametrize("leaf", ["weight", "bias", "running_mean", "running_var"])
def test_a_folded_norm_of_another_step_differs(matched: Matched, leaf: str) -> None:
    other = {**PLAIN, f"stem.bn.{leaf}": PLAIN[f"stem.bn.{leaf}"] * np.float32(1.05)}
    found = matched(nameless(PLAIN), other)
    expected = {"weight", "running_var"} & {leaf}
    assert "onnx::Conv_10" in {match.weight.name for match in found.differing}
    assert ("onnx::Conv_9" in {match.weight.name for match in found.differing}) is bool(expected)
    assert {match.how for match in found.differing} == {"batch norm folded in"}


def test_a_folded_weight_of_another_step_is_laid_beside_the_folded_one(matched: Matched) -> None:
    other = {**PLAIN, "stem.conv.weight": PLAIN["stem.conv.weight"] + drawn(8, 3, 3, 3, seed=8) * np.float32(0.1)}
    match = only(matched(nameless(PLAIN), other), "onnx::Conv_9")
    assert (match.status, match.how) == (DIFFERS, "batch norm folded in")
    assert match.comparison is not None
    assert 0.9 < match.comparison.cosine < 1


@pytest.mark.parametrize("eps", [1e-3, 1e-5, 3.7e-4])
def test_the_eps_of_a_folded_norm_is_solved(matched: Matched, eps: float) -> None:
    match = only(matched(nameless(PLAIN, eps=eps), PLAIN), "onnx::Conv_9")
    assert match.agrees
    assert match.eps == pytest.approx(eps, rel=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.floats(-6, -1), st.integers(1, 16))
def test_folding_and_its_inverse(seed: int, exponent: float, channels: int) -> None:
    """The factors between a folded and a trained weight are the norm's, and give its eps back."""
    state = {"conv.weight": drawn(channels, 2, 3, 3, seed=seed), **normed(channels=channels, seed=seed)}
    eps = 10.0**exponent
    weight, _ = folded(state, "conv", "bn", eps, np.float64)
    ratios = unit_ratios(weight.reshape(channels, -1), state["conv.weight"].reshape(channels, -1))
    (norm,) = foldable_norms(checkpoint(state).tensors)
    assert isinstance(norm, FoldableNorm)
    assert ratios.residual < 1e-7
    assert ratios.factor == pytest.approx(norm.factor(eps), rel=1e-9)
    solved = solve_eps(norm, ratios.factor)
    assert solved == pytest.approx(eps, rel=1e-6)


def test_unrelated_weights_are_no_folding() -> None:
    assert unit_ratios(drawn(8, 27), drawn(8, 27, seed=1)).residual > 0.5


def one(
    op: str, module: str, weight: Array, *, name: str = "onnx::W_1", channels: int = 8, **attributes: Any
) -> ModelBuilder:
    """A layer whose weight lost its name."""
    model = ModelBuilder().input("x", [1, 8])
    model.tensor(name, weight)
    return model.node(op, ["x", name], module=module, channels=channels, rank=2, **attributes).output("y")


def test_a_square_matrix_is_tried_both_ways(matched: Matched) -> None:
    square = drawn(8, 8)
    for op, weight in (("MatMul", square), ("MatMul", square.T), ("Gemm", square)):
        assert matched(one(op, "proj", weight), {"proj.weight": square}).agrees


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_part_of_a_joint_projection(matched: Matched, part: int) -> None:
    state = {"attn.in_proj_weight": drawn(24, 8), "attn.out_proj.weight": drawn(8, 8, seed=5)}
    match = only(
        matched(one("MatMul", "attn", state["attn.in_proj_weight"][8 * part : 8 * part + 8].T), state), "onnx::W_1"
    )
    assert match.agrees
    assert match.names == ("attn.in_proj_weight",)
    assert f"part {part + 1} of 3" in match.how


def test_projections_that_an_optimizer_joined(matched: Matched) -> None:
    state = {f"attn.{name}.weight": drawn(8, 8, seed=place) for place, name in enumerate(("query", "key", "value"))}
    joined = np.concatenate(list(state.values())).T
    match = only(matched(one("MatMul", "attn", joined, channels=24), state), "onnx::W_1")
    assert match.agrees
    assert match.names == tuple(state)
    assert "joined" in match.how


@pytest.mark.parametrize("form", ["old", "parametrization"])
def test_a_weight_norm_is_computed(matched: Matched, form: str) -> None:
    g, v = drawn(8, 1, seed=1) + 1, drawn(8, 8, seed=2)
    weight = g * v / np.linalg.norm(v, axis=1, keepdims=True)
    names = (
        ("fc.weight_g", "fc.weight_v") if form == "old" else [f"fc.parametrizations.weight.original{n}" for n in (0, 1)]
    )
    match = only(matched(one("MatMul", "fc", weight.T), dict(zip(names, (g, v), strict=True))), "onnx::W_1")
    assert match.agrees
    assert match.names == tuple(names)
    assert "weight norm" in match.how


def test_a_scaled_query(matched: Matched) -> None:
    query = drawn(8, 8)
    match = only(matched(one("MatMul", "q", query.T * np.float32(0.35355)), {"q.weight": query}), "onnx::W_1")
    assert match.agrees
    assert match.scale == pytest.approx(0.35355, rel=1e-5)


def lstm(state: State, directions: int, *, biases: bool = True) -> ModelBuilder:
    """An LSTM as the exporters write it: gates in the order i o f c, both biases in one."""

    def gates(leaf: str, suffix: str) -> Array:
        i, f, g, o = np.split(state[f"lstm.{leaf}_l0{suffix}"], 4)
        return np.concatenate([i, o, f, g])

    sides = ("", "_reverse")[:directions]
    model = ModelBuilder().input("x", [5, 1, 6])
    inputs = ["x", *(model.tensor(f"onnx::LSTM_{leaf}", np.stack([gates(leaf, side) for side in sides]))
                     for leaf in ("weight_ih", "weight_hh"))]  # fmt: skip
    if biases:
        both = [np.concatenate([gates("bias_ih", side), gates("bias_hh", side)]) for side in sides]
        inputs.append(model.tensor("onnx::LSTM_bias", np.stack(both)))
    direction = "bidirectional" if directions == 2 else "forward"
    return model.node("LSTM", inputs, module="lstm", hidden_size=4, direction=direction, channels=4, rank=4).output("y")


def recurrent(directions: int) -> State:
    shapes = {"weight_ih": (16, 6), "weight_hh": (16, 4), "bias_ih": (16,), "bias_hh": (16,)}
    return {
        f"lstm.{leaf}_l0{side}": drawn(*shape, seed=10 * place + len(side))
        for side in ("", "_reverse")[:directions]
        for place, (leaf, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_gates_are_put_into_order(matched: Matched, directions: int) -> None:
    state = recurrent(directions)
    found = matched(lstm(state, directions), state)
    assert {match.status for match in found.matches} == {EXACT}
    assert len(found.matches) == 3
    assert not found.unused
    other = {**state, "lstm.weight_hh_l0": state["lstm.weight_hh_l0"] * np.float32(1.01)}
    assert [match.weight.leaf for match in matched(lstm(state, directions), other).differing] == ["R"]


def quantized(weight: Array, *, per_unit: bool) -> ModelBuilder:
    """A Gemm whose weight is stored as int8 with a scale."""
    largest = abs(weight).max(1) if per_unit else abs(weight).max()
    scale = (largest / 127).astype(np.float32)
    integers = np.round(weight / (scale[:, None] if per_unit else scale)).astype(np.int8)
    model = ModelBuilder().input("x", [1, weight.shape[1]])
    names = [model.tensor("fc.weight_quantized", integers), model.tensor("fc.weight_scale", scale)]
    model.node("DequantizeLinear", names, axis=0)
    return model.node("Gemm", ["x", model.value], module="fc", transB=1, channels=len(weight), rank=2).output("y")


@pytest.mark.parametrize("per_unit", [False, True])
def test_a_quantized_weight_lies_within_half_a_step(matched: Matched, per_unit: bool) -> None:
    weight = drawn(8, 32)
    assert matched(quantized(weight, per_unit=per_unit), {"fc.weight": weight}).agrees
    moved = weight + drawn(8, 32, seed=4) * np.float32(0.05)
    assert not matched(quantized(weight, per_unit=per_unit), {"fc.weight": moved}).agrees


def test_names_that_lead_nowhere_are_made_up_for_by_values(matched: Matched) -> None:
    state = {f"block{n}.fc.weight": drawn(8, 8, seed=n) for n in range(6)}
    model = ModelBuilder().input("x", [1, 8])
    for place, n in enumerate((3, 0, 5, 1)):
        model.node(
            "MatMul", [model.value, model.tensor(f"w{place}", state[f"block{n}.fc.weight"].T)], channels=8, rank=2
        )
    found = matched(model.output("y"), state)
    assert [match.names for match in found.matches] == [(f"block{n}.fc.weight",) for n in (3, 0, 5, 1)]
    assert {match.by for match in found.matches} == {"values"}
    assert sorted(found.unused) == ["block2.fc.weight", "block4.fc.weight"]


def test_branches_that_a_prefix_would_pair_crosswise(matched: Matched) -> None:
    """Two copies of one architecture: values tell which is which, and a bias goes with its weight."""
    state: State = {}
    for place, branch in enumerate(("near", "far")):
        state |= {f"{branch}.fc.weight": drawn(8, 8, seed=place), f"{branch}.fc.bias": drawn(8, seed=10 + place)}
    state["far.fc.bias"][:] = 0.25
    model = ModelBuilder().input("x", [1, 8])
    for exported, source in (("then_branch", "far"), ("else_branch", "near")):
        weight, bias = state[f"{source}.fc.weight"], state[f"{source}.fc.bias"]
        model.gemm(f"{exported}.fc", 8, weight=weight, bias=bias)
    found = matched(model.output("y"), state)
    assert found.agrees
    assert only(found, "then_branch.fc.weight").names == ("far.fc.weight",)
    assert only(found, "then_branch.fc.bias").names == ("far.fc.bias",)


def test_renamed_weights_of_another_step_are_laid_beside_theirs(matched: Matched) -> None:
    state = {f"conv{n}.{leaf}": drawn(*shape, seed=9 * n) for n in range(4) for leaf, shape in
             (("weight", (8, 8, 3, 3)), ("bias", (8,)))}  # fmt: skip
    model = ModelBuilder().input("x", [1, 8, 8, 8])
    for place, n in enumerate((2, 0, 3, 1)):
        moved = state[f"conv{n}.weight"] + np.float32(0.2) * drawn(8, 8, 3, 3, seed=70 + n)
        model.conv(f"encoder.{place}.block", 8, weight=moved, bias=state[f"conv{n}.bias"])
    found = matched(model.output("y"), state)
    assert [match.names for match in found.differing] == [(f"conv{n}.weight",) for n in (2, 0, 3, 1)]
    assert [match.names for match in found.agreeing] == [(f"conv{n}.bias",) for n in (2, 0, 3, 1)]


def test_what_is_in_neither_is_absent(matched: Matched) -> None:
    model = plain(PLAIN)
    state = {name: array for name, array in PLAIN.items() if not name.startswith("head")}
    found = matched(model, state)
    assert only(found, "head.fc.weight").status == ABSENT
    assert "head.fc.weight" in {match.weight.name for match in found.absent}
    assert found.agrees


def test_every_set_is_matched_and_the_best_is_known(fact: Facts) -> None:
    averaged = {name: array * np.asarray(0.99, array.dtype) for name, array in PLAIN.items()}
    model = plain(averaged)
    found: ExportMatch = fact(model, ExportMatch, checkpoint=checkpoint(PLAIN, sets={"ema": averaged}))
    assert found.best.name == "ema"
    assert found.sets["ema"].agrees
    assert not found.sets["model"].agrees


def test_a_checkpoint_of_another_model_is_none_to_compare_with(fact: Facts) -> None:
    with pytest.raises(NotAvailable, match="none of their tensors could be paired"):
        fact(one("MatMul", "q", drawn(8, 8)), ExportMatch, checkpoint=checkpoint({"z.weight": drawn(3, 5)}))
