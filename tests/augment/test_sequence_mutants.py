"""Sequences: what is right over frames passes; tracks, times and poses are broken in every way, and all is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from driving_augmentations import SIZE, STEPS, Motion, Rng, Scene, drawn, nothing, off

from avreview.augment.child.adapters.plain import adapted
from avreview.augment.child.sequence_kind import measure_sequences
from avreview.augment.child.task import Task
from avreview.augment.model import Measured

Frames = list[Scene]
Augment = Callable[[Frames, Rng], Frames]
WITHOUT = frozenset({"images", "lidar2img", "intrinsics", "boxes2d", "boxes2d_ids", "boxes2d_names", "bev_map"})


def seen(augment: Any, seeds: int = 2, without: frozenset[str] = WITHOUT) -> Measured:
    task = Task(adapted(augment, "sequence").whole, seeds=seeds, image_size=SIZE, without=without, pictures=False)
    return Measured.from_json({"name": "it", "place": None, **measure_sequences(task)})


def moved(parts: str, *, each: bool = False, **wrong: Any) -> Augment:
    """The same motion for all frames, or one for each, right but for what `wrong` replaces."""

    def augment(frames: Frames, rng: Rng) -> Frames:
        motion = drawn(rng, parts)
        for frame in frames:
            motion = drawn(rng, parts) if each else motion
            for name, step in {**STEPS, **wrong}.items():
                if name not in ("lidar2img", "bev_map"):
                    step(frame, motion)
        return frames

    return augment


def dropped(frames: Frames, rng: Rng) -> Frames:
    return [frames[0], *frames[2:4], frames[5]]


def mirrored_ids(frames: Frames, rng: Rng) -> Frames:
    """Other ids, the same ones in all frames."""
    for frame in frames:
        frame["track_ids"] = 5000 - frame["track_ids"]
    return frames


def without_a_box(frames: Frames, rng: Rng) -> Frames:
    for number, frame in enumerate(frames):
        kept = np.arange(len(frame["gt_boxes"])) != number
        for key in ("gt_boxes", "gt_names", "track_ids", "displacement"):
            frame[key] = frame[key][kept]
    return frames


def half_as_fast(frames: Frames, rng: Rng) -> Frames:
    """All that depends on time."""
    for number, frame in enumerate(frames):
        frame["timestamp"] = frames[0]["timestamp"] + number * 1.0 if number else frame["timestamp"]
        frame["points"][:, 4] *= 2
        frame["gt_boxes"][:, 7:9] /= 2
        del frame["displacement"]
    return frames


RIGHT: dict[str, Augment] = {
    "as it is": lambda frames, rng: frames,
    "one motion": moved("yrst"),
    "one motion a frame": moved("xrst", each=True),
    "frames dropped": dropped,
    "other ids": mirrored_ids,
    "boxes dropped": without_a_box,
    "half as fast": half_as_fast,
}


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_off(name: str) -> None:
    found = seen(RIGHT[name])
    assert off(found) == {}
    assert {"tracks", "ego", "sequence", "velocity", "time"} <= set(found.measures)
    assert found.changed == (name != "as it is")


def test_images_of_frames_are_looked_at() -> None:
    def step(frames: Frames, rng: Rng) -> Frames:
        for frame in frames:
            frame["images"] = [np.ascontiguousarray(image[:, ::-1]) for image in frame["images"]]
        return frames

    found = seen(step, seeds=1, without=frozenset({"bev_map"}))
    assert off(found)["reprojection"][1] == "lidar2img is that of before: the image's transform is not in it"


def restamped(frames: Frames, rng: Rng) -> Frames:
    """Every second frame, as if there had never been others."""
    start = frames[0]["timestamp"]
    kept = frames[::2]
    for number, frame in enumerate(kept):
        frame["timestamp"] = start + 0.5 * number
    return kept


def jittered(frames: Frames, rng: Rng) -> Frames:
    for number, frame in enumerate(frames):
        frame["timestamp"] += 0.05 * (-1) ** number
    return frames


def backwards(frames: Frames, rng: Rng) -> Frames:
    return frames[::-1]


def same_times(frames: Frames, rng: Rng) -> Frames:
    for frame in frames:
        frame["timestamp"] = frames[0]["timestamp"]
    return frames


def faster_labels(frames: Frames, rng: Rng) -> Frames:
    for frame in frames:
        frame["gt_boxes"][:, 7:9] *= 2
    return frames


def renumbered(frames: Frames, rng: Rng) -> Frames:
    for frame in without_a_box(frames, rng):
        frame["track_ids"] = np.arange(len(frame["gt_boxes"]))
    return frames


def doubled(frames: Frames, rng: Rng) -> Frames:
    frames[2]["track_ids"][1] = frames[2]["track_ids"][0]
    return frames


def swapped(frames: Frames, rng: Rng) -> Frames:
    frames[3]["track_ids"] = np.roll(frames[3]["track_ids"], 1)
    return frames


def pose(change: Callable[[Any, Motion], Any]) -> Callable[[Scene, Motion], None]:
    def wrong(scene: Scene, a: Motion) -> None:
        scene["ego2global"] = change(scene["ego2global"], a)

    return wrong


def only_poses(frames: Frames, rng: Rng) -> Frames:
    for frame in frames:
        STEPS["pose"](frame, drawn(rng, "r"))
    return frames


LABELS_LEFT: dict[str, Any] = {name: nothing for name in STEPS if name != "points"}
MUTANTS: dict[str, tuple[Augment, str, str]] = {
    "restamped": (restamped, "sequence", "1 of the frames between were dropped"),
    "jittered": (jittered, "sequence", "timestamps are"),
    "backwards": (backwards, "sequence", "the frames are in reverse order"),
    "same times": (same_times, "sequence", "the same timestamp"),
    "labels twice as fast": (faster_labels, "velocity", ""),
    "renumbered after a drop": (renumbered, "tracks", "the ids were renumbered"),
    "doubled": (doubled, "tracks", "ids are another's too"),
    "swapped": (swapped, "tracks", "moved to other objects"),
    "stale poses": (moved("rt", pose=nothing), "ego", "ego2global is that of before"),
    "poses not inverted": (moved("rt", pose=pose(lambda g, a: g @ a.matrix)), "ego", "instead of its inverse"),
    "poses on the wrong side": (
        moved("rt", pose=pose(lambda g, a: np.linalg.inv(a.matrix) @ g)), "ego", "multiplied on the wrong side"),
    "poses not flipped": (
        moved("yr", pose=pose(lambda g, a: g @ np.linalg.inv(a.but(flip_y=False).matrix))), "ego", "not flipped in y"),
    "poses not scaled": (
        moved("rs", pose=pose(lambda g, a: g @ np.linalg.inv(a.but(scale=1.0).matrix))), "ego", "not scaled"),
    "poses alone": (only_poses, "ego", "the pose was changed, and the points were not"),
    "points alone": (moved("rt", **LABELS_LEFT), "ego", "that of before"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_over_frames_is_found_and_explained(name: str) -> None:
    augment, measure, words = MUTANTS[name]
    found = seen(augment)
    wrong = off(found)
    assert measure in wrong, (wrong, found.unjudged)
    assert words in wrong[measure][1]
