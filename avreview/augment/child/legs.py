"""The images against points, boxes and matrices: reprojection, and the legs that tell which of them is the odd one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.boxes import body_of, placed
from avreview.augment.child.driving import World
from avreview.augment.child.explain_matrices import explain_matrices
from avreview.augment.child.observed import Observed
from avreview.augment.child.projection import Cameras, cameras_of, image_motion, matrices_of, not_finite, project
from avreview.augment.child.sighted import Sighted
from avreview.augment.child.similarity import IDENTITY, Similarity, of_boxes
from avreview.augment.child.tally import Tally
from avreview.augment.model import Sample

_USUAL = 80  # percentile over a camera's markers that stands for the camera: one that was misread does not
_NOTICED = 1.2  # px
_BEHIND = 1e5  # px: where what is behind the camera is put, as far off as can be


class Legs(NamedTuple):
    """How far points and images, and boxes and images, are apart under one seed: px, None where it cannot be said.

    `shown[c]` is where the matrices put each marker's point, float[K, 2], NaN where it has none.
    """

    points_images: float | None
    boxes_images: float | None
    shown: list[np.ndarray]


def measure_images(seen: Observed, sighted: Sighted, seed: int, tally: Tally) -> Legs:
    """Reprojection by points where there are any, else by boxes, else by the places that nothing has moved."""
    world = seen.world
    nothing = Legs(None, None, [])
    if sighted.none_given:
        return nothing
    cameras = cameras_of(seen.out, len(world.places))
    if sighted.why or cameras is None:
        if not sighted.why and not_finite(seen.out.get("lidar2img")):
            words = "lidar2img holds what is no number"
            tally.add("reprojection", Sample(seed, "camera 0", math.nan, 0.0, words))
            return nothing
        why = sighted.why or f"the augmentation returned no lidar2img of {len(world.places)} cameras"
        tally.unjudged("reprojection", why)
        return nothing
    by_boxes = _by_boxes(seen, cameras, sighted)
    points = _places_of_points(seen)
    if points is None and seen.boxes is None:
        points = [world.points[tags - world.first_tag, :3] for tags in world.marked]
    by_points = None if points is None else _projected(cameras, points)
    shown = by_points if by_points is not None else by_boxes
    if shown is None:
        tally.unjudged("reprojection", "neither points nor boxes were left to project")
        return nothing
    words = _words(seen, cameras, sighted, shown)
    for camera, (wanted, pixels) in enumerate(zip(shown, sighted.pixels, strict=True)):
        value = _usual(wanted, pixels)
        if value is not None:
            said = words if value > _NOTICED else ""
            tally.add("reprojection", Sample(seed, f"camera {camera}", value, 0.0, said))
    _intrinsics(seen, sighted, seed, tally)
    legs = [None if each is None else _overall(each, sighted) for each in (by_points, by_boxes)]
    return Legs(legs[0], legs[1], shown)


def _places_of_points(seen: Observed) -> list[np.ndarray] | None:
    """Where the marked points are in the returned scene, float[K, 3] for each camera, NaN for what was dropped."""
    if seen.points is None or not len(seen.tags.before):
        return None
    where = np.full((len(seen.world.owner), 3), np.nan)
    where[seen.tags.before] = seen.points[seen.tags.after, :3]
    return [where[tags - seen.world.first_tag] for tags in seen.world.marked]


def _by_boxes(seen: Observed, cameras: Cameras, sighted: Sighted) -> list[np.ndarray] | None:
    """Where the returned boxes put the marked points of their objects. A mirrored object fits its box as well."""
    if seen.boxes is None:
        return None
    rows = {int(thing): row for row, thing in enumerate(seen.things) if thing >= 0}
    both = []
    for side in (1.0, -1.0):
        places = []
        for tags in seen.world.marked:
            place = np.full((len(tags), 3), np.nan)
            for index, tag in enumerate(tags - seen.world.first_tag):
                thing = int(seen.world.owner[tag])
                if thing in rows:
                    place[index] = _in_box(seen.world, thing, int(tag), seen.boxes[rows[thing]], side)
            places.append(place)
        both.append(_projected(cameras, places))
    return min(both, key=lambda each: _overall(each, sighted) or np.inf)


def _in_box(world: World, thing: int, tag: int, box: np.ndarray, side: float) -> np.ndarray:
    before = world.boxes[thing]
    body = body_of(before, world.at_key[tag][None]) * (box[3:6] / before[3:6]) * np.array([1.0, side, 1.0])
    return np.asarray(placed(box, body)[0])


def _projected(cameras: Cameras, places: list[np.ndarray]) -> list[np.ndarray]:
    found = []
    for camera, place in enumerate(places):
        pixels, depth = cameras.project(camera, np.nan_to_num(place))
        pixels = np.clip(pixels, -_BEHIND, _BEHIND)
        pixels[depth <= 0] = _BEHIND
        pixels[~np.isfinite(place).all(axis=1)] = np.nan
        found.append(pixels)
    return found


def _apart(wanted: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    off = np.linalg.norm(wanted - pixels, axis=1)
    return np.asarray(off[np.isfinite(off)])


def _usual(wanted: np.ndarray, pixels: np.ndarray) -> float | None:
    off = _apart(wanted, pixels)
    return float(np.percentile(off, _USUAL)) if len(off) >= 2 else None


def _overall(wanted: list[np.ndarray], sighted: Sighted) -> float | None:
    off = np.concatenate([_apart(one, other) for one, other in zip(wanted, sighted.pixels, strict=True)])
    return float(np.median(off)) if len(off) >= 3 else None


def scene_motion(seen: Observed) -> Similarity:
    """How the scene moved: as its points show, else as its boxes do, else not at all."""
    if seen.scene is not None:
        return seen.scene
    if seen.boxes is not None and (known := seen.things >= 0).sum() >= 4:
        found = of_boxes(seen.world.boxes[seen.things[known]], seen.boxes[known])
        if found is not None:
            return found
    return IDENTITY


def _words(seen: Observed, cameras: Cameras, sighted: Sighted, shown: list[np.ndarray]) -> str:
    """What explains the first camera that is far off."""
    for camera, (wanted, pixels) in enumerate(zip(shown, sighted.pixels, strict=True)):
        value = _usual(wanted, pixels)
        if value is None or value <= _NOTICED:
            continue
        points = _places_of_points(seen) if seen.scene is not None else None
        motion = scene_motion(seen)
        tags = seen.world.marked[camera] - seen.world.first_tag
        place = motion.moved(seen.world.points[tags, :3]) if points is None else points[camera]
        image = image_motion(seen.world.places[camera], pixels)
        words = explain_matrices(seen.world, camera, cameras, motion, image, place, sighted.untouched)
        if words:
            return words
    return ""


def _intrinsics(seen: Observed, sighted: Sighted, seed: int, tally: Tally) -> None:
    """Returned intrinsics against the images: K moves with the image, and with nothing else."""
    intrinsics = matrices_of(seen.out, "intrinsics", len(seen.world.places))
    if intrinsics is None or seen.out.get("img_aug_matrix") is not None:
        return
    for camera, (tags, pixels) in enumerate(zip(seen.world.marked, sighted.pixels, strict=True)):
        places = seen.world.points[tags - seen.world.first_tag, :3]
        wanted, _ = project(intrinsics[camera] @ seen.world.extrinsics[camera], places)
        value = _usual(wanted, pixels)
        if value is None:
            continue
        stale = np.allclose(intrinsics[camera], seen.world.scene["intrinsics"][camera], atol=1e-3)
        words = "the intrinsics are those of before: the image's transform is not in them" if stale else ""
        if sighted.untouched and not stale:
            words = "the images were left untouched while the intrinsics changed"
        words = words or _intrinsics_words(seen, camera, intrinsics[camera], pixels)
        said = words if value > _NOTICED else ""
        tally.add("reprojection", Sample(seed, f"camera {camera} (intrinsics)", value, 0.0, said))


def _intrinsics_words(seen: Observed, camera: int, returned: np.ndarray, pixels: np.ndarray) -> str:
    from avreview.augment.child.explain_matrices import explain_pixels

    image = image_motion(seen.world.places[camera], pixels)
    if image is None:
        return ""
    places = seen.world.points[seen.world.marked[camera] - seen.world.first_tag, :3]
    shown, _ = project(returned @ seen.world.extrinsics[camera], places)
    words = explain_pixels(seen.world, camera, image, seen.world.places[camera], shown)
    return f"the intrinsics {words}" if words else ""


def motion_in(world: World, sighted: Sighted, camera: int) -> np.ndarray | None:
    """float[3, 3] of what happened to one image; None where it was warped, or too little is to be seen of it."""
    if sighted.why or not sighted.pixels:
        return None
    return image_motion(world.places[camera], sighted.pixels[camera])


def measure_boxes2d(seen: Observed, sighted: Sighted, seed: int, tally: Tally) -> None:
    """2-D boxes in the first image, against where that image's transform puts their corners."""
    boxes: Any = seen.out.get("boxes2d")
    if boxes is None or sighted.none_given or not len(seen.world.scene["boxes2d"]):
        return
    rows = _rows2d(seen, len(boxes))
    image = motion_in(seen.world, sighted, 0)
    if rows is None or image is None:
        why = "the image was warped, or too little of it is left to see where it went"
        tally.unjudged("iou_2d", sighted.why or (why if image is None else "boxes2d come back without their ids"))
        return
    height, width = seen.out["images"][0].shape[:2]
    for row, box in zip(rows, boxes, strict=True):
        if row < 0:
            continue
        whole = _around(seen.world.scene["boxes2d"][row], image)
        there = np.concatenate([np.maximum(whole[:2], 0), np.minimum(whole[2:], (width, height))])
        share = _area(there) / max(_area(whole), 1e-6)
        name = f"the 2-D box of {seen.world.scene['boxes2d_names'][row]} {seen.world.scene['boxes2d_ids'][row]}"
        tally.add(
            "visible", Sample(seed, name, share, 0.0, "" if share > 0 else "it was cropped away, and the box left")
        )
        if share > 0:
            overlap = max(_iou(box, whole), _iou(box, there))
            same = np.allclose(box, seen.world.scene["boxes2d"][row], atol=0.5)
            words = "the 2-D box was left untouched" if overlap < 0.98 and same else ""
            tally.add("iou_2d", Sample(seed, name, overlap, 0.0, words))


def _rows2d(seen: Observed, count: int) -> list[int] | None:
    ids = [int(number) for number in seen.world.scene["boxes2d_ids"]]
    after = seen.out.get("boxes2d_ids")
    if after is not None and len(after) == count:
        return [ids.index(int(number)) if int(number) in ids else -1 for number in after]
    return list(range(count)) if count == len(ids) else None


def _around(box: np.ndarray, motion: np.ndarray) -> np.ndarray:
    from avreview.augment.child.projection import moved_pixels

    corners = np.array([[box[0], box[1]], [box[2], box[1]], [box[0], box[3]], [box[2], box[3]]], dtype=np.float64)
    moved = moved_pixels(motion, corners)
    return np.concatenate([moved.min(axis=0), moved.max(axis=0)])


def _area(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    both = np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:4], other[2:4])])
    common = _area(both)
    return common / max(_area(np.asarray(one)) + _area(other) - common, 1e-9)
