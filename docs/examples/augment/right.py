"""A driving pipeline in plain numpy that does everything right: `avreview augment right:augmentation`.

One transform A of the scene goes into everything that it touches: centre A c, points A p, yaw turned with the scene,
velocity rotated, mirrored and scaled but not moved, lidar2img M A^-1, ego2global G A^-1.
"""

import numpy as np


def flip(scene, rng):
    """Mirrors the scene at its x axis, every other time."""
    return transformed(scene, np.diag([1.0, -1.0, 1.0, 1.0])) if rng.random() < 0.5 else scene


def turn_and_scale(scene, rng):
    """Turns the scene by up to 45 degrees, and scales it by up to 10 %."""
    angle, scale = rng.uniform(-np.pi / 4, np.pi / 4), rng.uniform(0.9, 1.1)
    return transformed(scene, turn(angle, scale))


def zoom(scene, rng):
    """Enlarges each image around a point of its own, and changes its matrix with it: lidar2img becomes H M."""
    scene = dict(scene)
    matrices = scene["lidar2img"].copy()
    images = []
    for camera, image in enumerate(scene["images"]):
        height, width = image.shape[:2]
        factor, left, top = rng.uniform(1.0, 1.2), rng.uniform(0, 0.1) * width, rng.uniform(0, 0.1) * height
        columns = np.clip(np.round(np.arange(width) / factor + left), 0, width - 1).astype(int)
        rows = np.clip(np.round(np.arange(height) / factor + top), 0, height - 1).astype(int)
        images.append(image[rows][:, columns])
        pixels = np.array([[factor, 0, -factor * left], [0, factor, -factor * top], [0, 0, 1]])
        matrices[camera, :3] = pixels @ matrices[camera, :3]
    scene["images"], scene["lidar2img"] = images, matrices
    return scene


def turn(angle, scale):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, scale, 0], [0, 0, 0, 1.0]])


def transformed(scene, a):
    """The scene after A: a rotation about z, a scale, and a mirror at the x axis."""
    scene = dict(scene)
    points, boxes = scene["points"].copy(), scene["gt_boxes"].copy()
    scale = np.linalg.norm(a[:2, 0])
    points[:, :3] = points[:, :3] @ a[:3, :3].T + a[:3, 3]
    boxes[:, :3] = boxes[:, :3] @ a[:3, :3].T + a[:3, 3]
    boxes[:, 3:6] *= scale
    ahead = np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6])], axis=1) @ a[:2, :2].T
    boxes[:, 6] = np.arctan2(ahead[:, 1], ahead[:, 0])
    boxes[:, 7:9] = boxes[:, 7:9] @ a[:2, :2].T
    scene["points"], scene["gt_boxes"] = points, boxes
    scene["displacement"] = scene["displacement"] @ a[:2, :2].T
    back = np.linalg.inv(a)
    scene["lidar2img"] = scene["lidar2img"] @ back
    scene["ego2global"] = scene["ego2global"] @ back
    return scene


def augmentation():
    """A pipeline; its members are measured alone as well."""
    return [flip, turn_and_scale, zoom]


# What it is given, and what of a scene the pipeline does not know: no map, and no labels in the image.
WITHOUT = ["bev_map", "boxes2d", "masks", "keypoints", "intrinsics"]
augmentation.avreview_scene = {"kind": "driving", "without": WITHOUT}


def turn_frames(frames, rng):
    """One transform for all frames of a sequence."""
    a = turn(rng.uniform(-np.pi / 4, np.pi / 4), 1.0)
    return [transformed(frame, a) for frame in frames]


def drop_frames(frames, rng):
    """Drops frames whole; each that is left keeps its own time and pose."""
    kept = [frame for frame in frames[1:-1] if rng.random() > 0.3]
    return [frames[0], *kept, frames[-1]]


def sequence():
    return [turn_frames, drop_frames]


sequence.avreview_scene = {"kind": "sequence", "without": WITHOUT}
