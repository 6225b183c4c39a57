"""Question 8 from the recipe: steps that stand in a wrong place, or in the wrong pipeline."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avreview.checks.recipe import told
from avreview.checks.words import listed, verb
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotApplicable
from avreview.facts.recipe_labels import encoded_camera
from avreview.facts.recipe_steps import PlacedStep, TestingSteps, TrainingSteps, Walk
from avreview.load.wording import one_line, quoted
from avreview.recipe.model import GEOMETRY, Does, Recipe, Upon


@check("AV805")
def range_filter_before_geometry(training: TrainingSteps) -> Iterator[Violation]:
    """A range filter of labels, and behind it what moves labels over its edge."""
    filters = [(walk, _label_filters(walk)) for walk in training.walks]
    if not any(found for _, found in filters):
        raise NotApplicable("no step of the training pipeline is known to filter labels by range")
    for walk, found in filters:
        if not found:
            continue
        last = found[-1]  # what stands before it does no harm
        behind = [other for other in walk.steps if other.place > last.place and _moves_labels(other)]
        behind = [other for other in behind if not other.excludes(last)]
        if behind:
            yield Violation(
                at=last.location,
                also=[other.location for other in behind],
                message=f"{quoted(last.step.name)} filters labels by range, and "
                f"{listed(quoted(other.step.name) for other in behind)} {verb(len(behind), 'move')} them afterwards.",
                observed=_behind(last, behind),
                expected={"behind_the_filter": "nothing that moves labels, or one more filter"},
            )


def _label_filters(walk: Walk) -> list[PlacedStep]:
    return [placed for placed in walk.that(Does.RANGE_FILTER) if Upon.BOXES_3D in placed.step.upon]


def _moves_labels(placed: PlacedStep) -> bool:
    """Whether it can move a label out of a range, or bring a new one: a mirror of an even range cannot."""
    if Upon.BOXES_3D not in placed.step.upon:
        return False
    return Does.PASTE in placed.step.does or bool(placed.moves_scene - {Does.FLIP})


def _behind(last: PlacedStep, behind: Sequence[PlacedStep]) -> Mapping[str, Any]:
    observed: dict[str, Any] = {
        "behind_the_filter": [
            ": ".join(filter(None, (one_line(other.step.name, 60), told.amounts(other.step)))) for other in behind[:8]
        ]
    }
    bounds = last.step.amounts.get("range")
    if bounds is not None and math.isfinite(bounds.extent):
        reach = sum(_reach(other, bounds.extent) for other in behind)
        observed["range_m"] = bounds.extent
        observed["moves_at_the_edge_m"] = round(reach, 2) if math.isfinite(reach) else None
    return observed


def _reach(placed: PlacedStep, radius: float) -> float:
    """How far a step can move what lies `radius` m away: the chord of its rotation, its scale and its shift."""
    amounts = placed.step.amounts
    total = 0.0
    if Does.ROTATE in placed.moves and "rotation" in amounts:
        rotation = amounts["rotation"]
        angle = math.radians(rotation.extent) if rotation.unit == "degree" else rotation.extent
        total += 2 * radius * math.sin(min(angle, math.pi) / 2)
    if Does.SCALE in placed.moves and "scale" in amounts:
        total += radius * max(abs(amounts["scale"].low - 1), abs(amounts["scale"].high - 1))
    if Does.TRANSLATE in placed.moves and "translation" in amounts:
        total += amounts["translation"].extent
    return total


# What a step can do at random so that another input, or another label, comes of it.
_CHANGING = GEOMETRY | {
    Does.MOSAIC, Does.PASTE, Does.MOVE_OBJECTS, Does.DROP, Does.PHOTOMETRIC, Does.DROP_FRAMES, Does.JITTER_TIME,
    Does.REVERSE_TIME,
}  # fmt: skip
# Wrappers of mmdetection that tell the steps inside which variant to make: their mirrors and sizes are not random.
_TEST_TIME = frozenset({"MultiScaleFlipAug3D", "MultiScaleFlipAug", "TestTimeAug"})
_TOLD_BY_WRAPPER = frozenset({Does.FLIP, Does.RESIZE, Does.CROP})
# Draws as many points as the network takes (`PointSample`, `sample_points`): part of the network, at test as well.
_FIXED_NUMBER = re.compile(r"sample", re.IGNORECASE)


@check("AV806")
def random_augmentation_at_test(testing: TestingSteps) -> Iterator[Violation]:
    """A transform of the validation or test pipeline that is random and whose range is not empty."""
    found: dict[tuple[Any, ...], list[PlacedStep]] = {}  # pipelines of val and test are often the same lines
    wrappers = _TEST_TIME | {placed.step.name for walk in testing.walks for placed in walk.that(Does.TEST_TIME)}
    for placed in (placed for walk in testing.walks for placed in walk.steps):
        if placed.step.is_random and _random_at_test(placed, wrappers):
            found.setdefault((placed.step.at, placed.step.name, placed.step.inside, placed.place), []).append(placed)
    for same in found.values():
        first = same[0]
        roles = " and ".join(dict.fromkeys(placed.pipeline.role for placed in same))
        random = listed(sorted(does.value for does in _random_at_test(first, wrappers)), 4)
        yield Violation(
            at=first.location,
            also=[placed.location for placed in same[1:]],
            message=f"{quoted(first.step.name)} of the {roles} pipeline draws at random ({random}).",
            observed={"random": True, "how_much": told.amounts(first.step)},
            expected={"random": False},
        )


def _random_at_test(placed: PlacedStep, wrappers: frozenset[str]) -> frozenset[Does]:
    """What a random step changes: nothing when its ranges are empty, or when a test-time wrapper decides."""
    if Does.TEST_TIME in placed.step.does:
        return frozenset()
    changes = placed.moves | (placed.step.does & (_CHANGING - GEOMETRY))
    if _FIXED_NUMBER.search(placed.step.name) and placed.step.upon <= {Upon.POINTS}:
        changes -= {Does.DROP}
    for name, fixed in (("scale", {Does.RESIZE, Does.SCALE}), ("rotation", {Does.ROTATE})):
        amount = placed.step.amounts.get(name)
        if amount is not None and amount.low == amount.high:
            changes -= fixed
    return changes if wrappers.isdisjoint(placed.step.inside) else changes - _TOLD_BY_WRAPPER


_MOST = 50  # steps of one kind that others are compared with
# Photometric steps that mean the same on any scale of values.
_ANY_SCALE = re.compile(r"blur|noise|defocus|sharpen|kernel|erasing|cutout|dropout|mask", re.IGNORECASE)
# Transforms that write what they did into a matrix, by the key that the models of their project take it from.
_WRITES = {
    "ImageAug3D": "img_aug_matrix",
    "BEVFusionGlobalRotScaleTrans": "lidar_aug_matrix",
    "BEVFusionRandomFlip3D": "lidar_aug_matrix",
    "GlobalRotScaleTransImage": "lidar2img",
    "ResizeCropFlipRotImage": "lidar2img",
    "ResizeCropFlipImage": "lidar2img",
}
# Keys under which the same matrices go on where a step in between made others of them.
_OTHER_MATRICES = re.compile(
    r"project|intrin|extrin|calib|lidar2|2lidar|cam2|img2|2img|img_inputs|metas", re.IGNORECASE
)
_WRITES_OF_BEVFUSION = {"GlobalRotScaleTrans": "lidar_aug_matrix", "RandomFlip3D": "lidar_aug_matrix"}


@check("AV807")
def augmentation_order(recipe: Recipe, training: TrainingSteps) -> Iterator[Violation]:
    """Pasting into a moved scene, colour behind normalization, a matrix that is not handed on."""
    if not any(placed.step.does & _CHANGING for placed in training.steps):
        raise NotApplicable("the training pipeline has no step that is known to change data")
    for walk in training.walks:
        yield from _late_pastes(walk)
        yield from _early_normalization(walk)
        yield from _lost_matrices(recipe, walk)


def _late_pastes(walk: Walk) -> Iterator[Violation]:
    moving = [placed for placed in walk.steps if placed.moves_scene and Upon.POINTS in placed.step.upon][:_MOST]
    for paste in walk.that(Does.PASTE):
        before = [other for other in moving if other.place < paste.place and not other.excludes(paste)]
        if before:
            yield Violation(
                at=paste.location,
                also=[other.location for other in before],
                message=f"{quoted(paste.step.name)} pastes objects into a scene that "
                f"{listed(quoted(other.step.name) for other in before)} already moved.",
                observed={"before_pasting": [one_line(other.step.name, 60) for other in before[:8]]},
                expected={"before_pasting": "nothing that moves the scene"},
            )


def _early_normalization(walk: Walk) -> Iterator[Violation]:
    normalizing = [placed for placed in walk.that(Does.NORMALIZE) if Upon.IMAGE in placed.step.upon][:_MOST]
    for late in walk.that(Does.PHOTOMETRIC):
        if Upon.IMAGE not in late.step.upon or _ANY_SCALE.search(late.step.name) or Does.NORMALIZE in late.step.does:
            continue
        before = [other for other in normalizing if other.place < late.place and not other.excludes(late)]
        if before:
            yield Violation(
                at=late.location,
                also=[before[-1].location],
                message=f"{quoted(late.step.name)} changes colours of images that {quoted(before[-1].step.name)} "
                "has already normalized.",
                observed={"order": [one_line(placed.step.name, 60) for placed in (before[-1], late)]},
                expected={"order": "normalization behind what changes colours"},
            )


def _lost_matrices(recipe: Recipe, walk: Walk) -> Iterator[Violation]:
    """Matrices that a step writes and the collecting step, which lists all it hands on, does not."""
    collecting = [placed for placed in walk.that(Does.COLLECT) if _lists_all(placed)]
    if not collecting or encoded_camera(recipe) is None:
        return
    collected = frozenset().union(*(_collected(placed) for placed in collecting))
    table = {**_WRITES, **(_WRITES_OF_BEVFUSION if recipe.dialect == "bevfusion" else {})}
    lost: dict[str, list[PlacedStep]] = {}
    for placed in walk.steps:
        key = table.get(placed.step.name)
        if key == "lidar2img" and any(map(_OTHER_MATRICES.search, collected)):
            continue
        if key is not None and key not in collected and placed.moves:
            lost.setdefault(key, []).append(placed)
    for key, writing in lost.items():
        at = collecting[-1].location
        yield Violation(
            at=at._replace(module=f"{at.module}.{key}"),
            also=[placed.location for placed in writing],
            message=f"{quoted(collecting[-1].step.name)} does not hand on {key!r}, in which "
            f"{listed(quoted(placed.step.name) for placed in writing)} {verb(len(writing), 'say')} what was done.",
            observed={"collects": sorted(one_line(entry, 60) for entry in collected)[:32]},
            expected={"collects": key},
        )


def _lists_all(placed: PlacedStep) -> bool:
    """Whether a collecting step names the metadata itself: else it hands on a list that stands in its code."""
    return isinstance(placed.step.options.get("meta_keys"), list | tuple)


def _collected(placed: PlacedStep) -> frozenset[str]:
    """The keys that go on, among them those of the metadata."""
    options = placed.step.options
    listed_keys = [key for name in ("keys", "meta_keys") for key in _texts(options.get(name))]
    return placed.step.collects | frozenset(listed_keys)


def _texts(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list | tuple) else []
