"""The pipeline of right.py with four faults: `avreview augment wrong:augmentation` and `wrong:sequence` find them."""

import numpy as np
from right import WITHOUT, flip, turn, turn_frames, zoom


def turn_and_scale(scene, rng):
    """Turns and scales the scene; velocities are scaled only, and lidar2img is multiplied on the wrong side."""
    angle, scale = rng.uniform(-np.pi / 4, np.pi / 4), rng.uniform(0.9, 1.1)
    a = turn(angle, scale)
    scene = dict(scene)
    points, boxes = scene["points"].copy(), scene["gt_boxes"].copy()
    points[:, :3] = points[:, :3] @ a[:3, :3].T
    boxes[:, :3] = boxes[:, :3] @ a[:3, :3].T
    boxes[:, 3:6] *= scale
    boxes[:, 6] += angle
    boxes[:, 7:9] *= scale  # fault: not rotated
    scene["points"], scene["gt_boxes"] = points, boxes
    scene["displacement"] = scene["displacement"] @ a[:2, :2].T
    scene["lidar2img"] = np.linalg.inv(a) @ scene["lidar2img"]  # fault: it belongs on the right
    scene["ego2global"] = scene["ego2global"] @ np.linalg.inv(a)
    return scene


def augmentation():
    return [flip, turn_and_scale, zoom]


augmentation.avreview_scene = {"kind": "driving", "without": WITHOUT}


def drop_frames(frames, rng):
    """Drops frames and shuffles boxes; the frames that are left get new times."""
    kept = [frames[0], *(frame for frame in frames[1:-1] if rng.random() > 0.3), frames[-1]]
    found = []
    for number, frame in enumerate(kept):
        order = rng.permutation(len(frame["gt_boxes"]))
        frame = dict(frame)
        frame["gt_boxes"], frame["displacement"] = frame["gt_boxes"][order], frame["displacement"][order]
        frame["gt_names"] = [frame["gt_names"][place] for place in order]  # fault: and track_ids stay in their order
        frame["timestamp"] = kept[0]["timestamp"] + 0.5 * number  # fault: the gap between the frames has vanished
        found.append(frame)
    return found


def sequence():
    return [turn_frames, drop_frames]


sequence.avreview_scene = {"kind": "sequence", "without": WITHOUT}
