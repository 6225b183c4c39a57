"""Augmentations of images written out by hand, right ones, for tests to break in one place each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Scene = dict[str, Any]


@functools.lru_cache(maxsize=8)
def _sources(entries: tuple[float, ...], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """float32[H, W] twice: which place of the original each pixel shows, through a map of pixel centres."""
    back = np.linalg.inv(np.array(entries).reshape(3, 3)).astype(np.float32)
    v, u = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return back[0, 0] * u + back[0, 1] * v + back[0, 2], back[1, 0] * u + back[1, 1] * v + back[1, 2]


def sources(matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return _sources(tuple(matrix.ravel().tolist()), size)


def nearest(image: np.ndarray, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """uint8[..., H, W] taken at the nearest pixel, 0 outside."""
    u, v = (np.rint(places).astype(np.intp) for places in at)
    inside = (u >= 0) & (v >= 0) & (u < image.shape[-1]) & (v < image.shape[-2])
    flat = np.clip(v, 0, image.shape[-2] - 1) * image.shape[-1] + np.clip(u, 0, image.shape[-1] - 1)
    result: np.ndarray = np.take(image.reshape(*image.shape[:-2], -1), flat, axis=-1) * inside.astype(image.dtype)
    return result


def smooth(image: np.ndarray, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """uint8[H, W, 3] between the four pixels around, 0 outside; the nearest ones where places are whole."""
    if all((places == np.rint(places)).all() for places in at):
        return np.moveaxis(nearest(np.moveaxis(image, 2, 0), at), 0, 2)
    padded = np.pad(image, ((1, 2), (1, 2), (0, 0)))
    width = padded.shape[1]
    u, v = np.clip(at[0] + 1, 0, width - 2), np.clip(at[1] + 1, 0, padded.shape[0] - 2)
    column, row = u.astype(np.intp), v.astype(np.intp)
    right, lower = (u - column)[..., None], (v - row)[..., None]
    flat, first = padded.reshape(-1, image.shape[2]).astype(np.float32), row * width + column
    above = flat[first] * (1 - right) + flat[first + 1] * right
    below = flat[first + width] * (1 - right) + flat[first + width + 1] * right
    result: np.ndarray = np.rint(above + (below - above) * lower).astype(np.uint8)
    return result


def places_moved(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    full = np.concatenate([places, np.ones((len(places), 1))], axis=1) @ matrix.T
    result: np.ndarray = full[:, :2] / full[:, 2:]
    return result


def boxes_moved(matrix: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Upright boxes around the corners of moved ones; boxes count pixel edges."""
    moved = [
        places_moved(matrix, np.stack([boxes[:, u] - 0.5, boxes[:, v] - 0.5], axis=1)) + 0.5
        for u, v in ((0, 1), (2, 1), (2, 3), (0, 3))
    ]
    return np.concatenate([np.min(moved, axis=0), np.max(moved, axis=0)], axis=1)


def kept(boxes: np.ndarray, size: tuple[int, int], visible: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes cut at the border, and which keep at least so much of their area."""
    cut = np.clip(boxes, 0, (size[1], size[0], size[1], size[0]))
    area = np.prod(np.maximum(cut[:, 2:] - cut[:, :2], 0), axis=1)
    return cut, area >= visible * np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def moved(scene: Scene, matrix: np.ndarray, size: tuple[int, int], visible: float = 0.3) -> Scene:
    """The whole scene through a map of pixel centres; boxes of which too little is left go, with their ids."""
    boxes, keep = kept(boxes_moved(matrix, scene["boxes2d"]), size, visible)
    at = sources(matrix, size)
    return {
        **scene,
        "images": [smooth(scene["images"][0], at)],
        "boxes2d": boxes[keep].astype(np.float32),
        "boxes2d_names": [name for name, stays in zip(scene["boxes2d_names"], keep, strict=True) if stays],
        "boxes2d_ids": scene["boxes2d_ids"][keep],
        "masks": nearest(scene["masks"], at),
        "keypoints": places_moved(matrix, scene["keypoints"]).astype(np.float32),
    }


def flip_matrix(scene: Scene, seed: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A mirror in x."""
    height, width = scene["images"][0].shape[:2]
    return np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]]), (height, width)


def crop_matrix(scene: Scene, seed: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A crop of three quarters of each side."""
    random = np.random.default_rng(seed)
    height, width = scene["images"][0].shape[:2]
    left, top = random.integers(8, width // 4), random.integers(8, height // 4)
    return np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]), (height * 3 // 4, width * 3 // 4)


def resize_matrix(scene: Scene, seed: int) -> tuple[np.ndarray, tuple[int, int]]:
    """To another size and another aspect."""
    height, width = scene["images"][0].shape[:2]
    new = (int(height * 0.75), int(width * 0.6))
    u, v = new[1] / width, new[0] / height
    return np.array([[u, 0, u / 2 - 0.5], [0, v, v / 2 - 0.5], [0, 0, 1]]), new


def turn_matrix(scene: Scene, seed: int) -> tuple[np.ndarray, tuple[int, int]]:
    """About the middle, by 10 to 30 degrees either way."""
    random = np.random.default_rng(seed)
    angle = np.deg2rad(random.uniform(10, 30) * random.choice([-1, 1]))
    return turned(scene, angle)


def turned(scene: Scene, angle: float) -> tuple[np.ndarray, tuple[int, int]]:
    height, width = scene["images"][0].shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle
    return matrix, (height, width)


MATRICES: dict[str, Callable[[Scene, int], tuple[np.ndarray, tuple[int, int]]]] = {
    "flip": flip_matrix,
    "crop": crop_matrix,
    "resize": resize_matrix,
    "turn": turn_matrix,
}


def right(kind: str) -> Callable[[Scene, int], Scene]:
    """The right augmentation of one of MATRICES."""

    def augment(scene: Scene, seed: int) -> Scene:
        return moved(scene, *MATRICES[kind](scene, seed))

    return augment
