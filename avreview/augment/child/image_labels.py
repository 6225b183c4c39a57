"""Boxes, masks and keypoints that an augmentation gave back, against what its image shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.image_scenes import KEYPOINTS, PAIRS
from avreview.augment.child.image_truth import Range, Truth, overlap
from avreview.augment.scene import Scene

LEAST_SEEN = 6  # px of an object: less is a sliver whose box is all rounding
BEHIND = 1.0  # px from the border within which a keypoint may have been cut off or pushed back
FINE = 0.9  # overlap from which nothing needs an explanation
NEAR = 1.5  # px, the same of a keypoint


class Unjudgeable(Exception):  # noqa: N818 - the labels say too little
    """Labels that cannot be matched with their objects; the text says why."""


class Box(NamedTuple):
    """One box given back: of which object, as it is, and how much of a right box it is."""

    thing: int
    raw: np.ndarray
    right: Range | None  # None where the image tells nothing of it
    overlap: float
    name_fits: bool


class Mask(NamedTuple):
    thing: int
    inside: np.ndarray  # bool[H, W]
    overlap: float
    soft: float  # the share of its pixels that are neither 0 nor its highest value


class Keypoint(NamedTuple):
    number: int
    given: np.ndarray
    expected: np.ndarray
    apart: float  # px of the original where the image was enlarged


def boxes_of(truth: Truth, out: Scene, grow: float) -> list[Box]:
    """Every box given back. Raises Unjudgeable."""
    found = []
    for place, (thing, raw) in enumerate(_matched(truth, out)):
        names = out.get("boxes2d_names")
        fits = names is None or len(names) <= place or str(names[place]) == truth.scene["boxes2d_names"][thing]
        judged = truth.warp is not None and not void(raw) and truth.seen(thing).sum() >= LEAST_SEEN
        right = truth.range(thing, grow) if judged else None
        value = float("nan")
        if right is not None:
            given = truth.clipped(raw)
            value = overlap(given, right.nearest(given, truth.slack)) if np.isfinite(raw).all() else 0.0
        found.append(Box(thing, raw, right, value, fits))
    return _without_copies(found)


def _without_copies(boxes: list[Box]) -> list[Box]:
    """One box an object, the best: a border filled by reflection shows objects again, and some libraries box them."""
    best: dict[int, Box] = {}
    for box in boxes:
        other = best.get(box.thing)
        if other is None or np.nan_to_num(box.overlap, nan=-1) > np.nan_to_num(other.overlap, nan=-1):
            best[box.thing] = box
    return list(best.values())


def void(box: np.ndarray) -> bool:
    """Whether a box has no area at all: marked as none, for a later step to drop (SanitizeBoundingBoxes does)."""
    return bool((box[2:] == box[:2]).any())


def _matched(truth: Truth, out: Scene) -> Iterator[tuple[int, np.ndarray]]:
    boxes = np.asarray(out["boxes2d"], dtype=np.float64).reshape(-1, 4)
    count, ids = len(truth.scene["masks"]), _ids(out)
    if ids is None:
        if len(boxes) != count:
            raise Unjudgeable(f"of {count} boxes {len(boxes)} came back without boxes2d_ids to tell which")
        ids = np.arange(count)
    if len(ids) != len(boxes):
        raise Unjudgeable(f"{len(boxes)} boxes came back with {len(ids)} boxes2d_ids")
    known = (ids >= 0) & (ids < count) & (ids == np.rint(ids))
    if not known.all():
        raise Unjudgeable("boxes2d_ids came back that no object has")
    for thing, box in zip(ids.astype(int), boxes, strict=True):
        yield int(thing), box


def _ids(out: Scene) -> np.ndarray | None:
    ids = out.get("boxes2d_ids")
    try:
        return None if ids is None else np.nan_to_num(np.asarray(ids, dtype=np.float64).reshape(-1), nan=-1)
    except (TypeError, ValueError):
        raise Unjudgeable("boxes2d_ids came back that are no numbers") from None


def masks_of(truth: Truth, out: Scene) -> list[Mask]:
    """Every mask given back whose object the image shows; there must be a map. Raises Unjudgeable."""
    masks = _stacked(out["masks"], truth.size)
    count, ids = len(truth.scene["masks"]), _ids(out)
    if len(masks) == count:
        things: Sequence[int] = range(count)
    elif ids is not None and len(ids) == len(masks) and ((ids >= 0) & (ids < count)).all():
        things = ids.astype(int).tolist()
    else:
        raise Unjudgeable(f"of {count} masks {len(masks)} came back without boxes2d_ids to tell which")
    seen = [(thing, mask) for thing, mask in zip(things, masks, strict=True) if truth.seen(thing).sum() >= LEAST_SEEN]
    return [_mask(truth, thing, mask) for thing, mask in seen]


def _stacked(value: Any, size: tuple[int, int]) -> np.ndarray:
    try:
        masks = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise Unjudgeable("masks came back that are no array of numbers") from None
    masks = masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks
    if masks.ndim == 3 and masks.shape[1:] == size:
        return masks
    shape = "×".join(map(str, masks.shape))
    raise Unjudgeable(f"masks of the shape {shape} came back with an image of {size[0]}×{size[1]}")


def _mask(truth: Truth, thing: int, mask: np.ndarray) -> Mask:
    """What must be inside is what is seen, what may be is where the map puts the object; an edge of slack is free."""
    top = float(mask.max())
    inside, soft = mask > max(top, 0) / 2, (mask > 0) & (mask < top)
    placed = truth.inside(thing)
    steps = int(np.ceil(truth.slack))
    missing = _shrunk(truth.seen(thing) & placed, steps) & ~inside
    extra = inside & ~_grown(placed | truth.seen(thing), steps)  # a mirrored border shows it twice
    hit = float((inside & ~extra).sum() - soft.sum())
    value = max(hit, 0.0) / max(hit + float(missing.sum() + extra.sum() + 2 * soft.sum()), 1.0)
    return Mask(
        thing, inside, value if hit > 0 or missing.any() else 1.0, float(soft.sum()) / max(float((mask > 0).sum()), 1.0)
    )


def _grown(inside: np.ndarray, steps: int) -> np.ndarray:
    """Wider by so many pixels on every side."""
    for _ in range(steps):
        wide = inside.copy()
        wide[1:] |= inside[:-1]
        wide[:-1] |= inside[1:]
        inside = wide.copy()
        inside[:, 1:] |= wide[:, :-1]
        inside[:, :-1] |= wide[:, 1:]
    return inside


def _shrunk(inside: np.ndarray, steps: int) -> np.ndarray:
    return ~_grown(~inside, steps)


def keypoints_of(truth: Truth, out: Scene) -> list[Keypoint]:
    """Every keypoint that lies in the image, and is not NaN; there must be a map. Raises Unjudgeable.

    A library may count from the middle of the first pixel or from its corner, and may exchange left and right where
    it mirrors: whichever of these fits best is taken for all of them.
    """
    assert truth.warp is not None
    before = np.asarray(truth.scene["keypoints"], dtype=np.float64)
    try:
        given = np.asarray(out["keypoints"], dtype=np.float64)
    except (TypeError, ValueError):
        raise Unjudgeable("keypoints came back that are no array of numbers") from None
    if given.shape != before.shape:
        shape = "×".join(map(str, given.shape))
        raise Unjudgeable(f"keypoints of the shape {shape} came back for {len(before)}")
    centred = truth.warp(before)
    cornered = truth.warp(before - 0.5) + 0.5
    orders = [np.arange(len(before))]
    if truth.warp.mirrors:
        orders.append(exchanged(len(before)))
    readings = [_keypoints(truth, given, expected[order]) for expected in (centred, cornered) for order in orders]
    return min(readings, key=lambda reading: float(np.mean([min(point.apart, 50.0) for point in reading] or [0.0])))


def exchanged(count: int) -> np.ndarray:
    """The order of keypoints with left and right exchanged in every object."""
    order = np.arange(count)
    for left, right in PAIRS:
        order[left :: len(KEYPOINTS)], order[right :: len(KEYPOINTS)] = (
            order[right :: len(KEYPOINTS)].copy(), order[left :: len(KEYPOINTS)].copy()
        )  # fmt: skip
    return order


def _keypoints(truth: Truth, given: np.ndarray, expected: np.ndarray) -> list[Keypoint]:
    assert truth.warp is not None
    inner = np.array([truth.size[1], truth.size[0]]) - 1 - BEHIND * max(1.0, truth.warp.scale)
    within = ((expected >= BEHIND) & (expected <= inner)).all(axis=1) & ~np.isnan(given).any(axis=1)
    scale, spread = max(1.0, truth.warp.scale), 2 * truth.warp.off  # what the map itself leaves open
    apart = np.maximum(np.hypot(*(given - expected).T) - spread, 0) / scale
    return [Keypoint(int(at), given[at], expected[at], float(apart[at])) for at in np.flatnonzero(within)]
