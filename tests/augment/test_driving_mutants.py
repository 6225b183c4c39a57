"""Every formula broken in each way it can be: what must be off, and what the explanation must say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from driving_augmentations import (
    SIZE,
    STEPS,
    Array,
    Motion,
    Rng,
    Scene,
    bev_map,
    calibrated,
    centre,
    drawn,
    image_augmentation,
    image_matrix,
    measured,
    nothing,
    off,
    scene_augmentation,
    warped,
    wide,
    yaws,
)


class Mutant(NamedTuple):
    """`words` must be in the explanation of `measure`; `culprit` is the part that must be named, None for either."""

    name: str
    augment: Callable[..., Any]
    measure: str
    words: str
    culprit: str | None = None
    size: tuple[int, int] = SIZE


def moved(**changes: Any) -> Callable[[Motion], Motion]:
    return lambda a: a.but(**changes)


def by(step: Callable[[Scene, Motion], None], change: Callable[[Motion], Motion]) -> Callable[[Scene, Motion], None]:
    """A step with another motion than the one that was drawn."""

    def wrong(scene: Scene, a: Motion) -> None:
        step(scene, change(a))

    return wrong


def label(columns: slice, value: Callable[[Array, Motion], Array]) -> Callable[[Scene, Motion], None]:
    """A step that sets columns of gt_boxes from those of before."""

    def wrong(scene: Scene, a: Motion) -> None:
        scene["gt_boxes"][:, columns] = value(scene["gt_boxes"].astype(np.float64), a)

    return wrong


V, SIZES, CENTRES, YAWS = slice(7, 9), slice(3, 6), slice(0, 3), slice(6, 7)
velocity, yaw = STEPS["velocity"], STEPS["yaw"]


def turning(change: Callable[[Motion], Motion]) -> dict[str, Any]:
    return {"velocity": by(velocity, change)}


def boxes_only(scene: Scene, rng: Rng) -> Scene:
    return scene_augmentation("yrt", points=nothing, lidar2img=nothing, bev_map=nothing)(scene, rng)


def points_only(scene: Scene, rng: Rng) -> Scene:
    wrong = dict.fromkeys((name for name in STEPS if name != "points"), nothing)
    return scene_augmentation("yrt", **wrong)(scene, rng)


def points_left(scene: Scene, rng: Rng) -> Scene:
    return scene_augmentation("rt", points=nothing)(scene, rng)


VELOCITY = [
    ("velocity: not rotated", "r", nothing, "velocity was not rotated"),
    ("velocity: not scaled", "s", nothing, "velocity was not scaled"),
    ("velocity: not scaled but rotated", "rs", by(velocity, moved(scale=1.0)), "velocity was not scaled"),
    ("velocity: not rotated but scaled", "rs", by(velocity, moved(angle=0.0)), "velocity was not rotated"),
    ("velocity: not flipped in y", "y", nothing, "velocity was not flipped in y"),
    ("velocity: not flipped in x", "x", nothing, "velocity was not flipped in x"),
    ("velocity: flipped, not rotated", "yr", by(velocity, moved(angle=0.0)), "flipped in y but not rotated"),
    ("velocity: rotated, not flipped", "yr", by(velocity, moved(flip_y=False)), "not flipped in y"),
    ("velocity: left", "yrs", nothing, "velocity was left untouched"),
    ("velocity: the wrong way", "r", by(velocity, lambda a: a.but(angle=-a.angle)), "was rotated the wrong way"),
    ("velocity: rotated twice", "r", by(velocity, lambda a: a.but(angle=2 * a.angle)), "velocity was rotated twice"),
    ("velocity: scaled twice", "s", by(velocity, lambda a: a.but(scale=a.scale**2)), "velocity was scaled twice"),
    ("velocity: divided", "s", by(velocity, lambda a: a.but(scale=1 / a.scale)), "velocity was divided by the scale"),
    ("velocity: wrong axis", "y", by(velocity, moved(flip_x=True, flip_y=False)), "was flipped in x instead of y"),
    ("velocity: shifted", "t", label(V, lambda b, a: b[:, V] + a.shift[:2]), "velocity was shifted as a place is"),
    ("velocity: reversed", "r", label(V, lambda b, a: -b[:, V] @ a.linear[:2, :2].T), "sign reversed"),
    ("velocity: exchanged", "", label(V, lambda b, a: b[:, [8, 7]]), "velocity has x and y exchanged"),
    ("velocity: zero", "", label(V, lambda b, a: 0 * b[:, V]), "velocity was set to 0"),
    ("velocity: km/h", "", label(V, lambda b, a: 3.6 * b[:, V]), "velocity is in km/h"),
    ("velocity: not a number", "", label(V, lambda b, a: np.nan * b[:, V]), "velocity is not finite"),
]  # fmt: skip
YAW = [
    ("yaw: not rotated", "r", nothing, "yaw was not rotated"),
    ("yaw: sign reversed", "r", by(yaw, lambda a: a.but(angle=-a.angle)), "yaw was rotated the wrong way"),
    ("yaw: not flipped", "y", nothing, "yaw was not flipped in y"),
    ("yaw: flipped, not rotated", "yr", by(yaw, moved(angle=0.0)), "yaw was flipped in y but not rotated"),
    ("yaw: π left out", "x", label(YAWS, lambda b, a: -b[:, YAWS]), "yaw was flipped in y instead of x"),
    ("yaw: backwards", "r", label(YAWS, lambda b, a: yaws(a, b[:, YAWS][:, 0])[:, None] + np.pi), "half a turn"),
    ("yaw: clockwise", "r", label(YAWS, lambda b, a: -yaws(a, b[:, 6])[:, None]), "yaw is clockwise"),
    ("yaw: det3d", "", label(YAWS, lambda b, a: -b[:, YAWS] - np.pi / 2), "older convention"),
    ("yaw: degrees", "r", label(YAWS, lambda b, a: np.degrees(yaws(a, b[:, 6]))[:, None]), "yaw is in degrees"),
]  # fmt: skip
DIMS = [
    ("dims: not scaled", "s", nothing, "dims were not scaled"),
    ("dims: scaled twice", "s", label(SIZES, lambda b, a: b[:, SIZES] * a.scale**2), "dims were scaled twice"),
    ("dims: divided", "s", label(SIZES, lambda b, a: b[:, SIZES] / a.scale), "divided by the scale"),
    ("dims: exchanged", "", label(SIZES, lambda b, a: b[:, [4, 3, 5]]), "length and width exchanged"),
    ("dims: height left", "s", label(SIZES, lambda b, a: b[:, SIZES] * [a.scale, a.scale, 1]), "but for the height"),
]  # fmt: skip
CENTRE = [
    ("centre: not rotated", "r", nothing, "centre was not rotated"),
    ("centre: not shifted", "rt", by(centre, lambda a: a.but(shift=np.zeros(3))), "centre was not shifted"),
    ("centre: not scaled", "s", nothing, "centre was not scaled"),
    ("centre: not flipped", "y", nothing, "centre was not flipped in y"),
    ("centre: wrong way", "r", by(centre, lambda a: a.but(angle=-a.angle)), "centre was rotated the wrong way"),
    ("centre: order", "st", by(centre, lambda a: a.but(shift=a.shift * a.scale)), "shifted before it was scaled"),
    ("centre: bottom", "", label(CENTRES, lambda b, a: b[:, :3] - b[:, [5]] * [0, 0, 0.5]), "that of the bottom"),
    ("centre: left", "rst", nothing, "centre was left untouched"),
]  # fmt: skip


def _culprit(measure: str, name: str) -> str | None:
    """Who must be named: nobody where it is centimetres that no image shows."""
    return "boxes" if measure == "centre" and "order" not in name else None


def labels(measure: str, step: str, rows: list[Any]) -> list[Mutant]:
    return [
        Mutant(name, scene_augmentation(parts, **{step: wrong}), measure, words, _culprit(measure, name))
        for name, parts, wrong, words in rows
    ]


def displacements(scene: Scene, rng: Rng) -> Scene:
    return scene_augmentation("r", displacement=nothing)(scene, rng)


def matrices(change: Callable[[Array, Motion], Array], parts: str = "rst") -> Callable[..., Any]:
    def wrong(scene: Scene, a: Motion) -> None:
        scene["lidar2img"] = np.asarray([change(matrix, a) for matrix in scene["lidar2img"]])

    return scene_augmentation(parts, lidar2img=wrong)


def inverse(a: Motion) -> Array:
    return np.asarray(np.linalg.inv(a.matrix))


MATRICES = [
    ("lidar2img: stale", matrices(lambda m, a: m), "is that of before: the scene's transform is not in it"),
    ("lidar2img: wrong side", matrices(lambda m, a: inverse(a) @ m), "multiplied on the wrong side"),
    ("lidar2img: not inverted", matrices(lambda m, a: m @ a.matrix), "by the transform instead of its inverse"),
    ("lidar2img: transposed", matrices(lambda m, a: m @ np.linalg.inv(a.matrix.T)), "transposed"),
    ("lidar2img: sign", matrices(lambda m, a: m @ inverse(a.but(angle=-a.angle)), "r"), "with its sign reversed"),
    ("lidar2img: no scale", matrices(lambda m, a: m @ inverse(a.but(scale=1.0)), "rst"), "was not scaled"),
    ("lidar2img: no shift", matrices(lambda m, a: m @ inverse(a.but(shift=np.zeros(3)))), "was not shifted"),
    ("lidar2img: no rotation", matrices(lambda m, a: m @ inverse(a.but(angle=0.0))), "was not rotated"),
    ("lidar2img: no flip", matrices(lambda m, a: m @ inverse(a.but(flip_y=False)), "yr"), "not flipped in y"),
]  # fmt: skip


def only(scene: Scene, h: Array, key: str) -> None:
    scene[key] = wide(h) @ scene[key]


def about_centre(scene: Scene, h: Array) -> None:
    """The image's transform about the principal point, which so stays where it was."""
    for camera, k in enumerate(scene["intrinsics"]):
        c = k[:2, 2]
        fixed = np.eye(3)
        fixed[:2, :2], fixed[:2, 2] = h[:2, :2], c - h[:2, :2] @ c
        scene["lidar2img"][camera] = wide(fixed) @ scene["lidar2img"][camera]
    only(scene, h, "intrinsics")


def principal_only(scene: Scene, h: Array) -> None:
    for camera, k in enumerate(scene["intrinsics"]):
        shift = np.eye(3)
        shift[:2, 2] = h[:2, :2] @ k[:2, 2] + h[:2, 2] - k[:2, 2]
        scene["lidar2img"][camera] = wide(shift) @ scene["lidar2img"][camera]
    only(scene, h, "intrinsics")


def with_other(change: Callable[[Array], Array]) -> Callable[[Scene, Array], None]:
    """lidar2img is moved by another matrix than the image was."""

    def wrong(scene: Scene, h: Array) -> None:
        only(scene, change(h), "lidar2img")
        only(scene, h, "intrinsics")

    return wrong


def linear_only(h: Array) -> Array:
    whole = np.eye(3)
    whole[:2, :2] = h[:2, :2]
    return whole


def shift_only(h: Array) -> Array:
    whole = np.eye(3)
    whole[:2, 2] = h[:2, 2]
    return whole


def reversed_shift(h: Array) -> Array:
    whole = np.array(h)
    whole[:2, 2] *= -1
    return whole


def reversed_rotation(h: Array) -> Array:
    """About the same middle."""
    middle = np.linalg.solve(np.eye(2) - h[:2, :2], h[:2, 2])
    whole = np.eye(3)
    whole[:2, :2] = h[:2, :2].T
    whole[:2, 2] = middle - whole[:2, :2] @ middle
    return whole


IMAGES = [
    ("image: lidar2img left", "f", lambda scene, h: only(scene, h, "intrinsics"), "the image's transform is not in it"),
    ("image: K left", "f", lambda scene, h: only(scene, h, "lidar2img"), "intrinsics are those of before"),
    ("image: flip without the principal point", "f", about_centre, "without the principal point"),
    ("image: resize without the principal point", "z", about_centre, "without the principal point"),
    ("image: focal lengths left", "f", principal_only, "focal lengths as before"),
    ("image: flip without the width", "f", with_other(linear_only), "lacks the image's shift"),
    ("image: crop forgotten", "zc", with_other(linear_only), "lacks the image's shift"),
    ("image: resize forgotten", "zc", with_other(shift_only), "has the image's shift, and nothing else"),
    ("image: crop reversed", "zc", with_other(reversed_shift), "sign reversed"),
    ("image: inverted", "z", with_other(np.linalg.inv), "transform inverted"),
    ("image: rotation reversed", "r", with_other(reversed_rotation), "rotation with its sign reversed"),
    ("image: twice", "z", with_other(lambda h: h @ h), "transform twice"),
]  # fmt: skip


def both_left(scene: Scene, rng: Rng) -> Scene:
    step = scene_augmentation("rst", lidar2img=nothing)
    return image_augmentation("f", lambda scene, h: only(scene, h, "intrinsics"))(step(scene, rng), rng)


def only_the_matrix(scene: Scene, rng: Rng) -> Scene:
    """Images that stay, and matrices that say they were flipped."""
    h, _ = image_matrix(rng, "f")
    calibrated(scene, h)
    return scene


def both_ways(scene: Scene, rng: Rng) -> Scene:
    """Deferred and done: the network would undo it twice."""
    motion = drawn(rng, "rs")
    for step in (STEPS[name] for name in STEPS if name != "pose"):
        step(scene, motion)
    scene["lidar_aug_matrix"] = motion.matrix
    return scene


def deferred_inverse(scene: Scene, rng: Rng) -> Scene:
    motion = drawn(rng, "rst")
    for name in STEPS:
        if name not in ("pose", "lidar2img"):
            STEPS[name](scene, motion)
    scene["lidar_aug_matrix"] = np.linalg.inv(motion.matrix)
    return scene


def deferred_image_left(scene: Scene, rng: Rng) -> Scene:
    h, size = image_matrix(rng, "fz")
    scene["images"] = [warped(image, h, size) for image in scene["images"]]
    scene["img_aug_matrix"] = [np.eye(4) for _ in scene["images"]]
    del scene["boxes2d"]
    return scene


def lag(change: Callable[[Array], Array]) -> Callable[[Scene, Rng], Scene]:
    def augment(scene: Scene, rng: Rng) -> Scene:
        scene["points"][:, 4] = change(scene["points"][:, 4].astype(np.float64))
        return scene

    return augment


LAGS = [
    ("lag: sign", lambda lags: -lags, "lag is negative"),
    ("lag: µs", lambda lags: lags * 1e6, "lag is in microseconds"),
    ("lag: ms", lambda lags: lags * 1e3, "lag is in milliseconds"),
    ("lag: order", lambda lags: lags.max() - lags, "lag is in reverse order"),
    ("lag: zero", lambda lags: 0 * lags, "lag is 0 for every sweep"),
    ("lag: counted", lambda lags: np.rint(lags / 0.05), "lag counts sweeps"),
    ("lag: shifted", lambda lags: lags + 0.2, "lag is shifted by 0.2 s"),
    ("lag: stretched", lambda lags: lags * 1.3, "lag was multiplied by 1.3"),
    ("lag: timestamps", lambda lags: 1000 - lags, "as a timestamp is"),
]


def map_step(change: Callable[[Motion], Motion]) -> Callable[..., Any]:
    return scene_augmentation("yr", bev_map=by(bev_map, change))


def ids(change: Callable[[Array, Rng], Array]) -> Callable[[Scene, Rng], Scene]:
    def augment(scene: Scene, rng: Rng) -> Scene:
        scene["track_ids"] = change(scene["track_ids"], rng)
        return scene

    return augment


def objects_alone(scene: Scene, rng: Rng) -> Scene:
    """Objects moved with the points that lie in their boxes, as object noise does: older sweeps stay behind."""
    for box in scene["gt_boxes"]:
        shift = rng.uniform(0.6, 1.0, 2) * rng.choice([-1, 1], 2)
        apart = np.linalg.norm(scene["points"][:, :2] - box[:2], axis=1)
        mine = (apart < box[3] / 2) & (scene["points"][:, 2] > -1.72)
        scene["points"][mine, :2] += shift
        box[:2] += shift
    del scene["lidar2img"]
    return scene


def objects_turned(scene: Scene, rng: Rng) -> Scene:
    """All of an object turned about its middle, its sweeps with it, but not its velocity label."""
    for thing, box in enumerate(scene["gt_boxes"]):
        turn = Motion(angle=float(rng.uniform(0.3, 0.6))).linear
        mine = slice(120 * thing, 120 * thing + 120)
        scene["points"][mine, :3] = (scene["points"][mine, :3] - box[:3]) @ turn.T + box[:3]
        box[6] += np.arctan2(turn[1, 0], turn[0, 0])
    del scene["lidar2img"], scene["displacement"]
    return scene


def emptied(scene: Scene, rng: Rng) -> Scene:
    """All points of an object that no camera sees are dropped, and its box stays."""
    scene["points"] = scene["points"][~((scene["points"][:, 5] >= 8 * 120) & (scene["points"][:, 5] < 9 * 120))]
    return scene


MUTANTS = [
    *labels("velocity", "velocity", VELOCITY),
    *labels("yaw", "yaw", YAW),
    *labels("dims", "dims", DIMS),
    *labels("centre", "centre", CENTRE),
    *(
        Mutant(name, augment, "reprojection", words, None if "no scale" in name else "matrices", (450, 800))
        for name, augment, words in MATRICES
    ),
    *(
        Mutant(name, image_augmentation(parts, wrong), "reprojection", words, None if "K left" in name else "matrices")
        for name, parts, wrong, words in IMAGES
    ),
    *(Mutant(name, lag(change), "time", words) for name, change, words in LAGS),
    Mutant("displacement: not rotated", displacements, "velocity", "the displacement label was not rotated"),
    Mutant("boxes only", boxes_only, "centre", "points were left untouched while the boxes moved", "boxes"),
    Mutant("points only", points_only, "centre", "centre was left untouched", "points"),
    Mutant("points left", points_left, "centre", "points were left untouched while the boxes moved", "points"),
    Mutant("neither in lidar2img", both_left, "reprojection", "neither the scene's transform nor", "matrices"),
    Mutant("images left", only_the_matrix, "reprojection", "the images were left untouched", "images"),
    Mutant("done and deferred", both_ways, "reprojection", "is in both", "matrices"),
    Mutant("lidar_aug_matrix inverted", deferred_inverse, "reprojection", "lidar_aug_matrix was", "matrices"),
    Mutant("img_aug_matrix left", deferred_image_left, "reprojection", "img_aug_matrix", "matrices"),
    Mutant("2-D boxes left", image_augmentation("f", boxes=lambda s, h: None), "iou_2d", "left untouched"),
    Mutant("map: left", map_step(lambda a: Motion()), "map", "map was left untouched"),
    Mutant("map: not rotated", map_step(moved(angle=0.0)), "map", "map was flipped in y but not rotated"),
    Mutant("map: inverse", scene_augmentation("r", bev_map=by(bev_map, lambda a: a.but(angle=-a.angle))), "map",
           "map was rotated the wrong way"),
    Mutant("ids: renumbered", ids(lambda old, rng: np.arange(len(old))), "tracks", "renumbered"),
    Mutant("ids: doubled", ids(lambda old, rng: np.where(old == old[2], old[1], old)), "tracks", "another's too"),
    Mutant("ids: shuffled", ids(lambda old, rng: np.roll(old, 1)), "tracks", "moved to other objects"),
    Mutant("ids: too few", ids(lambda old, rng: old[:-1]), "tracks", "10 ids for 11 boxes"),
    Mutant("objects moved without their sweeps", objects_alone, "velocity", "without its older sweeps"),
    Mutant("objects turned without their velocity", objects_turned, "velocity", "velocity was not rotated"),
    Mutant("a box without points", emptied, "visible", "points were taken away"),
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_formula_is_found_and_explained(mutant: Mutant) -> None:
    wrong = measured(mutant.augment, seeds=1, size=mutant.size)
    found = off(wrong)
    assert mutant.measure in found, (found, wrong.unjudged)
    value, words = found[mutant.measure]
    assert mutant.words in words, (value, words)
    if mutant.culprit is not None:
        assert wrong.culprit == mutant.culprit
