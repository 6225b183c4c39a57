from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint, tensors
from conftest import Assess
from draws import normal, torch_default
from models import Array, ModelBuilder

from avreview.artifact import Artifact
from avreview.checkpoint import Module, Optimizer, ParamGroup
from avreview.engine.review import Review, Severity, Verdict

State = dict[str, Array]


def trained(*shape: int, seed: int) -> Array:
    """Heavy-tailed numbers, as in a trained layer."""
    fan_in = int(np.prod(shape[1:])) or 1
    return np.random.default_rng(seed).laplace(0, fan_in**-0.5, shape).astype(np.float32)


def backbone(seed: int = 0, prefix: str = "") -> State:
    """Four stages of a convolution and a norm, 6,000 to 9,000 elements each."""
    held: State = {}
    for stage in range(4):
        held[f"{prefix}stage{stage}.conv.weight"] = trained(32, 32 if stage else 24, 3, 3, seed=seed + stage)
        held |= {
            f"{prefix}stage{stage}.bn.weight": 1 + 0.1 * trained(32, seed=seed + 50 + stage),
            f"{prefix}stage{stage}.bn.bias": 0.1 * trained(32, seed=seed + 60 + stage),
            f"{prefix}stage{stage}.bn.running_mean": 0.1 * trained(32, seed=seed + 70 + stage),
            f"{prefix}stage{stage}.bn.running_var": 1 + abs(0.1 * trained(32, seed=seed + 80 + stage)),
        }
    return held


def head(prefix: str = "", outputs: int = 10, seed: int = 90) -> State:
    return {
        f"{prefix}head.weight": trained(outputs, 32, seed=seed),
        f"{prefix}head.bias": trained(outputs, seed=seed + 1),
    }


def tuned(state: State, amount: float = 0.2, seed: int = 500) -> State:
    """The weights after fine-tuning: each moved by a share of its size in a direction of its own."""
    source = np.random.default_rng(seed)
    return {
        name: (array + amount * array.std() * source.normal(size=array.shape)).astype(np.float32)
        for name, array in state.items()
    }


BASE = {**backbone(), **head(outputs=1000)}
FINE = {**tuned(backbone(prefix="backbone.")), **head("backbone.")}


# AV202


def test_av202_a_base_that_was_never_loaded(assess: Assess) -> None:
    model = {**backbone(seed=300, prefix="backbone."), **head("backbone.")}
    finding = assess(checkpoint(model), "AV202", pretrained=checkpoint(BASE)).only
    assert finding.severity is Severity.ERROR
    assert finding.location.module == "backbone.stage0.conv"
    assert finding.location.tensor == "backbone.stage0.conv.weight"
    assert finding.observed["inherited_share"] == 0
    assert finding.observed["unrelated"] == 4
    assert finding.observed["renamed"] == "stage0.conv.weight → backbone.stage0.conv.weight"
    assert abs(finding.observed["median_cosine"]) < 0.1


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.net."])
def test_av202_is_silent_on_a_fine_tuned_model(assess: Assess, prefix: str) -> None:
    model = {**tuned(backbone(prefix=prefix)), **head(prefix)}
    assert assess(checkpoint(model), "AV202", pretrained=checkpoint(BASE)).passed


def test_av202_is_silent_where_everything_was_renamed(assess: Assess) -> None:
    model = {name.replace("stage", "layer.").replace("conv", "c"): array for name, array in FINE.items()}
    assert assess(checkpoint(model), "AV202", pretrained=checkpoint(BASE)).passed


def test_av202_names_shapes_that_kept_the_base_out(assess: Assess) -> None:
    wide = {
        name.replace("stage", "backbone.stage"): np.concatenate([array, array]) for name, array in backbone().items()
    }
    finding = assess(checkpoint(wide), "AV202", pretrained=checkpoint(BASE)).only
    assert finding.observed["inherited_share"] == 0
    assert finding.observed["without_counterpart"] + finding.observed["another_shape"] == 22


def test_av202_one_module_that_was_not_loaded(assess: Assess) -> None:
    model = {**FINE, "backbone.stage1.conv.weight": trained(32, 32, 3, 3, seed=999)}
    outcome = assess(checkpoint(model), "AV202", pretrained=checkpoint(BASE))
    finding = outcome.found(Severity.ERROR, "backbone.stage1.conv")
    assert "stage1 of the base" in finding.message


def test_av202_a_head_drawn_anew_in_the_same_shape_is_no_fault(assess: Assess) -> None:
    base = {**backbone(), **head(outputs=200)}
    model = {**tuned(backbone()), **head(outputs=200, seed=700)}
    assert assess(checkpoint(model), "AV202", pretrained=checkpoint(base)).passed


def export(state: Mapping[str, Array], prefix: str = "") -> ModelBuilder:
    """The stages as an export with its norms standing."""
    model = ModelBuilder().input("image", ["batch", 24, 8, 8])
    for stage in range(4):
        module = f"{prefix}stage{stage}"
        model.conv(f"{module}.conv", 32, weight=state[f"{module}.conv.weight"], bias=False)
        held: dict[str, Any] = {
            "scale": state[f"{module}.bn.weight"], "bias": state[f"{module}.bn.bias"],
            "mean": state[f"{module}.bn.running_mean"], "variance": state[f"{module}.bn.running_var"],
        }  # fmt: skip
        model.batch_norm(f"{module}.bn", **held).relu(f"{module}.act")
    model.op("GlobalAveragePool", module="pool").node("Flatten", module="flat", rank=2)
    model.gemm(f"{prefix}head", 10, weight=state[f"{prefix}head.weight"], bias=state[f"{prefix}head.bias"])
    return model.output("scores")


def test_av202_judges_an_export_as_well(assess: Assess) -> None:
    assert assess(export(FINE, "backbone."), "AV202", pretrained=checkpoint(BASE)).passed
    scratch = {**backbone(seed=300, prefix="backbone."), **head("backbone.")}
    finding = assess(export(scratch, "backbone."), "AV202", pretrained=checkpoint(BASE)).only
    assert finding.location.node == "/backbone/stage0/conv/Conv"


def test_av202_is_left_open_without_a_base(assess: Assess) -> None:
    outcome = assess(checkpoint(FINE), "AV202")
    assert (outcome.verdict, outcome.reason) == (
        Verdict.NOT_ASSESSED, "needs the pretrained base; pass --pretrained"
    )  # fmt: skip


# AV203


def optimizer(groups: Sequence[tuple[Mapping[str, Any], Sequence[str]]], state: Mapping[str, Array]) -> Optimizer:
    """Groups with recorded names, and a momentum for each parameter."""
    made, start = [], 0
    slots: dict[int | str, Mapping[str, Any]] = {}
    for options, names in groups:
        places = tuple(range(start, start + len(names)))
        start += len(names)
        made.append(ParamGroup({"weight_decay": 0.0, "momentum": 0.9, **options}, places, tuple(names)))
        for place, name in zip(places, names, strict=True):
            slots[place] = {"momentum_buffer": tensors({name: np.ones_like(state[name])})[name]}
    return Optimizer("optimizer", tuple(made), slots, "SGD")


def parameters(state: Mapping[str, Array], part: str) -> list[str]:
    return [name for name in state if part in name and not name.rpartition(".")[2].startswith(("running", "num"))]


OLD, NEW = parameters(FINE, "stage"), parameters(FINE, "head")


@pytest.mark.parametrize(
    "groups",
    [[({"lr": 0.01}, [*OLD, *NEW])], [({"lr": 0.01}, OLD), ({"lr": 0.012}, NEW)]],
    ids=["one group", "two at nearly one rate"],
)
def test_av203_a_new_head_trains_at_the_base_s_rate(assess: Assess, groups: Any) -> None:
    model = checkpoint(FINE, optimizers=[optimizer(groups, FINE)])
    finding = assess(model, "AV203", pretrained=checkpoint(BASE)).found(Severity.WARNING, "backbone.head")
    assert finding.observed["pretrained_rate"] == 0.01
    assert finding.observed["parameters"] == 2


def test_av203_is_silent_on_a_group_and_rate_of_its_own(assess: Assess) -> None:
    model = checkpoint(FINE, optimizers=[optimizer([({"lr": 0.01}, OLD), ({"lr": 0.1}, NEW)], FINE)])
    assert assess(model, "AV203", pretrained=checkpoint(BASE)).passed


def test_av203_goes_by_the_rate_the_schedule_began_with(assess: Assess) -> None:
    groups = [({"lr": 1e-6, "initial_lr": 0.01}, OLD), ({"lr": 1e-6, "initial_lr": 0.1}, NEW)]
    model = checkpoint(FINE, optimizers=[optimizer(groups, FINE)])
    assert assess(model, "AV203", pretrained=checkpoint(BASE)).passed


def test_av203_does_not_apply_where_nothing_is_new(assess: Assess) -> None:
    state = tuned(BASE)
    model = checkpoint(state, optimizers=[optimizer([({"lr": 0.01}, [*parameters(state, "")])], state)])
    assert assess(model, "AV203", pretrained=checkpoint(BASE)).verdict is Verdict.NOT_APPLICABLE


# AV204


def tree(state: Mapping[str, Array], frozen: str) -> list[Module]:
    """A flat tree of the state's modules; those whose path contains `frozen` are so."""
    modules: dict[str, dict[str, list[str]]] = {"": {"parameters": [], "buffers": []}}
    for name in state:
        path, _, leaf = name.rpartition(".")
        kind = "buffers" if leaf.startswith(("running", "num")) else "parameters"
        modules.setdefault(path, {"parameters": [], "buffers": []})[kind].append(leaf)
    return [
        Module(
            path, "Module", "torch.nn",
            parameters=tuple(held["parameters"]), buffers=tuple(held["buffers"]),
            frozen=frozenset(held["parameters"]) if frozen in path and path else frozenset(),
        )
        for path, held in modules.items()
    ]  # fmt: skip


def test_av204_what_the_tree_calls_frozen_has_moved(assess: Assess) -> None:
    model = checkpoint(FINE, modules=tree(FINE, "stage1"))
    finding = assess(model, "AV204", pretrained=checkpoint(BASE)).only
    assert finding.severity is Severity.WARNING
    assert finding.location.module == "backbone.stage1.conv"
    assert finding.location.tensor == "backbone.stage1.conv.weight"
    assert finding.observed["tensors"] == 3
    assert finding.observed["frozen_by"] == "requires_grad is False"


@pytest.mark.parametrize(
    ("rest", "why"), [(None, "no group of the optimizer holds it"), ({"lr": 0.0}, "its rate is 0")]
)
def test_av204_what_the_optimizer_left_alone_has_moved(assess: Assess, rest: Any, why: str) -> None:
    held = parameters(FINE, "stage2") + NEW
    groups: list[Any] = [({"lr": 0.1}, held)]
    if rest:
        groups.append((rest, [name for name in OLD if name not in held]))
    model = checkpoint(FINE, optimizers=[optimizer(groups, FINE)])
    outcome = assess(model, "AV204", pretrained=checkpoint(BASE))
    assert {finding.observed["frozen_by"] for finding in outcome.findings} == {why}
    assert [finding.location.module for finding in outcome.findings] == [f"backbone.stage{n}.conv" for n in (0, 1, 3)]


def test_av204_is_silent_where_the_frozen_is_the_base_s(assess: Assess) -> None:
    state = {**FINE, **{f"backbone.{name}": array for name, array in backbone().items() if "stage1" in name}}
    assert assess(checkpoint(state, modules=tree(state, "stage1")), "AV204", pretrained=checkpoint(BASE)).passed


def test_av204_half_precision_is_no_movement(assess: Assess) -> None:
    state = {f"backbone.{name}": array.astype(np.float16) for name, array in backbone().items()}
    state |= head("backbone.")
    assert assess(checkpoint(state, modules=tree(state, "stage")), "AV204", pretrained=checkpoint(BASE)).passed


def test_av204_a_copy_for_averaging_says_nothing(assess: Assess) -> None:
    everything = checkpoint(FINE, modules=tree(FINE, ""))
    assert assess(everything, "AV204", pretrained=checkpoint(BASE)).verdict is Verdict.NOT_APPLICABLE
    outcome = assess(checkpoint(FINE), "AV204", pretrained=checkpoint(BASE))
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "optimizer state" in (outcome.reason or "")


# AV205


def with_head(weight: Array) -> tuple[ModelBuilder, Artifact]:
    state = {**tuned(backbone()), "head.weight": weight, "head.bias": np.zeros(len(weight), np.float32)}
    model = ModelBuilder().input("image", ["batch", 24, 8, 8])
    for stage in range(4):
        model.conv(f"stage{stage}.conv", 32, weight=state[f"stage{stage}.conv.weight"], bias=False)
        held: dict[str, Any] = {
            "scale": state[f"stage{stage}.bn.weight"], "bias": state[f"stage{stage}.bn.bias"],
            "mean": state[f"stage{stage}.bn.running_mean"], "variance": state[f"stage{stage}.bn.running_var"],
        }  # fmt: skip
        model.batch_norm(f"stage{stage}.bn", **held).relu()
    model.op("GlobalAveragePool").node("Flatten", rank=2)
    model.gemm("occupancy", len(weight), weight=weight, bias=state["head.bias"])
    return model.output("y"), checkpoint(BASE)


def test_av205_a_new_head_that_starts_too_large(assess: Assess) -> None:
    model, base = with_head(normal(256, 32, std=1.0))
    finding = assess(model, "AV205", pretrained=base).found(Severity.WARNING, "occupancy")
    assert finding.location.tensor == "occupancy.weight"
    assert finding.observed["gain"] == pytest.approx(32**0.5, rel=0.05)


@pytest.mark.parametrize("weight", [torch_default(256, 32), normal(256, 32, std=0.01)], ids=["default", "small"])
def test_av205_is_silent_on_a_usual_head(assess: Assess, weight: Array) -> None:
    model, base = with_head(weight)
    assert assess(model, "AV205", pretrained=base).passed


def test_av205_does_not_judge_a_head_that_was_trained(assess: Assess) -> None:
    model, base = with_head(trained(256, 32, seed=4) * np.float32(30))
    assert assess(model, "AV205", pretrained=base).verdict is Verdict.NOT_APPLICABLE


# The answer


def test_the_answer_lists_the_modules_by_what_became_of_them(reviewed: Callable[..., Review]) -> None:
    state = {**FINE, **{f"backbone.{name}": array for name, array in backbone().items() if "stage1" in name}}
    model = checkpoint(state, modules=tree(state, "stage1"))
    answer = reviewed(model, select=["item2"], pretrained=checkpoint(BASE)).checklist[2]
    states = {row["module"]: (row["state"], row["frozen"]) for row in answer.table}
    assert states == {
        "backbone.stage0": ("moved", False),
        "backbone.stage1": ("unchanged", True),
        "backbone.stage2": ("moved", False),
        "backbone.stage3": ("moved", False),
        "backbone.head": ("new", False),
    }
    assert "new: backbone.head" in answer.answer
    assert "takes the base" not in answer.answer


def test_the_answer_without_a_base_says_what_it_takes(reviewed: Callable[..., Review]) -> None:
    answer = reviewed(export(FINE, "backbone."), select=["item2"]).checklist[2]
    assert "takes the base" in answer.answer
