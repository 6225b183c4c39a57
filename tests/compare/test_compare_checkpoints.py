"""Seeded changes in checkpoints: state dicts, and whole modules with their settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint

from avreview.artifact import Artifact
from avreview.checkpoint import Module
from avreview.compare.artifacts import compare_artifacts
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.errors import UsageError
from avreview.load import open_artifact

Array = np.ndarray[Any, Any]
NN = "torch.nn"


def arrays(prefix: str = "") -> dict[str, Array]:
    random = np.random.default_rng(3)
    shapes = {
        "backbone.conv.weight": (8, 3, 3, 3), "backbone.bn.weight": (8,), "backbone.bn.bias": (8,),
        "backbone.bn.running_mean": (8,), "backbone.bn.running_var": (8,), "neck.conv.weight": (8, 8, 3, 3),
        "neck.conv.bias": (8,), "head.weight": (4, 8), "head.bias": (4,),
    }  # fmt: skip
    found: dict[str, Array] = {
        prefix + name: random.laplace(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()
    }
    found[f"{prefix}backbone.bn.running_var"] = np.abs(found[f"{prefix}backbone.bn.running_var"]) + 0.5
    found[f"{prefix}backbone.bn.num_batches_tracked"] = np.array(100)
    return found


def sections(old: Artifact, new: Artifact) -> list[Section]:
    return compare_artifacts(old, new)[0]


def only(found: list[Section], name: str) -> Change:
    """The one change there is in all sections, which stands in the section of that name."""
    changes = {each.name: list(each.changes) for each in found if each.changes}
    assert list(changes) == [name], changes
    assert len(changes[name]) == 1, changes[name]
    return changes[name][0]


def moved(name: str, change: Any, source: dict[str, Array] | None = None) -> dict[str, Array]:
    found = source or arrays()
    return {**found, name: change(found[name])}


def test_identical_state_dicts_differ_in_nothing_and_say_what_they_do_not_show() -> None:
    found = sections(checkpoint(arrays()), checkpoint(arrays()))
    assert all(not each.changes for each in found)
    assert {each.name for each in found if each.unseen} == {"dropout", "inputs"}


def test_weights_statistics_and_frozen_layers_are_told_apart() -> None:
    new = moved("neck.conv.weight", lambda w: w * 1.05)
    found = sections(checkpoint(arrays()), checkpoint(new))
    change = only(found, "weights")
    assert change.where == "neck.conv"
    assert change.amount == pytest.approx(0.05, rel=1e-3)
    assert next(each for each in found if each.name == "weights").summary == (
        "4 layers compared: 3 hold the same weights, 1 moved"
    )
    statistics = moved("backbone.bn.running_var", lambda v: v * 4)
    change = only(sections(checkpoint(arrays()), checkpoint(statistics)), "norms")
    assert (change.where, "variances by factors of 4 to 4" in change.what) == ("backbone.bn", True)


def test_a_counter_of_batches_that_went_on_is_no_weight_that_moved() -> None:
    new = moved("backbone.bn.num_batches_tracked", lambda count: count + 7)
    assert not any(each.changes for each in sections(checkpoint(arrays()), checkpoint(new)))


def test_modules_that_came_and_went() -> None:
    new = {**arrays(), "aux.weight": np.ones((2, 8), np.float32), "aux.bias": np.zeros(2, np.float32)}
    change = only(sections(checkpoint(arrays()), checkpoint(new)), "structure")
    assert (change.kind, change.where, change.what) == (ADDED, "aux", "Linear with 18 parameters")
    assert only(sections(checkpoint(new), checkpoint(arrays())), "structure").kind == REMOVED


def test_a_tensor_of_another_shape_and_one_that_went() -> None:
    new = moved("head.weight", lambda w: np.concatenate([w, w]))
    change = only(sections(checkpoint(arrays()), checkpoint(new)), "weights")
    assert (change.where, change.old, change.new) == ("head", [4, 8], [8, 8])
    without = {name: array for name, array in arrays().items() if name != "head.bias"}
    change = only(sections(checkpoint(arrays()), checkpoint(without)), "weights")
    assert (change.kind, change.where, change.what) == (REMOVED, "head", "bias [4]")


def test_modules_behind_another_prefix_are_the_same() -> None:
    assert not any(each.changes for each in sections(checkpoint(arrays()), checkpoint(arrays("model."))))


def test_a_renamed_module_is_found_by_its_values() -> None:
    new = {name.replace("neck.conv", "fpn.lateral.0"): array for name, array in arrays().items()}
    found = sections(checkpoint(arrays()), checkpoint(new))
    assert not any(each.changes for each in found)
    assert "neck.conv is fpn.lateral.0 now" in str(found[0].notes)


def test_half_precision_and_another_weight_set() -> None:
    half = {name: array.astype(np.float16) if array.ndim else array for name, array in arrays().items()}
    change = only(sections(checkpoint(arrays()), checkpoint(half)), "precision")
    assert (change.kind, change.old, change.new, len(change.also)) == (CHANGED, "float32", "float16", 8)
    change = only(sections(checkpoint(arrays()), checkpoint(arrays(), sets={"ema": arrays()})), "precision")
    assert (change.what, change.old, change.new) == ("weight sets", ["model"], ["ema", "model"])


def tree(**settings: Any) -> list[Module]:
    """The module tree of the same network, with a dropout."""
    dropout = settings.get("dropout", 0.1)
    children = ["backbone", "neck", *(["drop"] if dropout is not None else []), "head"]
    modules = [
        Module("", "Net", "net", {"training": False}, tuple(children)),
        Module("backbone", "Sequential", NN, {}, ("conv", "bn")),
        Module("backbone.conv", "Conv2d", NN, {"stride": settings.get("stride", (1, 1))}, (), ("weight",)),
        Module("backbone.bn", "BatchNorm2d", NN, {"eps": settings.get("eps", 1e-5), "momentum": 0.1,
               "track_running_stats": True}, (), ("weight", "bias"),
               ("running_mean", "running_var", "num_batches_tracked")),
        Module("neck", "Sequential", NN, {}, ("conv",)),
        Module("neck.conv", "Conv2d", NN, {}, (), ("weight", "bias"), frozen=settings.get("frozen", frozenset())),
    ]  # fmt: skip
    if dropout is not None:
        modules.append(Module("drop", "Dropout", NN, {"p": dropout}))
    return [*modules, Module("head", settings.get("head", "Linear"), NN, {}, (), ("weight", "bias"))]


def test_settings_of_modules() -> None:
    old = checkpoint(arrays(), modules=tree())
    cases: list[tuple[dict[str, Any], str, str, str]] = [
        ({"stride": (2, 2)}, "structure", "backbone.conv", "Conv2d: stride"),
        ({"head": "NonDynamicallyQuantizableLinear"}, "structure", "head", "class"),
        ({"eps": 1e-3}, "norms", "backbone.bn", "BatchNorm: eps"),
        ({"dropout": 0.4}, "dropout", "drop", "dropout: rate"),
        ({"dropout": None}, "dropout", "drop", "dropout"),
        ({"frozen": frozenset({"weight"})}, "structure", "neck.conv", "Conv2d: requires_grad=False"),
    ]
    assert not any(each.changes for each in sections(old, checkpoint(arrays(), modules=tree())))
    for settings, name, where, what in cases:
        change = only(sections(old, checkpoint(arrays(), modules=tree(**settings))), name)
        assert (change.where, change.what) == (where, what)


def test_an_export_is_not_compared_with_a_checkpoint() -> None:
    export = open_artifact("sample_models/lane_head.onnx")
    with pytest.raises(UsageError, match="name two of one kind"):
        compare_artifacts(export, checkpoint(arrays()))
