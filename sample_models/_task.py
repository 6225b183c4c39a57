"""What each sample model learns: its data, inputs, outputs, loss and rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import _data
import _models as m
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = dict[str, Tensor]


@dataclass
class Task:
    """A model, the data it learns from, and how it is trained."""

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[int], Batch]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    loss: Callable[[nn.Module, Batch], Tensor]
    seed: int
    steps: int = 400
    batch: int = 16
    rate: float = 1e-2
    decay: float = 0.3


def camera_loss(model: nn.Module, batch: Batch) -> Tensor:
    """CenterPoint's: penalty-reduced focal loss on the heatmap and L1 on the boxes at the centres."""
    heatmap, boxes = model(batch["images"])
    p, target = heatmap.clamp(1e-4, 1 - 1e-4), batch["heatmap"]
    peak = (target > 0.999).float()
    hit = peak * (1 - p) ** 2 * p.log()
    miss = (1 - peak) * (1 - target) ** 4 * p**2 * (1 - p).log()
    focal = -(hit + miss).sum() / peak.sum()
    off = (boxes - batch["boxes"]).abs() * batch["at"]
    return focal + off.sum() / batch["at"].sum() / 4


def lane_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy over the cells of every lane and row."""
    assert isinstance(model, m.LaneHead)
    return F.cross_entropy(model.logits(batch["image"]).flatten(0, 2), batch["cells"].flatten())


def lidar_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy over the cells, free space weighted down."""
    _, logits = model(batch["lidar_points"], batch["num_points"], batch["cells"])
    return F.cross_entropy(logits, batch["classes"], weight=torch.tensor([0.4, 1.0, 1.0, 2.0]))


def occupancy_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Binary cross-entropy, occupied cells weighted up."""
    return F.binary_cross_entropy_with_logits(
        model(batch["bev_sequence"]), batch["occupancy"], pos_weight=torch.tensor(3.0)
    )


TASKS = {
    task.name: task
    for task in (
        Task(
            "camera_bev_detector",
            m.CameraBevDetector,
            _data.camera_scenes,
            ("images",),
            ("heatmap", "boxes"),
            camera_loss,
            seed=11,
            decay=0.42,
        ),
        Task(
            "lane_head",
            m.LaneHead,
            _data.lane_images,
            ("image",),
            ("lanes",),
            lane_loss,
            seed=23,
            batch=32,
            decay=0.6,
        ),
        Task(
            "lidar_pillar_encoder",
            m.LidarPillarEncoder,
            _data.lidar_scenes,
            ("lidar_points", "num_points", "cells"),
            ("bev_features", "class_logits"),
            lidar_loss,
            seed=37,
            batch=8,
            rate=1.2e-2,
        ),
        Task(
            "temporal_occupancy_head",
            m.TemporalOccupancyHead,
            _data.occupancy_sequences,
            ("bev_sequence",),
            ("occupancy_logits",),
            occupancy_loss,
            seed=41,
            batch=16,
        ),
    )
}


def example(task: Task, batch: int, seed: int = 5) -> tuple[Tensor, ...]:
    """The model's inputs for one batch of fresh scenes."""
    torch.manual_seed(seed)
    scenes = task.data(batch)
    return tuple(scenes[name] for name in task.inputs)
