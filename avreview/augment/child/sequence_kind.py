"""Measuring an augmentation on a sequence of driving scenes, under many seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from avreview.augment.child.culprits import culprit, most_often
from avreview.augment.child.driving import World
from avreview.augment.child.driving_kind import measure_moment
from avreview.augment.child.legs import Legs
from avreview.augment.child.observed import observe
from avreview.augment.child.pictures import Moment, Worst, bev_panels, image_panels
from avreview.augment.child.repeats import measure_repeats
from avreview.augment.child.returned import frames_of
from avreview.augment.child.runs import Failed, Runner, difference
from avreview.augment.child.sequences import IMAGE_SIZE, driving_sequence
from avreview.augment.child.sighted import Sighted, coded_scenes, sight
from avreview.augment.child.tally import Tally
from avreview.augment.child.task import Task
from avreview.augment.child.temporal import Frame, measure_ego, measure_sequence
from avreview.augment.child.tracks import measure_tracks
from avreview.augment.scene import TAG

_CODED_SEEDS = 4  # of which the images are looked at: there is one for every frame


def measure_sequences(task: Task) -> dict[str, Any]:
    """A `Measured` as JSON, without name and place. Raises Failed."""
    worlds = driving_sequence(task.seed, task.image_size or IMAGE_SIZE).frames
    given = [{key: value for key, value in world.scene.items() if key not in task.without} for world in worlds]
    coded = [coded_scenes(world) for world in worlds] if "images" not in task.without else []
    run = Runner(task.apply, frames_of, task.seconds)
    tally, worst, blamed = Tally(), Worst(), []
    steady = measure_repeats(task, run, given, frames_of, tally)
    for seed in range(task.seed, task.seed + task.seeds):
        look = coded if steady and seed < task.seed + _CODED_SEEDS else []
        frames, moments = _frames(worlds, given, look, run, seed)
        for moment in moments:
            legs = measure_moment(moment, tally)
            blamed.append(culprit(moment.seen, moment.sighted, legs, tally.samples, seed))
            worst.consider(moment._replace(legs=legs), tally.samples)
        _over_frames(frames, seed, tally)
        tally.changed = tally.changed or _changed(worlds, frames)
    tally.withheld(task.without)
    picture = worst.picture([*bev_panels(worst.moment), *image_panels(worst.moment)]) if task.pictures else None
    return tally.as_measured(culprit=most_often(blamed), picture=picture)


def _over_frames(frames: list[Frame], seed: int, tally: Tally) -> None:
    measure_tracks([frame.seen for frame in frames], [frame.name for frame in frames], seed, tally)
    measure_ego(frames, seed, tally)
    measure_sequence(frames, seed, tally)


def _frames(
    worlds: list[World], given: list[dict[str, Any]], coded: Any, run: Runner, seed: int
) -> tuple[list[Frame], list[Moment]]:
    """The returned frames, each with what it shows."""
    known: dict[int, list[dict[str, Any]]] = {}

    def outs(number: int) -> list[dict[str, Any]]:
        if number not in known:
            scenes = given if not coded else [
                {**scene, "images": images[number]} for scene, images in zip(given, coded, strict=True)
            ]  # fmt: skip
            known[number] = run(scenes, seed)
        return known[number]

    frames, moments = [], []
    numbers = frame_numbers(worlds, outs(0))
    for place, number in enumerate(numbers):
        seen = observe(worlds[number], outs(0)[place])
        sighted = Sighted([], why="the images of this seed were not looked at", none_given=True)
        if coded:
            sighted = sight(worlds[number], coded[number], functools.partial(_at, outs, place))
        frames.append(Frame(number, seen))
        start = {**given[number], "images": coded[number][0]} if coded else given[number]
        moments.append(Moment(seed, seen, sighted, start, Legs(None, None, [])))
    return frames, moments


def _at(outs: Callable[[int], list[dict[str, Any]]], place: int, image: int) -> dict[str, Any]:
    frames = outs(image)
    return frames[place] if place < len(frames) else {}


def frame_numbers(worlds: list[World], outs: list[dict[str, Any]]) -> list[int]:
    """Which given frame each returned one is: by its points' tags, by its timestamp, or by its place."""
    found = [_number(worlds, out) for out in outs]
    if any(number is None for number in found):
        if len(outs) != len(worlds):
            raise Failed(
                f"returned {len(outs)} frames for {len(worlds)} that cannot be told apart; carry the points' tags"
            )
        return list(range(len(outs)))
    return [number for number in found if number is not None]


def _number(worlds: list[World], out: dict[str, Any]) -> int | None:
    points = out.get("points")
    if points is not None and points.shape[1] > TAG and len(points):
        tag = float(np.median(points[:, TAG]))
        for number, world in enumerate(worlds):
            if world.first_tag <= tag < world.first_tag + len(world.owner):
                return number
    stamps = [float(world.scene["timestamp"]) for world in worlds]
    time = out.get("timestamp")
    return stamps.index(time) if time in stamps else None


def _changed(worlds: list[World], frames: list[Frame]) -> bool:
    if [frame.number for frame in frames] != list(range(len(worlds))):
        return True
    keys = ("points", "gt_boxes", "track_ids", "timestamp", "ego2global")
    for frame in frames:
        before = {key: np.asarray(frame.seen.world.scene[key], dtype=np.float32) for key in keys}
        after = {key: np.asarray(frame.seen.out.get(key, before[key]), dtype=np.float32) for key in keys}
        if difference(before, after)[0] > 0:
            return True
    return False
