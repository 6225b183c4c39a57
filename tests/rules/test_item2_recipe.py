from __future__ import annotations

import numpy as np
from checkpoints import checkpoint
from models import ModelBuilder
from recipe_reviews import assessed, by_name, optimizer, recipe, reviewed, said, sentence
from test_item2_lineage import BASE, State, backbone, head, tuned

from avreview.artifact import Artifact
from avreview.engine.review import Severity, Verdict
from avreview.load import open_artifact

STAGE = "backbone.stage0"


def model(moved: str = "") -> Artifact:
    """A backbone that is the base's but for what `moved` begins, with a new head."""
    own = backbone(prefix="backbone.")
    other = tuned(own)
    held: State = {name: other[name] if moved and name.startswith(moved) else array for name, array in own.items()}
    return checkpoint({**held, **head("backbone.")})


# AV204


def test_av204_a_stage_that_the_recipe_freezes_and_that_moved() -> None:
    given = recipe(frozen=[said(STAGE, 14)])
    found = assessed(given, "AV204", model(STAGE), pretrained=checkpoint(BASE, path="base.pt"))
    finding = found.found(Severity.WARNING, f"{STAGE}.conv", *[f"{STAGE}.bn"] * 2)
    assert "(the recipe, line 14)" in finding.message
    assert finding.observed["frozen_by"] == "the recipe, line 14"


def test_av204_is_silent_on_what_stood_still_and_on_what_is_not_frozen() -> None:
    base = checkpoint(BASE, path="base.pt")
    assert assessed(recipe(frozen=[said(STAGE, 14)]), "AV204", model(), pretrained=base).passed
    assert assessed(recipe(frozen=[said(STAGE, 14)]), "AV204", model("backbone.stage1"), pretrained=base).passed


def test_av204_a_prefix_is_a_whole_part_of_a_name() -> None:
    given = recipe(frozen=[said("backbone.stage", 14)])
    outcome = assessed(given, "AV204", model(STAGE), pretrained=checkpoint(BASE, path="base.pt"))
    assert outcome.verdict is Verdict.NOT_ASSESSED


def test_av204_an_export_beside_the_recipe(tmp_path: object) -> None:
    random = np.random.default_rng(5)
    weight = random.laplace(0, 0.2, (32, 3, 3, 3)).astype(np.float32)
    built = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("backbone.conv", 32, weight=weight).relu()
    built.conv("head", 4).output("scores")
    base = checkpoint({"backbone.conv.weight": (weight * 1.1).astype(np.float32)}, path="base.pt")
    given = recipe(frozen=[said("backbone", 14)])
    found = assessed(given, "AV204", built, pretrained=base, path=tmp_path)
    assert found.only.location.module == "backbone.conv"
    path = tmp_path / "model.onnx"  # type: ignore[operator]
    unsaid = assessed(recipe(), "AV204", open_artifact(path), pretrained=base)
    assert unsaid.reason == "needs a training checkpoint; pass --checkpoint"


# The answer


def test_the_answer_says_what_training_starts_from_and_what_learns_at_which_rate() -> None:
    rules = [by_name("img_backbone", 0.1, None)]
    given = recipe(
        pretrained=said("ckpts/r50.pth", 8), frozen=[said("img_backbone.layer1", 9)], optimizer=optimizer(rules=rules)
    )
    assert sentence(reviewed(given), 2) == (
        "By the recipe training starts from 'ckpts/r50.pth' (line 8). It freezes 'img_backbone.layer1' (line 9). "
        "'img_backbone' learns at 0.1 times the rate (line 50)."
    )
    one_rate = recipe(pretrained=said("ckpts/r50.pth", 8), optimizer=optimizer())
    assert sentence(reviewed(one_rate), 2).endswith("It gives one rate to all modules.")
