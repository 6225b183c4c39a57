"""Markers that survive an augmentation: where each place of an image went, told by the image alone.

The same image is drawn several times, with every marker either dark or light in each of them: which of them are light
is the marker's code. The augmentation is run on each under the same seed; a blob that changes between the results is
a marker, and the pattern of its change is its number, whatever flip, turn or jitter lies between. Every code has
exactly WEIGHT light images among the BITS. A bit read wrongly changes that number, so a damaged marker is seen to be
one, and so is one whose light and dark were exchanged, which is turned back.

Places are pixels whose whole numbers are pixel centres: (10, 5) is the middle of `image[5, 10]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from avreview.augment.child.blobs import Blobs, blobs

RADIUS = 7.0  # px of a marker as drawn; at a quarter of the size it is still 3 pixels wide
# Of the codes for up to so many markers. Dark images outnumber light ones by two or more, so that neither a bit read
# wrongly nor an inverted image makes one code out of another.
LENGTHS = ((15, 6, 2), (56, 8, 3), (210, 10, 4), (792, 12, 5))
# Light and dark differ in each channel, by different amounts: one channel that is dropped, folded by solarizing or cut
# to one bit leaves the others.
DARK, LIGHT = (24.0, 40.0, 32.0), (232.0, 168.0, 200.0)
LEAST = 6.0  # grey levels of spread under which nothing counts as a marker
CUT_AREA = 0.2  # a blob this much smaller than those around it was cut off or erased in part


class Sighting(NamedTuple):
    """Markers that were seen: one may be seen twice, where a border was filled by reflection."""

    marker: np.ndarray  # int[S]
    centre: np.ndarray  # float[S, 2]
    area: np.ndarray  # float[S], px: smaller where a part was erased


def codes(count: int) -> np.ndarray:
    """bool[count, bits]: in which of the images each of `count` markers is light."""
    from itertools import combinations

    _, bits, weight = _length(count)
    chosen = list(combinations(range(bits), weight))
    order = np.random.default_rng(8).permutation(len(chosen))[:count]
    table = np.zeros((count, bits), dtype=bool)
    for row, index in enumerate(order):
        table[row, list(chosen[index])] = True
    return table


def images_needed(count: int) -> int:
    """How many images `drawn` gives for so many markers."""
    return _length(count)[1]


def _length(count: int) -> tuple[int, int, int]:
    for length in LENGTHS:
        if count <= length[0]:
            return length
    raise ValueError(f"{count} markers; {LENGTHS[-1][0]} are the most")


def drawn(image: np.ndarray, places: np.ndarray, radius: float = RADIUS) -> list[np.ndarray]:
    """The coded images of uint8[H, W, 3], for markers at float[K, 2] (u, v); `images_needed(K)` of them.

    Every marker is in every image, dark or light. One that would reach over the border, or touch one before it in the
    order, is not drawn, and so is never found; nor is one whose place is not finite.
    """
    places = np.asarray(places, dtype=np.float64).reshape(-1, 2)
    light = codes(len(places))
    results = [image.astype(np.float32) for _ in range(light.shape[1])]
    for marker in drawable(image.shape[:2], places, radius):
        rows, columns, share = _disc(places[marker], radius)
        for bit, result in enumerate(results):
            colour = np.asarray(LIGHT if light[marker, bit] else DARK, dtype=np.float32)
            patch = result[rows, columns]
            result[rows, columns] = patch + share[..., None] * (colour - patch)
    return [np.clip(np.rint(result), 0, 255).astype(np.uint8) for result in results]


def drawable(shape: Sequence[int], places: np.ndarray, radius: float = RADIUS) -> list[int]:
    """Which markers can be drawn apart from each other and from the border of an image of (height, width)."""
    kept: list[int] = []
    for marker, (u, v) in enumerate(places):
        if not (np.isfinite(u) and np.isfinite(v)):
            continue
        if not (radius + 1 <= u <= shape[1] - 2 - radius and radius + 1 <= v <= shape[0] - 2 - radius):
            continue
        apart = np.hypot(*(places[kept] - (u, v)).T) if kept else np.empty(0)
        if not (apart < 3 * radius).any():
            kept.append(marker)
    return kept


def _disc(place: np.ndarray, radius: float) -> tuple[slice, slice, np.ndarray]:
    """The rows and columns a disc touches, and how much of each pixel it covers."""
    low, high = np.floor(place - radius - 1).astype(int), np.ceil(place + radius + 1).astype(int)
    v, u = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    share = np.clip(radius + 0.5 - np.hypot(u - place[0], v - place[1]), 0, 1).astype(np.float32)
    return slice(low[1], high[1] + 1), slice(low[0], high[0] + 1), share


def found(coded: Sequence[np.ndarray], count: int) -> np.ndarray:
    """float[count, 2]: where each marker's centre is in the augmented images, NaN where it is not to be seen.

    Not to be seen is what was cropped, erased, cut by the border, damaged beyond reading, or seen twice. Images may be
    uint8 or float, [H, W], [H, W, 1] or [H, W, 3].
    """
    places = np.full((count, 2), np.nan)
    marker, centre, _ = sightings(coded, count)
    once = np.bincount(marker, minlength=count)[marker] == 1
    places[marker[once]] = centre[once]
    return places


def sightings(coded: Sequence[np.ndarray], count: int) -> Sighting:
    """Every marker that can be read, also those seen more than once."""
    nothing = Sighting(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0))
    if len(coded) != images_needed(count) or len({np.shape(image) for image in coded}) != 1 or not np.size(coded[0]):
        return nothing
    stack = _channels(coded)
    spread = _spread(stack)
    group = blobs(spread > _threshold(spread))
    if not group.many:
        return nothing
    centre, area, whole = _places(group, spread)
    sound = whole & _like_neighbours(centre, area, whole)
    marker = _read(group, stack, spread, codes(count))
    sound &= marker >= 0
    return Sighting(marker[sound], centre[sound], area[sound])


def _channels(coded: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each image as float32[H, W, C] in grey levels: of floats, the widest range there is counts as 255 levels."""
    images = [np.asarray(image) for image in coded]
    scale = 1.0
    if images[0].dtype.kind not in "iu":
        scale = 255.0 / max(*(float(np.ptp(image)) if image.size else 0.0 for image in images), 1e-9)
    flat = (image[..., None] if image.ndim == 2 else image for image in images)
    return [np.nan_to_num(image.astype(np.float32) * np.float32(scale)) for image in flat]


def _spread(stack: Sequence[np.ndarray]) -> np.ndarray:
    """Per pixel, the standard deviation over the images, over all channels together, as a contrast."""
    total, square = np.zeros_like(stack[0]), np.zeros_like(stack[0])
    for image in stack:
        shifted = image - stack[0]  # near 0 where nothing is marked, so that squares stay exact
        total += shifted
        square += shifted * shifted
    variance = np.maximum(square / len(stack) - (total / len(stack)) ** 2, 0).sum(axis=2)
    contrast: np.ndarray = 2.0 * np.sqrt(variance / stack[0].shape[2])
    return contrast


def _threshold(spread: np.ndarray) -> float:
    """The contrast that tells markers from noise: above the ground, and a third of what stands out of it."""
    ground = float(np.median(spread))
    ground += 6 * 1.4826 * float(np.median(np.abs(spread - ground)))
    out = spread[spread > max(ground, LEAST)]
    return max(ground, LEAST, 0.35 * float(np.percentile(out, 90)) if out.size else 0.0)


def _places(group: Blobs, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weighted centre of each blob, its area, and whether it is more than a speck and clear of the border."""
    height, width = spread.shape
    rows, columns = np.divmod(group.pixels, width)
    weight = spread.ravel()[group.pixels].astype(np.float64)
    mass = np.bincount(group.labels, weight, group.many)
    u = np.bincount(group.labels, weight * columns, group.many) / mass
    v = np.bincount(group.labels, weight * rows, group.many) / mass
    peak = np.zeros(group.many)
    np.maximum.at(peak, group.labels, weight)
    edge = (rows == 0) | (columns == 0) | (rows == height - 1) | (columns == width - 1)
    whole = (np.bincount(group.labels, edge, group.many) == 0) & (np.bincount(group.labels) >= 4)
    centre = np.stack([u, v], axis=1)
    return centre, mass / peak, whole


def _like_neighbours(centre: np.ndarray, area: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Which blobs have about the area of those around them: one that was cut or erased in part has not."""
    like = np.ones(len(centre), dtype=bool)
    candidates = np.flatnonzero(whole)[:1000]
    if len(candidates) < 5:
        return like
    apart = np.hypot(*(centre[candidates, None] - centre[None, candidates]).transpose(2, 0, 1))
    near = np.argsort(apart, axis=1)[:, 1:9]
    usual = np.median(area[candidates][near], axis=1)
    slack = CUT_AREA + 1.0 / np.sqrt(np.maximum(usual, 1))  # pixels are coarse for small blobs
    like[candidates] = np.abs(area[candidates] / usual - 1) <= slack
    return like


def _read(group: Blobs, stack: Sequence[np.ndarray], spread: np.ndarray, table: np.ndarray) -> np.ndarray:
    """int[blobs]: the marker whose code each blob shows, -1 where it shows none."""
    weight = spread.ravel()[group.pixels].astype(np.float64)
    mass = np.bincount(group.labels, weight, group.many)
    shown = np.stack(
        [
            np.stack(
                [
                    np.bincount(group.labels, weight * image[..., channel].ravel()[group.pixels], group.many) / mass
                    for channel in range(image.shape[2])
                ]
            )
            for image in stack
        ]
    )  # images, channels, blobs
    values = np.moveaxis(shown - shown.mean(axis=0), 2, 0)
    along = np.linalg.svd(values, full_matrices=False)[2][:, 0]  # the line in colour from dark to light
    return _matched(np.einsum("bic,bc->bi", values, along), table)


def labelled(coded: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Per pixel int[H, W], which of `count` silhouettes it shows (-1: none that can be read); bool[H, W], whether any.

    For images in which whole silhouettes, and not markers, are LIGHT or DARK by their codes.
    """
    if not np.size(coded[0]):
        return np.full(np.shape(coded[0])[:2], -1, dtype=np.int64), np.zeros(np.shape(coded[0])[:2], dtype=bool)
    stack = _channels(coded)
    spread = _spread(stack)
    some = spread > _threshold(spread)
    at = np.nonzero(some)
    pixels = np.stack([image[at] for image in stack], axis=1)  # pixels, images, channels
    widest = np.ptp(pixels, axis=1).argmax(axis=1)
    labels = np.full(some.shape, -1, dtype=np.int64)
    if len(widest):
        labels[at] = _matched(pixels[np.arange(len(widest)), :, widest], codes(count))
    return labels, some


def _matched(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The row of the table that each row of values shows, split at its widest gap; -1 where it is unclear."""
    ordered = np.sort(values, axis=1)
    gaps = np.diff(ordered, axis=1)
    at = gaps.argmax(axis=1)
    index = np.arange(len(values))
    gap = gaps[index, at]
    within = np.maximum(ordered[index, at] - ordered[:, 0], ordered[:, -1] - ordered[index, at + 1])
    light = values > ((ordered[index, at] + ordered[index, at + 1]) / 2)[:, None]
    inverted = light.sum(axis=1) * 2 > table.shape[1]
    light[inverted] = ~light[inverted]
    powers = 1 << np.arange(table.shape[1])
    known = np.full(1 << table.shape[1], -1, dtype=np.int64)
    known[table @ powers] = np.arange(len(table))
    marker: np.ndarray = known[light @ powers]
    marker[within > 0.6 * gap] = -1
    return marker
