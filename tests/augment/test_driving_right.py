"""Right augmentations of driving scenes: nothing may be off, under many seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from driving_augmentations import (
    STEPS,
    Motion,
    Rng,
    Scene,
    after_one_another,
    drawn,
    image_augmentation,
    image_matrix,
    lidar2img,
    measured,
    off,
    scene_augmentation,
    warped,
    wide,
)

MEASURES = {
    "in_box", "centre", "dims", "yaw", "velocity", "heading", "time", "reprojection", "visible", "iou_2d", "map",
    "tracks", "repeats",
}  # fmt: skip


def noisy(scene: Scene, rng: Rng) -> Scene:
    """2 cm of noise on every point, and 30 % of them dropped."""
    scene["points"][:, :3] += rng.normal(0, 0.02, (len(scene["points"]), 3))
    scene["points"] = scene["points"][rng.random(len(scene["points"])) > 0.3]
    return scene


def shuffled(scene: Scene, rng: Rng) -> Scene:
    scene["points"] = scene["points"][rng.permutation(len(scene["points"]))]
    order = rng.permutation(len(scene["gt_boxes"]))
    for key in ("gt_boxes", "gt_names", "track_ids", "displacement"):
        scene[key] = scene[key][order]
    return scene


def ranged(scene: Scene, rng: Rng) -> Scene:
    """Points and boxes by the same range."""
    scene["points"] = scene["points"][np.abs(scene["points"][:, :2]).max(axis=1) < 25]
    kept = np.abs(scene["gt_boxes"][:, :2]).max(axis=1) < 18
    for key in ("gt_boxes", "gt_names", "track_ids", "displacement"):
        scene[key] = scene[key][kept]
    return scene


def fewer_sweeps(scene: Scene, rng: Rng) -> Scene:
    """A subset of the sweeps, the newest not among them."""
    kept = rng.choice(np.arange(1, 10), 5, replace=False) * 0.05
    lag = scene["points"][:, 4]
    scene["points"] = scene["points"][np.abs(lag[:, None] - kept).min(axis=1) < 0.01]
    return scene


def slower(scene: Scene, rng: Rng) -> Scene:
    """Time that passes more slowly: all that depends on it is scaled."""
    factor = rng.uniform(1.5, 2.5)
    scene["points"][:, 4] *= factor
    scene["gt_boxes"][:, 7:9] /= factor
    del scene["displacement"]
    return scene


def deferred(scene: Scene, rng: Rng) -> Scene:
    """Matrices that say what was done, and lidar2img left to the network."""
    motion = drawn(rng, "yrst")
    for part in ("points", "centre", "dims", "yaw", "velocity", "displacement", "bev_map"):
        STEPS[part](scene, motion)
    h, size = image_matrix(rng, "fzc")
    scene["images"] = [warped(image, h, size) for image in scene["images"]]
    whole = np.eye(4)
    whole[:2, :2], whole[:2, 3] = h[:2, :2], h[:2, 2]
    scene["img_aug_matrix"] = [whole for _ in scene["images"]]
    scene["lidar_aug_matrix"] = motion.matrix
    del scene["boxes2d"]
    return scene


def deferred_homography(scene: Scene, rng: Rng) -> Scene:
    h, size = image_matrix(rng, "zr")
    scene["images"] = [warped(image, h, size) for image in scene["images"]]
    scene["img_aug_matrix"] = [wide(h) for _ in scene["images"]]
    del scene["boxes2d"]
    return scene


def jittered(scene: Scene, rng: Rng) -> Scene:
    """Brightness, noise and a hole: nothing moves."""
    gain, shift = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    images = []
    for image in scene["images"]:
        changed = image * gain + shift + rng.normal(0, 4, image.shape)
        changed[40:90, 100:160] = 0
        images.append(np.clip(changed, 0, 255).astype(np.uint8))
    scene["images"] = images
    return scene


def each_object(scene: Scene, rng: Rng) -> Scene:
    """Every object moved and turned on its own, with all its sweeps and its label."""
    before = scene["gt_boxes"].astype(np.float64)
    owner = np.repeat(np.arange(len(before)), 120)
    for thing, box in enumerate(before):
        angle, shift = rng.uniform(-0.3, 0.3), np.append(rng.uniform(-0.5, 0.5, 2), 0)
        turn = Motion(angle=angle).linear
        mine = np.flatnonzero(owner == thing)
        scene["points"][mine, :3] = (scene["points"][mine, :3] - box[:3]) @ turn.T + box[:3] + shift
        scene["gt_boxes"][thing, :3] += shift
        scene["gt_boxes"][thing, 6] += angle
        scene["gt_boxes"][thing, 7:9] = turn[:2, :2] @ box[7:9]
    for key in ("lidar2img", "displacement"):
        del scene[key]
    return scene


def only_labels_dict(scene: Scene, rng: Rng) -> Any:
    return {key: scene[key] for key in ("points", "gt_boxes")}


RIGHT = {
    **{f"scene {parts}": scene_augmentation(parts) for parts in ("x", "y", "xy", "r", "s", "t", "yr", "xyrst")},
    **{f"image {parts}": image_augmentation(parts) for parts in ("f", "z", "c", "r", "fzcr")},
    "scene and image": after_one_another(scene_augmentation("yrst"), image_augmentation("fzc")),
    "noise": after_one_another(noisy, scene_augmentation("yrst")),
    "shuffled": after_one_another(shuffled, scene_augmentation("xr")),
    "range": after_one_another(scene_augmentation("rs"), ranged),
    "fewer sweeps": after_one_another(fewer_sweeps, scene_augmentation("yrs")),
    "slower": slower,
    "deferred": deferred,
    "deferred homography": deferred_homography,
    "jitter": jittered,
    "each object": each_object,
    "few keys": only_labels_dict,
}


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_off(name: str) -> None:
    found = measured(RIGHT[name], seeds=4)
    assert off(found) == {}
    assert found.culprit is None
    assert found.changed == (name != "few keys")


def test_everything_is_measured() -> None:
    found = measured(RIGHT["scene yr"], seeds=1)
    assert set(found.measures) == MEASURES
    assert found.unjudged == {}


def test_a_hundred_seeds_of_points_and_boxes() -> None:
    """Without images, which take the time."""
    augment = after_one_another(noisy, scene_augmentation("xyrst", lidar2img=lidar2img))
    assert off(measured(augment, seeds=100, without=["images"])) == {}
