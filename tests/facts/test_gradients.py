"""What an optimizer's state tells of gradients, by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint, tensors
from conftest import Assess, Facts

from avreview.artifact import Artifact
from avreview.checkpoint import Optimizer, ParamGroup
from avreview.engine.resolve import NotAvailable
from avreview.facts.gradients import Gradients

RNG = np.random.default_rng(0)
SHAPES = {"a.weight": (64, 64), "a.bias": (64,), "b.weight": (32, 64)}


def trained(*shape: int) -> np.ndarray[Any, Any]:
    return (RNG.standard_t(3, shape) * 0.1).astype(np.float32)


def adam(shape: tuple[int, ...], moment: float = 0.1) -> dict[str, Any]:
    arrays = {name: np.full(shape, moment, np.float32) for name in ("exp_avg", "exp_avg_sq")}
    return {"step": 900.0, **tensors(arrays)}


def stepped(state: Mapping[Any, Any], names: tuple[str, ...] = (), **weights: Any) -> Artifact:
    arrays = {name: trained(*shape) for name, shape in SHAPES.items()} | weights
    group = ParamGroup({"lr": 1e-3, "weight_decay": 0.0}, tuple(range(3)), names)
    return checkpoint(arrays, optimizers=[Optimizer("optimizer", (group,), state)])


FULL = {number: adam(shape) for number, shape in enumerate(SHAPES.values())}


def test_a_second_moment_of_zero_and_a_missing_state_tell_that_no_gradient_came(fact: Facts) -> None:
    gradients = fact(stepped({**FULL, 2: adam((32, 64), 0.0)}), Gradients)
    assert [gradients.never(name) for name in SHAPES] == ["", "", "exp_avg_sq is 0"]
    gradients = fact(stepped({0: FULL[0], 1: FULL[1]}), Gradients)
    assert [gradients.never(name) for name in SHAPES] == ["", "", "no optimizer state"]


def test_recorded_names_are_believed_whatever_the_order(fact: Facts) -> None:
    state = {0: adam((32, 64), 0.0), 1: adam((64, 64)), 2: adam((64,))}
    gradients = fact(stepped(state, ("b.weight", "a.weight", "a.bias")), Gradients)
    assert gradients.never("b.weight") == "exp_avg_sq is 0"
    assert not gradients.never("a.weight")


def test_states_of_other_shapes_tell_nothing(fact: Facts) -> None:
    with pytest.raises(NotAvailable):
        fact(stepped({0: adam((9, 9)), 1: adam((64,)), 2: adam((32, 64), 0.0)}), Gradients)


def test_no_step_at_all_tells_nothing(fact: Facts) -> None:
    with pytest.raises(NotAvailable):
        fact(stepped({}), Gradients)


def test_av201_normal_weights_without_a_gradient_were_never_trained(assess: Assess) -> None:
    arrays = {"a.weight": trained(64, 64), "b.weight": RNG.normal(0, 0.02, (128, 128)).astype(np.float32)}
    group = ParamGroup({"lr": 1e-3, "weight_decay": 0.0}, (0, 1))

    def with_states(state: Mapping[Any, Any]) -> Artifact:
        return checkpoint(arrays, optimizers=[Optimizer("optimizer", (group,), state)])

    moved = {0: adam((64, 64)), 1: adam((128, 128))}
    assert assess(with_states(moved), "AV201").passed
    finding = assess(with_states({0: moved[0]}), "AV201").only
    assert finding.location.module == "b"
    assert finding.observed["optimizer"] == "no optimizer state"
