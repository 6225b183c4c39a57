"""From the scene into the images: matrices, those of deferred schemes among them, and what happened to an image."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_RIGID = 2.0  # px that a fit to the markers of an image may leave over


class Cameras(NamedTuple):
    """The projection that a scene's matrices amount to: undo `undone`, project by `matrices`, then move by `images`."""

    matrices: np.ndarray  # float[C, 4, 4]
    images: np.ndarray | None = None  # float[C, 4, 4] or [C, 3, 3]
    undone: np.ndarray | None = None  # float[4, 4]

    def project(self, camera: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels float[P, 2] and depths float[P] of places float[P, 3] of the augmented scene."""
        if self.undone is not None:
            places = (homogeneous(places) @ np.linalg.pinv(self.undone).T)[:, :3]
        pixels, depth = project(self.matrices[camera], places)
        return (pixels if self.images is None else moved_pixels(self.images[camera], pixels)), depth


def project(matrix: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels float[P, 2] and depths float[P] by one `lidar2img`."""
    through = homogeneous(places) @ matrix.T
    depth = through[:, 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    return through[:, :2] / safe[:, None], depth


def homogeneous(places: np.ndarray) -> np.ndarray:
    return np.concatenate([places, np.ones((len(places), 1))], axis=1)


def moved_pixels(matrix: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Pixels through an `img_aug_matrix`: a homography, whose shift may stand in the third or in the fourth column."""
    size = matrix.shape[-1]
    shift = matrix[:2, 2] + (matrix[:2, 3] if size == 4 else 0)
    down = pixels @ matrix[2, :2] + (matrix[2, 2] if matrix[2, 2] else 1.0)
    return np.asarray((pixels @ matrix[:2, :2].T + shift) / down[:, None])


def cameras_of(out: dict[str, Any], count: int) -> Cameras | None:
    """The projection of a returned scene; None where it has no matrices of this many cameras."""
    matrices = matrices_of(out, "lidar2img", count)
    if matrices is None:
        return None
    undone = out.get("lidar_aug_matrix")
    undone = None if undone is None else np.asarray(undone, dtype=np.float64)
    return Cameras(matrices, matrices_of(out, "img_aug_matrix", count), undone if _square(undone, 4) else None)


def matrices_of(out: dict[str, Any], key: str, count: int) -> np.ndarray | None:
    """float[C, 4, 4] from what is returned under a key; smaller matrices are filled up. None where it is no such."""
    value = out.get(key)
    if value is None or len(value) != count:
        return None
    found = np.tile(np.eye(4), (count, 1, 1))
    for camera, matrix in enumerate(value):
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.ndim != 2 or not 3 <= min(matrix.shape) <= max(matrix.shape) <= 4:
            return None
        found[camera, : matrix.shape[0], : matrix.shape[1]] = matrix
    return found if np.isfinite(found).all() else None


def not_finite(matrices: Any) -> bool:
    """Whether there are matrices, and one of them holds an infinity or what is no number."""
    return matrices is not None and any(not np.isfinite(np.asarray(each, dtype=np.float64)).all() for each in matrices)


def _square(matrix: np.ndarray | None, size: int) -> bool:
    return matrix is not None and matrix.shape == (size, size) and bool(np.isfinite(matrix).all())


def image_motion(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """float[3, 3] that moves an image's pixels: affine, or a homography where that fits much better; None for neither.

    From float[K, 2] and float[K, 2], NaN where a marker was not seen.
    """
    seen = np.isfinite(after).all(axis=1)
    before, after = before[seen], after[seen]
    if len(before) < 4:
        return None
    source = np.column_stack([before, np.ones(len(before))])
    solution, _, rank, _ = np.linalg.lstsq(source, after, rcond=None)
    if rank < 3:
        return None
    affine = np.vstack([solution.T, [0, 0, 1]])
    if _off(affine, before, after) <= _RIGID:
        return affine
    homography = _homography(before, after) if len(before) >= 6 else None
    return homography if homography is not None and _off(homography, before, after) <= _RIGID else None


def _off(motion: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(moved_pixels(motion, before) - after, axis=1)))


def _homography(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """By the direct linear transform, on centred and scaled pixels."""
    scale = 1.0 / max(float(np.abs(before).max()), float(np.abs(after).max()), 1.0)
    rows = []
    for (u, v), (x, y) in zip(before * scale, after * scale, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v, -x], [0, 0, 0, u, v, 1, -y * u, -y * v, -y]]
    solution = np.linalg.svd(np.asarray(rows))[2][-1].reshape(3, 3)
    back = np.diag([1 / scale, 1 / scale, 1]) @ solution @ np.diag([scale, scale, 1])
    return back / back[2, 2] if abs(back[2, 2]) > 1e-12 else None
