"""Question 9 from the recipe: are augmentations consistent with velocity and time, as far as reading them tells?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.checks.recipe import told
from avreview.checks.words import listed
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location, Severity
from avreview.facts.recipe_labels import predicts_velocity
from avreview.facts.recipe_steps import PlacedStep, TrainingSteps
from avreview.load.wording import quoted
from avreview.recipe.model import Does, Recipe, Setting, Upon

_NO_VELOCITY = "the model predicts no velocity"
_MODEL_REMEDY = "needs to know whether the model predicts velocity, which the recipe does not say; pass one that does"


@check("AV904")
def object_local_augmentation_with_velocity(recipe: Recipe, training: TrainingSteps) -> Iterator[Violation]:
    """Objects moved by themselves, and a head that learns velocity."""
    if predicts_velocity(recipe) is False:
        raise NotApplicable(_NO_VELOCITY)
    moving = [placed for placed in training.that(Does.MOVE_OBJECTS) if Upon.VELOCITIES not in placed.step.upon]
    if not moving:
        raise NotApplicable("no step of the training pipeline is known to move objects by themselves")
    if recipe.velocity is None:
        raise NotAvailable(_MODEL_REMEDY)
    for placed in moving:
        yield Violation(
            at=placed.location,
            also=[_at(recipe.velocity, "velocity")],
            message=f"{quoted(placed.step.name)} moves objects one by one, and the model predicts velocity.",
            observed={"changes": told.upon(placed.step), "how_much": told.amounts(placed.step)},
            expected={"changes": "velocities as well, or nothing"},
        )


def _at(setting: Setting, module: str) -> Location:
    return Location(setting.at.file, module=module, line=setting.at.line)


@check("AV905")
def sweep_count_differs(recipe: Recipe, limits: Thresholds) -> Iterator[Violation]:
    """Numbers of sweeps that differ between training, validation, test and the paste database."""
    sweeps = {role: (setting, _number(setting)) for role, setting in recipe.sweeps.items()}
    known = {role: (setting, number) for role, (setting, number) in sweeps.items() if number is not None}
    if not known:
        raise NotApplicable("the recipe loads no earlier sweeps")
    if "train" not in known or len(known) == 1:
        raise NotAvailable(
            "needs the number of sweeps of training and of test, of which the recipe holds one; pass one with both"
        )
    setting, number = known["train"]
    differing = [role for role in ("val", "test") if role in known and _differs(known[role][1], number, limits)]
    if differing:
        others = {role: known[role][1] for role in differing}
        yield Violation(
            at=_at(setting, "sweeps.train"),
            also=[_at(known[role][0], f"sweeps.{role}") for role in differing],
            message=f"Training takes {number:g} {'sweep' if number == 1 else 'sweeps'}, "
            f"{listed(f'{role} {value:g}' for role, value in others.items())}.",
            observed={"train": number} | {str(role): value for role, value in others.items()},
            expected={"difference": f"at most {limits.max_difference:g}"},
        )
    if "paste" in known and abs(known["paste"][1] - number) > limits.max_paste_difference:
        paste, pasted = known["paste"]
        yield Violation(
            at=_at(paste, "sweeps.paste"),
            also=[_at(setting, "sweeps.train")],
            message=f"Pasted objects carry {pasted:g} sweeps, in scenes of {number:g}.",
            observed={"paste": pasted, "train": number},
            expected={"difference": f"at most {limits.max_paste_difference:g}"},
            severity=Severity.ERROR,
        )


def _number(setting: Setting) -> float | None:
    value = setting.value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _differs(one: float, other: float, limits: Thresholds) -> bool:
    return abs(one - other) > limits.max_difference


@check("AV906")
def velocity_without_time_channel(recipe: Recipe, limits: Thresholds) -> Iterator[Violation]:
    """Several sweeps and a velocity head, and points that do not say when they were measured."""
    if predicts_velocity(recipe) is False:
        raise NotApplicable(_NO_VELOCITY)
    sweeps = recipe.sweeps.get("train")
    number = _number(sweeps) if sweeps is not None else None
    if sweeps is None or number is None:
        raise NotApplicable("training loads no earlier sweeps")
    if number <= limits.max_sweeps_without_time:
        raise NotApplicable(f"training takes no more than {limits.max_sweeps_without_time:g} sweep")
    if recipe.velocity is None:
        raise NotAvailable(_MODEL_REMEDY)
    channel = recipe.time_channel.get("train")
    if channel is None:
        raise NotAvailable("needs to know which features of the points are used; pass a recipe that states them")
    if not channel.value:
        yield Violation(
            at=_at(channel, "time_channel.train"),
            also=[_at(sweeps, "sweeps.train"), _at(recipe.velocity, "velocity")],
            message=f"The model predicts velocity from {number:g} sweeps, and points do not carry their time.",
            observed={"sweeps": number, "time_channel": False},
            expected={"time_channel": True},
        )


# What has to change together with the frames, by what a step does to them.
_TOGETHER = {
    Does.DROP_FRAMES: frozenset({Upon.TIMES, Upon.POSES}),
    Does.JITTER_TIME: frozenset({Upon.TIMES, Upon.VELOCITIES}),
    Does.REVERSE_TIME: frozenset({Upon.TIMES, Upon.VELOCITIES}),
}
_SAYS = {
    Does.DROP_FRAMES: "drops, repeats or draws frames",
    Does.JITTER_TIME: "shifts times",
    Does.REVERSE_TIME: "reverses the order of time",
}


@check("AV907")
def frame_drop_keeps_velocity(recipe: Recipe, training: TrainingSteps) -> Iterator[Violation]:
    """Frames dropped, shifted or reversed, and times, poses or velocities that are not."""
    found = [(placed, does) for placed in training.steps for does in _TOGETHER if does in placed.step.does]
    if not found:
        raise NotApplicable("no step of the training pipeline is known to drop frames or to shift them in time")
    moves = _learns_motion(recipe)
    if moves is False:
        raise NotApplicable("the model predicts neither velocity nor tracks")
    open_ended = [(placed, does, _TOGETHER[does] - placed.step.upon) for placed, does in found]
    open_ended = [entry for entry in open_ended if entry[2]]
    if open_ended and moves is None:
        raise NotAvailable(_MODEL_REMEDY)
    for placed, does, left in open_ended:
        yield _left(placed, does, left)


def _learns_motion(recipe: Recipe) -> bool | None:
    """Whether velocity or tracks are predicted; None where the recipe tells of neither."""
    told_of = [bool(setting.value) for setting in (recipe.velocity, recipe.tracking) if setting is not None]
    return any(told_of) if told_of else None


def _left(placed: PlacedStep, does: Does, left: frozenset[Upon]) -> Violation:
    what = listed(sorted(kind.value for kind in left))
    return Violation(
        at=placed.location,
        message=f"{quoted(placed.step.name)} {_SAYS[does]} and leaves {what} as they were.",
        observed={"changes": told.upon(placed.step), "leaves": what, "how_much": told.amounts(placed.step)},
        expected={"changes": f"frames together with their {listed(sorted(kind.value for kind in _TOGETHER[does]))}"},
    )
