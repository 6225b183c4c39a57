"""Finding, after an augmentation, what was marked in the images before it: one run for each coded image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.augment.child.driving import World, marker_radius
from avreview.augment.child.markers import drawn, found

Run = Callable[[Any, int], Any]


class Sighted(NamedTuple):
    """Where each marker of each camera is, float[K, 2] in px, NaN where it is not seen; `why` where none can be.

    `none_given` is true where the augmentation was given no images, so that there is nothing to judge.
    """

    pixels: Sequence[np.ndarray]
    untouched: bool = False
    why: str = ""
    none_given: bool = False


def coded_scenes(world: World) -> list[list[np.ndarray]]:
    """The images of all cameras, coded: one list for each run."""
    size = world.scene["images"][0].shape[:2]
    each = [
        drawn(image, places, marker_radius(size))
        for image, places in zip(world.scene["images"], world.places, strict=True)
    ]
    return [list(images) for images in zip(*each, strict=True)]


def sight(world: World, coded: Sequence[Sequence[np.ndarray]], outs: Callable[[int], dict[str, Any]]) -> Sighted:
    """Where the markers went; `outs(k)` is what the augmentation made of the scene with the k-th coded images.

    Runs no more than the first where the augmentation left the images as they were.
    """
    first = outs(0).get("images")
    if first is None:
        return Sighted([], why="the augmentation returned no images")
    if len(first) != len(coded[0]):
        return Sighted([], why=f"{len(first)} images come back instead of {len(coded[0])}")
    if all(_same(before, after) for before, after in zip(coded[0], first, strict=True)):
        return Sighted([places.copy() for places in world.places], untouched=True)
    runs = [first] + [outs(number).get("images") or [] for number in range(1, len(coded))]
    if any(len(images) != len(first) for images in runs):
        return Sighted([], why="the number of images differs from run to run under one seed")
    pixels = []
    for camera, places in enumerate(world.places):
        images = [run[camera] for run in runs]
        if len({image.shape for image in images}) > 1:
            return Sighted([], why="the size of an image differs from run to run under one seed")
        pixels.append(found(_liveliest(images), len(places)))
    if not any(np.isfinite(places).any() for places in pixels):
        return Sighted(pixels, why="no marker can be found in the returned images")
    return Sighted(pixels)


def _liveliest(images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The channel in which the coded images differ most: one is enough, and a third of the work."""
    if images[0].ndim < 3 or images[0].shape[2] == 1:
        return images
    few = np.stack([np.asarray(image[::4, ::4], dtype=np.float32) for image in images])
    channel = int(np.nan_to_num(few).std(axis=0).sum(axis=(0, 1)).argmax())
    return [np.ascontiguousarray(image[..., channel]) for image in images]


def _same(before: np.ndarray, after: np.ndarray) -> bool:
    return before.shape == after.shape and bool(np.array_equal(before, after))


def shares_seen(world: World, sighted: Sighted) -> dict[int, float]:
    """How much of each object can still be seen in the images, by its markers."""
    if sighted.why:
        return {}
    there: dict[int, list[bool]] = {}
    for tags, pixels in zip(world.marked, sighted.pixels, strict=True):
        for tag, pixel in zip(tags, pixels, strict=True):
            thing = int(world.owner[tag - world.first_tag])
            if thing >= 0:
                there.setdefault(thing, []).append(bool(np.isfinite(pixel).all()))
    return {thing: sum(seen) / len(seen) for thing, seen in there.items()}
