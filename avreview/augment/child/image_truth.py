"""What an augmentation really did to an image and its objects under one seed, as its coded images show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from avreview.augment.child.image_scenes import GRIDS, Stage, box_of
from avreview.augment.child.markers import labelled, sightings
from avreview.augment.child.warps import Warp, warp_of
from avreview.augment.scene import Scene

Images = Callable[[Sequence[np.ndarray]], list[np.ndarray]]  # the same seed on each of these images of a scene
ENOUGH = 12  # markers on which no map agrees: another grid would not help
SPECK = 16  # px of an object, as a whole: less can vanish by resizing alone
SLACK = 1.5  # px a side of a box may be off by rounding and by where libraries put the middle of a pixel


class Range(NamedTuple):
    """Between which boxes a right one lies, float[4] x1 y1 x2 y2 each.

    `outer` goes around the turned corners of the original box, as a library must that knows boxes only; `inner` is the
    tightest box that anyone could give: around the outline, around the turned ellipse in the original box, or around
    what is still to be seen.
    """

    inner: np.ndarray
    outer: np.ndarray

    def nearest(self, box: np.ndarray, slack: float) -> np.ndarray:
        """The box of the range that is nearest to a box."""
        sign = np.array([-1.0, -1.0, 1.0, 1.0])
        low = np.minimum(self.inner * sign, self.outer * sign) - slack
        high = np.maximum(self.inner * sign, self.outer * sign) + slack
        nearest: np.ndarray = np.clip(box * sign, low, high) * sign
        return nearest


class Truth(NamedTuple):
    """One seed. H and W are the augmented image's; without a map, `uneven` tells whether markers enough were seen."""

    scene: Scene
    size: tuple[int, int]
    warp: Warp | None
    uneven: bool
    labels: np.ndarray  # int[H, W]: the object seen, or -1
    marked: np.ndarray  # bool[H, W]: some object is seen

    def place(self, places: np.ndarray) -> np.ndarray:
        """Pixel edges of the original → of the augmented image. There must be a map."""
        assert self.warp is not None
        return self.warp(np.asarray(places) - 0.5) + 0.5

    def inside(self, thing: int) -> np.ndarray:
        """bool[H, W]: where the map puts an object's mask."""
        assert self.warp is not None
        mask = self.scene["masks"][thing] > 0
        inside = np.zeros(self.size, dtype=bool)
        low, high = self._window(self.place(outline(mask)))
        if (low >= high).any():
            return inside
        v, u = np.mgrid[low[1] : high[1], low[0] : high[0]]
        back = Warp(np.linalg.inv(self.warp.matrix), 0, 0.0)(np.stack([u, v], axis=-1))
        at = np.rint(np.nan_to_num(back, nan=-1)).astype(int)
        within = (at >= 0).all(axis=-1) & (at < (mask.shape[1], mask.shape[0])).all(axis=-1)
        clipped = np.clip(at, 0, (mask.shape[1] - 1, mask.shape[0] - 1))
        inside[low[1] : high[1], low[0] : high[0]] = within & mask[clipped[..., 1], clipped[..., 0]]
        return inside

    def _window(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bounds = (self.size[1], self.size[0])
        if not np.isfinite(places).all():
            return np.zeros(2, int), np.asarray(bounds)
        low, high = np.floor(places.min(axis=0)), np.ceil(places.max(axis=0))
        return np.clip(low, 0, bounds).astype(int), np.clip(high, 0, bounds).astype(int)

    def seen(self, thing: int) -> np.ndarray:
        """bool[H, W]: where an object is to be seen; what cannot be told from others counts where it should be."""
        seen: np.ndarray = self.labels == thing
        if self.warp is not None:
            seen |= (self.labels < 0) & self.marked & self.inside(thing)
        return seen

    def share(self, thing: int) -> float:
        """How much of an object is still to be seen, at most 1; NaN for one that has become too small to tell."""
        scale = self.warp.scale**2 if self.warp is not None else np.prod(self.size) / self.scene["masks"][thing].size
        whole = float((self.scene["masks"][thing] > 0).sum() * scale)
        return min(float(self.seen(thing).sum()) / whole, 1.0) if whole >= SPECK else float("nan")

    def range(self, thing: int, grow: float = 1.0) -> Range:
        """Between which boxes a right one of the object lies.

        `grow` is how much longer its diagonal may have become where one upright box after another was put around a
        turned one.
        """
        mask = self.scene["masks"][thing] > 0
        box = np.asarray(self.scene["boxes2d"][thing], dtype=np.float64)
        outer = around(self.place(corners(box)))
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        ellipse = around(self.place(middle + half * np.stack([np.cos(angle), np.sin(angle)], axis=1)))
        boxes = [outer, around(self.place(outline(mask))), ellipse, box_of(self.seen(thing))]
        low, high = (np.nanmax([b[:2] for b in boxes], axis=0), np.nanmin([b[2:] for b in boxes], axis=0))
        if grow > 1 and self.warp is not None:
            reach = np.hypot(*(half * np.linalg.svd(self.warp.matrix[:2, :2], compute_uv=False)[0])) * grow
            centre = (outer[:2] + outer[2:]) / 2
            outer = np.concatenate([np.minimum(outer[:2], centre - reach), np.maximum(outer[2:], centre + reach)])
        return Range(self.clipped(np.concatenate([low, high])), self.clipped(outer))

    def clipped(self, box: np.ndarray) -> np.ndarray:
        """A box cut at the image's border."""
        height, width = self.size
        clipped: np.ndarray = np.clip(box, 0, (width, height, width, height))
        return clipped

    @property
    def slack(self) -> float:
        """How far a side may be off, in px of the augmented image."""
        scale = self.warp.scale if self.warp is not None else 1.0
        return SLACK * max(1.0, scale)


def truth_of(stage: Stage, apply: Images) -> Truth:
    """Runs the augmentation on a scene's coded images and reads them."""
    scene = stage.scene
    objects = apply(stage.objects)
    labels, some = labelled(objects, len(scene["masks"]))
    warp, most = None, 0
    for number in range(len(GRIDS)):
        grid = stage.grid(number)
        seen = sightings(apply(grid.images), len(grid.places))
        warp = warp_of(grid.places, seen, grid.radius)
        most = max(most, len(np.unique(seen.marker)))
        if warp is not None or most >= ENOUGH:
            break
    return Truth(scene, (labels.shape[0], labels.shape[1]), warp, warp is None and most >= 6, labels, some)


def untouched(scene: Scene) -> Truth:
    """The truth of an augmentation that left the image as it was."""
    masks = scene["masks"] > 0
    labels = np.where(masks.any(axis=0), masks.argmax(axis=0), -1)
    return Truth(scene, masks.shape[1:], Warp(np.eye(3), 0, 1.0), False, labels, masks.any(axis=0))


def corners(box: np.ndarray) -> np.ndarray:
    """float[4, 2] of a box x1 y1 x2 y2."""
    return np.asarray(box, dtype=np.float64)[[[0, 1], [2, 1], [2, 3], [0, 3]]]


def around(places: np.ndarray) -> np.ndarray:
    """The upright box around float[P, 2]."""
    return np.concatenate([places.min(axis=0), places.max(axis=0)])


def outline(mask: np.ndarray) -> np.ndarray:
    """float[P, 2]: the corners, as pixel edges, of the first and last pixel of each row and column of a mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    left, right = mask[rows].argmax(axis=1), mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    upper = mask[:, columns].argmax(axis=0)
    lower = mask.shape[0] - mask[::-1][:, columns].argmax(axis=0)
    pairs = [(left, rows), (left, rows + 1), (right, rows), (right, rows + 1)]
    pairs += [(columns, upper), (columns + 1, upper), (columns, lower), (columns + 1, lower)]
    return np.concatenate([np.stack(pair, axis=1) for pair in pairs]).astype(np.float64)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes; 1 for two empty ones, NaN coordinates overlap nothing."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = float(np.prod(np.maximum(high - low, 0)))
    area = sum(float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (one, other))
    if not np.isfinite(area):
        return 0.0
    return both / (area - both) if area > 0 else 1.0
