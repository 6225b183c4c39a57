"""What an augmentation did to places that carry a tag: the similarity q = L·p + t, L = scale × rotation (or mirror).

Fitted by Umeyama's method (least-squares estimation of transformation parameters between two point patterns, 1991),
without his constraint on the sign of the determinant, for augmentations mirror.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_FLAT = 0.02  # of the largest extent: what is flatter than this shows no mirror through its own plane


class Similarity(NamedTuple):
    """`rms` is what the fit left over, in m."""

    linear: np.ndarray  # float[3, 3]
    shift: np.ndarray  # float[3]
    rms: float = 0.0

    @property
    def scale(self) -> float:
        return float(np.cbrt(abs(np.linalg.det(self.linear))))

    @property
    def mirrors(self) -> bool:
        return bool(np.linalg.det(self.linear) < 0)

    @property
    def matrix(self) -> np.ndarray:
        """float[4, 4]."""
        whole = np.eye(4)
        whole[:3, :3], whole[:3, 3] = self.linear, self.shift
        return whole

    @property
    def is_identity(self) -> bool:
        return bool(np.allclose(self.linear, np.eye(3), atol=1e-4) and np.allclose(self.shift, 0, atol=1e-3))

    def moved(self, places: np.ndarray) -> np.ndarray:
        return np.asarray(places @ self.linear.T + self.shift)

    def turned(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors of the plane, float[…, 2], as velocities go: turned, mirrored and scaled, never shifted."""
        return np.asarray(vectors @ self.linear[:2, :2].T)

    def heading(self, yaw: float) -> float:
        """Where what headed along `yaw` is heading."""
        ahead = self.linear @ np.array([np.cos(yaw), np.sin(yaw), 0.0])
        return float(np.arctan2(ahead[1], ahead[0]))


IDENTITY = Similarity(np.eye(3), np.zeros(3))


def fitted(before: np.ndarray, after: np.ndarray) -> Similarity | None:
    """The least-squares similarity between two float[P, 3]; None for fewer than 4 places, or for one spot."""
    if len(before) < 4:
        return None
    mean_before, mean_after = before.mean(axis=0), after.mean(axis=0)
    centred, target = before - mean_before, after - mean_after
    variance = float((centred**2).sum() / len(before))
    if variance < 1e-8 or not np.isfinite(target).all():
        return None
    left, values, right = np.linalg.svd(target.T @ centred / len(before))
    sign = np.ones(3)
    spread = np.sqrt(np.linalg.eigvalsh(centred.T @ centred))
    if spread[0] < _FLAT * spread[2] and np.linalg.det(left @ right) < 0:
        sign[2] = -1.0
    linear = (values * sign).sum() / variance * (left * sign) @ right
    shift = mean_after - linear @ mean_before
    return Similarity(linear, shift, _rms(after - before @ linear.T - shift))


def trimmed(before: np.ndarray, after: np.ndarray, rounds: int = 3) -> Similarity | None:
    """The same where some places went elsewhere: what is far off the fit is left out of the next."""
    found = fitted(before, after)
    for _ in range(rounds):
        if found is None:
            return None
        off = np.linalg.norm(after - found.moved(before), axis=1)
        keep = off <= 3 * np.median(off) + 0.01
        if keep.all() or keep.sum() < max(4, 0.5 * len(before)):
            break
        found = fitted(before[keep], after[keep])
    return found


def of_boxes(before: np.ndarray, after: np.ndarray) -> Similarity | None:
    """By the centres of boxes float[N, ≥7] and places high above them: in a plane they would show no mirror."""
    if len(before) < 4:
        return None
    tall = np.zeros((2, len(before), 3))
    tall[0, :, 2], tall[1, :, 2] = 10 * before[:, 5], 10 * after[:, 5]
    return trimmed(
        np.concatenate([before[:, :3], before[:, :3] + tall[0]]), np.concatenate([after[:, :3], after[:, :3] + tall[1]])
    )


def _rms(residuals: np.ndarray) -> float:
    return float(np.sqrt((residuals**2).sum(axis=1).mean()))
