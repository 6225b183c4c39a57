from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import checkpoint
from models import ModelBuilder
from recipe_reviews import FILE, assessed, at, by_kind, by_name, lines, optimizer, recipe, reviewed, said, sentence
from test_item6_weight_decay import ADAM, OLD_ADAM, SGD, detector, onecycle, trained, usual

from avreview.artifact import Artifact
from avreview.engine.review import Severity, Verdict
from avreview.recipe import open_recipe
from avreview.recipe.model import NormSetting, Recipe

LEFT_OUT = (by_kind("bias", 0.0, 60), by_kind("norm", 0.0, 61))


def model() -> Artifact:
    """A state dict without optimizer: it names the parameters."""
    return checkpoint(detector(), path="epoch_24.pth")


def adamw(**fields: Any) -> Recipe:
    return recipe(optimizer=optimizer(**fields))


# AV601


def test_av601_biases_that_the_trainer_decays_by_default() -> None:
    found = assessed(adamw(), "AV601", model())
    finding = found.found(Severity.WARNING, "optimizer.weight_decay", "head.hidden", "head.out")
    assert (finding.location.artifact, finding.location.line) == (FILE, 42)
    assert finding.observed == {"weight_decay": 0.01, "parameters": 2, "elements": 71}
    assert finding.message == "AdamW decays 2 biases by 0.01, and no rule of the recipe leaves them out."


def test_av601_by_kind_where_no_model_names_them() -> None:
    finding = assessed(adamw(), "AV601").found(Severity.WARNING, "optimizer.weight_decay")
    assert finding.message == "AdamW decays biases by 0.01, and no rule of the recipe leaves them out."
    assert assessed(adamw(rules=LEFT_OUT), "AV601").passed


@pytest.mark.parametrize("beside", [True, False])
def test_av601_is_silent_where_biases_are_left_out(beside: bool) -> None:
    assert assessed(adamw(rules=LEFT_OUT), "AV601", model() if beside else None).passed
    assert assessed(adamw(decays={"bias": False, "norm": True}), "AV601", model() if beside else None).passed
    assert assessed(adamw(decay=0.0), "AV601", model() if beside else None).passed


def test_av601_a_rule_by_name_sets_the_rule_on_biases_aside_in_mmengine() -> None:
    found = assessed(adamw(rules=(*LEFT_OUT, by_name("head.out", 10.0, None))), "AV601", model())
    finding = found.found(Severity.WARNING, "optimizer.rules.head.out", "head.out")
    assert lines(found) == [50]
    assert finding.message == (
        "The rule for 'head.out' decays 1 bias by 0.01: such a rule undoes what the recipe says of all others."
    )


def test_av601_elsewhere_a_rule_on_the_rate_says_nothing_of_decay() -> None:
    given = recipe("plain", optimizer=optimizer(rules=(*LEFT_OUT, by_name("head.out", 10.0, None))))
    assert assessed(given, "AV601", model()).passed


def test_av601_the_longest_name_goes_first() -> None:
    rules = (by_name("head", 1.0, 0.0), by_name("head.out", 1.0, 1.0, 51))
    finding = assessed(adamw(rules=rules), "AV601", model()).found(
        Severity.WARNING, "optimizer.rules.head.out", "head.out"
    )
    assert finding.location.line == 51


def test_av601_frozen_modules_are_no_matter() -> None:
    given = recipe(optimizer=optimizer(), frozen=[said("head.out", 12)])
    assert assessed(given, "AV601", model()).modules == ["optimizer.weight_decay", "head.hidden"]


def test_av601_is_left_open_where_the_trainer_is_not_known() -> None:
    assert assessed(adamw(decays={}), "AV601", model()).verdict is Verdict.NOT_ASSESSED
    assert "whether AdamW decays biases" in (assessed(adamw(decays={}), "AV601").reason or "")
    assert "weight decay of AdamW" in (assessed(recipe("plain", optimizer=optimizer(decay=None)), "AV601").reason or "")
    assert "optimizer's settings" in (assessed(recipe(), "AV601").reason or "")


def test_av601_a_rule_by_name_leaves_a_kind_open_without_a_model() -> None:
    rules = (by_name("bias", None, 0.0),)
    alone = assessed(adamw(rules=rules), "AV601")
    assert alone.verdict is Verdict.NOT_ASSESSED
    assert "'bias'" in (alone.reason or "")
    assert assessed(adamw(rules=rules), "AV601", model()).passed


def test_av601_optimizer_state_goes_first() -> None:
    assert assessed(adamw(), "AV601", trained(usual)).passed
    decayed = assessed(adamw(rules=LEFT_OUT), "AV601", trained(lambda name: 0.05))
    assert decayed.only.location.artifact == "epoch_24.pth"


def test_av601_an_export_names_what_it_can(tmp_path: Path) -> None:
    export = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("neck.conv", 8).relu().conv("head.out", 4)
    found = assessed(adamw(), "AV601", export.output("scores"), path=tmp_path)
    assert found.modules == ["optimizer.weight_decay", "neck.conv", "head.out"]


# AV602


def test_av602_norms_that_the_trainer_decays_by_default() -> None:
    finding = assessed(adamw(), "AV602", model()).found(
        Severity.WARNING, "optimizer.weight_decay", "backbone.0.bn", "backbone.1.bn"
    )
    assert finding.location.line == 42
    assert finding.observed["parameters"] == 4
    assert assessed(adamw(rules=LEFT_OUT), "AV602", model()).passed


def test_av602_a_rule_on_the_backbones_rate_takes_its_norms_in_again() -> None:
    rules = (*LEFT_OUT, by_name("backbone", 0.1, 1.0))
    finding = assessed(adamw(rules=rules), "AV602", model()).found(
        Severity.WARNING, "optimizer.rules.backbone", "backbone.0.bn", "backbone.1.bn"
    )
    assert finding.location.line == 50
    norms = [NormSetting("BN", "img_backbone", at(9))]
    alone = recipe(optimizer=optimizer(rules=rules), norms=norms)
    finding = assessed(alone, "AV602").found(Severity.WARNING, "optimizer.rules.backbone")
    assert "decays norm parameters by 0.01" in finding.message


def test_av602_a_rule_whose_modules_hold_no_norm_that_learns() -> None:
    rules = (*LEFT_OUT, by_name("backbone", 0.1, 1.0))
    frozen = [NormSetting("BN", "img_backbone", at(9), frozen_parameters=True)]
    assert assessed(recipe(optimizer=optimizer(rules=rules), norms=frozen), "AV602").passed


def test_av602_a_kind_needs_a_norm_that_learns() -> None:
    assert assessed(adamw(), "AV602").verdict is Verdict.NOT_ASSESSED
    with_norm = recipe(optimizer=optimizer(), norms=[NormSetting("LN", "pts_bbox_head", at(9))])
    assert lines(assessed(with_norm, "AV602")) == [42]


def test_av602_in_mmengine_a_rule_on_biases_holds_for_the_shifts_of_norms() -> None:
    found = assessed(adamw(rules=[by_kind("bias", 0.0)]), "AV602", model())
    assert found.only.observed["parameters"] == 2
    given = recipe("plain", optimizer=optimizer(rules=[by_kind("bias", 0.0)]))
    assert assessed(given, "AV602", model()).only.observed["parameters"] == 4


def test_av602_decay_outside_of_the_optimizer_is_told_by_the_recipe() -> None:
    """OpenPCDet's adam_onecycle: the state holds a decay of 0."""
    given = recipe("openpcdet", optimizer=optimizer("adam_onecycle", decays_outside=True))
    assert assessed(given, "AV602", model()).only.observed["weight_decay"] == 0.01


# AV603


def test_av603_embeddings_by_name() -> None:
    finding = assessed(adamw(), "AV603", model()).found(Severity.NOTE, "optimizer.weight_decay", "query_embed")
    assert finding.location.line == 42


def test_av603_a_rule_leaves_them_out() -> None:
    assert assessed(adamw(rules=[by_name("query_embed", None, 0.0)]), "AV603", model()).passed


def test_av603_needs_a_model_that_has_them() -> None:
    assert assessed(adamw(), "AV603").verdict is Verdict.NOT_ASSESSED
    without = {name: array for name, array in detector().items() if "query" not in name}
    assert assessed(adamw(), "AV603", checkpoint(without)).verdict is Verdict.NOT_APPLICABLE


# AV604


@pytest.mark.parametrize(("name", "options"), [("Adam", {}), ("torch.optim.NAdam", {}), ("Adagrad", {})])
def test_av604_coupled_decay(name: str, options: dict[str, Any]) -> None:
    found = assessed(adamw(name=name, options=options), "AV604")
    finding = found.found(Severity.WARNING, "optimizer.type", "optimizer.weight_decay")
    assert lines(found) == [40, 42]
    assert finding.observed["weight_decay"] == 0.01


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("AdamW", {}),
        ("adamw_torch_fused", {}),
        ("Adam", {"decay": 0.0}),
        ("Adam", {"options": {"decoupled_weight_decay": True}}),
        ("adam_onecycle", {"decays_outside": True}),
        ("Lion", {}),
        ("FusedAdam", {"options": {"adam_w_mode": True}}),
    ],
)
def test_av604_is_silent_where_the_decay_is_decoupled(name: str, fields: dict[str, Any]) -> None:
    outcome = assessed(adamw(name=name, **fields), "AV604")
    assert outcome.passed or (outcome.verdict is Verdict.NOT_APPLICABLE and name == "Lion")


@pytest.mark.parametrize("name", ["auto", "FusedAdam", "MyOptimizer"])
def test_av604_is_left_open_for_what_no_name_tells(name: str) -> None:
    assert assessed(adamw(name=name), "AV604").verdict is Verdict.NOT_ASSESSED


def test_av604_the_recipe_tells_adam_from_adamw() -> None:
    """State of PyTorch before 2.7 looks alike for both."""
    state = trained(usual, OLD_ADAM)
    assert assessed(adamw(name="Adam"), "AV604", state).only.location.artifact == FILE
    assert assessed(adamw(), "AV604", state).passed
    assert assessed(adamw(), "AV604", trained(usual, ADAM)).only.location.artifact == "epoch_24.pth"


# AV606


def test_av606_a_decay_of_0_stated_or_by_default() -> None:
    stated = assessed(adamw(decay=0.0), "AV606").found(Severity.NOTE, "optimizer.weight_decay")
    assert stated.location.line == 42
    silent = assessed(adamw(name="SGD", decay=None), "AV606").found(Severity.NOTE, "optimizer.weight_decay")
    assert silent.location.line == 40
    assert "states no weight decay, and that of SGD is 0" in silent.message


def test_av606_is_silent_where_anything_decays() -> None:
    assert assessed(adamw(), "AV606").passed
    assert assessed(adamw(decay=None), "AV606").passed  # AdamW's default is 0.01


def test_av606_no_default_is_taken_from_other_trainers() -> None:
    given = recipe("plain", optimizer=optimizer("SGD", decay=None))
    assert assessed(given, "AV606").verdict is Verdict.NOT_ASSESSED


# AV608


def test_av608_too_much_in_a_step() -> None:
    found = assessed(adamw(name="SGD", rate=0.1, decay=0.05, momentum=said(0.9, 43)), "AV608")
    finding = found.found(Severity.WARNING, "optimizer.weight_decay", "optimizer.rate")
    assert lines(found) == [42, 41]
    assert finding.message == "SGD takes 5.0% of each weight in a step."
    assert assessed(adamw(name="SGD", rate=0.1, decay=1e-4, momentum=said(0.9, 43)), "AV608").passed


@pytest.mark.parametrize(("schedule", "steps", "fails"), [
    ("constant", 120_000, True), ("cosine", 120_000, False), ("cosine", 220_000, True), ("step", 10**9, False),
])  # fmt: skip
def test_av608_too_much_over_a_schedule_of_counted_steps(schedule: str, steps: int, fails: bool) -> None:
    given = recipe(
        optimizer=optimizer(rate=1e-2, decay=0.1), steps=said(steps, 70), schedule=said(schedule, 71)
    )  # fmt: skip
    outcome = assessed(given, "AV608")
    assert (outcome.verdict is Verdict.ATTENTION) is fails
    assert outcome.passed is not fails


@pytest.mark.parametrize("fields", [{"rate": None}, {"decay": None, "name": "MyOptimizer"}, {"name": "Adam"}])
def test_av608_is_left_open_where_no_share_is_known(fields: dict[str, Any]) -> None:
    assert assessed(adamw(**fields), "AV608").verdict is Verdict.NOT_ASSESSED


# The answer, and what does not agree


def test_the_answer_says_what_is_decayed_and_lists_the_rules() -> None:
    rules = (by_kind("norm", 0.0, 61), by_name("backbone", 0.1, None))
    result = reviewed(adamw(rules=rules), model())
    assert sentence(result, 6) == (
        "By the recipe AdamW decays weights, biases and embeddings by 0.01 (line 42), not norms; 1 rule goes by name."
    )
    rows = [dict(row) for row in result.checklist[6].table]
    assert [row["group"] for row in rows] == [
        "recipe, line 42",
        "recipe, line 61: norms",
        "recipe, line 50: 'backbone'",
    ]
    assert [row["parameters"] for row in rows] == [5, 0, 6]
    assert rows[2]["rate"] == pytest.approx(2e-5)


def test_a_recipe_that_is_not_of_this_training_is_said() -> None:
    result = reviewed(adamw(rate=1e-4), trained(usual, {**SGD, "initial_lr": 0.1}, rate=0.01))
    (words,) = [text for text in result.limitations if "do not agree" in text]
    assert "the state is of SGD, the recipe names AdamW" in words
    assert "decays by 0.05 at most, the recipe (line 42) by 0.01" in words
    assert "began at a rate of 0.1, the recipe (line 41) gives 0.0001" in words
    assert "7 parameters (norms, biases, embeddings) are decayed by one and not by the other" in words


def test_a_recipe_of_this_training_is_not_remarked_upon() -> None:
    spared = (by_kind("bias", 0.0), by_kind("norm", 0.0), by_name("query_embed", 1.0, 0.0))
    result = reviewed(adamw(decay=0.05, rate=1e-4, rules=spared), trained(usual))
    assert not [text for text in result.limitations if "do not agree" in text]


def test_numbers_that_are_none_are_not_told() -> None:
    given = recipe(optimizer=optimizer()._replace(decay=said("0.01 * 2", 42), rate=said([1], 41)))
    for rule in ("AV601", "AV602", "AV606", "AV608"):
        assert assessed(given, rule, model()).verdict is Verdict.NOT_ASSESSED, rule


# Recipes as they are written

MMENGINE = """\
model = dict(
    type='Detector',
    backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN', requires_grad=True)))
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={'backbone': dict(lr_mult=0.1)}))
"""
OPENPCDET = """\
CLASS_NAMES: [Car]
DATA_CONFIG: {DATASET: KittiDataset, DATA_AUGMENTOR: {AUG_CONFIG_LIST: []}}
MODEL: {NAME: PointPillar}
OPTIMIZATION:
    BATCH_SIZE_PER_GPU: 4
    NUM_EPOCHS: 80
    OPTIMIZER: adam_onecycle
    LR: 0.003
    WEIGHT_DECAY: 0.01
"""


def written(folder: Path, name: str, text: str) -> Recipe:
    path = folder / name
    path.write_text(text, "utf-8")
    given: Recipe = open_recipe(str(path))
    return given


def test_av602_as_mmengine_writes_it(tmp_path: Path) -> None:
    """The rule on the backbone's rate undoes norm_decay_mult there (mmengine issue 846)."""
    given = written(tmp_path, "detector.py", MMENGINE)
    found = assessed(given, "AV602", model())
    assert found.only.location == (str(tmp_path / "detector.py"), None, "optimizer.rules.backbone", None, 8)
    assert found.only.observed["parameters"] == 4
    mended = MMENGINE.replace("lr_mult=0.1", "lr_mult=0.1, decay_mult=0.0")
    assert assessed(written(tmp_path, "mended.py", mended), "AV602", model()).passed


@pytest.mark.parametrize("rule", ["AV601", "AV602", "AV603"])
def test_av602_openpcdets_own_decay_is_in_its_recipe_alone(tmp_path: Path, rule: str) -> None:
    """Its adam_onecycle saves a decay of 0 and decays everything, batch norms too."""
    given = written(tmp_path, "pointpillar.yaml", OPENPCDET)
    found = assessed(given, rule, onecycle())
    assert (found.only.observed["weight_decay"], found.only.location.line) == (0.01, 9)
    for answered in ("AV606", "AV608"):
        assert assessed(given, answered, onecycle()).passed
    assert not [words for words in reviewed(given, onecycle()).limitations if "do not agree" in words]
