"""Made-up measurements of augmentations: what measuring hands over, without running anything."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from avreview.augment.model import Augmented, Measured, Sample

TARGET = "pipelines.train:augmentation"
# Right, as a pipeline with noise and rounding shows it; each stays under its card's limit.
FINE: Mapping[str, float] = {
    "in_box": 0.99, "centre": 0.01, "dims": 0.005, "yaw": 0.4, "reprojection": 0.9, "iou_2d": 0.96, "mask": 0.95,
    "keypoint": 0.5, "map": 0.6, "visible": 0.8, "repeats": 0.0, "velocity": 0.03, "heading": 0.1, "time": 0.001,
    "tracks": 0.0, "sequence": 0.001, "ego": 0.0001,
}  # fmt: skip
LEAST = {"in_box", "iou_2d", "mask", "visible"}
OF_SCENES = {
    "image": ("iou_2d", "mask", "keypoint", "visible", "repeats"),
    "driving": ("in_box", "centre", "dims", "yaw", "reprojection", "map", "visible", "repeats", "velocity", "heading",
                "time"),
    "sequence": ("in_box", "centre", "dims", "yaw", "visible", "repeats", "velocity", "heading", "time", "tracks",
                 "sequence", "ego"),
}  # fmt: skip


def one(name: str = "GlobalRotScale", place: int | None = None, kind: str = "sequence", **changes: Any) -> Measured:
    """A measured augmentation in which all is right, but for measures named: `one(yaw=12.5)`, `one(ego=None)`.

    A measure is off at object 3 under seed 7 alone; None leaves it out. Other names are fields of Measured.
    """
    fields = {key: changes.pop(key) for key in tuple(changes) if key in Measured._fields}
    words = changes.pop("words", "")
    speed = changes.pop("speed", 10.0)
    values = {name: FINE[name] for name in OF_SCENES[kind]} | changes
    measures = {name: samples(name, value, words, speed) for name, value in values.items() if value is not None}
    return Measured(name, place, measures, **fields)


def samples(name: str, worst: float, words: str = "", speed: float = 10.0) -> list[Sample]:
    """Three samples of one measure, the second of which has that value."""
    best, size = (1.0 if name in LEAST else 0.0), (speed if name in ("velocity", "time", "sequence") else 0.0)
    return [
        Sample(0, "object 0 (car)", best, size),
        Sample(7, "object 3 (truck)", worst, size, words),
        Sample(9, "object 1 (car)", best, size),
    ]


def augmented(whole: Measured, *members: Measured, kind: str = "sequence", **fields: Any) -> Augmented:
    return Augmented(TARGET, kind, "plain", 16, 0, whole, members, {"numpy": "2.1.0"}, **fields)


def png(width: int = 8, height: int = 6, colour: tuple[int, int, int] = (90, 120, 80)) -> str:
    """A plain image, base64."""
    raw = (b"\0" + bytes(colour) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                    for kind, data in chunks)  # fmt: skip
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode("ascii")


def picture(*, turned: float = 0.6, labels_turned: bool = True, shift: float = 0.0) -> dict[str, Any]:
    """Cars on a road, before and after the scene was turned; labels left behind if not `labels_turned`."""
    cars = [
        (12.0 * n - 30.0, 4.0 * (-1) ** n, 4.5, 1.9, 0.0 if n % 2 else math.pi, (-1) ** (n + 1) * 9.0) for n in range(6)
    ]
    before = _above("before", cars, 0.0, 0.0)
    after = _above("after", cars, turned, turned if labels_turned else 0.0)
    marks = [[80.0 + 90 * n, 200.0 + 15 * (n % 3)] for n in range(6)]
    image = {
        "kind": "image", "name": "after", "width": 640, "height": 384, "png": png(640, 384),
        "boxes": [[u - 40, v - 30, u + 40, v + 30] for u, v in marks[:3]],
        "hulls": [[[u + shift + du, v + dv] for du, dv in ((-40, -30), (40, -30), (35, 30), (-38, 28))]
                  for u, v in marks[:3]],
        "labels": marks, "markers": [[u + shift, v] for u, v in marks],
    }  # fmt: skip
    return {"seed": 7, "measure": "velocity", "panels": [before, after, image]}


def _above(name: str, cars: Sequence[tuple[float, ...]], turn: float, label_turn: float) -> dict[str, Any]:
    def turned(x: float, y: float, by: float) -> list[float]:
        return [x * math.cos(by) - y * math.sin(by), x * math.sin(by) + y * math.cos(by)]

    points = [
        turned(x + length * (0.5 - n % 7 / 6) * math.cos(yaw), y + width * (0.5 - n % 3 / 2), turn)
        for x, y, length, width, yaw, _ in cars for n in range(21)
    ] + [turned(0.7 * n - 40, side, turn) for n in range(120) for side in (-12.0, 12.5, 18.0)]  # fmt: skip
    return {
        "kind": "bev", "name": name, "points": points,
        "boxes": [[*turned(x, y, turn), length, width, yaw + turn] for x, y, length, width, yaw, _ in cars],
        "labels": [[*turned(x, y, turn), *turned(v, 0.0, label_turn)] for x, y, _, _, _, v in cars],
        "shown": [[*turned(x, y, turn), *turned(v, 0.0, turn)] for x, y, _, _, _, v in cars],
    }  # fmt: skip
