"""Boxes [x, y, z, length, width, height, yaw, vx, vy]: corners, what lies inside, and angles."""

from __future__ import annotations

import numpy as np

X, Y, Z, LENGTH, WIDTH, HEIGHT, YAW, VX, VY = range(9)
_SIGNS = np.asarray([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def corners(box: np.ndarray) -> np.ndarray:
    """float[8, 3]."""
    return placed(box, _SIGNS * box[LENGTH : HEIGHT + 1])


def placed(box: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Places float[P, 3] from those in the box's own axes (m from its centre)."""
    cos, sin = np.cos(box[YAW]), np.sin(box[YAW])
    x, y = cos * body[:, 0] - sin * body[:, 1], sin * body[:, 0] + cos * body[:, 1]
    return np.asarray(np.stack([x, y, body[:, 2]], axis=1) + box[:3])


def body_of(box: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The inverse of `placed`."""
    moved = places - box[:3]
    cos, sin = np.cos(box[YAW]), np.sin(box[YAW])
    x, y = cos * moved[:, 0] + sin * moved[:, 1], cos * moved[:, 1] - sin * moved[:, 0]
    return np.stack([x, y, moved[:, 2]], axis=1)


def share_inside(box: np.ndarray, places: np.ndarray, slack: float = 0.01) -> float:
    """How many of float[P, 3] lie inside, as a share; `slack` in m."""
    half = np.abs(box[LENGTH : HEIGHT + 1]) / 2 + slack
    return float((np.abs(body_of(box, places)) <= half).all(axis=1).mean())


def wrapped(angle: np.ndarray | float) -> np.ndarray:
    """Radians into [-π, π)."""
    return np.asarray((np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi)


def degrees_apart(one: float, other: float) -> float:
    return float(np.degrees(np.abs(wrapped(one - other))))
