"""Right augmentations of images pass; broken in one place each, they are caught and the slip is named."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from image_augmentations import (
    MATRICES,
    Scene,
    boxes_moved,
    flip_matrix,
    moved,
    places_moved,
    right,
    turned,
)

from avreview.augment.child.image_kind import measure_image
from avreview.augment.child.runs import Failed
from avreview.augment.child.task import Task
from avreview.augment.model import Measured

Augment = Callable[[Scene, int], Scene]
SIZE = (256, 384)
FINE = {"iou_2d": 0.9, "mask": 0.9, "keypoint": 1.5, "repeats": 0.0}


def measured(augment: Augment, seeds: int = 1, **options: Any) -> Measured:
    result = measure_image(Task(augment, seeds=seeds, **{"image_size": SIZE, **options}))
    return Measured.from_json({"name": "augment", "place": None, **result})


def off(result: Measured) -> dict[str, str]:
    """The measures that are off, with what is said of the worst of each."""
    found = {}
    for name, limit in FINE.items():
        least = name in ("iou_2d", "mask")
        worst = result.worst(name, least=least)
        if worst is not None and (worst.value < limit if least else worst.value > limit):
            found[name] = worst.words
    return found


@pytest.mark.parametrize("kind", MATRICES)
def test_a_right_augmentation_passes(kind: str) -> None:
    result = measured(right(kind), seeds=3)

    assert off(result) == {}
    assert result.changed
    assert not result.unjudged
    assert result.culprit is None
    assert set(result.measures) == {"repeats", "visible", "iou_2d", "mask", "keypoint"}
    assert min(sample.value for sample in result.measures["iou_2d"]) > 0.97


def test_one_that_changes_nothing_is_told_so() -> None:
    result = measured(lambda scene, seed: scene)

    assert not result.changed
    assert off(result) == {}


def test_colours_alone_pass() -> None:
    def darker(scene: Scene, seed: int) -> Scene:
        return {**scene, "images": [(scene["images"][0] * 0.4).astype(np.uint8)]}

    result = measured(darker)

    assert off(result) == {}
    assert result.changed


def broken(kind: str, change: Callable[[Scene, Scene, np.ndarray, tuple[int, int]], Scene]) -> Augment:
    """The right augmentation with what `change` makes of the scene before and after it."""

    def augment(scene: Scene, seed: int) -> Scene:
        matrix, size = MATRICES[kind](scene, seed)
        return change(scene, moved(scene, matrix, size), matrix, size)

    return augment


def untouched(key: str) -> Callable[..., Scene]:
    keys = (key, "boxes2d_ids", "boxes2d_names") if key == "boxes2d" else (key,)
    return lambda before, after, matrix, size: {**after, **{name: before[name] for name in keys}}


def boxes(change: Callable[[np.ndarray, tuple[int, int]], np.ndarray]) -> Callable[..., Scene]:
    return lambda before, after, matrix, size: {**after, "boxes2d": change(after["boxes2d"], size)}


def points(change: Callable[[np.ndarray, tuple[int, int]], np.ndarray]) -> Callable[..., Scene]:
    return lambda before, after, matrix, size: {**after, "keypoints": change(after["keypoints"], size)}


def masks_through(other: Callable[[Scene], np.ndarray]) -> Callable[..., Scene]:
    return lambda before, after, matrix, size: {**after, "masks": moved(before, other(before), size)["masks"]}


def cxcywh(found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate([(found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]], axis=1)


def xywh(found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate([found[:, :2], found[:, 2:] - found[:, :2]], axis=1)


def taken_for_xywh(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
    """x1 y1 x2 y2 read as x y w h, flipped rightly as such."""
    found = before["boxes2d"].copy()
    found[:, 0] = size[1] - found[:, 0] - found[:, 2]
    return {**after, "boxes2d": found}


def other_way(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
    back, _ = turned(before, -np.arctan2(matrix[1, 0], matrix[0, 0]))
    found = boxes_moved(back, before["boxes2d"])
    return {
        **after, "boxes2d": found, "boxes2d_ids": before["boxes2d_ids"], "boxes2d_names": before["boxes2d_names"],
        "keypoints": places_moved(back, before["keypoints"]),
    }  # fmt: skip


def shuffled(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
    return {**after, "boxes2d": np.roll(after["boxes2d"], 1, axis=0)}


def renamed(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
    return {**after, "boxes2d_names": after["boxes2d_names"][1:] + after["boxes2d_names"][:1]}


def flipped_in_y(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
    found = before["boxes2d"].copy()
    found[:, [1, 3]] = size[0] - found[:, [3, 1]]
    return {**after, "boxes2d": found}


def interpolated(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
    soft = after["masks"].astype(np.float32)
    for axis in (1, 2):
        soft = (np.roll(soft, 1, axis) + soft + np.roll(soft, -1, axis)) / 3
    return {**after, "masks": soft}


def swapped(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
    order = np.arange(len(after["keypoints"])).reshape(-1, 2)[:, ::-1].ravel()
    return {**after, "keypoints": after["keypoints"][order]}


MUTANTS: dict[str, tuple[Augment, str, str]] = {
    "boxes not flipped": (broken("flip", untouched("boxes2d")), "iou_2d", "boxes were not flipped"),
    "boxes flipped in y": (broken("flip", flipped_in_y), "iou_2d", "boxes were flipped in the other direction"),
    "boxes not cropped": (broken("crop", untouched("boxes2d")), "iou_2d", "boxes were not shifted with the crop"),
    "boxes before resizing": (broken("resize", untouched("boxes2d")), "iou_2d", "belong to the image before resizing"),
    "boxes resized twice": (
        broken("resize", lambda b, a, m, s: {**a, "boxes2d": boxes_moved(m, boxes_moved(m, b["boxes2d"]))}),
        "iou_2d", "boxes were resized twice",
    ),
    "width and height exchanged": (
        broken("resize", lambda b, a, m, s: {**a, "boxes2d": b["boxes2d"] * [m[1, 1], m[0, 0], m[1, 1], m[0, 0]]}),
        "iou_2d", "resized with width and height exchanged",
    ),
    "boxes not turned": (broken("turn", untouched("boxes2d")), "iou_2d", "boxes were not rotated"),
    "boxes turned the other way": (broken("turn", other_way), "iou_2d", "boxes were rotated the other way"),
    "cxcywh": (broken("flip", boxes(cxcywh)), "iou_2d", "box in another format (cxcywh for xyxy)"),
    "xywh": (broken("crop", boxes(xywh)), "iou_2d", "box in another format (xywh for xyxy)"),
    "taken for xywh": (broken("flip", taken_for_xywh), "iou_2d", "box in another format (taken for xywh"),
    "x and y of boxes": (broken("flip", boxes(lambda b, s: b[:, [1, 0, 3, 2]])), "iou_2d", "x and y exchanged"),
    "normalized boxes": (
        broken("resize", boxes(lambda b, s: b / [s[1], s[0], s[1], s[0]])), "iou_2d", "normalized coordinates",
    ),
    "ids moved": (broken("flip", shuffled), "iou_2d", "ids moved to another object"),
    "names moved": (broken("flip", renamed), "iou_2d", "the class name is another object's"),
    "masks not flipped": (broken("flip", untouched("masks")), "mask", "masks were not flipped"),
    "masks not turned": (broken("turn", untouched("masks")), "mask", "masks were not rotated"),
    "masks in another order": (
        broken("flip", lambda b, a, m, s: {**a, "masks": np.roll(a["masks"], 1, axis=0)}),
        "mask", "masks lost their order",
    ),
    "masks interpolated": (broken("turn", interpolated), "mask", "mask was interpolated"),
    "masks flipped once more": (
        broken("crop", masks_through(lambda b: flip_matrix(b, 0)[0])), "mask", "",
    ),
    "keypoints not flipped": (broken("flip", untouched("keypoints")), "keypoint", "keypoints were not flipped"),
    "keypoints not cropped": (broken("crop", untouched("keypoints")), "keypoint", "keypoints were not shifted"),
    "keypoints before resizing": (
        broken("resize", untouched("keypoints")), "keypoint", "keypoints belong to the image before resizing",
    ),
    "keypoints turned the other way": (broken("turn", other_way), "keypoint", "keypoints were rotated the other way"),
    "x and y of keypoints": (broken("flip", points(lambda p, s: p[:, ::-1])), "keypoint", "x and y exchanged"),
    "normalized keypoints": (
        broken("crop", points(lambda p, s: p / [s[1], s[0]])), "keypoint", "normalized coordinates",
    ),
    "left and right exchanged": (broken("turn", swapped), "keypoint", "left and right keypoints were exchanged"),
    "keypoints in another order": (
        broken("flip", points(lambda p, s: np.roll(p, 4, axis=0))), "keypoint", "keypoints moved to another place",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_and_explained(name: str) -> None:
    augment, measure, words = MUTANTS[name]
    result = measured(augment)
    found = off(result)

    assert measure in found
    assert words in found[measure]
    if name != "keypoints turned the other way" and name != "boxes turned the other way":
        assert set(found) == {measure}
        assert result.culprit == {"iou_2d": "boxes", "mask": "masks", "keypoint": "keypoints"}[measure]


def test_an_image_that_alone_was_changed_is_the_culprit() -> None:
    def flipped_alone(scene: Scene, seed: int) -> Scene:
        return {**scene, "images": [scene["images"][0][:, ::-1]]}

    result = measured(flipped_alone)

    assert off(result) == {
        "iou_2d": "boxes were not flipped", "mask": "masks were not flipped", "keypoint": "keypoints were not flipped",
    }  # fmt: skip
    assert result.culprit == "images"


def test_left_and_right_may_be_exchanged_where_the_image_is_mirrored() -> None:
    assert off(measured(broken("flip", swapped))) == {}


def test_keypoints_that_count_from_the_corner_of_a_pixel_pass() -> None:
    def cornered(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
        return {**after, "keypoints": places_moved(matrix, before["keypoints"] - 0.5) + 0.5}

    for kind in MATRICES:
        assert off(measured(broken(kind, cornered), seeds=1)) == {}


def test_boxes_that_only_the_object_itself_explains_pass() -> None:
    """A library that knows the outline returns tighter boxes than one that turns the corners of the old ones."""

    def tight(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
        found = []
        for thing in after["boxes2d_ids"]:
            rows, columns = np.nonzero(after["masks"][thing])
            found.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return {**after, "boxes2d": np.array(found, dtype=np.float32)}

    assert off(measured(broken("turn", tight))) == {}


def test_boxes_around_boxes_may_grow_in_a_pipeline_of_several_steps() -> None:
    def twice(scene: Scene, seed: int) -> Scene:
        matrix, size = turned(scene, 0.5)
        back, _ = turned(scene, -0.4)
        whole = moved(scene, back @ matrix, size, visible=0.0)
        grown = boxes_moved(back, boxes_moved(matrix, scene["boxes2d"]))
        return {**whole, "boxes2d": grown[whole["boxes2d_ids"]]}

    assert set(off(measured(twice))) == {"iou_2d"}
    assert off(measured(twice, steps=2)) == {}


def test_an_object_that_was_erased_is_no_geometry_error() -> None:
    def erased(scene: Scene, seed: int) -> Scene:
        image = scene["images"][0].copy()
        x1, y1, x2, y2 = scene["boxes2d"][0].astype(int)
        image[y1:y2, x1:x2] = 0
        return {**scene, "images": [image]}

    result = measured(erased)
    hidden = [sample for sample in result.measures["visible"] if sample.value < 0.1]

    assert off(result) == {}
    assert {sample.entity for sample in hidden} == {"object 0 (car)"}
    assert len(hidden) == 1
    assert all("was cut off or covered" in sample.words for sample in hidden)


def test_a_box_left_behind_by_a_crop_is_not_visible() -> None:
    def kept_all(scene: Scene, seed: int) -> Scene:
        matrix, size = MATRICES["crop"](scene, seed)
        after = moved(scene, matrix, size, visible=-1.0)
        return {**after, "boxes2d_names": scene["boxes2d_names"]}

    result = measured(kept_all)

    assert off(result) == {}
    assert min(sample.value for sample in result.measures["visible"]) == 0


def test_an_uneven_warp_is_not_judged() -> None:
    def wavy(scene: Scene, seed: int) -> Scene:
        v, u = np.mgrid[: SIZE[0], : SIZE[1]]
        rows = np.clip(v + np.rint(9 * np.sin(u / 30)).astype(int), 0, SIZE[0] - 1)
        return {**scene, "images": [scene["images"][0][rows, u]]}

    result = measured(wavy)

    assert off(result) == {}
    assert set(result.unjudged) == {"iou_2d", "mask", "keypoint"}
    assert "unevenly" in result.unjudged["iou_2d"]


def test_one_that_no_seed_reaches_is_found_and_nothing_else_is_judged() -> None:
    random = np.random.default_rng()

    def unseeded(scene: Scene, seed: int) -> Scene:
        return moved(scene, *turned(scene, random.uniform(-0.5, 0.5)))

    result = measured(unseeded)

    assert set(off(result)) == {"repeats"}
    assert set(result.measures) == {"repeats"}
    assert "two runs under one seed differ" in result.unjudged["iou_2d"]


def test_boxes_without_ids_are_taken_in_their_order_or_not_judged() -> None:
    def without(kind: str) -> Augment:
        def augment(scene: Scene, seed: int) -> Scene:
            after = moved(scene, *MATRICES[kind](scene, seed))
            return {key: value for key, value in after.items() if key not in ("boxes2d_ids", "boxes2d_names")}

        return augment

    kept, dropped = measured(without("flip"), seeds=1), measured(without("crop"), seeds=1)

    assert off(kept) == {}
    assert "iou_2d" in kept.measures
    assert "without boxes2d_ids" in dropped.unjudged["iou_2d"]


def test_all_boxes_gone_is_told() -> None:
    def none(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
        return {**after, "boxes2d": np.zeros((0, 4)), "boxes2d_ids": np.zeros(0), "boxes2d_names": []}

    assert "no box came back" in measured(broken("flip", none)).unjudged["iou_2d"]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda scene: None, "nothing (None)"),
        (lambda scene: {**scene, "images": []}, "without images"),
        (lambda scene: {**scene, "images": ["a"]}, "among the images"),
        (lambda scene: {**scene, "boxes2d": np.zeros(3)}, "of the shape 3"),
        (lambda scene: {**scene, "boxes2d_ids": ["a"]}, "no array of numbers"),
    ],
)
def test_what_is_no_scene_fails_with_words(returned: Callable[[Scene], Any], words: str) -> None:
    with pytest.raises(Failed) as failed:
        measured(lambda scene, seed: returned(scene), seeds=1)

    assert words in str(failed.value)


@pytest.mark.parametrize(
    ("changed", "measure", "words"),
    [
        ({"masks": np.zeros((3, 5, 5))}, "mask", "3×5×5"),
        ({"masks": "none"}, "mask", "no array of numbers"),
        ({"keypoints": np.zeros((2, 2))}, "keypoint", "2×2"),
        ({"keypoints": object()}, "keypoint", "no array of numbers"),
        ({"boxes2d_ids": np.full(7, 99)}, "iou_2d", "that no object has"),
        ({"boxes2d_ids": np.arange(3)}, "iou_2d", "with 3 boxes2d_ids"),
    ],
)
def test_labels_that_cannot_be_read_are_not_judged(changed: Scene, measure: str, words: str) -> None:
    def odd(before: Scene, after: Scene, matrix: np.ndarray, size: tuple[int, int]) -> Scene:
        return {**after, **changed}

    result = measured(broken("flip", odd), seeds=1)

    assert measure not in result.measures
    assert words in result.unjudged[measure]


def test_larger_scenes_are_tried_where_a_crop_does_not_fit() -> None:
    def cropped(scene: Scene, seed: int) -> Scene:
        height, width = scene["images"][0].shape[:2]
        if height < 600 or width < 600:
            raise ValueError("crop larger than the image")
        return moved(scene, np.array([[1.0, 0, -30], [0, 1, -20], [0, 0, 1]]), (600, 600))

    assert off(measured(cropped, seeds=1, image_size=None)) == {}
    with pytest.raises(Failed, match="crop larger"):
        measured(cropped, seeds=1)


def test_the_picture_is_of_the_worst_seed() -> None:
    result = measured(broken("flip", untouched("boxes2d")), seeds=2)
    picture = result.picture

    assert picture is not None
    assert picture["measure"] == "iou_2d"
    assert picture["seed"] == min(result.measures["iou_2d"], key=lambda sample: sample.value).seed
    before, after = picture["panels"]
    assert (before["name"], after["name"]) == ("before", "after")
    assert base64.b64decode(after["png"]).startswith(b"\x89PNG")
    assert (after["width"], after["height"]) == (SIZE[1], SIZE[0])
    assert len(after["boxes"]) == len(after["hulls"]) == 7
    assert len(after["labels"]) == len(after["markers"]) > 20
    box, hull = np.array(before["boxes"][1]), np.array(before["hulls"][1])
    assert np.abs([*hull.min(axis=0), *hull.max(axis=0)] - box).max() < 0.2
    assert measured(right("flip"), seeds=1, pictures=False).picture is None
