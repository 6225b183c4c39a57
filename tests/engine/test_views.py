"""What one artifact of a subject cannot show is looked for in the next, and optional facts may be missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from checkpoints import checkpoint
from conftest import Assess
from models import ModelBuilder

from avreview.artifact import Artifact
from avreview.checkpoint import Module, Optimizer, ParamGroup
from avreview.engine.resolve import NotAvailable, Resolver, fact
from avreview.engine.review import Review, Verdict

WEIGHT = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)


class Given(NamedTuple):
    value: int


class Absent(NamedTuple):
    value: int


class Helped(NamedTuple):
    value: int
    help: int | None


@fact
def absent(given: Given) -> Absent:
    raise NotAvailable("needs more")


@fact
def helped(given: Given, absent: Absent | None) -> Helped:
    return Helped(given.value, absent.value if absent is not None else None)


def test_an_optional_fact_may_be_missing() -> None:
    assert Resolver({Given: Given(3)}).get(Helped) == Helped(3, None)
    assert Resolver({Given: Given(3), Absent: Absent(4)}).get(Helped) == Helped(3, 4)


def export() -> ModelBuilder:
    return ModelBuilder().input("x", ["batch", 8]).gemm("head", 4).output("y")


def training() -> Artifact:
    group = ParamGroup({"lr": 1e-3, "weight_decay": 0.1}, (0, 1), ("head.weight", "head.bias"))
    arrays = {"head.weight": WEIGHT, "head.bias": WEIGHT[0]}
    root = Module("", "Net", "nets", children=("head", "drop"))
    leaves = [Module("head", "Linear", "torch.nn", parameters=("weight", "bias")),
              Module("drop", "Dropout", "torch.nn", {"p": 0.5, "training": True})]  # fmt: skip
    return checkpoint(
        arrays, path="epoch.pt", modules=[root, *leaves], optimizers=[Optimizer("optimizer", (group,), {})]
    )


def test_what_an_export_cannot_show_its_checkpoint_does(assess: Assess) -> None:
    needed = {
        "AV407": "needs a training checkpoint; pass --checkpoint",
        "AV601": "needs a training checkpoint, or the training recipe; pass --checkpoint, or --recipe",
    }
    for rule, reason in needed.items():
        assert assess(export(), rule).reason == reason
        assert assess(export(), rule, checkpoint=training()).only.location.artifact == "epoch.pt"


def test_the_export_is_judged_first(assess: Assess) -> None:
    assert assess(export(), "AV301", checkpoint=training()).verdict is Verdict.NOT_APPLICABLE
    assert assess(export(), "AV001", checkpoint=training()).passed


def test_the_reason_is_that_of_the_artifact_that_comes_nearest(assess: Assess) -> None:
    bare = checkpoint({"head.weight": WEIGHT}, path="epoch.pt")
    reason = assess(export(), "AV601", checkpoint=bare).reason or ""
    assert reason.startswith("needs optimizer state, which the file does not hold")


def test_what_is_no_export_is_left_open_and_not_called_inapplicable(assess: Assess) -> None:
    for form in ("pytorch-zip", "torchscript", "pt2"):
        program, source = training(), training()
        program.provenance = program.provenance._replace(format=form)
        for rule in ("AV403", "AV404"):
            assert assess(program, rule, checkpoint=source).verdict is Verdict.NOT_ASSESSED


def test_the_report_describes_every_artifact(reviewed: Callable[..., Review]) -> None:
    result = reviewed(export(), checkpoint=training(), pretrained=checkpoint({"head.weight": WEIGHT}, path="base.pt"))
    assert list(result.subject) == ["model", "checkpoint", "pretrained"]
    assert [described["path"] for described in result.subject.values()][1:] == ["epoch.pt", "base.pt"]
