"""Synthetic scenes with something to learn in them: each function renders one random batch."""

from __future__ import annotations

import math

import _models as m
import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_PIXELS = m.IMAGE_SIZE[1] / 2 / math.tan(m.FIELD_OF_VIEW / 2)
HORIZON_ROW = 12.0
CAMERA_HEIGHT = 1.5


def _uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return torch.rand(shape) * (high - low) + low


def camera_scenes(batch: int, objects: int = 5) -> dict[str, Tensor]:
    """Vehicles and pedestrians around a vehicle, seen by its cameras.

    images [B, N, 3, H, W], heatmap [B, 2, Y, X] (1 at centres), boxes [B, 8, Y, X], at [B, 1, Y, X] (0 or 1).
    """
    height, width = m.IMAGE_SIZE
    shape = (batch, objects)
    azimuth, distance = _uniform(shape, -math.pi, math.pi), _uniform(shape, 3.0, 15.0)
    x, y = distance * azimuth.cos(), distance * azimuth.sin()
    pedestrian = (torch.rand(shape) < 0.4).float()
    yaw = _uniform(shape, -math.pi, math.pi)
    size_w = torch.where(pedestrian > 0, _uniform(shape, 0.5, 0.8), _uniform(shape, 1.6, 2.2))
    size_l = torch.where(pedestrian > 0, _uniform(shape, 0.5, 0.8), _uniform(shape, 3.8, 5.2))
    size_h = torch.where(pedestrian > 0, _uniform(shape, 1.5, 1.9), _uniform(shape, 1.4, 2.2))

    rows = torch.arange(height).float()[:, None]
    columns = torch.arange(width).float()[None, :]
    backdrop = torch.where(rows < HORIZON_ROW, torch.tensor(0.65), 0.25 + 0.004 * rows).expand(height, width)
    images = backdrop.expand(batch, m.N_CAMERAS, 3, height, width).clone()
    order = distance.argsort(1, descending=True)
    shade = torch.stack([0.95 - 0.85 * pedestrian, 0.5 + 0.45 * yaw.sin(), 0.5 + 0.45 * yaw.cos()], -1)
    for camera, heading in enumerate(m.camera_yaws()):
        depth, u = m.camera_view(x, y, heading)
        scale = FOCAL_PIXELS / depth.clamp(min=1.0)
        middle = (u + 1.0) / 2.0 * (width - 1)
        bottom = HORIZON_ROW + CAMERA_HEIGHT * scale
        seen_width = size_w * (yaw - heading).cos().abs() + size_l * (yaw - heading).sin().abs()
        for place in range(objects):
            pick = order[:, place : place + 1]

            def of(values: Tensor, pick: Tensor = pick) -> Tensor:
                return values.gather(1, pick)[:, :, None]

            inside = torch.sigmoid(3.0 * (of(seen_width * scale) / 2 - (columns - of(middle)).abs()))
            inside = inside * torch.sigmoid(3.0 * (of(bottom) - rows))
            inside = inside * torch.sigmoid(3.0 * (rows - of(bottom - size_h * scale)))
            inside = (inside * (of(depth) > 1.0)).unsqueeze(1)
            colour = shade.gather(1, pick[:, :, None].expand(-1, -1, 3)).reshape(batch, 3, 1, 1)
            images[:, camera] = images[:, camera] * (1 - inside) + colour * inside
    images = images * _uniform((batch, 1, 1, 1, 1), 0.85, 1.15) + 0.03 * torch.randn(images.shape)

    cells = m.BEV_CELLS
    half = cells * m.BEV_CELL_METRES / 2
    column = ((x + half) / m.BEV_CELL_METRES).long().clamp(0, cells - 1)
    row = ((y + half) / m.BEV_CELL_METRES).long().clamp(0, cells - 1)
    grid = torch.arange(cells)
    far = (grid - column[..., None])[:, :, None, :] ** 2 + (grid - row[..., None])[:, :, :, None] ** 2
    peaks = torch.exp(-far.float() / (2 * 0.6**2))
    heatmap = torch.stack(
        [(peaks * (1 - pedestrian)[..., None, None]).amax(1), (peaks * pedestrian[..., None, None]).amax(1)],
        1,
    )
    values = torch.stack(
        [
            (x + half) / m.BEV_CELL_METRES - column - 0.5,
            (y + half) / m.BEV_CELL_METRES - row - 0.5,
            size_h / 2,
            size_w.log(),
            size_l.log(),
            size_h.log(),
            yaw.sin(),
            yaw.cos(),
        ],
        1,
    )
    flat = (row * cells + column)[:, None]
    boxes = torch.zeros(batch, 8, cells * cells).scatter(2, flat.expand(-1, 8, -1), values)
    at = torch.zeros(batch, 1, cells * cells).scatter(2, flat, 1.0)
    return {
        "images": (images - 0.4) / 0.25,
        "heatmap": heatmap,
        "boxes": boxes.unflatten(2, (cells, cells)),
        "at": at.unflatten(2, (cells, cells)),
    }


def lane_images(batch: int) -> dict[str, Tensor]:
    """Up to two painted lines on a road.

    image [B, 3, H, W], cells [B, lanes, rows] (the last class is none).
    """
    height, width = m.LANE_IMAGE_SIZE
    top = 0.35 * height
    rows = torch.arange(height).float()
    near = torch.stack([_uniform((batch,), 0.0, 0.4), _uniform((batch,), 0.6, 1.0)], 1)
    vanish = _uniform((batch, 1), 0.4, 0.6) + torch.tensor([-0.04, 0.04])
    bend = _uniform((batch, 1), -0.35, 0.35).expand(-1, 2)
    there = torch.rand(batch, 2) > 0.15

    def across(row: Tensor) -> Tensor:
        """Where the lines cross the rows, 0 to 1 over the width: [B, lanes, rows]."""
        t = ((row - top) / (height - 1 - top)).clamp(min=0.0)
        line = vanish[..., None] + (near - vanish)[..., None] * t
        return line + bend[..., None] * t * (1 - t)

    columns = (torch.arange(width).float() + 0.5) / width
    t = ((rows - top) / (height - 1 - top)).clamp(min=0.0)
    half = (0.012 + 0.02 * t)[None, None, :, None]
    paint = torch.sigmoid(120.0 * (half - (columns - across(rows)[..., None]).abs()))
    paint = (paint * there[..., None, None] * (rows >= top)[:, None]).amax(1)
    yellow = (torch.rand(batch, 1, 1) < 0.3).float()
    road = torch.where(rows[:, None] < top, torch.tensor(0.7), torch.tensor(0.3)).expand(batch, height, width)
    road = road + 0.1 * F.interpolate(torch.randn(batch, 1, 5, 10), (height, width), mode="bilinear")[:, 0]
    channels = [
        road * (1 - paint) + paint * level
        for level in (0.95 * torch.ones_like(yellow), 0.95 - 0.1 * yellow, 0.95 - 0.7 * yellow)
    ]
    image = torch.stack(channels, 1) * _uniform((batch, 1, 1, 1), 0.7, 1.2)
    anchors = torch.linspace(top + 3, height - 1, m.LANE_ROWS)
    at = across(anchors)
    visible = there[..., None] & (at >= 0) & (at < 1)
    cells = torch.where(visible, (at * m.LANE_CELLS).long(), m.LANE_CELLS)
    return {"image": (image + 0.04 * torch.randn(image.shape) - 0.45) / 0.25, "cells": cells}


def lidar_scenes(batch: int, pillars: int = 72) -> dict[str, Tensor]:
    """Pillars of asphalt, road paint, vehicles and pedestrians; only its intensity tells paint from asphalt.

    lidar_points [B, P, 32, 9], num_points [B, P], cells [B, P], classes [B, Y, X].
    """
    cells, points = m.LIDAR_CELLS, m.POINTS_PER_PILLAR
    classes = torch.zeros(batch, cells, cells, dtype=torch.long)
    for scene in range(batch):
        classes[scene, :, int(torch.randint(cells, (1,)))] = 1
        for _ in range(3):
            row, column = torch.randint(0, cells - 3, (2,)).tolist()
            rows, columns = (2, 3) if torch.rand(()) < 0.5 else (3, 2)
            classes[scene, row : row + rows, column : column + columns] = 2
        for _ in range(4):
            row, column = torch.randint(0, cells, (2,)).tolist()
            classes[scene, row, column] = 3
    flat = classes.flatten(1)
    score = torch.rand(flat.shape) + torch.tensor([0.0, 0.45, 0.6, 0.9])[flat]
    picked = score.topk(pillars, 1).indices
    kind = flat.gather(1, picked)
    num_points = torch.randint(4, points + 1, kind.shape)
    empty = torch.arange(pillars) >= torch.randint(pillars - 16, pillars + 1, (batch, 1))
    num_points = num_points.masked_fill(empty, 0)

    shape = (batch, pillars, points)
    centre_x = (picked % cells + 0.5 - cells / 2).unsqueeze(-1)
    centre_y = (picked // cells + 0.5 - cells / 2).unsqueeze(-1)
    of = kind.unsqueeze(-1).expand(shape)
    spread = torch.tensor([0.5, 0.5, 0.5, 0.2])[of]
    x = centre_x + spread * _uniform(shape, -1.0, 1.0)
    y = centre_y + spread * _uniform(shape, -1.0, 1.0)
    lowest = torch.tensor([-1.75, -1.75, -1.4, -1.6])[of]
    z = lowest + torch.tensor([0.05, 0.05, 1.5, 1.7])[of] * torch.rand(shape) + 0.02 * torch.randn(shape)
    usual = torch.tensor([0.12, 0.6, 0.3, 0.2])[of]
    wet = _uniform((batch, 1, 1), 0.7, 1.1)
    intensity = (usual * wet + 0.06 * torch.randn(shape)).clamp(0, 1)
    real = (torch.arange(points) < num_points.unsqueeze(-1)).float()
    position = torch.stack([x, y, z], -1)
    mean = (position * real[..., None]).sum(2) / num_points.clamp(min=1)[..., None]
    offset = position - mean[:, :, None]
    features = torch.cat(
        [position, intensity[..., None], offset, (x - centre_x)[..., None], (y - centre_y)[..., None]], -1
    )
    cell = torch.where(empty, cells * cells, picked)
    return {
        "lidar_points": features * real[..., None],
        "num_points": num_points,
        "cells": cell,
        "classes": classes,
    }


def occupancy_sequences(batch: int, objects: int = 4) -> dict[str, Tensor]:
    """Features of objects that move over a bird's-eye grid, and where they are one frame later.

    bev_sequence [B, T, C, H, W], occupancy [B, 1, 2H, 2W]; one frame of the five is lost now and then.
    """
    size, frames = m.FRAME_CELLS, m.FRAMES
    mix = torch.randn((m.FRAME_CHANNELS, 3), generator=torch.Generator().manual_seed(3))
    start = _uniform((batch, objects, 2), 0.0, float(size))
    velocity = _uniform((batch, objects, 2), -0.9, 0.9)
    radius = _uniform((batch, objects), 0.7, 1.4)

    def blobs(time: float, cells: int) -> Tensor:
        """Soft discs at a time, [B, objects, cells, cells]."""
        centre = (torch.arange(cells) + 0.5) * size / cells
        at = start + velocity * time
        far = (centre - at[..., :1])[:, :, None, :] ** 2 + (centre - at[..., 1:])[:, :, :, None] ** 2
        return torch.sigmoid(4.0 * (radius[..., None, None] - far.sqrt()))

    steps = []
    for frame in range(frames):
        disc = blobs(float(frame - frames + 1), size)
        speed = (disc[:, :, None] * velocity[..., None, None]).sum(1)
        state = torch.cat([disc.amax(1, keepdim=True), 0.7 * speed], 1)
        steps.append(torch.einsum("ck,bkhw->bchw", mix, state))
    sequence = torch.stack(steps, 1)
    kept = torch.ones(batch, frames)
    lost = torch.randint(frames, (batch,))
    kept[torch.arange(batch), lost] = (torch.rand(batch) > 0.3).float()
    sequence = sequence * kept[..., None, None, None] + 0.15 * torch.randn(sequence.shape)
    occupancy = (blobs(1.0, 2 * size).amax(1, keepdim=True) > 0.5).float()
    return {"bev_sequence": sequence, "occupancy": occupancy}
