"""Slots to names: against real optimizers of known grouping, on networks of the usual shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Facts
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.artifact import Artifact, Tensor
from avreview.checkpoint import Module, Optimizer, ParamGroup
from avreview.engine.resolve import NotAvailable
from avreview.facts.decay import DecayCoverage
from avreview.facts.optimizer_groups import OptimizerGroups, optimizer_groups, parameter_shape
from avreview.facts.optimizer_mapping import ParameterMapping, parameter_mapping
from avreview.facts.subject import TrainingState

torch = pytest.importorskip("torch")
zoo = pytest.importorskip("optimizer_zoo")

CERTAIN = 0.5
NETWORKS = ("vit", "unet", "detr")  # benchmarks/optimizer_mapping.py goes over more
# Of one norm only the scale decays: its shift has the same shape.
SYMMETRIC = {"hugging_face", "bias_rate"}


def mapped(network: Any, optimizer: Any) -> tuple[OptimizerGroups, ParameterMapping]:
    state = TrainingState("model.pt", zoo.artifact_of(network, optimizer).checkpoint)
    groups = optimizer_groups(state)
    return groups, parameter_mapping(state, groups)


def decays(groups: OptimizerGroups, mapping: ParameterMapping, least: float = 0.0) -> dict[str, float | None]:
    """The decay that the mapping gives to each parameter whose margin is `least` or more."""
    return {
        name: None if given.group is None else groups.all[given.group].decay
        for name, given in mapping.assignments.items()
        if given.decay_margin >= least
    }


@pytest.mark.parametrize("grouping", zoo.GROUPINGS)
def test_every_decay_is_right_and_most_are_certain(grouping: str) -> None:
    total = sure = right = 0
    for name in NETWORKS:
        network = zoo.NETWORKS[name]()
        groups = zoo.GROUPINGS[grouping](network)
        if not any(group["params"] for group in groups):
            continue
        optimizer = zoo.stepped(zoo.OPTIMIZERS["AdamW"](groups))
        truth = zoo.truth_of(network, optimizer).decay
        found = mapped(network, optimizer)
        every, certain = decays(*found), decays(*found, least=CERTAIN)
        assert {key: certain[key] for key in certain} == {key: truth[key] for key in certain}, name
        total, sure = total + len(truth), sure + len(certain)
        right += sum(every[key] == truth[key] for key in truth)
    assert total > 250
    assert right / total > 0.99
    assert sure / total > (0.5 if grouping in SYMMETRIC else 0.9)


@pytest.mark.parametrize("optimizer", ["SGD", "RMSprop", "Adafactor"])
@pytest.mark.parametrize("network", ["resnet18", "detr"])
def test_shapes_are_read_from_the_state_of_other_optimizers(network: str, optimizer: str) -> None:
    built = zoo.NETWORKS[network]()
    made = zoo.stepped(zoo.OPTIMIZERS[optimizer](zoo.timm(built)))
    assert decays(*mapped(built, made), least=CERTAIN) == zoo.truth_of(built, made).decay


@pytest.mark.parametrize("name", NETWORKS)
def test_shuffled_groups_are_never_certain_and_wrong(name: str) -> None:
    network = zoo.NETWORKS[name]()
    optimizer = zoo.stepped(zoo.OPTIMIZERS["AdamW"](zoo.shuffled(network)))
    truth = zoo.truth_of(network, optimizer).decay
    certain = decays(*mapped(network, optimizer), least=CERTAIN)
    assert len(certain) < len(truth) / 2
    assert certain == {key: truth[key] for key in certain}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=20, max_size=20))
def test_any_grouping_in_order_gets_an_arrangement_that_fits(places: list[int]) -> None:
    """Whatever is grouped with whatever or left out (3): each group gets its own shapes, in its own order."""
    network = zoo.ResNet((1, 1), 4)
    named = list(network.named_parameters())
    parts = [[p for (_, p), place in zip(named, places, strict=True) if place == number] for number in range(3)]
    made = [{"params": part, "weight_decay": 0.1 * number} for number, part in enumerate(parts) if part]
    if not made:
        return
    groups, mapping = mapped(network, zoo.stepped(zoo.OPTIMIZERS["AdamW"](made)))
    if mapping.how != "order of registration":
        return
    for number, group in enumerate(groups.all):
        given_shapes = [
            candidate.tensor.shape
            for candidate in mapping.candidates
            if mapping.assignments[candidate.name].group == number
        ]
        assert given_shapes == [slot.shape for slot in group.slots]


def test_recorded_names_are_used_whatever_the_order() -> None:
    network = zoo.ResNet()
    named = dict(network.named_parameters())
    first = [name for name in sorted(named, reverse=True) if "conv" in name]
    rest = [name for name in named if "conv" not in name]
    optimizer = torch.optim.AdamW(
        [
            {"params": [(f"module.{name}", named[name]) for name in first], "weight_decay": 0.1},
            {"params": [(f"module.{name}", named[name]) for name in rest], "weight_decay": 0.0},
        ]
    )
    groups, mapping = mapped(network, zoo.stepped(optimizer))
    assert mapping.how == "recorded names"
    assert decays(groups, mapping, least=1e9) == zoo.truth_of(network, optimizer).decay


# Hand-made states


def arrays(*shapes: tuple[str, tuple[int, ...]]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes}


LINEAR = arrays(("fc1.weight", (8, 4)), ("fc1.bias", (8,)), ("fc2.weight", (3, 8)), ("fc2.bias", (3,)))


def optimizer(
    *groups: tuple[float, Sequence[tuple[int, ...] | None]], slots: Callable[[int], int | str] = int
) -> Optimizer:
    """An Adam: of each group the decay, and the shapes of its parameters (None: without state)."""
    made, state, number = [], {}, 0
    for decay, shapes in groups:
        own = []
        for shape in shapes:
            slot = slots(number)
            own.append(slot)
            number += 1
            if shape is not None:
                held = checkpoint({"exp_avg": np.zeros(shape, np.float32)}).tensors["exp_avg"]
                state[slot] = {"exp_avg": held, "exp_avg_sq": held, "step": 7.0}
        options = {"lr": 1e-3, "weight_decay": decay, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}
        made.append(ParamGroup(options, tuple(own)))
    return Optimizer("optimizer", tuple(made), state)


def placed(fact: Facts, model: Artifact) -> dict[str, int | None]:
    mapping: ParameterMapping = fact(model, ParameterMapping)
    return {name: given.group for name, given in mapping.assignments.items()}


def test_slots_may_be_memory_addresses(fact: Facts) -> None:
    made = optimizer((0.1, [(8, 4), (3, 8)]), (0.0, [(8,), (3,)]), slots=lambda number: 140_000_000_000 - 72 * number)
    assert list(placed(fact, checkpoint(LINEAR, optimizers=[made])).values()) == [0, 1, 0, 1]


def test_slots_may_be_names(fact: Facts) -> None:
    names = ["fc2.bias", "fc1.weight", "fc1.bias", "fc2.weight"]
    made = optimizer((0.1, [(3,)]), (0.0, [(8, 4), (8,), (3, 8)]), slots=names.__getitem__)
    assert placed(fact, checkpoint(LINEAR, optimizers=[made])) == {
        "fc1.weight": 1, "fc1.bias": 1, "fc2.weight": 1, "fc2.bias": 0,
    }  # fmt: skip


def test_groups_without_state_are_open_and_one_group_is_not(fact: Facts) -> None:
    one = optimizer((0.1, [None] * 4))
    assert set(placed(fact, checkpoint(LINEAR, optimizers=[one])).values()) == {0}
    two = optimizer((0.1, [None] * 2), (0.0, [None] * 2))
    mapping: ParameterMapping = fact(checkpoint(LINEAR, optimizers=[two]), ParameterMapping)
    assert all(given.decay_margin < CERTAIN for given in mapping.assignments.values())


def test_statistics_integers_and_tied_copies_are_no_candidates(fact: Facts) -> None:
    table = np.zeros((9, 4), np.float32)
    held = {
        "embed.weight": table, "bn.weight": np.ones(4, np.float32), "bn.bias": np.zeros(4, np.float32),
        "bn.running_mean": np.zeros(4, np.float32), "bn.running_var": np.ones(4, np.float32),
        "bn.num_batches_tracked": np.array(5), "index": np.zeros(4, np.int64), "out.weight": table,
    }  # fmt: skip
    made = optimizer((0.1, [(9, 4), (4,), (4,)]))
    mapping: ParameterMapping = fact(checkpoint(held, optimizers=[made]), ParameterMapping)
    assert list(mapping.assignments) == ["embed.weight", "bn.weight", "bn.bias"]
    assert mapping.candidates[0].tied == ("out.weight",)


def test_buffers_and_frozen_parameters_are_told_by_the_tree(fact: Facts) -> None:
    held = arrays(("fc.weight", (4, 4)), ("fc.bias", (4,)), ("fc.table", (4, 4)), ("old.weight", (4, 4)))
    tree = [
        Module("", "Net", "nets", children=("fc", "old")),
        Module("fc", "Linear", "torch.nn", parameters=("weight", "bias"), buffers=("table",)),
        Module("old", "Linear", "torch.nn", parameters=("weight",), frozen=frozenset(["weight"])),
    ]
    made = optimizer((0.1, [(4, 4), (4,)]))
    coverage: DecayCoverage = fact(checkpoint(held, modules=tree, optimizers=[made]), DecayCoverage)
    assert [(entry.name, entry.group is not None) for entry in coverage.parameters] == [
        ("fc.weight", True), ("fc.bias", True), ("old.weight", False),
    ]  # fmt: skip
    assert not coverage.left_out


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (optimizer((0.1, [(8, 4), (8,), (3, 8), (3,), (5,)])), "it holds 5 parameters, the file only 4"),
        (optimizer((0.1, [(8, 4), (7,)])), "fit the file's 4 tensors in no order"),
        (optimizer((0.1, [(67,)])), "fit the file's 4 tensors in no order"),
    ],
)
def test_what_does_not_fit_is_refused(fact: Facts, made: Optimizer, words: str) -> None:
    with pytest.raises(NotAvailable, match=words):
        fact(checkpoint(LINEAR, optimizers=[made]), ParameterMapping)


def test_flattened_state_is_refused_by_name(fact: Facts) -> None:
    many = arrays(*((f"{number}.weight", (4, 4)) for number in range(12)))
    with pytest.raises(NotAvailable, match="flattened over many"):
        fact(checkpoint(many, optimizers=[optimizer((0.1, [(192,)]))]), ParameterMapping)


def test_the_weights_that_were_trained_are_mapped_not_their_average(fact: Facts) -> None:
    built = checkpoint(LINEAR, optimizers=[optimizer((0.1, [(8, 4), (8,), (3, 8), (3,)]))])
    assert built.checkpoint is not None
    swapped = built.checkpoint._replace(
        sets={"ema": built.checkpoint.sets["model"], "model": built.checkpoint.sets["model"]}, primary="ema"
    )
    built.checkpoint = swapped
    assert set(placed(fact, built).values()) == {0}


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_factored_moments_give_the_shape(shape: list[int]) -> None:
    def tensor(*extents: int) -> Tensor:
        return checkpoint({"x": np.zeros(extents, np.float32)}).tensors["x"]

    torch_form = {"row_var": tensor(*shape[:-1], 1), "col_var": tensor(*shape[:-2], 1, shape[-1])}
    other_form = {"exp_avg_sq_row": tensor(*shape[:-1]), "exp_avg_sq_col": tensor(*shape[:-2], shape[-1])}
    assert parameter_shape(torch_form) == parameter_shape(other_form) == tuple(shape)


def test_scalars_and_strange_options_are_taken_as_they_are(fact: Facts) -> None:
    rate = checkpoint({"lr": np.array(0.25, np.float32)}).tensors["lr"]
    options = {"lr": rate, "weight_decay": float("nan"), "betas": "?", "initial_lr": 10**400}
    made = Optimizer("optimizer", (ParamGroup(options, (0, 1, 2, 3)),), {})
    groups: OptimizerGroups = fact(checkpoint(LINEAR, optimizers=[made]), OptimizerGroups)
    assert (groups.all[0].rate, groups.all[0].peak_rate, groups.all[0].decay) == (0.25, 0.25, None)
