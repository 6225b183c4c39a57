"""Scenes of the kind `image`: one picture with objects whose outlines are known to the pixel, and its coded images.

Boxes are x1 y1 x2 y2 of pixel edges: a box around column 10 alone reaches from 10 to 11. Keypoints, like markers, are
pixels whose whole numbers are pixel centres.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from avreview.augment.child.markers import DARK, LIGHT, codes, drawn
from avreview.augment.scene import SCHEMA, Scene

SCENES = 4  # different ones, in turn over the seeds
SIZES = ((384, 640), (480, 480), (512, 400), (360, 560))  # (height, width), in turn over the scenes
NAMES = ("car", "pedestrian", "cyclist", "truck", "cone", "animal", "sign")  # none of them tells left from right
# Half length and half width of each object, in px of the first size, and how it is placed: small ones, a long one, and
# one that the border cuts.
SHAPES = ((46, 26), (30, 30), (62, 20), (24, 40), (9, 7), (7, 12), (40, 34))
CUT = 6  # the place in SHAPES of the object at the border
KEYPOINTS = (
    (-0.45, -0.45),
    (0.45, -0.45),
    (-0.45, 0.45),
    (0.45, 0.45),
)  # in its halves; left and right pairs
PAIRS = ((0, 1), (2, 3))
# How many markers a grid has, and their radius against their spacing: for what keeps most of the image in about its
# size, for what shrinks it, and for what shows a small part of it.
GRIDS = ((170, 0.18), (40, 0.22), (650, 0.21))


class Marked(NamedTuple):
    """The images coded with a grid of markers, at `places` float[K, 2]."""

    places: np.ndarray
    images: list[np.ndarray]
    radius: float  # px


def image_scene(seed: int, size: tuple[int, int] | None = None) -> Scene:
    """A scene: a textured background, and objects apart from each other."""
    random = np.random.default_rng([seed, 71])
    height, width = size or SIZES[seed % len(SIZES)]
    image = _background(random, height, width)
    masks, keypoints = [], []
    for place, (middle, half, turn, round_) in enumerate(_layout(random, height, width)):
        along, across = _own(height, width, middle, half, turn)
        inside = along**2 + across**2 <= 1 if round_ else np.maximum(abs(along), abs(across)) <= 1
        image[inside] = _paint(place, along[inside], across[inside])
        masks.append(inside)
        axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * np.asarray(half)[:, None]
        keypoints.append(np.clip(middle + np.asarray(KEYPOINTS) @ axes, 3, (width - 4, height - 4)))
    return {
        "scene": SCHEMA,
        "images": [np.clip(np.rint(image), 0, 255).astype(np.uint8)],
        "boxes2d": np.stack([box_of(mask) for mask in masks]).astype(np.float32),
        "boxes2d_names": [NAMES[place % len(NAMES)] for place in range(len(masks))],
        "boxes2d_ids": np.arange(len(masks), dtype=np.int64),
        "masks": np.stack(masks).astype(np.uint8),
        "keypoints": np.concatenate(keypoints).astype(np.float32),
    }


def box_of(mask: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 of the edges of what is inside of bool[H, W]; NaN where nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.full(4, np.nan)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def _background(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """float[H, W, 3]: soft patches of colour under fine grain."""
    shape = (height // 24 + 2, width // 24 + 2)
    patches = random.uniform(80, 165, (*shape, 1)) + random.uniform(-16, 16, (*shape, 3))
    v, u = np.arange(height) / 24, np.arange(width) / 24
    rows, columns = v.astype(int), u.astype(int)
    share_v, share_u = (v - rows)[:, None, None], (u - columns)[None, :, None]
    upper = patches[rows][:, columns] * (1 - share_u) + patches[rows][:, columns + 1] * share_u
    lower = patches[rows + 1][:, columns] * (1 - share_u) + patches[rows + 1][:, columns + 1] * share_u
    soft: np.ndarray = upper * (1 - share_v) + lower * share_v
    return soft + random.normal(0, 6, (height, width, 1))


def _layout(
    random: np.random.Generator, height: int, width: int
) -> list[tuple[np.ndarray, tuple[float, float], float, bool]]:
    """Middle, halves, turn and whether it is round, for each object: one in a cell of a grid of 2 rows of 4."""
    scale = min(height / 384, width / 640)
    cells = random.permutation([cell for cell in range(8) if cell != 3])
    result = []
    for place, shape in enumerate(SHAPES):
        half = (shape[0] * scale, shape[1] * scale)
        cell = 3 if place == CUT else int(cells[place])
        middle = np.array([(cell % 4 + 0.5) * width / 4, (cell // 4 + 0.5) * height / 2])
        room = np.maximum(np.array([width / 8, height / 4]) - np.hypot(*half) - 3, 0)
        middle += random.uniform(-1, 1, 2) * room
        if place == CUT:
            middle[0] = width - half[1] * 0.55
        result.append((middle, half, float(random.uniform(-0.6, 0.6)), bool(place % 3 == 1)))
    return result


def _own(
    height: int, width: int, middle: np.ndarray, half: tuple[float, float], turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """float[H, W] twice: each pixel in the object's own axes, in halves of its length and width."""
    v, u = np.mgrid[:height, :width]
    du, dv = u - middle[0], v - middle[1]
    along = (du * np.cos(turn) + dv * np.sin(turn)) / half[0]
    across = (dv * np.cos(turn) - du * np.sin(turn)) / half[1]
    return along, across


def _paint(place: int, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """A colour of its own with stripes along it, lighter on one side, so that a person sees which way it lies."""
    hue = np.array([np.cos(place * 2.4), np.cos(place * 2.4 + 2.1), np.cos(place * 2.4 + 4.2)])
    shade = 24 * np.sign(np.sin(along * 9)) + 28 * across
    colours: np.ndarray = np.clip(128 + 80 * hue + shade[:, None], 20, 235)
    return colours


class Stage:
    """A scene and its coded images, which are drawn when they are first asked for."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._grids: dict[int, Marked] = {}

    @functools.cached_property
    def objects(self) -> list[np.ndarray]:
        """The image again and again, with each whole object dark or light by its code, as `markers.drawn` does it."""
        masks = self.scene["masks"] > 0
        images = []
        for light in codes(len(masks)).T:
            drawing = self.scene["images"][0].copy()
            for inside, bright in zip(masks, light, strict=True):
                drawing[inside] = LIGHT if bright else DARK
            images.append(drawing)
        return images

    def grid(self, number: int) -> Marked:
        """The image with one of GRIDS."""
        if number not in self._grids:
            self._grids[number] = _marked(self.scene["images"][0], *GRIDS[number])
        return self._grids[number]


def _marked(image: np.ndarray, many: int, share: float) -> Marked:
    height, width = image.shape[:2]
    spacing = np.sqrt(height * width / many)
    radius = share * spacing
    u, v = (np.linspace(radius + 2, size - 3 - radius, max(int(size / spacing), 3)) for size in (width, height))
    places = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    return Marked(places, drawn(image, places, radius), float(radius))


@functools.lru_cache(maxsize=SCENES)
def stage(seed: int, size: tuple[int, int] | None = None) -> Stage:
    """The stage of `image_scene`; the latest are kept, for one augmentation after another."""
    return Stage(image_scene(seed, size))
