"""The picture of an augmentation at its worst seed, as data (avreview.augment.picture)."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.legs import Legs
from avreview.augment.child.observed import Observed
from avreview.augment.child.projection import project
from avreview.augment.child.sighted import Sighted
from avreview.augment.model import Sample
from avreview.augment.picture import POINTS, WIDTH

# What counts as large of each measure, to choose the worst seed by; what is a fault stands on the cards.
_LARGE = {
    "centre": 0.05, "dims": 0.01, "yaw": 1.0, "reprojection": 1.5, "map": 1.5, "velocity": 0.1, "heading": 2.0,
    "time": 0.01, "sequence": 0.15, "ego": 0.05, "tracks": 0.5, "keypoint": 1.5,
}  # fmt: skip
_SMALL = {"in_box": 0.02, "iou_2d": 0.1, "mask": 0.1}  # below 1


class Moment(NamedTuple):
    """One scene under one seed: what was given, what came back, and what it shows."""

    seed: int
    seen: Observed
    sighted: Sighted
    given: dict[str, Any]
    legs: Legs


class Worst:
    """The worst moment so far."""

    def __init__(self) -> None:
        self.moment: Moment | None = None
        self._measure, self._excess = "", -1.0

    def consider(self, moment: Moment, samples: dict[str, list[Sample]]) -> None:
        measure, excess = worst_measure(samples, moment.seed)
        if excess > self._excess:
            self.moment, self._measure, self._excess = moment, measure, excess

    def picture(self, panels: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if self.moment is None or not panels:
            return None
        return {"seed": self.moment.seed, "measure": self._measure, "panels": list(panels)}


def worst_measure(samples: dict[str, list[Sample]], seed: int) -> tuple[str, float]:
    """The measure that is farthest off under a seed, and how far, 1 being large."""
    found = ("", 0.0)
    for name, entries in samples.items():
        values = [entry.value for entry in entries if entry.seed == seed]
        if not values or (name not in _LARGE and name not in _SMALL):
            continue
        excess = max(values) / _LARGE[name] if name in _LARGE else (1 - min(values)) / _SMALL[name]
        if not excess <= found[1]:
            found = name, excess if np.isfinite(excess) else 1e9
    return found


def bev_panels(moment: Moment | None) -> list[dict[str, Any]]:
    """Before and after, seen from above."""
    if moment is None or (moment.seen.points is None and moment.seen.boxes is None):
        return []
    world, seen = moment.seen.world, moment.seen
    before = _bev("before", world.points, world.boxes, [(box[:2], box[7:9]) for box in world.boxes])
    shown = []
    for thing, entry in seen.objects.items():
        if entry.velocity is not None and not entry.why:
            shown.append((entry.motion.moved(world.boxes[thing, None, :3])[0, :2], entry.velocity))
    return [before, _bev("after", seen.points, seen.boxes, shown)]


def _bev(name: str, points: np.ndarray | None, boxes: np.ndarray | None, shown: Any) -> dict[str, Any]:
    panel: dict[str, Any] = {"kind": "bev", "name": name}
    if points is not None:
        step = max(1, -(-len(points) // POINTS))
        panel["points"] = _numbers(points[::step, :2], 2)
    if boxes is not None:
        panel["boxes"] = _numbers(boxes[:, [0, 1, 3, 4, 6]], 3)
        if boxes.shape[1] >= 9:
            panel["labels"] = _numbers(boxes[:, [0, 1, 7, 8]], 3)
    panel["shown"] = _numbers(np.asarray([np.concatenate(pair) for pair in shown]).reshape(-1, 4), 3)
    return panel


def image_panels(moment: Moment | None) -> list[dict[str, Any]]:
    """The camera that is farthest off, before and after, with what the matrices say against what was found."""
    images = None if moment is None else moment.seen.out.get("images")
    if moment is None or not images or not moment.sighted.pixels or not moment.legs.shown:
        return []
    off = [
        np.nan_to_num(np.nanmax(np.linalg.norm(shown - pixels, axis=1), initial=0.0))
        for shown, pixels in zip(moment.legs.shown, moment.sighted.pixels, strict=True)
    ]
    camera = int(np.argmax(off))
    world = moment.seen.world
    right, _ = project(world.scene["lidar2img"][camera], world.points[world.marked[camera] - world.first_tag, :3])
    boxes = moment.seen.out.get("boxes2d") if camera == 0 else None
    return [
        image_panel("before", moment.given["images"][camera], right, world.places[camera],
                    world.scene["boxes2d"] if camera == 0 else None),
        image_panel("after", images[camera], moment.legs.shown[camera], moment.sighted.pixels[camera], boxes),
    ]  # fmt: skip


def image_panel(
    name: str, image: np.ndarray, labels: np.ndarray, markers: np.ndarray, boxes: np.ndarray | None = None
) -> dict[str, Any]:
    """One image, scaled down to WIDTH with everything in it."""
    step = max(1, -(-image.shape[1] // WIDTH))
    pixels = _as_bytes(image)[::step, ::step]
    both = np.isfinite(labels).all(axis=1) & np.isfinite(markers).all(axis=1)
    panel = {
        "kind": "image", "name": name, "width": pixels.shape[1], "height": pixels.shape[0],
        "png": base64.b64encode(png(pixels)).decode(),
        "labels": _numbers(np.clip(labels[both] / step, -1e4, 1e4), 1),
        "markers": _numbers(markers[both] / step, 1),
    }  # fmt: skip
    if boxes is not None:
        panel["boxes"] = _numbers(np.asarray(boxes, dtype=np.float64)[:, :4] / step, 1)
    return panel


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3] of an image in any type and range."""
    shown = np.nan_to_num(np.asarray(image, dtype=np.float32))
    shown = shown[..., None] if shown.ndim == 2 else shown
    shown = np.repeat(shown, 3, axis=2) if shown.shape[2] < 3 else shown[..., :3]
    if image.dtype.kind == "f" and (shown.min() < 0 or shown.max() <= 1.5 or shown.max() > 256):
        low, high = float(shown.min()), float(shown.max())
        shown = (shown - low) * (255.0 / max(high - low, 1e-9))
    return np.clip(shown, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8[H, W, 3], with the standard library alone."""
    height, width = pixels.shape[:2]
    flat = pixels.reshape(height, width * 3) & 0xF8  # in 32 levels, as differences from the row above: half the size
    above = np.concatenate([np.zeros((1, width * 3), np.uint8), flat[:-1]])
    rows = np.concatenate([np.full((height, 1), 2, np.uint8), flat - above], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _numbers(values: np.ndarray, digits: int) -> list[list[float]]:
    found = np.asarray(values, dtype=np.float64)
    return [[round(float(value), digits) for value in row] for row in found[np.isfinite(found).all(axis=1)]]
