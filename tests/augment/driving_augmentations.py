"""Augmentations of driving scenes, right ones and wrong ones, written from the formulas, one part at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avreview.augment.child.adapters.plain import adapted
from avreview.augment.child.driving_kind import measure_driving
from avreview.augment.child.task import Task
from avreview.augment.model import Measured

Rng = np.random.Generator
Scene = dict[str, Any]
Array = np.ndarray[Any, Any]
SIZE = (192, 320)


@dataclass
class Motion:
    """A = shift · scale · rotation · flip, drawn anew under each seed."""

    flip_x: bool = False
    flip_y: bool = False
    angle: float = 0.0
    scale: float = 1.0
    shift: Array = field(default_factory=lambda: np.zeros(3))

    @property
    def linear(self) -> Array:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return np.asarray(self.scale * turn @ np.diag([-1.0 if self.flip_x else 1, -1.0 if self.flip_y else 1, 1]))

    @property
    def matrix(self) -> Array:
        whole = np.eye(4)
        whole[:3, :3], whole[:3, 3] = self.linear, self.shift
        return whole

    def but(self, **changes: Any) -> Motion:
        return Motion(**{**self.__dict__, **changes})


def drawn(rng: Rng, parts: str) -> Motion:
    """`parts` holds letters: x and y flips, r a rotation, s a scaling, t a shift. Nothing of it is near to nothing."""
    sign = rng.choice([-1, 1])
    return Motion(
        flip_x="x" in parts, flip_y="y" in parts,
        angle=float(sign * rng.uniform(0.15, 0.5)) if "r" in parts else 0.0,
        scale=float(1 + sign * rng.uniform(0.04, 0.1)) if "s" in parts else 1.0,
        shift=rng.uniform(0.3, 0.9, 3) * rng.choice([-1, 1], 3) if "t" in parts else np.zeros(3),
    )  # fmt: skip


def turned(motion: Motion, vectors: Array) -> Array:
    return np.asarray(vectors @ motion.linear[:2, :2].T)


def yaws(motion: Motion, before: Array) -> Array:
    ahead = turned(motion, np.stack([np.cos(before), np.sin(before)], axis=1))
    return np.arctan2(ahead[:, 1], ahead[:, 0])


# What a step does to one part of a scene: (scene, motion) → None. Each can be replaced by a wrong one.
def points(scene: Scene, a: Motion) -> None:
    scene["points"][:, :3] = scene["points"][:, :3] @ a.linear.T + a.shift


def centre(scene: Scene, a: Motion) -> None:
    scene["gt_boxes"][:, :3] = scene["gt_boxes"][:, :3] @ a.linear.T + a.shift


def dims(scene: Scene, a: Motion) -> None:
    scene["gt_boxes"][:, 3:6] *= a.scale


def yaw(scene: Scene, a: Motion) -> None:
    scene["gt_boxes"][:, 6] = yaws(a, scene["gt_boxes"][:, 6])


def velocity(scene: Scene, a: Motion) -> None:
    scene["gt_boxes"][:, 7:9] = turned(a, scene["gt_boxes"][:, 7:9])


def displacement(scene: Scene, a: Motion) -> None:
    scene["displacement"] = turned(a, scene["displacement"])


def lidar2img(scene: Scene, a: Motion) -> None:
    scene["lidar2img"] = scene["lidar2img"] @ np.linalg.inv(a.matrix)


def pose(scene: Scene, a: Motion) -> None:
    scene["ego2global"] = scene["ego2global"] @ np.linalg.inv(a.matrix)


def bev_map(scene: Scene, a: Motion) -> None:
    """Nearest cells, found backwards."""
    layers, origin, cell = scene["bev_map"], scene["bev_origin"], scene["bev_cell"]
    i, j = np.mgrid[: layers.shape[1], : layers.shape[2]]
    place = np.stack([i.ravel(), j.ravel()], axis=1) * cell + origin
    back = (place - a.shift[:2]) @ np.linalg.inv(a.linear[:2, :2]).T
    cells = np.rint((back - origin) / cell).astype(int)
    inside = ((cells >= 0) & (cells < layers.shape[1:])).all(axis=1)
    cells = np.clip(cells, 0, np.asarray(layers.shape[1:]) - 1)
    scene["bev_map"] = (layers[:, cells[:, 0], cells[:, 1]] * inside).reshape(layers.shape)


Step = Callable[[Scene, Motion], None]
STEPS: dict[str, Step] = {
    step.__name__: step for step in (points, centre, dims, yaw, velocity, displacement, lidar2img, pose, bev_map)
}


def nothing(scene: Scene, a: Motion) -> None:
    """A part that was forgotten."""


def scene_augmentation(parts: str, **wrong: Step) -> Callable[[Scene, Rng], Scene]:
    """The motion that `parts` draws, right but for the steps that `wrong` replaces."""
    assert set(wrong) <= set(STEPS), wrong

    def augment(scene: Scene, rng: Rng) -> Scene:
        motion = drawn(rng, parts)
        for step in {**STEPS, **wrong}.values():
            step(scene, motion)
        return scene

    return augment


def warped(image: Array, matrix: Array, size: tuple[int, int]) -> Array:
    """An image moved by float[3, 3] into (height, width): the nearest pixels, black where there are none."""
    v, u = np.mgrid[: size[0], : size[1]]
    back = np.linalg.inv(matrix)
    at_u = np.rint(back[0, 0] * u + back[0, 1] * v + back[0, 2]).astype(int)
    at_v = np.rint(back[1, 0] * u + back[1, 1] * v + back[1, 2]).astype(int)
    inside = (at_u >= 0) & (at_v >= 0) & (at_u < image.shape[1]) & (at_v < image.shape[0])
    found = image[np.clip(at_v, 0, image.shape[0] - 1), np.clip(at_u, 0, image.shape[1] - 1)]
    return np.asarray(found * inside[..., None].astype(np.uint8))


def image_matrix(rng: Rng, parts: str, size: tuple[int, int] = SIZE) -> tuple[Array, tuple[int, int]]:
    """`parts`: f a flip, z a resize, c a crop, r a rotation; the matrix, and the size of what comes out."""
    height, width = size
    whole = np.eye(3)
    if "z" in parts:
        factor = rng.uniform(0.7, 0.85)
        whole = np.diag([factor, factor, 1.0]) @ whole
        height, width = int(height * factor), int(width * factor)
    if "c" in parts:
        left, top = int(rng.integers(10, 30)), int(rng.integers(6, 20))
        whole = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]) @ whole
        height, width = height - top, width - left - 8
    if "f" in parts:
        whole = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]]) @ whole
    if "r" in parts:
        angle = rng.choice([-1, 1]) * rng.uniform(0.06, 0.12)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        middle = np.array([width / 2, height / 2])
        about = np.eye(3)
        about[:2, :2], about[:2, 2] = turn, middle - turn @ middle
        whole = about @ whole
    return whole, (height, width)


def wide(matrix: Array) -> Array:
    """float[3, 3] as float[4, 4] that is put before a lidar2img."""
    whole = np.eye(4)
    whole[:3, :3] = matrix
    return whole


Calibrate = Callable[[Scene, Array], None]


def calibrated(scene: Scene, h: Array) -> None:
    """Right: both matrices move with the image."""
    scene["lidar2img"] = wide(h) @ scene["lidar2img"]
    scene["intrinsics"] = wide(h) @ scene["intrinsics"]


def boxes2d_moved(scene: Scene, h: Array) -> None:
    height, width = scene["images"][0].shape[:2]
    for row, (left, top, right, bottom) in enumerate(scene["boxes2d"]):
        corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1]]) @ h.T
        low, high = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
        scene["boxes2d"][row] = [*np.maximum(low, 0), *np.minimum(high, (width, height))]
    size = scene["boxes2d"][:, 2:] - scene["boxes2d"][:, :2]
    kept = (size > 1).all(axis=1)
    for key in ("boxes2d", "boxes2d_ids", "boxes2d_names"):
        scene[key] = scene[key][kept]


def image_augmentation(
    parts: str, calibrate: Calibrate = calibrated, boxes: Calibrate = boxes2d_moved, size: tuple[int, int] = SIZE
) -> Callable[[Scene, Rng], Scene]:
    """All images moved alike, with the matrices that `calibrate` sets."""

    def augment(scene: Scene, rng: Rng) -> Scene:
        h, shape = image_matrix(rng, parts, size)
        scene["images"] = [warped(image, h, shape) for image in scene["images"]]
        calibrate(scene, h)
        boxes(scene, h)
        return scene

    return augment


def after_one_another(*steps: Callable[[Scene, Rng], Scene]) -> Callable[[Scene, Rng], Scene]:
    def augment(scene: Scene, rng: Rng) -> Scene:
        for step in steps:
            scene = step(scene, rng)
        return scene

    return augment


def measured(
    augment: Callable[..., Any],
    seeds: int = 3,
    *,
    size: tuple[int, int] = SIZE,
    without: Sequence[str] = (),
    pictures: bool = False,
    **others: Any,
) -> Measured:
    """What the driving scenes show of an augmentation."""
    task = Task(
        adapted(augment, None).whole, seeds=seeds, image_size=size, without=frozenset(without), pictures=pictures,
        **others,
    )  # fmt: skip
    return Measured.from_json({"name": "it", "place": None, **measure_driving(task)})


# What is fine, as the rule cards have it: the worst there may be of each measure.
FINE = {
    "in_box": 0.98, "centre": 0.05, "dims": 0.01, "yaw": 1.0, "reprojection": 1.5, "iou_2d": 0.9, "map": 1.5,
    "visible": 0.01, "velocity": 0.1, "heading": 2.0, "time": 0.01, "tracks": 0.0, "sequence": 0.15, "ego": 0.05,
    "repeats": 0.0,
}  # fmt: skip
LEAST = ("in_box", "iou_2d", "visible")


def off(found: Measured) -> dict[str, tuple[float, str]]:
    """The measures that are off, with the worst value and the words that explain it."""
    wrong = {}
    for name, limit in FINE.items():
        worst = found.worst(name, least=name in LEAST)
        if worst is None:
            continue
        allowed = max(limit, 0.01 * worst.size) if name == "velocity" else limit
        if not (worst.value >= allowed if name in LEAST else worst.value <= allowed):
            wrong[name] = worst.value, worst.words
    return wrong
