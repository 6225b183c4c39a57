"""Measuring an augmentation on scenes of the kind `image`: boxes, masks and keypoints against what the image shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.image_labels import (
    NEAR,
    Box,
    Keypoint,
    Mask,
    Unjudgeable,
    boxes_of,
    keypoints_of,
    masks_of,
    void,
)
from avreview.augment.child.image_picture import picture_of
from avreview.augment.child.image_scenes import SCENES, SIZES, Stage, stage
from avreview.augment.child.image_truth import Truth, truth_of, untouched
from avreview.augment.child.image_words import box_words, keypoint_words, mask_words
from avreview.augment.child.repeats import measure_repeats
from avreview.augment.child.returned import scene_of
from avreview.augment.child.runs import Failed, Runner, difference
from avreview.augment.child.tally import Tally
from avreview.augment.child.task import Task
from avreview.augment.model import Sample
from avreview.augment.scene import Scene

ENLARGED = (2, 4)  # how much larger scenes are tried where crops do not fit into the usual ones
CLOSE = 0.15  # px that the markers of an even warp are off its map, at the size of the original
MANY = 0.25  # the share of uneven seeds from which on no other one is trusted
COMPARED = ("iou_2d", "mask", "keypoint")
OF = {"iou_2d": "boxes2d", "mask": "masks", "keypoint": "keypoints"}
UNEVEN = "the image was warped unevenly, shuffled, mixed or erased in a grid under {} of {} seeds: that is not modelled"
UNSTEADY = "two runs under one seed differ, so that nothing can be followed through the images; seed it first"
UNSEEN = "too little of the image, or too small, is left to measure what was done to it"


class Seen(NamedTuple):
    """One seed: what came back, what is true, and what is said of each kind of label."""

    seed: int
    out: Scene
    truth: Truth
    boxes: Sequence[Box] = ()
    masks: Sequence[Mask] = ()
    keypoints: Sequence[Keypoint] = ()


def measure_image(task: Task) -> dict[str, Any]:
    """A `Measured` as JSON, without name and place. Raises Failed."""
    run = Runner(task.apply, scene_of, task.seconds)
    stages = _stages(task, run)
    tally, seen = Tally(), []
    steady = measure_repeats(task, run, _given(stages[0].scene, task.without), scene_of, tally)
    for number, seed in enumerate(range(task.seed, task.seed + task.seeds)):
        staged = stages[number % len(stages)]
        scene = _given(staged.scene, task.without)
        out = run(scene, seed)
        tally.changed |= difference({key: out.get(key) for key in scene}, scene)[0] > 0
        if not out.get("images"):
            raise Failed("returned a scene without images, so nothing shows what was done to them")
        if steady:
            seen.append(Seen(seed, out, _truth(run, staged, scene, out, seed)))
    if not steady:
        for measure in (*COMPARED, "visible"):
            tally.unjudged(measure, UNSTEADY)
        return tally.as_measured(culprit=None, picture=None)
    seen = _all_uneven(seen)
    turning = any(one.truth.warp is not None and one.truth.warp.turns for one in seen)
    grow = 2.0 ** ((task.steps - 1) / 2) * 1.05 if turning and task.steps > 1 else 1.0
    judged = [_judged(tally, one, grow) for one in seen]
    _add_gaps(tally, judged)
    measured = tally.as_measured(culprit=_culprit(tally), picture=None)
    measured["unjudged"] = {**measured["unjudged"], **_uneven(judged)}
    if task.pictures:
        measured["picture"] = picture_of(judged, tally.samples)
    return measured


def _all_uneven(every: list[Seen]) -> list[Seen]:
    """Where some seeds warp unevenly, so may others, too weakly to show: unless few do and the rest fit closely."""
    uneven = sum(one.truth.uneven for one in every)
    if not uneven:
        return every
    many = uneven >= MANY * len(every)
    return [_as_uneven(one) if _warped(one.truth, 0.0 if many else CLOSE) else one for one in every]


def _warped(truth: Truth, close: float) -> bool:
    return truth.warp is not None and truth.warp.off > close * max(1.0, truth.warp.scale)


def _as_uneven(seen: Seen) -> Seen:
    return seen._replace(truth=seen.truth._replace(warp=None, uneven=True))


def _stages(task: Task, run: Runner) -> list[Stage]:
    """The scenes, larger where the augmentation fails on those of the usual size (it may crop more than there is)."""
    failure: Failed | None = None
    for factor in (1, *ENLARGED):
        numbers = range(task.seed, task.seed + (SCENES if factor == 1 else 2))
        stages = [stage(number, task.image_size or _enlarged(SIZES[number % len(SIZES)], factor)) for number in numbers]
        try:
            for one in stages:
                run(_given(one.scene, task.without), task.seed)
        except Failed as failed:
            failure = failure or failed
            if task.image_size is not None:
                break
            continue
        return stages
    assert failure is not None
    raise failure


def _enlarged(size: tuple[int, int], factor: int) -> tuple[int, int]:
    return size[0] * factor, size[1] * factor


def _given(scene: Scene, without: frozenset[str]) -> Scene:
    return {key: value for key, value in scene.items() if key not in without}


def _truth(run: Runner, given: Stage, scene: Scene, out: Scene, seed: int) -> Truth:
    if difference(out["images"], scene["images"])[0] == 0:
        return untouched(given.scene)

    def apply(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = [run({**scene, "images": [image]}, seed).get("images") for image in images]
        if any(not result for result in results) or len({result[0].shape for result in results}) > 1:
            return [np.zeros((0, 0, 3), dtype=np.uint8) for _ in images]
        return [result[0] for result in results]

    return truth_of(given, apply)


def _judged(tally: Tally, seen: Seen, grow: float) -> Seen:
    """Adds the samples of one seed."""
    if seen.out.get("boxes2d") is not None and "boxes2d" in seen.truth.scene:
        seen = seen._replace(boxes=_unless(tally, "iou_2d", lambda: boxes_of(seen.truth, seen.out, grow)))
        _add_boxes(tally, seen)
    if seen.truth.warp is None:
        return seen
    if seen.out.get("masks") is not None:
        seen = seen._replace(masks=_unless(tally, "mask", lambda: masks_of(seen.truth, seen.out)))
        words = mask_words(seen.truth, seen.masks)
        for mask in seen.masks:
            tally.add(
                "mask", Sample(seen.seed, _entity(seen, mask.thing), mask.overlap, 0.0, _if(words, mask.overlap < 0.9))
            )
    if seen.out.get("keypoints") is not None and "keypoints" in seen.truth.scene:
        seen = seen._replace(keypoints=_unless(tally, "keypoint", lambda: keypoints_of(seen.truth, seen.out)))
        words = keypoint_words(seen.truth, seen.keypoints)
        for point in seen.keypoints:
            at = f"keypoint {point.number}"
            tally.add("keypoint", Sample(seen.seed, at, point.apart, 0.0, _if(words, point.apart > NEAR)))
    return seen


def _unless(tally: Tally, measure: str, judge: Callable[[], Any]) -> Any:
    try:
        return judge()
    except Unjudgeable as why:
        tally.unjudged(measure, str(why))
        return ()


def _add_boxes(tally: Tally, seen: Seen) -> None:
    words = box_words(seen.truth, seen.boxes)
    for box in seen.boxes:
        entity = _entity(seen, box.thing)
        share = 0.0 if void(box.raw) else seen.truth.share(box.thing)
        if np.isfinite(share):
            tally.add("visible", Sample(seen.seed, entity, share, 0.0, _if(_hidden(seen.truth, box), share < 0.5)))
        if box.right is not None:
            off = "" if box.name_fits else "labels lost their order: the class name is another object's"
            value = box.overlap if box.name_fits else 0.0
            tally.add("iou_2d", Sample(seen.seed, entity, value, 0.0, off or _if(words, value < 0.9)))


def _hidden(truth: Truth, box: Box) -> str:
    if void(box.raw):
        return "its box has no area and was kept; drop such boxes (min_area, SanitizeBoundingBoxes)"
    cut = truth.clipped(box.raw)
    if not (cut[2:] > cut[:2]).all():
        return "the object has left the image and its box was kept"
    return "the object was cut off or covered and its box was kept"


def _if(words: str, off: bool) -> str:
    return words if off else ""


def _entity(seen: Seen, thing: int) -> str:
    names = seen.truth.scene.get("boxes2d_names")
    return f"object {thing} ({names[thing]})" if names else f"object {thing}"


def _add_gaps(tally: Tally, every: Sequence[Seen]) -> None:
    """Says why a kind of label that came back was judged under no seed."""
    for measure in COMPARED:
        back = [one for one in every if one.out.get(OF[measure]) is not None]
        if not back:
            continue
        if measure == "iou_2d" and all(len(one.boxes) == 0 for one in back):
            tally.unjudged(measure, f"no box came back under {len(back)} seeds, though objects are to be seen")
        tally.unjudged(measure, UNSEEN)


def _uneven(every: Sequence[Seen]) -> dict[str, str]:
    """What was not judged under some seeds is not judged, unless something else is wrong with it."""
    uneven = [one for one in every if one.truth.uneven]
    if not uneven:
        return {}
    why = UNEVEN.format(len(uneven), len(every))
    return {measure: why for measure in COMPARED if any(one.out.get(OF[measure]) is not None for one in uneven)}


def _culprit(tally: Tally) -> str | None:
    """The labels that are off, where others fit the image."""
    off = {
        "boxes": any(sample.value < 0.9 for sample in tally.samples.get("iou_2d", ())),
        "masks": any(sample.value < 0.9 for sample in tally.samples.get("mask", ())),
        "keypoints": any(sample.value > NEAR for sample in tally.samples.get("keypoint", ())),
    }
    taken = [
        name
        for name, measure in (("boxes", "iou_2d"), ("masks", "mask"), ("keypoints", "keypoint"))
        if measure in tally.samples
    ]
    wrong = [name for name in taken if off[name]]
    if len(taken) > 1 and len(wrong) == len(taken):
        return "images"
    return wrong[0] if len(wrong) == 1 and len(taken) > 1 else None
