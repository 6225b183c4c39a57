"""What an augmentation gave back, as a scene of plain arrays; everything else becomes one line for the person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from avreview.load.wording import quoted

MOST_POINTS, MOST_BOXES, MOST_PIXELS = 2_000_000, 10_000, 64 << 20
# Keys of arrays, with their axes and the fewest columns; boxes may come back without velocities, and are judged so.
_ARRAYS = {
    "points": (2, 3), "gt_boxes": (2, 7), "track_ids": (1, 0), "displacement": (2, 2), "boxes2d": (2, 4),
    "boxes2d_ids": (1, 0), "bev_map": (3, 0), "bev_origin": (1, 2), "lidar_aug_matrix": (2, 4), "ego2global": (2, 4),
}  # fmt: skip
_MATRICES = ("lidar2img", "intrinsics", "img_aug_matrix")


class BadScene(Exception):  # noqa: N818 - what came back instead of a scene
    """The augmentation gave back something that is no scene; the text says what."""


def scene_of(value: Any) -> dict[str, Any]:
    """The returned scene with numpy's arrays. Raises BadScene."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Mapping):
        value = value[0]  # (scene, what was drawn)
    if not isinstance(value, Mapping):
        raise BadScene(f"returned {kind_of(value)} instead of a scene (a dict)")
    found = dict(value)
    for key, (axes, columns) in _ARRAYS.items():
        if found.get(key) is not None:
            found[key] = _array(key, found[key], axes, columns)
    for key in _MATRICES:
        if found.get(key) is not None:
            found[key] = [_array(key, matrix, 2, 3) for matrix in _listed(key, found[key])]
    if found.get("images") is not None:
        found["images"] = [_image(image) for image in _listed("images", found["images"])]
    names = found.get("gt_names")
    if names is not None:
        found["gt_names"] = [str(name) for name in np.asarray(names, dtype=object).reshape(-1)[:MOST_BOXES]]
    for key in ("timestamp", "bev_cell"):
        if found.get(key) is not None:
            found[key] = _number(key, found[key])
    if not any(found.get(key) is not None for key in ("points", "gt_boxes", "images", "bev_map")):
        raise BadScene("returned a scene without points, gt_boxes, images and bev_map, which leaves nothing to measure")
    return found


def frames_of(value: Any) -> list[dict[str, Any]]:
    """The returned sequence. Raises BadScene."""
    if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
        raise BadScene(f"returned {kind_of(value)} instead of a list of scenes, one a frame")
    frames = list(value)
    if len(frames) < 1:
        raise BadScene("returned a sequence without frames")
    return [scene_of(frame) for frame in frames[:1000]]


def kind_of(value: Any) -> str:
    if value is None:
        return "nothing (None)"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {quoted(name)[1:-1]}"


def plain(value: Any) -> Any:
    """A torch tensor, or what can be turned into one or into an array, as an array."""
    for step in ("detach", "cpu"):
        value = getattr(value, step)() if hasattr(value, step) else value
    return value.numpy() if hasattr(value, "numpy") and not isinstance(value, np.ndarray) else value


def _listed(key: str, value: Any) -> list[Any]:
    value = plain(value)
    if isinstance(value, np.ndarray) and value.ndim in (3, 4):
        return list(value)
    if isinstance(value, list | tuple):
        return list(value)
    raise BadScene(f"returned {kind_of(value)} under {key!r} instead of a list, one a camera")


def _array(key: str, value: Any, axes: int, columns: int) -> np.ndarray:
    try:
        raw = np.asarray(plain(value))
        if raw.dtype.kind not in "biufO":  # texts that look like numbers are none
            raise TypeError
        found = raw.astype(np.float64)
    except (TypeError, ValueError):
        raise BadScene(f"returned {kind_of(value)} under {key!r} that is no array of numbers") from None
    if found.size == 0 and found.ndim <= axes:
        found = found.reshape((0, *(max(columns, 1),) * (axes - 1)))
    last = found.shape[-1] if found.ndim else 0
    if (
        found.ndim != axes
        or last < columns
        or len(found) > MOST_POINTS
        or (key == "gt_boxes" and len(found) > MOST_BOXES)
    ):
        shape = "×".join(map(str, found.shape)) or "a single number"
        raise BadScene(f"returned {key!r} of the shape {shape}, which no scene has")
    return found


def _image(value: Any) -> np.ndarray:
    found = np.asarray(plain(value))
    if found.ndim == 3 and found.shape[0] in (1, 3, 4) and found.shape[2] not in (1, 3, 4):
        found = np.moveaxis(found, 0, 2)
    if found.ndim not in (2, 3) or found.dtype.kind not in "uifb" or not 0 < found.size <= 4 * MOST_PIXELS:
        raise BadScene(f"returned {kind_of(value)} of the shape {'×'.join(map(str, found.shape))} among the images")
    return found


def _number(key: str, value: Any) -> float:
    try:
        return float(plain(value))
    except (TypeError, ValueError):
        raise BadScene(f"returned {kind_of(value)} under {key!r} instead of a number") from None
