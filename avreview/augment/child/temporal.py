"""From frame to frame: velocity labels against the labels' own motion, and the poses against what stands still."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.hypotheses import hypotheses
from avreview.augment.child.observed import Observed
from avreview.augment.child.similarity import Similarity
from avreview.augment.child.tally import Tally
from avreview.augment.model import Sample

_NOTICED = 0.05  # m/s and m
_NO_TIME = 1e-6  # s
_FITS = 0.02  # m


class Frame(NamedTuple):
    """A returned frame, and which of the given ones it is."""

    number: int
    seen: Observed

    @property
    def pose(self) -> np.ndarray | None:
        pose: Any = self.seen.out.get("ego2global")
        return pose if pose is not None and pose.shape == (4, 4) and np.isfinite(pose).all() else None

    @property
    def true_time(self) -> float:
        return float(self.seen.world.scene["timestamp"])

    @property
    def name(self) -> str:
        return f"frame {self.number}"


def _pairs(frames: Sequence[Frame]) -> Iterator[tuple[Frame, Frame]]:
    return itertools.pairwise(frames)


def measure_ego(frames: Sequence[Frame], seed: int, tally: Tally) -> None:
    """How far apart two frames' poses put the same standing points of the world."""
    if any(frame.pose is None for frame in frames) or len(frames) < 2:
        tally.unjudged("ego", "fewer than two frames came back with an ego2global")
        return
    for one, other in _pairs(frames):
        first, second = _landmarks(one.seen), _landmarks(other.seen)
        common = sorted(set(first) & set(second))
        if len(common) < 5:
            few = "too few standing points are left in two frames"
            tally.unjudged("ego", one.seen.tags.why or other.seen.tags.why or few)
            continue
        apart = _global(one, [first[key] for key in common]) - _global(other, [second[key] for key in common])
        value = float(np.median(np.linalg.norm(apart, axis=1)))
        words = _pose_words(other, second) or _pose_words(one, first) if value > _NOTICED else ""
        tally.add("ego", Sample(seed, f"frames {one.number} and {other.number}", value, 0.0, words))


def _landmarks(seen: Observed) -> dict[int, np.ndarray]:
    if seen.points is None:
        return {}
    marks = seen.world.landmarks[seen.tags.before]
    return {int(mark): seen.points[row, :3] for mark, row in zip(marks, seen.tags.after, strict=True) if mark >= 0}


def _global(frame: Frame, places: Sequence[np.ndarray]) -> np.ndarray:
    assert frame.pose is not None
    found: np.ndarray = np.asarray(places) @ frame.pose[:3, :3].T + frame.pose[:3, 3]
    return found


def _pose_words(frame: Frame, landmarks: dict[int, np.ndarray]) -> str:
    """Which wrong product the returned pose is; right is G · A⁻¹."""
    motion, pose = frame.seen.scene, frame.pose
    before = np.asarray(frame.seen.world.scene["ego2global"])
    if motion is None or pose is None or motion.is_identity:
        stayed = pose is None or np.allclose(pose, before)
        return "" if stayed else "the pose was changed, and the points were not"
    places = np.asarray(list(landmarks.values()))
    for words, guess in _pose_guesses(before, motion):
        off = places @ (guess - pose)[:3, :3].T + (guess - pose)[:3, 3]
        if float(np.linalg.norm(off, axis=1).max()) < _FITS:
            return words
    return ""


def _pose_guesses(before: np.ndarray, motion: Similarity) -> Iterator[tuple[str, np.ndarray]]:
    whole = motion.matrix
    back = np.linalg.pinv(whole)
    yield "ego2global is that of before: the transform of the frame is not in it", before
    if np.allclose(before @ back, before):
        return
    yield "ego2global was multiplied by the transform instead of its inverse", before @ whole
    yield "ego2global was multiplied on the wrong side", back @ before
    yield "ego2global was multiplied on the wrong side, and not by the inverse", whole @ before
    for guess in hypotheses(motion, of_points=True):
        wrong = Similarity(guess.linear, guess.shift).matrix
        yield f"in ego2global the transform of the frame {guess.words}", before @ np.linalg.pinv(wrong)


def measure_sequence(frames: Sequence[Frame], seed: int, tally: Tally) -> None:
    """Velocity labels against the way that the labels' centres go from frame to frame, in the world."""
    if len(frames) < 2 or any(frame.pose is None for frame in frames):
        tally.unjudged("sequence", "fewer than two frames came back with an ego2global")
        return
    if any(frame.seen.out.get("timestamp") is None for frame in frames):
        tally.unjudged("sequence", "the frames came back without their timestamp")
        return
    if any(frame.seen.boxes is None or frame.seen.boxes.shape[1] < 9 for frame in frames):
        tally.unjudged("sequence", "the frames came back without velocities in gt_boxes")
        return
    for one, other in _pairs(frames):
        _between(one, other, seed, tally)


def _between(one: Frame, other: Frame, seed: int, tally: Tally) -> None:
    first, second = _by_thing(one), _by_thing(other)
    seconds = _time(other) - _time(one)
    for thing in sorted(set(first) & set(second)):
        ways = _global(other, [second[thing][:3]]) - _global(one, [first[thing][:3]])
        assert one.pose is not None
        label = one.pose[:2, :2] @ first[thing][7:9]
        shown = ways[0, :2] / max(abs(seconds), _NO_TIME)  # a list is read in its order, whatever the timestamps
        value = min(float(np.linalg.norm(label - shown)), 1e4)
        words = _time_words(one, other, seconds, label, ways[0, :2]) if value > _NOTICED else ""
        entity = f"{one.seen.world.name(thing)}, to frame {other.number}"
        tally.add("sequence", Sample(seed, entity, value, float(np.linalg.norm(shown)), words))


def _time(frame: Frame) -> float:
    return float(frame.seen.out["timestamp"])


def _by_thing(frame: Frame) -> dict[int, np.ndarray]:
    boxes = frame.seen.boxes
    assert boxes is not None
    return {int(thing): boxes[row] for row, thing in enumerate(frame.seen.things) if thing >= 0}


def _time_words(one: Frame, other: Frame, seconds: float, label: np.ndarray, way: np.ndarray) -> str:
    """Whether the time between the frames is what is wrong: with the true one the label would be right."""
    true = other.true_time - one.true_time
    if other.number < one.number:
        return "the frames are in reverse order, and the velocities are those of before"
    slack = max(0.1, 0.02 * float(np.linalg.norm(label)))
    fits = abs(true) > _NO_TIME and float(np.linalg.norm(label - way / true)) < slack
    if fits and seconds < 0 < true:
        return "the timestamps run backwards"
    if fits and abs(seconds) <= _NO_TIME:
        return "two frames have the same timestamp"
    if fits and other.number - one.number > 1:
        return (
            f"{other.number - one.number - 1} of the frames between were dropped, and the timestamps are "
            f"{seconds:.3g} s apart, where {true:.3g} s lie between"
        )
    if fits:
        return f"the timestamps are {seconds:.3g} s apart, and what they show is {true:.3g} s apart"
    if np.linalg.norm(label) > _NOTICED and np.linalg.norm(label / (seconds / true) - way / seconds) < 0.1:
        return "the velocities were scaled by the change of the frame rate, and the timestamps were not"
    stale = one.seen.scene is not None and not one.seen.scene.is_identity
    return _pose_words(one, _landmarks(one.seen)) if stale else ""
