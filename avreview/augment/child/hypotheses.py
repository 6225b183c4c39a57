"""Ways to get a transform of the scene wrong, each with the words for it: A = rotation · flip · scale, and a shift.

What was done to the points is known (avreview.augment.child.similarity). A label that went elsewhere is compared with
where it would have gone had a part been left out, been done twice, or the wrong way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np

from avreview.augment.child.boxes import wrapped
from avreview.augment.child.similarity import Similarity

_NO_ANGLE, _NO_SCALE, _NO_SHIFT = np.radians(0.3), 0.003, 0.03  # what is less was not done
_FLIPS = {"": np.diag([1.0, 1.0, 1.0]), "y": np.diag([1.0, -1.0, 1.0]), "x": np.diag([-1.0, 1.0, 1.0])}
_FLIPS["x and y"] = _FLIPS["x"] @ _FLIPS["y"]
_MIRRORED = {"y": "x", "x": "y"}


class Parts(NamedTuple):
    """A similarity taken apart: flipped first (in the axis that `flip` names), then rotated, scaled and shifted."""

    flip: str
    angle: float
    scale: float
    shift: np.ndarray

    @property
    def done(self) -> list[str]:
        """What was done at all, as words for it."""
        found = [f"flipped in {self.flip}"] if self.flip else []
        found += ["rotated"] if abs(self.angle) > _NO_ANGLE else []
        found += ["scaled"] if abs(self.scale - 1) > _NO_SCALE else []
        return found + (["shifted"] if np.linalg.norm(self.shift) > _NO_SHIFT else [])


class Hypothesis(NamedTuple):
    """What a label would be: linear · before + shift. `words` say what went wrong (`was not rotated`)."""

    words: str
    linear: np.ndarray  # float[3, 3]
    shift: np.ndarray  # float[3]


def parts_of(motion: Similarity) -> list[Parts]:
    """The ways to take it apart: a flip in x is one in y with half a turn. The one with the smaller angle is first."""
    linear, scale = motion.linear, motion.scale
    if abs(abs(linear[2, 2]) - scale) > 0.02 * scale:
        return []  # tilted: no rotation about the vertical
    mirrors = bool(np.linalg.det(linear[:2, :2]) < 0)
    found = []
    for flip in ("y", "x") if mirrors else ("", "x and y"):
        turn = linear @ _FLIPS[flip]
        angle = float(wrapped(np.arctan2(turn[1, 0], turn[0, 0])))
        found.append(Parts(flip, angle, scale, motion.shift))
    return sorted(found, key=lambda parts: abs(parts.angle) + (0.01 if parts.flip == "x and y" else 0.0))


def hypotheses(motion: Similarity, *, of_points: bool) -> Iterator[Hypothesis]:
    """Every way to get it wrong, the plain ones first; `of_points` for what a shift moves, else it should not."""
    for parts in parts_of(motion)[:1]:
        yield from _every(parts, of_points)


def doubtful(motion: Similarity, *, of_points: bool) -> Iterator[Hypothesis]:
    """The same, had the motion been a flip in the other axis, and a rotation by half a turn more."""
    for parts in parts_of(motion)[1:]:
        yield from _every(parts, of_points)


def _every(parts: Parts, of_points: bool) -> Iterator[Hypothesis]:
    yield from _left_out(parts, of_points)
    yield from _wrong(parts, of_points)
    yield from _wrong_and_left_out(parts, of_points)


def _linear(flip: str, angle: float, scale: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    return np.asarray(scale * turn @ _FLIPS[flip])


def _left_out(parts: Parts, of_points: bool) -> Iterator[Hypothesis]:
    """One part, or several, were not done: all of them first, for a label left untouched is the plainest."""
    done = [word for word in parts.done if of_points or word != "shifted"]
    for many in (len(done), *range(1, len(done))) if done else ():
        for missing in combinations(done, many):
            yield Hypothesis(_said(done, missing), *_without(parts, missing, of_points))


def _said(done: list[str], missing: tuple[str, ...]) -> str:
    kept = [word for word in done if word not in missing]
    if not kept and len(done) > 1:
        return f"was left untouched (not {_and(missing, ' or ')})"
    lead = f"was {_and(kept, ' and ')} but " if kept and kept[0].startswith("flipped") else "was "
    return f"{lead}not {_and(missing, ' or ')}"


def _and(words: tuple[str, ...] | list[str], last: str) -> str:
    return last.join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def _without(parts: Parts, missing: tuple[str, ...], of_points: bool) -> tuple[np.ndarray, np.ndarray]:
    linear = _linear(
        "" if any(word.startswith("flipped") for word in missing) else parts.flip,
        0.0 if "rotated" in missing else parts.angle,
        1.0 if "scaled" in missing else parts.scale,
    )
    return linear, parts.shift if of_points and "shifted" not in missing else np.zeros(3)


def _wrong(parts: Parts, of_points: bool) -> Iterator[Hypothesis]:
    """A part was done, and wrongly."""
    flip, angle, scale, shift = parts
    kept = shift if of_points else np.zeros(3)
    done = parts.done
    if "rotated" in done:
        yield Hypothesis(
            "was rotated the wrong way (the rotation's sign is reversed)", _linear(flip, -angle, scale), kept
        )
        yield Hypothesis("was rotated twice", _linear(flip, 2 * angle, scale), kept)
        degrees = float(np.degrees(angle))
        yield Hypothesis("was rotated by the degrees taken as radians", _linear(flip, degrees, scale), kept)
    if "scaled" in done:
        yield Hypothesis("was scaled twice", _linear(flip, angle, scale**2), kept)
        yield Hypothesis("was divided by the scale instead of multiplied", _linear(flip, angle, 1 / scale), kept)
    if flip in _MIRRORED:
        other = _MIRRORED[flip]
        yield Hypothesis(f"was flipped in {other} instead of {flip}", _linear(other, angle, scale), kept)
    if "shifted" in done and of_points:
        yield Hypothesis("was shifted twice", _linear(flip, angle, scale), 2 * shift)
        yield Hypothesis("was shifted the wrong way", _linear(flip, angle, scale), -shift)
        if "scaled" in done:
            yield Hypothesis("was shifted before it was scaled", _linear(flip, angle, scale), scale * shift)
            yield Hypothesis("was scaled before it was shifted", _linear(flip, angle, scale), shift / scale)
    if "shifted" in done and not of_points:
        yield Hypothesis("was shifted as a place is (a velocity has none)", _linear(flip, angle, scale), shift)


def _wrong_and_left_out(parts: Parts, of_points: bool) -> Iterator[Hypothesis]:
    """Both: rotated the wrong way, and another part left out."""
    done = parts.done
    kept = parts.shift if of_points else np.zeros(3)
    if "rotated" not in done:
        return
    if parts.flip:
        words = f"was rotated the wrong way and not flipped in {parts.flip}"
        yield Hypothesis(words, _linear("", -parts.angle, parts.scale), kept)
    if "scaled" in done:
        yield Hypothesis("was rotated the wrong way and not scaled", _linear(parts.flip, -parts.angle, 1.0), kept)
