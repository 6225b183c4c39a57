"""Boxes against points: in_box, centre, dims, yaw, visible, velocity, heading, and the time channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from avreview.augment.child import explain
from avreview.augment.child.boxes import VX, YAW, degrees_apart, share_inside
from avreview.augment.child.driving import FRAME_SECONDS
from avreview.augment.child.observed import ObjectShown, Observed
from avreview.augment.child.similarity import of_boxes
from avreview.augment.child.tally import Tally
from avreview.augment.model import Sample

_DRIVES = 0.8  # m/s: what is slower has no direction to speak of
_NOTICED = {"centre": 0.02, "dims": 0.004, "yaw": 0.4, "velocity": 0.06}  # what is less needs no words
_POINTS_LEFT = "the points were left untouched while the boxes moved"


def measure_boxes(seen: Observed, seed: int, tally: Tally) -> None:
    """All that boxes and points alone tell of each other."""
    if seen.boxes is None:
        for name in ("in_box", "centre", "dims", "yaw", "velocity", "heading"):
            tally.unjudged(name, "the augmentation returned no gt_boxes")
        return
    _heading(seen, seed, tally)
    if seen.scene is None:
        for name in ("in_box", "centre", "dims", "yaw", "velocity"):
            tally.unjudged(name, seen.tags.why or "too few points were left to tell how they moved")
        return
    rows = _rows(seen, tally)
    _places(seen, rows, seed, tally)
    _velocities(seen, rows, seed, tally)
    _displacements(seen, rows, seed, tally)


def _rows(seen: Observed, tally: Tally) -> list[int]:
    """The returned boxes whose object the points show."""
    rows = []
    for row, thing in enumerate(seen.things):
        shown = seen.objects.get(int(thing))
        if shown is not None and shown.why:
            tally.unjudged_objects(shown.why)
        elif shown is not None:
            rows.append(row)
    return rows


def _places(seen: Observed, rows: Sequence[int], seed: int, tally: Tally) -> None:
    world, boxes = seen.world, seen.boxes
    assert boxes is not None
    found: dict[str, list[float]] = {"centre": [], "dims": [], "yaw": []}
    for row in rows:
        thing, box = int(seen.things[row]), boxes[row]
        shown, before = seen.objects[thing], world.boxes[thing]
        size = shown.motion.scale * before[3:6]
        found["centre"].append(float(np.linalg.norm(box[:3] - shown.motion.moved(before[None, :3])[0])))
        found["dims"].append(float(np.abs(box[3:6] / size - 1).max()))
        found["yaw"].append(degrees_apart(box[YAW], shown.motion.heading(before[YAW])))
        tally.add("in_box", Sample(seed, world.name(thing), share_inside(box, shown.at_key)))
    for name, values in found.items():
        words = _explained(seen, rows, values, name)
        for row, value, word in zip(rows, values, words, strict=True):
            tally.add(name, Sample(seed, world.name(int(seen.things[row])), value, 0.0, word))


def _explained(seen: Observed, rows: Sequence[int], values: Sequence[float], name: str) -> list[str]:
    """Words for each value that is off: of all objects that moved with the scene together, of others one by one."""
    boxes = seen.boxes
    assert boxes is not None
    words = [""] * len(rows)
    off = [index for index, value in enumerate(values) if not value <= _NOTICED[name]]
    together = [index for index in off if seen.objects[int(seen.things[rows[index]])].with_scene]
    alone = [[index] for index in off if index not in together]
    for group in [together, *alone] if together else alone:
        things = seen.things[[rows[index] for index in group]]
        motion = seen.objects[int(things[0])].motion
        before, after = seen.world.boxes[things], boxes[[rows[index] for index in group]]
        said = _POINTS_LEFT if motion.is_identity and name == "centre" and _moved_as_one(before, after) else ""
        said = said or _EXPLAIN[name](motion, before, after)
        for index in group:
            words[index] = said
    return words


def _moved_as_one(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether boxes moved rigidly together, by more than a little."""
    motion = of_boxes(before, after)
    return motion is not None and motion.rms < 0.05 and float(np.abs((after - before)[:, :2]).max()) > 0.05


_EXPLAIN: dict[str, Callable[[Any, np.ndarray, np.ndarray], str]] = {
    "centre": lambda motion, before, after: explain.explain_centres(motion, before[:, :3], after[:, :3], before[:, 5]),
    "dims": lambda motion, before, after: explain.explain_dims(motion.scale, before[:, 3:6], after[:, 3:6]),
    "yaw": lambda motion, before, after: explain.explain_yaws(motion, before[:, YAW], after[:, YAW]),
    "velocity": lambda motion, before, after: explain.explain_velocities(motion, before[:, VX:9], after[:, VX:9]),
}


def _velocities(seen: Observed, rows: Sequence[int], seed: int, tally: Tally) -> None:
    boxes = seen.boxes
    assert boxes is not None
    if boxes.shape[1] < 9:
        tally.unjudged("velocity", f"gt_boxes come back with {boxes.shape[1]} columns, without velocities")
        return
    shown = [row for row in rows if seen.objects[int(seen.things[row])].velocity is not None]
    if not shown:
        tally.unjudged("velocity", "fewer than two sweeps are left, which show no velocity")
        return
    slower = accepted_factor(seen)
    values, speeds = [], []
    for row in shown:
        velocity = _velocity(seen.objects[int(seen.things[row])]) / slower
        values.append(float(np.linalg.norm(boxes[row, VX:9] - velocity)))
        speeds.append(float(np.linalg.norm(velocity)))
    words = _explained(seen, shown, values, "velocity")
    for row, value, speed, word in zip(shown, values, speeds, words, strict=True):
        thing = int(seen.things[row])
        if seen.objects[thing].broken and value > _NOTICED["velocity"]:
            word = "the object was moved without its older sweeps, which lie elsewhere"
        tally.add("velocity", Sample(seed, seen.world.name(thing), value, speed, word))


def _velocity(shown: ObjectShown) -> np.ndarray:
    return np.zeros(2) if shown.velocity is None else shown.velocity


def accepted_factor(seen: Observed) -> float:
    """What the time channel was multiplied by, where velocity labels were divided by it: time that was slowed down."""
    factor = seen.lags.factor if seen.lags is not None else None
    if factor is None or seen.boxes is None or seen.boxes.shape[1] < 9 or abs(factor - 1) < 0.005:
        return 1.0
    ratios = []
    for row, thing in enumerate(seen.things):
        shown = seen.objects.get(int(thing))
        if shown is not None and np.linalg.norm(_velocity(shown)) > _DRIVES:
            slowed = _velocity(shown) / factor
            ratios.append(float(np.linalg.norm(seen.boxes[row, VX:9] - slowed) / np.linalg.norm(slowed)))
    return factor if ratios and float(np.median(ratios)) < 0.02 else 1.0


def _displacements(seen: Observed, rows: Sequence[int], seed: int, tally: Tally) -> None:
    """Offsets to the next frame go as velocities do; they are judged as m in that time."""
    after = seen.out.get("displacement")
    if after is None or len(after) != len(seen.things):
        return
    before = seen.world.scene["displacement"].astype(np.float64)
    for row in rows:
        thing = int(seen.things[row])
        shown = seen.objects[thing]
        expected = shown.motion.turned(before[thing])
        value = float(np.linalg.norm(after[row] - expected)) / FRAME_SECONDS
        words = ""
        if value > _NOTICED["velocity"]:
            words = explain.explain_velocities(shown.motion, before[thing][None], np.asarray(after)[row][None])
        speed = float(np.linalg.norm(expected)) / FRAME_SECONDS
        words = words.replace("velocity", "the displacement label", 1)
        tally.add("velocity", Sample(seed, f"{seen.world.name(thing)}, displacement", value, speed, words))


def _heading(seen: Observed, seed: int, tally: Tally) -> None:
    """Heading against velocity label, of what drives straight on; it needs nothing but the boxes."""
    boxes = seen.boxes
    assert boxes is not None
    if boxes.shape[1] < 9:
        tally.unjudged("heading", f"gt_boxes come back with {boxes.shape[1]} columns, without velocities")
        return
    for row, thing in enumerate(seen.things):
        if thing < 0 or np.linalg.norm(seen.world.boxes[thing, VX:9]) < _DRIVES:
            continue
        velocity = boxes[row, VX:9]
        if np.linalg.norm(velocity) < _DRIVES / 2:
            continue  # judged by its size
        value = degrees_apart(float(np.arctan2(velocity[1], velocity[0])), boxes[row, YAW])
        words = "the label drives backwards" if value > 170 else ""
        tally.add("heading", Sample(seed, seen.world.name(int(thing)), value, 0.0, words))


def measure_times(seen: Observed, seed: int, tally: Tally) -> None:
    """The time channel of the sweeps that are left, against the time they took for the distance they show."""
    lags = seen.lags
    if lags is None:
        tally.unjudged("time", seen.tags.why or "no point was left")
        return
    if lags.before.max() == 0:
        tally.unjudged("time", "only the newest sweep is left, whose lag is 0")
        return
    expected = accepted_factor(seen) * lags.before
    most = float(expected.max())
    values = np.abs(lags.after - expected) / most
    words = explain.explain_lags(lags.before, lags.after) if not (values < 0.005).all() else ""
    speed = float(np.linalg.norm(seen.world.boxes[:, VX:9], axis=1).max())
    for before, value in zip(lags.before, values, strict=True):
        tally.add("time", Sample(seed, f"the sweep of {before:.2f} s ago", float(value), speed, words))


def measure_visible(seen: Observed, in_images: dict[int, float], seed: int, tally: Tally) -> None:
    """How much is left of what each returned box is of: of its points, or of it in the images if that is more."""
    if seen.boxes is None or (not len(seen.tags.before) and seen.tags.why != "no point was left"):
        return
    left = np.bincount(seen.world.owner[seen.tags.before][seen.world.owner[seen.tags.before] >= 0],
                       minlength=len(seen.world.boxes))  # fmt: skip
    there = np.bincount(seen.world.owner[seen.world.owner >= 0], minlength=len(seen.world.boxes))
    for thing in seen.things:
        if thing >= 0:
            share = max(float(left[thing] / there[thing]), in_images.get(int(thing), 0.0))
            words = "" if share > 0 else "all its points were taken away, and the box was left"
            tally.add("visible", Sample(seed, seen.world.name(int(thing)), share, 0.0, words))
