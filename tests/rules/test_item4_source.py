from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Assess
from models import Array, ModelBuilder

from avreview.engine.review import Review, Severity, Verdict

State = dict[str, Array]


def weights(seed: int = 0) -> State:
    source = np.random.default_rng(seed)
    shapes = {
        "conv.weight": (16, 3, 3, 3), "conv.bias": (16,), "bn.weight": (16,), "bn.bias": (16,),
        "bn.running_mean": (16,), "bn.running_var": (16,), "fc.weight": (8, 16), "fc.bias": (8,),
    }  # fmt: skip
    state = {name: source.laplace(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    return {**state, "bn.running_var": abs(state["bn.running_var"]) + np.float32(0.5)}


STATE = weights()


def export(state: State, *, extra: bool = False) -> ModelBuilder:
    """The norm folded into the convolution, names lost there."""
    factor = state["bn.weight"] / np.sqrt(state["bn.running_var"] + np.float32(1e-5))
    model = ModelBuilder().input("image", ["batch", 3, 8, 8])
    model.tensor("onnx::Conv_3", state["conv.weight"] * factor.reshape(-1, 1, 1, 1))
    model.tensor("onnx::Conv_4", (state["conv.bias"] - state["bn.running_mean"]) * factor + state["bn.bias"])
    model.node("Conv", ["image", "onnx::Conv_3", "onnx::Conv_4"], module="conv", pads=[1] * 4, channels=16, rank=4)
    model.relu().op("GlobalAveragePool").node("Flatten", rank=2)
    model.gemm("fc", 8, weight=state["fc.weight"], bias=state["fc.bias"])
    if extra:
        model.gemm("late", 4)
    return model.output("y")


def nudged(state: State, *names: str) -> State:
    return {name: array + np.float32(0.001) if name in names else array for name, array in state.items()}


# AV403


def test_av403_an_export_of_another_step(assess: Assess) -> None:
    outcome = assess(export(nudged(STATE, "fc.weight")), "AV403", checkpoint=checkpoint(STATE))
    finding = outcome.found(Severity.ERROR, "fc")
    assert finding.location.tensor == "fc.weight"
    assert finding.location.node == "/fc/Gemm"
    assert (finding.observed["differ"], finding.observed["agree"]) == (1, 3)
    assert finding.observed["checkpoint_tensor"] == "fc.weight"


def test_av403_a_difference_behind_a_folded_norm(assess: Assess) -> None:
    finding = assess(export(nudged(STATE, "bn.running_mean")), "AV403", checkpoint=checkpoint(STATE)).only
    assert finding.location.tensor == "onnx::Conv_4"
    assert finding.observed["treated"] == "batch norm folded in"


def test_av403_an_export_of_another_run(assess: Assess) -> None:
    finding = assess(export(weights(seed=1)), "AV403", checkpoint=checkpoint(STATE)).only
    assert finding.observed["agree"] == 0
    assert len(finding.also) == 3


@pytest.mark.parametrize("prefix", ["", "model."])
def test_av403_is_silent_on_the_export_of_this_checkpoint(assess: Assess, prefix: str) -> None:
    held = {prefix + name: array for name, array in STATE.items()}
    assert assess(export(STATE), "AV403", checkpoint=checkpoint(held)).passed


def test_av403_takes_the_set_that_was_exported(assess: Assess) -> None:
    assert assess(export(STATE), "AV403", checkpoint=checkpoint(weights(seed=1), sets={"ema": STATE})).passed


def test_av403_is_left_open_where_little_can_be_paired(assess: Assess) -> None:
    few = {"fc.bias": STATE["fc.bias"]}
    outcome = assess(export(STATE), "AV403", checkpoint=checkpoint(few))
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "only" in (outcome.reason or "")
    assert (
        assess(export(STATE), "AV403").reason == "needs the checkpoint that the export was made from; pass --checkpoint"
    )


def test_what_has_no_counterpart_is_a_limitation(reviewed: Callable[..., Review]) -> None:
    review = reviewed(export(STATE, extra=True), select=["AV403"], checkpoint=checkpoint(STATE))
    assert any("no counterpart in the checkpoint (late)" in text for text in review.limitations)
    assert not any(
        "no counterpart" in text for text in reviewed(export(STATE), checkpoint=checkpoint(STATE)).limitations
    )


# AV404

AVERAGE = {name: (0.9 * array).astype(np.float32) for name, array in STATE.items()}


def test_av404_the_raw_weights_went_out(assess: Assess) -> None:
    outcome = assess(export(STATE), "AV404", checkpoint=checkpoint(STATE, sets={"ema": AVERAGE}))
    finding = outcome.found(Severity.WARNING, "conv", "conv", "fc", "fc")
    assert finding.location.tensor == "onnx::Conv_3"
    assert (finding.observed["exported"], finding.expected["exported"]) == ("model", "ema")


def test_av404_is_silent_where_the_average_went_out(assess: Assess) -> None:
    assert assess(export(AVERAGE), "AV404", checkpoint=checkpoint(STATE, sets={"ema": AVERAGE})).passed
    assert assess(export(STATE), "AV404", checkpoint=checkpoint(STATE, sets={"ema": dict(STATE)})).passed


def test_av404_needs_two_sets_of_which_one_was_exported(assess: Assess) -> None:
    assert assess(export(STATE), "AV404", checkpoint=checkpoint(STATE)).verdict is Verdict.NOT_APPLICABLE
    outcome = assess(export(weights(seed=1)), "AV404", checkpoint=checkpoint(STATE, sets={"ema": AVERAGE}))
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "neither" in (outcome.reason or "")
