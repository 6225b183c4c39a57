"""What the points of an augmented scene show: how the scene and each object moved, and how fast each drives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.driving import BACKGROUND, SWEEP_SECONDS, World
from avreview.augment.child.identity import Tagged, same_boxes, tagged
from avreview.augment.child.similarity import Similarity, fitted, trimmed
from avreview.augment.scene import LAG

_LEAST = 6  # points of an object, under which nothing is said of it
_WARPED = 0.10  # m that a similarity may leave over: noise on points is less
_TOGETHER = 0.03  # m above the noise, under which an object moved as the scene did


class ObjectShown(NamedTuple):
    """One object. `velocity` (m/s, by the true lags) is None where fewer than two sweeps of it are left.

    `at_key` are its points where they are at the time of the key frame, float[P, 3]. `why` says why it is not judged:
    its points no longer have its shape. `broken` tells that its sweeps moved apart.
    """

    motion: Similarity
    at_key: np.ndarray
    velocity: np.ndarray | None
    with_scene: bool
    why: str = ""
    broken: bool = False


class Observed(NamedTuple):
    """An augmented scene as its points show it. `things[row]` is the object of a returned box."""

    world: World
    out: dict[str, Any]
    points: np.ndarray | None
    tags: Tagged
    scene: Similarity | None
    noise: float
    objects: Mapping[int, ObjectShown]
    boxes: np.ndarray | None
    things: np.ndarray
    lags: Lags | None


class Lags(NamedTuple):
    """The returned time channel: mean lag of each sweep that is left, before and after, float[K] each."""

    before: np.ndarray
    after: np.ndarray

    @property
    def factor(self) -> float | None:
        """What all lags were multiplied by; None where they were not."""
        old = self.before > 0
        if not old.any() or not np.isfinite(self.after).all():
            return None
        factor = float(self.after[old] @ self.before[old] / (self.before[old] @ self.before[old]))
        most = max(abs(factor) * float(self.before.max()), 1e-9)
        return factor if np.abs(self.after - factor * self.before).max() < 0.005 * most and factor > 0 else None


def observe(world: World, out: dict[str, Any]) -> Observed:
    points = out.get("points")
    tags = tagged(world, points)
    scene, noise = None, 0.0
    objects: dict[int, ObjectShown] = {}
    if len(tags.before):
        before, after = world.points[tags.before, :3], points[tags.after, :3]  # type: ignore[index]
        scene = _scene_motion(before, after, world.owner[tags.before])
        noise = scene.rms if scene is not None else 0.0
        objects = _objects(world, tags, after, scene)
    boxes = out.get("gt_boxes")
    things = np.empty(0, dtype=np.int64)
    if boxes is not None:
        expected = {thing: shown.motion.moved(world.boxes[thing, None, :3])[0] for thing, shown in objects.items()}
        things = same_boxes(world, out, expected)
    lags = _lags(world, tags, points) if points is not None and len(tags.before) else None
    return Observed(world, out, points, tags, scene, noise, objects, boxes, things, lags)


def _scene_motion(before: np.ndarray, after: np.ndarray, owner: np.ndarray) -> Similarity | None:
    """How what stands still moved; by all points where too little of it is left."""
    still = owner == BACKGROUND
    if still.sum() < 30:
        still = np.ones(len(owner), dtype=bool)
    return trimmed(before[still], after[still])


def _objects(world: World, tags: Tagged, after: np.ndarray, scene: Similarity | None) -> dict[int, ObjectShown]:
    owner = world.owner[tags.before]
    found = {}
    for thing in range(len(world.boxes)):
        mine = owner == thing
        if mine.sum() < _LEAST:
            continue
        rows = tags.before[mine]
        found[thing] = _object(world, thing, rows, after[mine], scene)
    return found


def _object(world: World, thing: int, rows: np.ndarray, after: np.ndarray, scene: Similarity | None) -> ObjectShown:
    seen, at_key, lag = world.points[rows, :3], world.at_key[rows], world.lag[rows]
    if scene is not None:
        off = np.sqrt(((after - scene.moved(seen)) ** 2).sum(axis=1).mean())
        if off <= max(scene.rms, 1e-4) * 1.6 + _TOGETHER:
            velocity = scene.turned(world.boxes[thing, 7:9])
            shown = after.copy()
            shown[:, :2] += velocity * lag[:, None]
            return ObjectShown(scene, shown, velocity if _sweeps(lag) > 1 else None, True)
    return _on_its_own(at_key, lag, after, scene)


def _on_its_own(at_key: np.ndarray, lag: np.ndarray, after: np.ndarray, scene: Similarity | None) -> ObjectShown:
    """An object that was moved otherwise than the scene: its newest sweep puts it, the others show its velocity."""
    newest = lag <= lag.min() + SWEEP_SECONDS / 2
    if newest.sum() < _LEAST:
        newest = np.ones(len(lag), dtype=bool)
    motion = fitted(at_key[newest], after[newest])
    if motion is None:
        return ObjectShown(
            scene or Similarity(np.eye(3), np.zeros(3)), after, None, False, "too few of its points are left"
        )
    if motion.rms > _WARPED:
        why = f"its points no longer have its shape ({100 * motion.rms:.0f} cm off)"
        return ObjectShown(motion, after, None, False, why)
    behind = (motion.moved(at_key) - after)[:, :2]
    old = lag > 0
    velocity = None
    if _sweeps(lag) > 1:
        velocity = (lag[old, None] * behind[old]).sum(axis=0) / (lag[old] ** 2).sum()
    drift = np.zeros(2) if velocity is None else velocity
    left = behind - drift * lag[:, None]
    broken = bool(np.sqrt((left**2).sum(axis=1).mean()) > max(0.05, 3 * motion.rms))
    shown = after.copy()
    shown[:, :2] += drift * lag[:, None]
    return ObjectShown(motion, shown[newest] if broken else shown, velocity, False, "", broken)


def _sweeps(lag: np.ndarray) -> int:
    return len(np.unique(np.rint(lag / SWEEP_SECONDS)))


def _lags(world: World, tags: Tagged, points: np.ndarray) -> Lags:
    sweep = np.rint(world.lag[tags.before] / SWEEP_SECONDS).astype(int)
    after = points[tags.after, LAG]
    kept = np.unique(sweep)
    return Lags(kept * SWEEP_SECONDS, np.asarray([np.median(after[sweep == number]) for number in kept]))
