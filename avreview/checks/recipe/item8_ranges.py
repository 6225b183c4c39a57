"""Question 8 from the recipe: rotations in the wrong unit, and sizes that no scene has."""

from __future__ import annotations

import math
from collections.abc import Iterator

from avreview.checks.recipe import told
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotApplicable
from avreview.facts.recipe_steps import SCENE, PlacedStep, TrainingSteps
from avreview.load.wording import quoted
from avreview.recipe.model import Amount, Does, Upon

# Angles that are written in radians, as shares of π. Published recipes round them to four digits.
_SHARES = (1, 2 / 3, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 8, 1 / 9, 1 / 10, 1 / 12, 1 / 16, 1 / 18, 1 / 36)
_ROUNDED = 2e-3


@check("AV808")
def rotation_unit_or_range(training: TrainingSteps, limits: Thresholds) -> Iterator[Violation]:
    """Rotations in another unit than their transform takes; scales and tilts that do not occur."""
    told_of = [placed for placed in training.steps if _rotation(placed) or _scale(placed)]
    if not told_of:
        raise NotApplicable("no step of the training pipeline states a rotation, or a scale of the scene")
    for placed in told_of:
        rotation, scale = _rotation(placed), _scale(placed)
        wrong = _wrong_rotation(placed, rotation, limits) if rotation is not None else None
        if wrong is not None and rotation is not None:
            yield _violation(placed, "rotation", rotation, *wrong)
        if scale is not None and (scale.low < limits.min_scale or scale.high > limits.max_scale):
            within = f"within {limits.min_scale:g} and {limits.max_scale:g}"
            yield _violation(placed, "scale", scale, "scales the scene to sizes that do not exist", within)


def _is_scene(placed: PlacedStep) -> bool:
    return not placed.step.upon.isdisjoint(SCENE)


def _rotation(placed: PlacedStep) -> Amount | None:
    """A rotation that is not empty."""
    amount = placed.step.amounts.get("rotation")
    return amount if amount is not None and Does.ROTATE in placed.moves and amount.extent > 0 else None


def _scale(placed: PlacedStep) -> Amount | None:
    """The scale of a scene in metres: images have any size."""
    return placed.step.amounts.get("scale") if _is_scene(placed) and Does.SCALE in placed.moves else None


def _wrong_rotation(placed: PlacedStep, rotation: Amount, limits: Thresholds) -> tuple[str, str] | None:
    """What is wrong, and what is expected."""
    if rotation.unit == "rad":
        if rotation.extent > limits.max_radians:
            return "is given radians, and the value looks like degrees", f"at most {limits.max_radians:g} rad"
    elif rotation.unit == "degree" and math.radians(rotation.extent) > limits.max_radians:
        return "turns further than a full turn", f"at most {math.degrees(limits.max_radians):.0f} degree"
    elif rotation.unit == "degree" and rotation.extent < limits.min_degrees and _looks_like_radians(placed, rotation):
        return "is given degrees, and the value looks like radians", f"0, or at least {limits.min_degrees:g} degree"
    if Upon.IMAGE in placed.step.upon and not _is_scene(placed):
        degrees = math.degrees(rotation.extent) if rotation.unit == "rad" else rotation.extent
        if degrees > limits.max_image_rotation:
            return "tilts camera images further than a vehicle", f"at most {limits.max_image_rotation:g} degree"
    return None


def _looks_like_radians(placed: PlacedStep, rotation: Amount) -> bool:
    """Any small angle of a scene; of an image, where small tilts are usual, a familiar share of π."""
    return _is_scene(placed) or any(
        abs(rotation.extent - share * math.pi) < _ROUNDED * rotation.extent for share in _SHARES
    )


def _violation(placed: PlacedStep, name: str, amount: Amount, wrong: str, expected: str) -> Violation:
    at = placed.location
    return Violation(
        at=at._replace(module=f"{at.module}.{name}"),
        message=f"{quoted(placed.step.name)} {wrong}: {told.shown(name, amount)}.",
        observed={name: [amount.low, amount.high], "unit": amount.unit},
        expected={name: expected},
    )
