"""Who is who after an augmentation: points by their tags, boxes by their shape, their track ids or their place."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.driving import World
from avreview.augment.scene import TAG

_SHAPE = 0.004  # relative difference of the ratios of length, width and height, under which shapes are the same
UNKNOWN = -1


class Tagged(NamedTuple):
    """Rows of the points before and after that are the same point; `why` says why none are known."""

    before: np.ndarray
    after: np.ndarray
    why: str = ""


def tagged(world: World, points: np.ndarray | None) -> Tagged:
    """The points of a world that are left, by their tags. A tag that came back twice is of no use."""
    nothing = np.empty(0, dtype=np.int64)
    if points is None:
        return Tagged(nothing, nothing, "the augmentation returned no points")
    if points.ndim != 2 or points.shape[1] <= TAG:
        shape = "×".join(map(str, points.shape))
        return Tagged(
            nothing, nothing,
            f"the points come back as {shape}, without their tag; keep all six columns (x, y, z, intensity, lag, tag) "
            "through the augmentation: those it does not use are to be carried",
        )  # fmt: skip
    tags = points[:, TAG] - world.first_tag
    numbers = np.rint(np.nan_to_num(tags, nan=-1, posinf=-1, neginf=-1)).astype(np.int64)
    valid = (np.abs(tags - numbers) < 0.01) & (numbers >= 0) & (numbers < len(world.owner))
    counts = np.bincount(numbers[valid], minlength=len(world.owner))
    once = valid & (counts[np.clip(numbers, 0, len(world.owner) - 1)] == 1)
    after = np.flatnonzero(once)
    if len(after) < 0.5 * valid.sum():
        return Tagged(nothing, nothing, "most points came back twice: mixed or copied scenes cannot be told apart")
    if not len(after):
        why = "no point was left" if not len(points) else (
            "the column with the points' tags was changed; carry the sixth column of the points unchanged"
        )  # fmt: skip
        return Tagged(nothing, nothing, why)
    return Tagged(numbers[after], after)


def same_boxes(world: World, out: dict[str, Any], expected: dict[int, np.ndarray]) -> np.ndarray:
    """int[M]: which object each returned box is of, or UNKNOWN; `expected` is where each object's points put it."""
    boxes = np.asarray(out["gt_boxes"], dtype=np.float64)
    by_shape = _by_shape(world.boxes, boxes)
    if by_shape is not None:
        return by_shape
    by_id = _by_id(world.scene["track_ids"], out.get("track_ids"), len(boxes))
    if by_id is not None:
        return by_id
    names = out.get("gt_names")
    if len(boxes) == len(world.boxes) and (names is None or list(map(str, names)) == list(world.scene["gt_names"])):
        return np.arange(len(boxes))
    return _by_place(boxes, expected)


def _by_shape(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """By the ratios of their sizes, which scaling leaves; None unless nearly all are told by them."""
    one, other = _ratios(before), _ratios(after)
    if not len(other):
        return np.empty(0, dtype=np.int64)
    apart = np.abs(other[:, None] / one[None] - 1).max(axis=2)
    found = np.where(apart.min(axis=1) < _SHAPE, apart.argmin(axis=1), UNKNOWN)
    known = found[found >= 0]
    if len(known) < 0.5 * len(after) or len(set(known.tolist())) < len(known):
        return None
    return np.asarray(found)


def _ratios(boxes: np.ndarray) -> np.ndarray:
    size = np.maximum(np.abs(np.nan_to_num(boxes[:, 3:6])), 1e-6)
    return np.asarray(size[:, [0, 2]] / size[:, [1]])


def _by_id(before: np.ndarray, after: Any, count: int) -> np.ndarray | None:
    if after is None or len(after) != count or len(set(map(int, after))) != count:
        return None
    rows = {int(number): row for row, number in enumerate(before)}
    found = np.asarray([rows.get(int(number), UNKNOWN) for number in after], dtype=np.int64)
    return found if (found >= 0).any() else None


def _by_place(boxes: np.ndarray, expected: dict[int, np.ndarray]) -> np.ndarray:
    """The nearest pairs first."""
    found = np.full(len(boxes), UNKNOWN)
    if not expected or not len(boxes):
        return found
    things = np.asarray(list(expected))
    apart = np.linalg.norm(boxes[:, None, :3] - np.asarray(list(expected.values()))[None], axis=2)
    for flat in np.argsort(apart, axis=None):
        row, column = divmod(int(flat), len(things))
        if found[row] == UNKNOWN and things[column] not in found:
            found[row] = things[column]
    return found
