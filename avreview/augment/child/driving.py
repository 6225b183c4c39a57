"""Driving scenes whose truth is known: `avscene/1` with ten sweeps, several cameras and a map (avreview.augment.scene).

Everything that an augmentation could get wrong without being seen is made lopsided on purpose: the principal points
are off centre, headings are oblique, speeds and sizes differ from object to object, the map's features lie askew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from avreview.augment.scene import SCHEMA, Scene

SWEEPS, SWEEP_SECONDS = 10, 0.05
FRAME_SECONDS = 0.5  # to the next frame, which `displacement` speaks of
PER_SWEEP = 12  # points of an object in one sweep
INSIDE = 0.42  # points lie within this share of length, width and height from the centre
GROUND = -1.8  # m under the sensor
IMAGE_SIZE = (450, 800)  # where the augmentation is not written for another one
MARKERS = 15  # in an image, at most
BACKGROUND = -1  # the owner of a point that is of no object
NEAREST = 2.0  # m in front of a camera, under which nothing is shown
MAP_CELLS, MAP_CELL, MAP_RADIUS = 128, 0.8, 3.5  # cells along a side, m of a cell, cells of a feature
MAP_PLACES = ((18.0, 7.0), (-11.0, 21.0), (6.0, -17.0), (-22.0, -9.0))  # m

# name, length width height (m), bearing from the sensor (degrees), distance (m), heading (degrees), speed (m/s).
# No two have the same ratios of length, width and height, by which they are told apart, and no two bearings are near.
OBJECTS = (
    ("car", (4.6, 1.90, 1.70), 8, 13, 12, 9.0),
    ("car", (4.1, 1.80, 1.45), -22, 24, 187, 13.0),
    ("truck", (8.5, 2.60, 3.30), 24, 31, 31, 6.5),
    ("pedestrian", (0.70, 0.66, 1.78), -7, 9, 96, 1.6),
    ("bicycle", (1.80, 0.62, 1.52), 48, 15, -58, 5.0),
    ("car", (4.9, 2.05, 1.62), 93, 19, 118, 7.0),
    ("barrier", (0.60, 2.40, 1.05), -52, 12, 74, 0.0),
    ("bus", (11.2, 2.90, 3.50), 152, 29, -147, 8.0),
    ("motorcycle", (2.20, 0.85, 1.40), -98, 17, -33, 11.0),
    ("car", (4.3, 1.86, 1.80), -150, 22, 164, 0.0),
    ("pedestrian", (0.62, 0.54, 1.66), -171, 11, 20, 1.2),
)  # fmt: skip
_CAMERAS = ((0.0, (1.6, 0.05, -0.25)), (62.0, (1.3, 0.45, -0.28)), (176.0, (0.1, -0.1, -0.24)))  # degrees, m
_FOCAL, _PRINCIPAL = 0.70, (0.535, 0.445)  # of the width; of width and height


class World(NamedTuple):
    """A scene with the truth of it: who each point is of, and where it is at the time of the key frame.

    P points, C cameras, K markers of one camera: `marked[c]` are tags int[K], `places[c]` their pixels float[K, 2].
    `landmarks` names the standing points of the world by numbers that all frames of a sequence share, or -1.
    """

    scene: Scene
    owner: np.ndarray  # int[P]
    at_key: np.ndarray  # float[P, 3]
    lag: np.ndarray  # float[P]
    first_tag: int
    extrinsics: np.ndarray  # float[C, 4, 4], camera coordinates from the scene's
    marked: Sequence[np.ndarray]
    places: Sequence[np.ndarray]
    landmarks: np.ndarray
    prefix: str = ""  # of the names of its objects: `frame 2, `

    @property
    def points(self) -> np.ndarray:
        return np.asarray(self.scene["points"], dtype=np.float64)

    @property
    def boxes(self) -> np.ndarray:
        return np.asarray(self.scene["gt_boxes"], dtype=np.float64)

    def name(self, thing: int) -> str:
        """`object 3 (car)`."""
        return f"{self.prefix}object {thing} ({self.scene['gt_names'][thing]})"


def driving_world(seed: int, image_size: tuple[int, int] = IMAGE_SIZE) -> World:
    """One scene, drawn from a seed: OBJECTS with some play in place, heading and speed."""
    draw = np.random.default_rng([seed, 11])
    boxes = drawn_boxes(draw)
    ground = background(draw)
    return world_of(draw, boxes, ground, np.full(len(ground), -1), image_size=image_size)


def drawn_boxes(draw: np.random.Generator) -> np.ndarray:
    """float[N, 9]: OBJECTS standing on the ground, driving straight on."""
    rows = []
    for _, size, bearing, distance, heading, speed in OBJECTS:
        at = np.radians(bearing + draw.uniform(-2, 2))
        far = distance * draw.uniform(0.97, 1.03)
        yaw = np.radians(heading + draw.uniform(-4, 4))
        yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
        fast = speed * draw.uniform(0.95, 1.05)
        height = GROUND + 0.06 + size[2] / 2
        rows.append([far * np.cos(at), far * np.sin(at), height, *size, yaw, fast * np.cos(yaw), fast * np.sin(yaw)])
    return np.asarray(rows, dtype=np.float64)


def background(draw: np.random.Generator, ground: int = 420, poles: int = 12) -> np.ndarray:
    """float[P, 3]: ground all around, and poles, without which everything that stands still would be flat."""
    far, at = 4 + 40 * np.sqrt(draw.random(ground)), draw.uniform(-np.pi, np.pi, ground)
    flat = np.stack([far * np.cos(at), far * np.sin(at), GROUND + draw.normal(0, 0.01, ground)], axis=1)
    turn = np.linspace(-np.pi, np.pi, poles, endpoint=False) + 0.13
    foot = np.stack([np.cos(turn), np.sin(turn)], axis=1) * draw.uniform(34, 42, (poles, 1))
    height = GROUND + draw.uniform(0.3, 6.0, (poles, 12))
    upright = np.concatenate([np.repeat(foot, 12, axis=0), height.reshape(-1, 1)], axis=1)
    return np.concatenate([flat, upright])


def world_of(
    draw: np.random.Generator,
    boxes: np.ndarray,
    standing: np.ndarray,
    landmarks: np.ndarray,
    *,
    image_size: tuple[int, int],
    cameras: int = len(_CAMERAS),
    first_tag: int = 0,
    pose: np.ndarray | None = None,
    timestamp: float = 1_600_000_000.0,
) -> World:
    """A scene of these boxes and standing points, as ten sweeps would see them from a sensor at rest."""
    owner, at_key, lag = _returns(draw, boxes, standing)
    velocity = np.where((owner >= 0)[:, None], boxes[owner][:, 7:9], 0.0)
    seen = at_key.copy()
    seen[:, :2] -= velocity * lag[:, None]
    tags = first_tag + np.arange(len(owner))
    points = np.column_stack([seen, draw.uniform(0.05, 0.95, len(owner)), lag, tags]).astype(np.float32)
    intrinsics, extrinsics = _calibration(image_size, cameras)
    scene: Scene = {
        "scene": SCHEMA,
        "points": points,
        "gt_boxes": boxes.astype(np.float32),
        "gt_names": np.asarray([entry[0] for entry in OBJECTS[: len(boxes)]]),
        "track_ids": 101 + 7 * np.arange(len(boxes), dtype=np.int64),
        "images": [_texture(draw, image_size) for _ in range(cameras)],
        "lidar2img": intrinsics @ extrinsics,
        "intrinsics": intrinsics,
        "ego2global": np.eye(4) if pose is None else pose,
        "timestamp": timestamp,
        "displacement": (boxes[:, 7:9] * FRAME_SECONDS).astype(np.float32),
        "bev_map": _map(),
        "bev_origin": np.full(2, -MAP_CELLS * MAP_CELL / 2 + MAP_CELL / 2),
        "bev_cell": MAP_CELL,
    }
    _add_boxes2d(scene, image_size)
    padded = np.concatenate([np.full(len(owner) - len(landmarks), -1), landmarks])
    world = World(scene, owner, at_key, lag, first_tag, extrinsics, [], [], padded)
    marked, places = _markers(world, image_size)
    return world._replace(marked=marked, places=places)


def _returns(
    draw: np.random.Generator, boxes: np.ndarray, standing: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owner, place at the key frame, and lag of every point: those of objects first."""
    many = SWEEPS * PER_SWEEP
    owner = np.repeat(np.arange(len(boxes)), many)
    lag = np.tile(np.repeat(np.arange(SWEEPS) * SWEEP_SECONDS, PER_SWEEP), len(boxes))
    body = draw.uniform(-INSIDE, INSIDE, (len(owner), 3)) * boxes[owner, 3:6]
    cos, sin = np.cos(boxes[owner, 6]), np.sin(boxes[owner, 6])
    turned = np.stack([cos * body[:, 0] - sin * body[:, 1], sin * body[:, 0] + cos * body[:, 1], body[:, 2]], axis=1)
    old = np.arange(len(standing)) % SWEEPS * SWEEP_SECONDS
    return (
        np.concatenate([owner, np.full(len(standing), BACKGROUND)]),
        np.concatenate([turned + boxes[owner, :3], standing]),
        np.concatenate([lag, old]),
    )


def _calibration(image_size: tuple[int, int], cameras: int) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics and extrinsics, float64[C, 4, 4] each; a camera looks along its z, its y points down."""
    height, width = image_size
    intrinsics, extrinsics = np.tile(np.eye(4), (2, cameras, 1, 1))
    for camera, (heading, place) in enumerate(_CAMERAS[:cameras]):
        off = 0.01 * camera
        intrinsics[camera, 0, [0, 2]] = _FOCAL * width, (_PRINCIPAL[0] + off) * width
        intrinsics[camera, 1, [1, 2]] = _FOCAL * width, (_PRINCIPAL[1] + off) * height
        turn = np.radians(heading)
        ahead, left = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
        axes = np.stack([-left, [0, 0, -1], ahead])
        extrinsics[camera, :3, :3] = axes
        extrinsics[camera, :3, 3] = -axes @ np.asarray(place)
    return intrinsics, extrinsics


def _texture(draw: np.random.Generator, image_size: tuple[int, int]) -> np.ndarray:
    """uint8[H, W, 3]: soft patches of colour, different in every corner."""
    height, width = image_size
    coarse = draw.uniform(60, 190, (height // 32 + 2, width // 32 + 2, 3)).astype(np.float32)
    rows, columns = np.arange(height) / 32, np.arange(width) / 32
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None].astype(np.float32), (columns - left)[None, :, None].astype(np.float32)
    tall = coarse[top] * (1 - down) + coarse[top + 1] * down
    wide: np.ndarray = tall[:, left] * (1 - right) + tall[:, left + 1] * right
    return wide.astype(np.uint8)


def _map() -> np.ndarray:
    """float32[M, X, Y]: a disc in each layer."""
    centre = np.arange(MAP_CELLS) * MAP_CELL - MAP_CELLS * MAP_CELL / 2 + MAP_CELL / 2
    discs = [np.hypot(centre[:, None] - x, centre[None, :] - y) <= MAP_RADIUS * MAP_CELL for x, y in MAP_PLACES]
    return np.asarray(discs, dtype=np.float32)


def _add_boxes2d(scene: Scene, image_size: tuple[int, int]) -> None:
    """The 2-D boxes of the objects that are wholly in the first image."""
    from avreview.augment.child.boxes import corners
    from avreview.augment.child.projection import project

    height, width = image_size
    found: list[tuple[int, np.ndarray]] = []
    for thing, box in enumerate(scene["gt_boxes"].astype(np.float64)):
        pixels, depth = project(scene["lidar2img"][0], corners(box))
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        inside = (depth > NEAREST).all() and (low > 2).all() and high[0] < width - 3 and high[1] < height - 3
        if inside and (high - low).min() > 10:
            found.append((thing, np.concatenate([low, high])))
    scene["boxes2d"] = np.asarray([box for _, box in found], dtype=np.float32).reshape(-1, 4)
    scene["boxes2d_ids"] = scene["track_ids"][[thing for thing, _ in found]]
    scene["boxes2d_names"] = scene["gt_names"][[thing for thing, _ in found]]


def _markers(world: World, image_size: tuple[int, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Which points of the key frame are marked in each image, and where: objects' first, far enough apart to draw."""
    from avreview.augment.child.markers import drawable
    from avreview.augment.child.projection import project

    marked, places = [], []
    key = np.flatnonzero(world.lag == 0)
    turn = np.argsort(np.where(world.owner[key] >= 0, np.arange(len(key)) % PER_SWEEP, PER_SWEEP), kind="stable")
    key = key[turn]  # one point of every object, then a second one of each, …
    for matrix in world.scene["lidar2img"]:
        pixels, depth = project(matrix, world.points[key, :3])
        pixels = np.where((depth > NEAREST)[:, None], pixels, np.nan)
        chosen = _spread(drawable(image_size, pixels, marker_radius(image_size)), world.owner[key])
        marked.append(world.first_tag + key[chosen])
        places.append(pixels[chosen])
    return marked, places


def _spread(candidates: Sequence[int], owner: np.ndarray) -> list[int]:
    """Of the candidates MARKERS at most, two thirds of them of objects where there are as many."""
    objects = [index for index in candidates if owner[index] >= 0][: 2 * MARKERS // 3]
    others = [index for index in candidates if owner[index] < 0][: MARKERS - len(objects)]
    return objects + others


def marker_radius(image_size: tuple[int, int]) -> float:
    """Larger in larger images, which are mostly scaled down."""
    return float(np.clip(image_size[1] / 170, 5, 9))
