"""The map from an image to what an augmentation made of it, from where its markers went.

A map is a 3 × 3 matrix on (u, v, 1), in pixels whose whole numbers are pixel centres: affine where that explains the
markers, a homography where only that does. Where neither does (elastic and grid warps, mosaics) there is no map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from avreview.augment.child.markers import Sighting

Solve = Callable[[np.ndarray, np.ndarray], np.ndarray | None]
LEAST = 4  # markers, one more than an affine map needs: the one left over shows whether it holds
TRIES = 200  # of RANSAC; with half the sightings wrong, three right ones are drawn all but surely
WITHIN = 0.75  # px a marker may be off its map, at the size of the original; more where the image was enlarged
# px that nine of ten markers may be off. Measured: 0.56 for a small turn to the nearest pixel, 0.41 in JPEG of quality
# 5, 0.2 at a quarter of the size without smoothing, 0.05 for a smooth turn; a wave of 0.3 px is 0.34.
MOSTLY_WITHIN = 0.65
ALIKE = 0.4  # the share of the markers, whole or not, that must lie there
AGREEING = 0.97  # the share of the whole markers seen that must lie where the map has them


class Warp(NamedTuple):
    """`matrix` maps the original's pixels to the augmented image's.

    Of the `markers` that were seen whole the share `agree` lies on it, nine of ten of these within `off` px.
    """

    matrix: np.ndarray
    markers: int
    agree: float
    off: float = 0.0

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """float[..., 2] of the original → of the augmented image."""
        return mapped(self.matrix, places)

    @property
    def turns(self) -> bool:
        """Whether upright boxes do not stay upright: a turn by no quarter, a shear, a change of perspective."""
        linear = np.abs(self.matrix[:2, :2])
        long, short = linear.max(axis=1), linear.min(axis=1)
        return bool((short > 0.004 * long).any()) or self.perspective

    @property
    def perspective(self) -> bool:
        """Whether scale differs from place to place."""
        return bool(np.abs(self.matrix[2, :2]).max() > 1e-7)

    @property
    def mirrors(self) -> bool:
        return bool(np.linalg.det(self.matrix) < 0)

    @property
    def scale(self) -> float:
        """Of lengths, the root of the scale of areas; of a homography in the middle of the markers."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


def mapped(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    """float[..., 2] through a 3 × 3 matrix; NaN behind the horizon of a homography."""
    places = np.asarray(places, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        full = places @ matrix[:, :2].T + matrix[:, 2]
        depth = np.where(full[..., 2:] > 1e-6, full[..., 2:], np.nan)
        result: np.ndarray = full[..., :2] / depth
    return result


def warp_of(places: np.ndarray, seen: Sighting, radius: float = 0.0) -> Warp | None:
    """The map on which the sightings of markers at float[K, 2] agree; None where there is none.

    `radius` is that of the markers as drawn: where most of those seen are smaller than the map makes them, all were
    cut, perhaps on the same side, and the map is not to be trusted.
    """
    markers = len(np.unique(seen.marker))
    if markers < LEAST:
        return None
    source = places[seen.marker]
    warp = _warp(source, seen, _affine, 3)
    if (warp is None or warp.agree < AGREEING) and markers > LEAST:
        warp = _warp(source, seen, _homography, 4)
    if warp is None or warp.agree < AGREEING:
        return None
    whole = np.pi * radius**2 * warp.scale**2
    cut = np.median(seen.area) < whole * (0.85 - 0.6 / np.sqrt(max(whole, 1.0)))
    return warp if warp.perspective or not cut else None


def _warp(source: np.ndarray, seen: Sighting, solve: Solve, size: int) -> Warp | None:
    """The map on which most pairs agree, from all that do; `agree` counts markers with a sighting on the map.

    A border that was filled by reflection shows a marker at other places as well, and one that was erased in part is
    seen beside its place: neither speaks against the map.
    """
    target = seen.centre
    near = _most_agreed(source, target, size)
    matrix = None
    for _ in range(2):  # what agrees with the better map may be more
        matrix = solve(source[near], target[near]) if near.sum() > size else None
        if matrix is None:
            return None
        near = _near(matrix[None], source, target)[0]
    if matrix is None or not near.any():
        return None
    counted = near | _whole(matrix, source, seen.area, near)
    if len(np.unique(seen.marker[near])) < ALIKE * len(np.unique(seen.marker)):
        counted[:] = True
    markers = len(np.unique(seen.marker[counted]))
    off = float(np.percentile(np.hypot(*(mapped(matrix, source[near]) - target[near]).T), 90))
    warp = Warp(matrix, markers, len(np.unique(seen.marker[near])) / markers, off)
    return warp if off <= MOSTLY_WITHIN * max(1.0, warp.scale) else None


def _whole(matrix: np.ndarray, source: np.ndarray, area: np.ndarray, near: np.ndarray) -> np.ndarray:
    """bool[S]: which markers have about the area that the map gives those that agree with it."""
    depth = source @ matrix[2, :2] + matrix[2, 2]
    expected = 1.0 / np.maximum(np.abs(depth) ** 3, 1e-12)
    expected *= np.median(area[near] / expected[near])
    whole: np.ndarray = np.abs(area / np.maximum(expected, 1e-9) - 1) <= 0.08 + 0.5 / np.sqrt(np.maximum(expected, 1))
    return whole


def _most_agreed(source: np.ndarray, target: np.ndarray, size: int) -> np.ndarray:
    """bool[S]: the largest set of pairs that agree on a map through `size` of them (RANSAC)."""
    draws = np.random.default_rng(len(source)).random((TRIES, len(source)))
    chosen = np.argsort(draws, axis=1)[:, :size]
    x, y = np.moveaxis(source[chosen], 2, 0)
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows, right = np.stack([x, y, one], axis=2), target[chosen]
    if size == 4:  # both coordinates together, with the last element of the matrix 1
        u, v = np.moveaxis(target[chosen], 2, 0)
        above = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=2)
        below = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=2)
        rows, right = np.concatenate([above, below], axis=1), np.concatenate([u, v], axis=1)[..., None]
    sound = np.linalg.cond(rows) < 1e9
    if not sound.any():
        return np.zeros(len(source), dtype=bool)
    solved = np.linalg.solve(rows[sound], right[sound])
    last = np.tile([0.0, 0.0, 1.0], (len(solved), 1, 1))
    if size == 4:
        matrices = np.concatenate([solved[..., 0], np.ones((len(solved), 1))], axis=1).reshape(-1, 3, 3)
    else:
        matrices = np.concatenate([solved.transpose(0, 2, 1), last], axis=1)
    near = _near(matrices, source, target)
    best: np.ndarray = near[near.sum(axis=1).argmax()]
    return best


def _near(matrices: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """bool[M, S]: which pairs each of the maps brings together."""
    depth = matrices[:, 2] @ np.append(source.mean(axis=0), 1.0)
    with np.errstate(all="ignore"):
        scale = np.sqrt(np.abs(np.linalg.det(matrices) / depth**3))
    scale = np.where(np.isfinite(scale) & (depth > 0), scale, 0.0)
    full = np.concatenate([source, np.ones((len(source), 1))], axis=1) @ matrices.transpose(0, 2, 1)
    with np.errstate(all="ignore"):
        off = np.linalg.norm(full[..., :2] / np.where(full[..., 2:] > 1e-6, full[..., 2:], np.nan) - target, axis=2)
    near: np.ndarray = off <= WITHIN * np.maximum(1.0, scale)[:, None]
    return near


def _affine(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """The affine map of least squares; None where the places lie on a line."""
    middle = source.mean(axis=0)
    around = source - middle
    if np.linalg.svd(around, compute_uv=False)[-1] < 5:
        return None
    linear = np.linalg.lstsq(around, target - target.mean(axis=0), rcond=None)[0].T
    if abs(np.linalg.det(linear)) < 1e-6:
        return None
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, target.mean(axis=0) - linear @ middle
    return matrix


def _homography(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """The homography of least squares (normalized DLT, Hartley 1997); None if singular."""
    to_source, to_target = _normalizing(source), _normalizing(target)
    (x, y), (u, v) = mapped(to_source, source).T, mapped(to_target, target).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1),
        ]
    )
    values, vectors = np.linalg.eigh(rows.T @ rows)
    if values[1] < 1e-12 * values[8]:
        return None
    matrix = np.linalg.inv(to_target) @ vectors[:, 0].reshape(3, 3) @ to_source
    matrix /= matrix[2] @ [*source.mean(axis=0), 1.0]  # 1 in the middle, which lies in front of the horizon
    return matrix if abs(np.linalg.det(matrix)) > 1e-9 else None


def _normalizing(places: np.ndarray) -> np.ndarray:
    middle = places.mean(axis=0)
    scale = 1.0 / max(float(np.abs(places - middle).mean()), 1e-9)
    return np.array([[scale, 0, -scale * middle[0]], [0, scale, -scale * middle[1]], [0, 0, 1.0]])
