"""Question 8 from the recipe: do augmentations preserve labels and geometry, as far as reading them tells?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.checks.recipe import told
from avreview.checks.words import listed, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location, Severity
from avreview.facts.class_pairs import SidedClass, sided_classes
from avreview.facts.recipe_labels import carried, encoded_camera, loads_images
from avreview.facts.recipe_steps import PlacedStep, TrainingSteps
from avreview.load.wording import one_line, quoted
from avreview.recipe.model import Does, Recipe, Upon

# Labels that lie in the image: what moves the image moves them.
_IN_IMAGE = (Upon.BOXES_2D, Upon.MASKS, Upon.KEYPOINTS, Upon.CALIBRATION)
# Labels of which the class names of a dialect do not tell whether they move: mmdetection's flip leaves keypoints,
# and those of mmpose and mmyolo, by the same name, move them.
_NOT_TOLD = {"mmengine": frozenset({Upon.KEYPOINTS})}
_LEFT_BEHIND = {
    Upon.BOXES_2D: "2-D boxes",
    Upon.MASKS: "masks",
    Upon.KEYPOINTS: "keypoints",
    Upon.CALIBRATION: "camera matrices",
}


@check("AV802")
def image_transform_leaves_labels(recipe: Recipe, training: TrainingSteps) -> Iterator[Violation]:
    """Images moved without what lies in them; labels moved without any input."""
    walks = [
        (carried(recipe, walk), [placed for placed in walk.steps if placed.moves_image]) for walk in training.walks
    ]
    moving = [(labels, placed) for labels, steps in walks for placed in steps]
    alone = [placed for placed in training.steps if placed.step.only_labels and placed.moves]
    if not moving and not alone:
        raise NotApplicable("no step of the training pipeline is known to move images, or labels alone")
    if moving and not alone and not any(labels for labels, _ in moving):
        raise NotAvailable(
            "needs to know which labels belong to the images, which the recipe does not say; pass one that does"
        )
    not_told = _NOT_TOLD.get(recipe.dialect, frozenset())
    for labels, placed in moving:
        left = [kind for kind in _IN_IMAGE if _leaves(placed, kind, labels - not_told)]
        if left:
            yield _left_behind(placed, left)
    for placed in alone:
        if Upon.CALIBRATION not in placed.step.upon:
            yield _labels_alone(placed)


def _leaves(placed: PlacedStep, kind: Upon, labels: frozenset[Upon]) -> bool:
    """Whether labels of this kind are there and stay behind when the step moves the image."""
    if kind not in labels or kind in placed.step.upon:
        return False
    # Networks divide by the factor of a plain resize; boxes in space that move along are another way to be right.
    return kind is not Upon.CALIBRATION or (
        bool(placed.moves_image - {Does.RESIZE}) and Upon.BOXES_3D not in placed.step.upon
    )


def _left_behind(placed: PlacedStep, left: list[Upon]) -> Violation:
    name = quoted(placed.step.name)
    what = listed((_LEFT_BEHIND[kind] for kind in left), 4)
    return Violation(
        at=placed.location,
        message=f"{name} moves the image and leaves its {what} as they were.",
        observed={"step": one_line(placed.step.name, 80), "changes": told.upon(placed.step), "leaves": what},
        expected={"changes": f"the image and its {what}"},
    )


def _labels_alone(placed: PlacedStep) -> Violation:
    return Violation(
        at=placed.location,
        message=f"{quoted(placed.step.name)} moves labels and leaves the inputs as they were: "
        "right where the network does the same to its features.",
        observed={"changes": told.upon(placed.step), "how_much": told.amounts(placed.step)},
        expected={"changes": "inputs and labels, or labels and a matrix that is handed on"},
        severity=Severity.NOTE,
    )


@check("AV803")
def mirror_swaps_no_classes(recipe: Recipe, training: TrainingSteps, limits: Thresholds) -> Iterator[Violation]:
    """A mirror, and class names that tell left from right."""
    mirrors = [(placed, _mirrored(placed)) for placed in training.that(Does.FLIP)]
    mirrors = [(placed, share) for placed, share in mirrors if share is not None]
    if not mirrors:
        raise NotApplicable("no step of the training pipeline is known to mirror anything")
    if recipe.classes is None:
        raise NotAvailable("needs the names of the classes, which the recipe does not hold; pass one that holds them")
    sided = sided_classes(recipe.classes)
    for placed, share in mirrors:
        if sided and share is not None and share > limits.max_mirror_probability and not placed.step.swaps_classes:
            yield _unswapped(recipe, placed, share, sided, limits)


def _mirrored(placed: PlacedStep) -> float | None:
    """How likely a step turns left into right; None where it mirrors nothing, or upside down only."""
    amounts, upon = placed.step.amounts, placed.step.upon
    if Does.FLIP not in placed.moves:
        return None
    names = ("flip_horizontal",) if Upon.IMAGE in upon else ("flip_x", "flip_y", "flip_horizontal")
    stated = [amounts[name].high for name in names if name in amounts]
    if stated:
        return max(stated)
    if any(name in amounts for name in ("flip_vertical", "flip_x", "flip_y")):
        return None
    probability = amounts.get("probability")
    return 1.0 if probability is None else probability.high


def _unswapped(
    recipe: Recipe, placed: PlacedStep, share: float, sided: list[SidedClass], limits: Thresholds
) -> Violation:
    named = listed(quoted(entry.name, 40) for entry in sided)
    at = recipe.classes_at
    what = "images" if Upon.IMAGE in placed.step.upon else "scenes"
    return Violation(
        at=placed.location,
        also=[Location(at.file, module="classes", line=at.line)] if at is not None else [],
        message=f"{quoted(placed.step.name)} mirrors {what} and swaps no classes, though "
        f"{_classes(len(sided))} {verb(len(sided), 'tell')} left from right: {named}.",
        observed={
            "probability": share,
            "classes": [one_line(entry.name, 80) for entry in sided[:16]],
            "pairs": sum(entry.mirrored is not None for entry in sided) // 2,
        },
        expected={"probability": f"at most {limits.max_mirror_probability:g}, or classes that are swapped"},
    )


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number} classes"


@check("AV804")
def paste_in_one_sensor_only(recipe: Recipe, training: TrainingSteps, limits: Thresholds) -> Iterator[Violation]:
    """Objects pasted into points, beside images that do not show them."""
    pastes = [(walk, placed) for walk in training.walks for placed in walk.that(Does.PASTE)]
    if not pastes:
        raise NotApplicable("no step of the training pipeline is known to paste objects, or it never happens")
    hidden = [(walk, placed) for walk, placed in pastes if _stays_out_of_images(placed, limits)]
    camera = encoded_camera(recipe)
    if not recipe.sensors and any(loads_images(walk) for walk, _ in hidden):
        raise NotAvailable(
            "needs to know whether the model encodes cameras, which the recipe does not say; pass one "
            "that holds the model"
        )
    for _, placed in hidden if camera is not None else ():
        stop = placed.step.amounts.get("stop_epoch")
        yield Violation(
            at=placed.location,
            also=[Location(camera.at.file, module="camera", line=camera.at.line)] if camera is not None else (),
            message=f"{quoted(placed.step.name)} pastes objects into the points, and no image shows them.",
            observed={
                "pastes_into": told.upon(placed.step),
                "stop_epoch": "none" if stop is None else stop.high,
            },
            expected={"pastes_into": "points and images, or nothing"},
        )


def _stays_out_of_images(placed: PlacedStep, limits: Thresholds) -> bool:
    """Whether it pastes into no image, and does so in any epoch."""
    stop = placed.step.amounts.get("stop_epoch")
    return Upon.IMAGE not in placed.step.upon and (stop is None or stop.high > limits.min_stop_epoch)
