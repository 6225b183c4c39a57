"""The steps of a recipe's pipelines: which can really happen, what they then move, and where each is stated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.engine.resolve import NotAvailable, fact
from avreview.engine.review import Location
from avreview.recipe.model import GEOMETRY, GLOBAL_GEOMETRY, Does, Pipeline, Recipe, Step, Upon

MIRRORS = {"flip_horizontal", "flip_vertical", "flip_x", "flip_y"}  # amounts that are the probability of a mirror
SCENE = frozenset({Upon.POINTS, Upon.BOXES_3D, Upon.VELOCITIES, Upon.MAPS, Upon.POSES})
MOST_STEPS = 1_000  # of a pipeline: the longest that people write have forty
# The amount by which each of these moves, and the value with which it moves nothing.
_AMOUNTS = {
    Does.ROTATE: ("rotation", 0.0),
    Does.SCALE: ("scale", 1.0),
    Does.TRANSLATE: ("translation", 0.0),
    Does.SHEAR: ("shear", 0.0),
}


def moved_by(step: Step) -> frozenset[Does]:
    """The geometry that a step can really change: without mirrors of probability 0 and without empty ranges."""
    if not step.is_active:
        return frozenset()
    return frozenset(does for does in step.does & GEOMETRY if not _is_empty(step, does))


def _is_empty(step: Step, does: Does) -> bool:
    if does is Does.FLIP:
        stated = [amount for name, amount in step.amounts.items() if name in MIRRORS]
        return bool(stated) and all(amount.high <= 0 for amount in stated)
    name, nothing = _AMOUNTS.get(does, ("", 0.0))
    amount = step.amounts.get(name)
    return amount is not None and amount.low == nothing == amount.high


class PlacedStep(NamedTuple):
    """A step of a pipeline, and its place among the others of it."""

    pipeline: Pipeline
    place: int
    step: Step
    module: str  # `train.pipeline.GlobalRotScaleTrans`: stays when other lines change

    @property
    def location(self) -> Location:
        return Location(self.step.at.file, module=self.module, line=self.step.at.line)

    @property
    def moves(self) -> frozenset[Does]:
        return moved_by(self.step)

    @property
    def moves_scene(self) -> frozenset[Does]:
        """How it turns, mirrors, scales or shifts the whole scene."""
        if self.step.upon.isdisjoint(SCENE) or Does.MOVE_OBJECTS in self.step.does:
            return frozenset()
        return self.moves & GLOBAL_GEOMETRY

    @property
    def moves_image(self) -> frozenset[Does]:
        return self.moves if Upon.IMAGE in self.step.upon else frozenset()

    def excludes(self, other: PlacedStep) -> bool:
        """Whether only one of both ever happens."""
        return self.step.choice is not None and self.step.choice == other.step.choice


class Walk(NamedTuple):
    """One pipeline, step by step. `steps` holds those that are known and can happen, `all` every one."""

    pipeline: Pipeline
    all: Sequence[PlacedStep]

    @property
    def steps(self) -> list[PlacedStep]:
        return [placed for placed in self.all if placed.step.is_known and placed.step.is_active]

    def that(self, *does: Does) -> Iterator[PlacedStep]:
        """The steps that can happen and do one of these things."""
        return (placed for placed in self.steps if not placed.step.does.isdisjoint(does))


class TrainingSteps(NamedTuple):
    """The pipelines of training."""

    walks: Sequence[Walk]

    def that(self, *does: Does) -> list[PlacedStep]:
        return [placed for walk in self.walks for placed in walk.that(*does)]

    @property
    def steps(self) -> list[PlacedStep]:
        return [placed for walk in self.walks for placed in walk.steps]


class TestingSteps(NamedTuple):
    """The pipelines of validation and test."""

    walks: Sequence[Walk]


@fact
def training_steps(recipe: Recipe) -> TrainingSteps:
    """Raises NotAvailable for a recipe that states none: one that only says how inputs are scaled."""
    if not recipe.training:
        raise NotAvailable("needs a recipe with the steps of its training pipeline; pass the one that has them")
    return TrainingSteps(walks(recipe.training))


@fact
def testing_steps(recipe: Recipe) -> TestingSteps:
    if not recipe.testing:
        raise NotAvailable("needs a recipe with the steps of its test pipeline; pass the one that has them")
    return TestingSteps(walks(recipe.testing))


def walks(pipelines: Sequence[Pipeline]) -> list[Walk]:
    """Pipelines step by step. Two of one name, and two steps of one name in a pipeline, are numbered."""
    names: Counter[str] = Counter()
    found = []
    for pipeline in pipelines:
        name = f"{pipeline.role}.{'-'.join(pipeline.name.split()) or 'pipeline'}"
        names[name] += 1
        found.append(_walk(pipeline, name if names[name] == 1 else f"{name}.{names[name]}"))
    return found


def _walk(pipeline: Pipeline, name: str) -> Walk:
    seen: Counter[str] = Counter()
    placed = []
    for index, step in enumerate(pipeline.steps[:MOST_STEPS]):
        path = ".".join([name, *step.inside, step.name])
        seen[path] += 1
        number = f".{seen[path]}" if seen[path] > 1 else ""
        placed.append(PlacedStep(pipeline, index, step, path + number))
    return Walk(pipeline, placed)
