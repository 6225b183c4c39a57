"""Sequences whose truth is known: a car that drives a bend among objects that drive straight on, frame by frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from avreview.augment.child.driving import FRAME_SECONDS, World, background, drawn_boxes, world_of

FRAMES = 6
IMAGE_SIZE = (270, 480)  # small: there is one for every frame
_SPEED, _TURN = 7.0, np.radians(7.0)  # of the car itself: m/s, and per second
_OBJECTS = 7  # of those of a single scene
_PLACE = (613.0, -247.0, 1.5, np.radians(38.0))  # of the first frame in the world: m, and its heading


class Sequence(NamedTuple):
    """The frames, in order of time; a point's tag is its own throughout the sequence."""

    frames: list[World]

    @property
    def given(self) -> list[dict[str, object]]:
        return [frame.scene for frame in self.frames]


def driving_sequence(seed: int, image_size: tuple[int, int] = IMAGE_SIZE, cameras: int = 1) -> Sequence:
    """Velocities are those over ground, in the axes of the frame, as nuScenes has them."""
    draw = np.random.default_rng([seed, 23])
    boxes = drawn_boxes(draw)[:_OBJECTS]
    standing = background(draw, ground=180, poles=8)
    start = pose_at(0)
    frames: list[World] = []
    first_tag = 0
    for number in range(FRAMES):
        pose = pose_at(number)
        back = np.linalg.inv(pose) @ start  # this frame's axes from the first one's
        world = world_of(
            draw, _moved(boxes, back, number * FRAME_SECONDS), standing @ back[:3, :3].T + back[:3, 3],
            np.arange(len(standing)), image_size=image_size, cameras=cameras, first_tag=first_tag, pose=pose,
            timestamp=1_600_000_000.0 + number * FRAME_SECONDS,
        )  # fmt: skip
        frames.append(world._replace(prefix=f"frame {number}, "))
        first_tag += len(world.owner)
    return Sequence(frames)


def pose_at(number: int) -> np.ndarray:
    """float[4, 4] `ego2global` of a frame: along a circle."""
    x, y, z, heading = _PLACE
    turned = _TURN * number * FRAME_SECONDS
    radius = _SPEED / _TURN
    ahead, left = radius * np.sin(turned), radius * (1 - np.cos(turned))
    pose = np.eye(4)
    cos, sin = np.cos(heading), np.sin(heading)
    pose[:3, 3] = x + cos * ahead - sin * left, y + sin * ahead + cos * left, z
    cos, sin = np.cos(heading + turned), np.sin(heading + turned)
    pose[:2, :2] = [[cos, -sin], [sin, cos]]
    return pose


def _moved(boxes: np.ndarray, back: np.ndarray, seconds: float) -> np.ndarray:
    """The boxes of the first frame after some seconds, in the axes of a later frame."""
    found: np.ndarray = boxes.copy()
    found[:, :2] += boxes[:, 7:9] * seconds
    found[:, :3] = found[:, :3] @ back[:3, :3].T + back[:3, 3]
    found[:, 6] += np.arctan2(back[1, 0], back[0, 0])
    found[:, 7:9] = boxes[:, 7:9] @ back[:2, :2].T
    return found
