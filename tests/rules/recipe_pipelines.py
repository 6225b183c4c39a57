"""Pipelines of a recipe that are built in place, and their review: what the readers of dialects would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import Assessed
from recipe_reviews import FILE, at, recipe

from avreview.api import review_artifact
from avreview.engine.cards import catalogue
from avreview.engine.policy import Policy, select_rules
from avreview.engine.review import Finding
from avreview.facts.subject import Companions
from avreview.recipe.manifests import Manifests
from avreview.recipe.model import Amount, Does, Pipeline, Recipe, Step, Upon

SCENE = (Upon.POINTS, Upon.BOXES_3D, Upon.VELOCITIES)


def span(low: float, high: float, unit: str = "ratio") -> Amount:
    return Amount(low, high, unit)


def share(value: float) -> Amount:
    return Amount(value, value, "share")


def step(name: str, line: int, does: Does | tuple[Does, ...], upon: tuple[Upon, ...] = (), **fields: Any) -> Step:
    kinds = frozenset(does) if isinstance(does, tuple) else frozenset({does})
    return Step(name, at(line), kinds, frozenset(upon), **fields)


def turned(line: int, name: str = "GlobalRotScaleTrans", **fields: Any) -> Step:
    amounts = {"rotation": span(-0.3925, 0.3925, "rad"), "scale": span(0.95, 1.05), **fields.pop("amounts", {})}
    upon = fields.pop("upon", SCENE)
    return step(name, line, (Does.ROTATE, Does.SCALE), upon, amounts=amounts, is_random=True, **fields)


def pipeline(*steps: Step, role: str = "train", name: str = "") -> Pipeline:
    return Pipeline(role, steps, at(1), name)


def with_steps(*steps: Step, **fields: Any) -> Recipe:
    """A recipe whose training pipeline has these steps."""
    return recipe(pipelines=[pipeline(*steps)], **fields)


def judged(given: Recipe | None, rule: str, manifests: Manifests | None = None) -> Assessed:
    """How one rule ends on a recipe, or on lists of what the splits hold."""
    policy = Policy(select_rules(catalogue(), [rule], ()))
    result = review_artifact(None, policy, Companions(recipe=given, manifests=manifests), title="given")
    outcome = next(outcome for outcome in result.rules if outcome.rule == rule)
    return Assessed(outcome.verdict, outcome.reason, [found for found in result.findings if found.rule == rule])


def place(finding: Finding) -> tuple[str, int | None, str | None]:
    """The file, the line and the module of a finding."""
    where = finding.location
    return where.artifact, where.line, where.module


def here(line: int, module: str) -> tuple[str, int | None, str | None]:
    return FILE, line, module


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
