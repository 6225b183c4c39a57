from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Assess
from models import Array, ModelBuilder

from avreview.checkpoint import Module
from avreview.engine.review import Severity, Verdict

State = dict[str, Array]
BLOCKS = ("backbone.0", "backbone.1", "neck.0")


def weights(seed: int = 0) -> State:
    source = np.random.default_rng(seed)
    state: State = {}
    for place, block in enumerate(BLOCKS):
        channels = 3 if place == 0 else 16
        state[f"{block}.conv.weight"] = source.laplace(0, 0.2, (16, channels, 3, 3)).astype(np.float32)
        state[f"{block}.bn.weight"] = source.normal(1, 0.2, 16).astype(np.float32)
        state[f"{block}.bn.bias"] = source.normal(0, 0.2, 16).astype(np.float32)
        state[f"{block}.bn.running_mean"] = source.normal(0, 0.2, 16).astype(np.float32)
        state[f"{block}.bn.running_var"] = source.gamma(2, 0.3, 16).astype(np.float32) + np.float32(1e-3)
    return state


STATE = weights()


def changed(*parts: str, by: float = 1.1) -> State:
    """The state with every tensor changed whose name contains one of the parts."""
    return {
        name: (array * np.float32(by) if any(part in name for part in parts) else array)
        for name, array in STATE.items()
    }


def export(state: State, *, fold: bool = False, eps: float = 1e-5) -> ModelBuilder:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8])
    for block in BLOCKS:
        gamma, beta, mean, variance = (
            state[f"{block}.bn.{leaf}"] for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        weight = state[f"{block}.conv.weight"]
        if fold:
            factor = gamma / np.sqrt(variance + np.float32(eps))
            model.conv(f"{block}.conv", 16, weight=weight * factor.reshape(-1, 1, 1, 1), bias=beta - mean * factor)
        else:
            model.conv(f"{block}.conv", 16, weight=weight, bias=False)
            held: dict[str, Any] = {"scale": gamma, "bias": beta, "mean": mean, "variance": variance}
            model.batch_norm(f"{block}.bn", **held, epsilon=eps)
        model.relu(f"{block}.act")
    return model.output("y")


# AV507

MOVED = changed("backbone.1.bn.running", "neck")


def test_av507_statistics_that_moved_beside_frozen_weights(assess: Assess) -> None:
    finding = assess(checkpoint(MOVED), "AV507", pretrained=checkpoint(STATE)).found(Severity.WARNING, "backbone.1.bn")
    assert finding.location.tensor == "backbone.1.bn.running_mean"
    assert finding.observed["largest_shift"] == pytest.approx(0.1, rel=0.01) or finding.observed["largest_shift"] > 0.1


def test_av507_in_an_export(assess: Assess) -> None:
    finding = assess(export(MOVED), "AV507", pretrained=checkpoint(STATE)).found(Severity.WARNING, "backbone.1.bn")
    assert finding.location.node == "/backbone/1/bn/BatchNormalization"


@pytest.mark.parametrize("trained", ["backbone.1.conv", "backbone.1.bn.weight", "backbone.1.bn.bias"])
def test_av507_statistics_may_move_with_their_weights(assess: Assess, trained: str) -> None:
    state = changed("backbone.1.bn.running", "neck", trained)
    assert assess(checkpoint(state), "AV507", pretrained=checkpoint(STATE)).passed
    assert assess(export(state), "AV507", pretrained=checkpoint(STATE)).passed


def test_av507_rounding_to_half_precision_is_no_movement(assess: Assess) -> None:
    half = {name: array.astype(np.float16) for name, array in STATE.items()}
    assert assess(checkpoint(half), "AV507", pretrained=checkpoint(STATE)).passed


def test_av507_does_not_apply_to_a_model_trained_throughout(assess: Assess) -> None:
    outcome = assess(checkpoint(changed("backbone", "neck")), "AV507", pretrained=checkpoint(STATE))
    assert outcome.verdict is Verdict.NOT_APPLICABLE


def test_av507_is_left_open_where_norms_were_folded_away(assess: Assess) -> None:
    outcome = assess(export(MOVED, fold=True), "AV507", pretrained=checkpoint(STATE))
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "folded" in (outcome.reason or "")


# AV508


def tree(eps: float) -> list[Module]:
    norms = [Module(f"{block}.bn", "BatchNorm2d", "torch.nn", {"eps": eps}) for block in BLOCKS]
    return [Module("", "Net", "project"), *norms]


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(("trained", "exported"), [(1e-3, 1e-5), (1e-5, 1e-3), (2e-5, 1e-5)])
def test_av508_another_eps_in_the_export(assess: Assess, fold: bool, trained: float, exported: float) -> None:
    source = checkpoint(STATE, modules=tree(trained))
    leaf = "conv" if fold else "bn"
    outcome = assess(export(STATE, fold=fold, eps=exported), "AV508", checkpoint=source)
    finding = outcome.found(Severity.ERROR, *(f"{block}.{leaf}" for block in BLOCKS))
    assert finding.observed["eps"] == pytest.approx(exported, rel=0.01)
    assert finding.observed["form"] == ("folded" if fold else "operator")
    assert finding.expected["eps"] == trained


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("eps", [1e-3, 1e-5, 2e-5])
def test_av508_is_silent_on_the_same_eps(assess: Assess, fold: bool, eps: float) -> None:
    source = checkpoint(STATE, modules=tree(eps))
    assert assess(export(STATE, fold=fold, eps=eps), "AV508", checkpoint=source).passed


def test_av508_a_state_dict_states_no_eps(assess: Assess) -> None:
    outcome = assess(export(STATE), "AV508", checkpoint=checkpoint(STATE))
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "module tree" in (outcome.reason or "")


def test_av508_does_not_apply_without_norms(assess: Assess) -> None:
    model = ModelBuilder().input("x", [1, 16]).gemm("fc", 8)
    weight = model.tensors["fc.weight"]
    state = {"fc.weight": np.frombuffer(weight.raw_data, np.float32).reshape(8, 16)}
    assert assess(model.output("y"), "AV508", checkpoint=checkpoint(state)).verdict is Verdict.NOT_APPLICABLE
