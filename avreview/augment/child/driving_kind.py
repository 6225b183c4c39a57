"""Measuring an augmentation on one driving scene, under many seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from avreview.augment.child.culprits import culprit, most_often
from avreview.augment.child.driving import IMAGE_SIZE, World, driving_world
from avreview.augment.child.geometry import measure_boxes, measure_times, measure_visible
from avreview.augment.child.legs import Legs, measure_boxes2d, measure_images, scene_motion
from avreview.augment.child.maps import measure_map
from avreview.augment.child.observed import Observed, observe
from avreview.augment.child.pictures import Moment, Worst, bev_panels, image_panels
from avreview.augment.child.repeats import measure_repeats
from avreview.augment.child.returned import scene_of
from avreview.augment.child.runs import Runner, difference
from avreview.augment.child.sighted import Sighted, coded_scenes, shares_seen, sight
from avreview.augment.child.tally import Tally
from avreview.augment.child.task import Task
from avreview.augment.child.tracks import measure_own_tracks

_UNSTEADY = "two runs under one seed differ, so that nothing can be followed through the images; seed it first"
_NO_MOTION = "neither points, nor boxes, nor lidar_aug_matrix were returned to show how the scene was moved"


def measure_driving(task: Task) -> dict[str, Any]:
    """A `Measured` as JSON, without name and place. Raises Failed."""
    world = driving_world(task.seed, task.image_size or IMAGE_SIZE)
    given = {key: value for key, value in world.scene.items() if key not in task.without}
    coded = coded_scenes(world) if "images" in given else []
    run = Runner(task.apply, scene_of, task.seconds)
    tally, worst, blamed = Tally(), Worst(), []
    steady = measure_repeats(task, run, given, scene_of, tally)
    for seed in range(task.seed, task.seed + task.seeds):
        moment = _moment(world, given, coded, run, seed, steady)
        legs = measure_moment(moment, tally)
        measure_own_tracks(moment.seen, seed, tally)
        tally.changed = tally.changed or difference(moment.given, _judged_keys(moment))[0] > 0
        blamed.append(culprit(moment.seen, moment.sighted, legs, tally.samples, seed))
        worst.consider(moment._replace(legs=legs), tally.samples)
    tally.withheld(task.without)
    picture = worst.picture([*bev_panels(worst.moment), *image_panels(worst.moment)]) if task.pictures else None
    return tally.as_measured(culprit=most_often(blamed), picture=picture)


def _moment(world: World, given: Any, coded: Any, run: Runner, seed: int, steady: bool) -> Moment:
    known: dict[int, dict[str, Any]] = {}

    def outs(number: int) -> dict[str, Any]:
        if number not in known:
            known[number] = run({**given, "images": coded[number]} if coded else given, seed)
        return known[number]

    first = outs(0)
    if not coded:
        sighted = Sighted([], why="no images were given", none_given=True)
    elif not steady and first.get("images") is not None:
        sighted = Sighted([], why=_UNSTEADY)
    else:
        sighted = sight(world, coded, outs)
    start = {**given, "images": coded[0]} if coded else given
    return Moment(seed, observe(world, first), sighted, start, Legs(None, None, []))


def measure_moment(moment: Moment, tally: Tally) -> Legs:
    """Everything that one scene under one seed shows."""
    seed, seen, sighted = moment.seed, moment.seen, moment.sighted
    measure_boxes(seen, seed, tally)
    measure_times(seen, seed, tally)
    legs = measure_images(seen, sighted, seed, tally)
    measure_boxes2d(seen, sighted, seed, tally)
    measure_visible(seen, shares_seen(seen.world, sighted), seed, tally)
    _map(seen, seed, tally)
    return legs


def _map(seen: Observed, seed: int, tally: Tally) -> None:
    from avreview.augment.child.similarity import Similarity

    motion = seen.scene
    stated = seen.out.get("lidar_aug_matrix")
    if motion is None and stated is not None:
        motion = Similarity(stated[:3, :3], stated[:3, 3])
    elif motion is None and seen.boxes is not None:
        motion = scene_motion(seen)
    measure_map(seen.world, seen.out, motion, seed, tally)


def _judged_keys(moment: Moment) -> dict[str, Any]:
    """What was returned under the keys that were given, in the types that were given."""
    found: dict[str, Any] = {}
    for key, before in moment.given.items():
        after = moment.seen.out.get(key)
        same_kind = isinstance(before, np.ndarray) and before.dtype.kind == "f" and isinstance(after, np.ndarray)
        found[key] = after.astype(before.dtype) if same_kind and after is not None else after
    return {key: moment.given[key] if value is None else value for key, value in found.items()}
