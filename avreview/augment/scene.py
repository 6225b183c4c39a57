"""The scene `avscene/1`: what a synthetic scene holds, and what an augmentation is given and gives back.

A scene is a dict. An augmentation (after its adapter) takes one and returns one; it may leave out or add keys of its
own, and what it leaves out is not judged. Arrays are numpy's. P points, N objects, C cameras.

| key | shape, type | meaning |
|---|---|---|
| `points` | [P, 6] float32 | x, y, z (m; forward, left, up), intensity, lag (s, how old), tag (the point's number) |
| `gt_boxes` | [N, 9] float32 | geometric centre, length width height (m), yaw (rad), vx vy (m/s) |
| `gt_names` | [N] str | class names |
| `track_ids` | [N] int64 | identities over frames |
| `images` | C × [H, W, 3] uint8 | RGB |
| `lidar2img` | [C, 4, 4] float64 | u·d, v·d, d, 1 = lidar2img · (x, y, z, 1) |
| `intrinsics` | [C, 4, 4] float64 | pixels from camera coordinates |
| `img_aug_matrix` | [C, 4, 4] float64 | where given back: pixels of the augmented image from those of the original |
| `lidar_aug_matrix` | [4, 4] float64 | where given back: augmented points from original ones |
| `ego2global` | [4, 4] float64 | the pose |
| `timestamp` | float | s |
| `displacement` | [N, 2] float32 | m to the object's place in the next frame |
| `boxes2d` | [N, 4] float32 | x1 y1 x2 y2 px, in the first image |
| `boxes2d_names` | [N] str | |
| `boxes2d_ids` | [N] int64 | which object a 2-D box is of |
| `masks` | [N, H, W] uint8 | 1 inside the object, in the first image |
| `keypoints` | [K, 2] float32 | px, in the first image; K a multiple of N |
| `bev_map` | [M, X, Y] float32 | layers over x and y; cell [i, j] is at `bev_origin` + (i, j) × `bev_cell` |
| `bev_origin`, `bev_cell` | [2], float | m |
| `scene` | str | `avscene/1` |

The lag of a point is 0 in the key frame and larger the older its sweep; its tag is carried and never used. Yaw is
counter-clockwise from +x. Where `lidar_aug_matrix` or `img_aug_matrix` is given back, `lidar2img` is the original one.

A sequence is a list of such scenes, one a frame, in order of time.
"""

from __future__ import annotations

from typing import Any

SCHEMA = "avscene/1"
Scene = dict[str, Any]
X, Y, Z, INTENSITY, LAG, TAG = range(6)  # columns of `points`
