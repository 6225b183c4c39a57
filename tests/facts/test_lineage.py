"""What became of a base's tensors in a model, and how hostile names and shapes are borne."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint, tensors
from conftest import Facts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import Array, ModelBuilder

from avreview.artifact import Artifact
from avreview.checkpoint import Optimizer, ParamGroup
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.facts.export_match import ExportMatch
from avreview.facts.lineage import MOVED, NEW, UNCHANGED, Lineage, NewModules, modules_of

State = dict[str, Array]


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


BASE: State = {
    "conv1.weight": drawn(8, 3, 3, 3),
    "bn1.weight": drawn(8, seed=1),
    "bn1.running_mean": drawn(8, seed=2),
    "bn1.num_batches_tracked": np.array(5),
    "layer.weight": drawn(16, 72, seed=3),
    "fc.weight": drawn(1000, 16, seed=4),
}
MODEL: State = {
    "backbone.conv1.weight": BASE["conv1.weight"],
    "backbone.bn1.weight": BASE["bn1.weight"].astype(np.float16),
    "backbone.bn1.running_mean": BASE["bn1.running_mean"] + 1,
    "backbone.bn1.num_batches_tracked": np.array(90),
    "backbone.layer.weight": BASE["layer.weight"] + np.float32(0.1) * drawn(16, 72, seed=9),
    "backbone.fc.weight": drawn(10, 16, seed=5),
    "lanes.weight": drawn(4, 16, seed=6),
}


@pytest.fixture
def found(fact: Facts) -> Lineage:
    result: Lineage = fact(checkpoint(MODEL, prefix="module."), Lineage, pretrained=checkpoint(BASE))
    return result


def test_every_tensor_has_its_state(found: Lineage) -> None:
    assert {entry.name: entry.state for entry in found.tensors} == {
        "backbone.conv1.weight": UNCHANGED,
        "backbone.bn1.weight": UNCHANGED,  # rounded to half precision
        "backbone.bn1.running_mean": MOVED,
        "backbone.layer.weight": MOVED,
        "backbone.fc.weight": NEW,
        "lanes.weight": NEW,
    }
    assert list(found.missing) == ["fc.weight"]
    assert found.by_name["backbone.fc.weight"].reshaped == "fc.weight"
    assert found.by_name["lanes.weight"].reshaped is None


def test_statistics_are_kept_apart(found: Lineage) -> None:
    assert [entry.name for entry in found.tensors if entry.statistic] == ["backbone.bn1.running_mean"]
    assert "backbone.bn1.running_mean" not in {entry.name for entry in found.weights}


def test_a_move_is_measured(found: Lineage) -> None:
    moved = found.by_name["backbone.layer.weight"].comparison
    assert moved is not None
    assert moved.cosine == pytest.approx(1 / np.sqrt(1.01), abs=0.003)
    assert moved.distance == pytest.approx(0.1, rel=0.05)


def test_places_go_by_the_file_s_own_names(found: Lineage) -> None:
    at = found.by_name["lanes.weight"].at
    assert (at.module, at.tensor) == ("lanes", "module.lanes.weight")


def test_new_is_what_the_base_does_not_hold(fact: Facts) -> None:
    new: NewModules = fact(checkpoint(MODEL), NewModules, pretrained=checkpoint(BASE))
    assert new.names == {"backbone.fc.weight", "lanes.weight"}
    assert {"backbone.conv1.weight", "backbone.layer.weight"} <= new.pretrained
    assert not new.names & new.pretrained


def test_without_a_base_new_is_what_was_never_trained(fact: Facts) -> None:
    source = np.random.default_rng(7)
    state: State = {f"stage{n}.weight": source.laplace(0, 0.1, (64, 64)).astype(np.float32) for n in range(4)}
    bound = 64**-0.5
    state["head.weight"] = source.uniform(-bound, bound, (64, 64)).astype(np.float32)
    new: NewModules = fact(checkpoint(state), NewModules)
    assert new.names == {"head.weight"}
    assert new.pretrained == state.keys() - {"head.weight"}


def test_without_a_base_nothing_is_new_after_the_first_steps(fact: Facts) -> None:
    source = np.random.default_rng(7)
    state: State = {f"stage{n}.weight": source.laplace(0, 0.1, (64, 64)).astype(np.float32) for n in range(4)}
    state["head.weight"] = source.uniform(-0.125, 0.125, (64, 64)).astype(np.float32)
    moments: dict[int | str, dict[str, Any]] = {
        place: {"step": 3.0, **tensors({"exp_avg_sq": drawn(64, 64)})} for place in range(5)
    }
    stepped = Optimizer("optimizer", (ParamGroup({"lr": 1e-3}, tuple(range(5))),), moments)
    with pytest.raises(NotAvailable, match="pretrained base"):
        fact(checkpoint(state, optimizers=[stepped]), NewModules)


def test_without_either_nothing_is_said_to_be_new(fact: Facts) -> None:
    with pytest.raises((NotAvailable, NotApplicable)):
        fact(checkpoint({"bias": drawn(4)}), NewModules)


def test_an_export_is_compared_through_folding(fact: Facts) -> None:
    base = {
        "conv.weight": drawn(8, 3, 3, 3), "bn.weight": drawn(8, seed=1) ** 2 + 0.5, "bn.bias": drawn(8, seed=2),
        "bn.running_mean": drawn(8, seed=3), "bn.running_var": drawn(8, seed=4) ** 2 + 0.5,
    }  # fmt: skip
    moved = base["conv.weight"] + np.float32(0.1) * drawn(8, 3, 3, 3, seed=8)
    factor = base["bn.weight"] / np.sqrt(base["bn.running_var"] + 1e-5)
    for weight, state in ((base["conv.weight"], UNCHANGED), (moved, MOVED)):
        model = ModelBuilder().input("x", [1, 3, 8, 8])
        bias = (base["bn.bias"] - base["bn.running_mean"] * factor).astype(np.float32)
        model.conv("conv", 8, weight=(weight * factor.reshape(-1, 1, 1, 1)).astype(np.float32), bias=bias)
        found: Lineage = fact(model.output("y"), Lineage, pretrained=checkpoint(base))
        entry = found.by_name["conv.weight"]
        assert (entry.state, entry.folded) == (state, True)
        assert entry.inherited(0.9)
        assert not found.missing


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["a.weight", "b.0.weight", "b.1.weight"], ["a", "b", "b"]),
        (["net.a.weight", "net.b.0.weight", "net.b.1.weight"], ["net.a", "net.b", "net.b"]),
        (["weight", "a.weight"], ["weight", "a"]),
        (["a.b.weight", "a.b.bias"], ["a.b", "a.b"]),
        ([], []),
    ],
)
def test_modules_are_told_apart_behind_what_all_names_share(names: list[str], groups: list[str]) -> None:
    assert modules_of(names) == dict(zip(names, groups, strict=True))


# What a file may hold

LEAVES = (
    "weight", "bias", "running_mean", "running_var", "weight_g", "weight_v", "in_proj_weight", "in_proj_bias",
    "weight_ih", "weight_hh", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l0_reverse",
    "weight_hh_l0_reverse", "parametrizations.weight.original0", "parametrizations.weight.original1", "",
)  # fmt: skip
MODULES = ("conv", "bn", "lstm", "attn.query", "attn.key", "attn.value", "fc", "", "a..b")
SHAPES = st.sampled_from(
    ((), (0,), (1,), (8,), (16,), (8, 8), (16, 8), (24, 8), (8, 3, 3, 3), (3, 8, 3, 3), (8, 1), (1, 0))
)
DTYPES = st.sampled_from(("float32", "float16", "float64", "bfloat16", "float8_e4m3fn", "int64"))


@st.composite
def states(draw: Any) -> State:
    import ml_dtypes

    keys = draw(st.lists(st.tuples(st.sampled_from(MODULES), st.sampled_from(LEAVES)), max_size=12, unique=True))
    state: State = {}
    for place, (module, leaf) in enumerate(keys):
        dtype = draw(DTYPES)
        array = drawn(*draw(SHAPES), seed=place) * draw(st.sampled_from((0.0, 1.0, np.inf, np.nan, 1e30)))
        with np.errstate(all="ignore"):
            state[f"{module}.{leaf}"] = array.astype(getattr(ml_dtypes, dtype, dtype))
    return state


def every_kind() -> ModelBuilder:
    model = ModelBuilder().input("x", [1, 3, 8, 8]).conv("conv", 8).batch_norm("bn")
    model.conv("up", 3, op="ConvTranspose").op("GlobalAveragePool").node("Flatten", rank=2)
    model.gemm("fc", 8).linear("attn.query", 8).node("Unsqueeze", [model.value, model.ints(0)], rank=3)
    inputs = [
        model.value,
        *(model.tensor(f"onnx::LSTM_{n}", drawn(*shape)) for n, shape in enumerate(((1, 16, 8), (1, 16, 4), (1, 32)))),
    ]
    return model.node("LSTM", inputs, module="lstm", hidden_size=4, channels=4, rank=4).output("y")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own=states(), base=states())
def test_no_checkpoint_makes_it_stumble(own: State, base: State, fact: Facts, export: Artifact) -> None:
    for model, kind, options in (
        (export, ExportMatch, {"checkpoint": checkpoint(own)}),
        (export, Lineage, {"pretrained": checkpoint(base)}),
        (checkpoint(own), Lineage, {"pretrained": checkpoint(base)}),
    ):
        with np.errstate(all="ignore"), contextlib.suppress(NotAvailable, NotApplicable):
            assert fact(model, kind, **options)


@pytest.fixture
def export(opened: Any) -> Artifact:
    artifact: Artifact = opened(every_kind())
    return artifact
