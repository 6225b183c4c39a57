"""Reviews with a recipe that is built in place: what the readers of its dialects would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conftest import Assessed
from models import ModelBuilder

from avreview.api import review_artifact
from avreview.artifact import Artifact
from avreview.engine.cards import catalogue
from avreview.engine.policy import Policy, select_rules
from avreview.engine.review import Review
from avreview.facts.subject import Companions
from avreview.load import open_artifact
from avreview.recipe.model import GroupRule, Place, Recipe, RecipeOptimizer, Setting

FILE = "configs/petr.py"
ALL_DECAYED = {"bias": True, "norm": True, "embedding": True}


def at(line: int, file: str = FILE) -> Place:
    return Place(file, line)


def said(value: Any, line: int) -> Setting:
    return Setting(value, at(line))


def recipe(dialect: str = "mmengine", **fields: Any) -> Recipe:
    return Recipe(path=FILE, dialect=dialect, files={FILE: "0" * 64}, **fields)


def optimizer(
    name: str = "AdamW",
    *,
    rate: float | None = 2e-4,
    decay: float | None = 0.01,
    rules: Sequence[GroupRule] = (),
    **fields: Any,
) -> RecipeOptimizer:
    """An optimizer on line 40, with its rate on 41 and its decay on 42."""
    return RecipeOptimizer(
        name,
        at(40),
        rate=None if rate is None else said(rate, 41),
        decay=None if decay is None else said(decay, 42),
        rules=rules,
        **{"decays": ALL_DECAYED, **fields},
    )


def by_name(pattern: str, rate: float | None, decay: float | None, line: int = 50) -> GroupRule:
    return GroupRule("name", pattern, rate, decay, at(line))


def by_kind(kind: str, decay: float, line: int = 60) -> GroupRule:
    return GroupRule(kind, "", None, decay, at(line))


def reviewed(
    given: Recipe,
    model: Artifact | ModelBuilder | None = None,
    *,
    checkpoint: Artifact | None = None,
    pretrained: Artifact | None = None,
    select: Sequence[str] = (),
    path: Any = None,
) -> Review:
    """Reviews a recipe, alone or beside a model; a built one is saved under `path`."""
    if isinstance(model, ModelBuilder):
        model.save(path / "model.onnx")
        model = open_artifact(path / "model.onnx")
    policy = Policy(select_rules(catalogue(), select, ()))
    return review_artifact(model, policy, Companions(checkpoint, pretrained, given), title=given.path)


def assessed(given: Recipe, rule: str, model: Artifact | ModelBuilder | None = None, **options: Any) -> Assessed:
    """How one rule ends."""
    result = reviewed(given, model, select=[rule], **options)
    outcome = next(outcome for outcome in result.rules if outcome.rule == rule)
    return Assessed(outcome.verdict, outcome.reason, [found for found in result.findings if found.rule == rule])


def lines(found: Assessed) -> list[int | None]:
    """The line of every finding, its further places in the recipe behind it."""
    return [
        place.line
        for finding in found.findings
        for place in (finding.location, *finding.also)
        if place.line is not None
    ]


def sentence(result: Review, item: int) -> str:
    return next(answer.answer for answer in result.checklist if answer.item == item)
