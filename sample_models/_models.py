"""The four networks of the sample models, small enough to read and to train in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from _blocks import ConvHead, ConvNormAct, GroupNorm4, ResidualBlock, he_bound, weight_layers
from torch import Tensor, nn

N_CAMERAS = 4
IMAGE_SIZE = (32, 48)
FIELD_OF_VIEW = math.radians(100.0)
BEV_CELLS = 16
BEV_CELL_METRES = 2.0
DEPTH_BINS = torch.linspace(2.0, 16.0, 6)

LANE_IMAGE_SIZE = (40, 80)
LANE_ROWS = 8
LANE_CELLS = 12
LANES = 2

LIDAR_CELLS = 16
POINTS_PER_PILLAR = 32
POINT_FEATURES = 9
INTENSITY = 3

FRAMES = 5
FRAME_CHANNELS = 8
FRAME_CELLS = 12


# --- camera_bev_detector --------------------------------------------------------------------------


def camera_yaws() -> Tensor:
    """Heading of each camera in the vehicle frame, in radians, counter-clockwise from ahead: [N]."""
    return torch.arange(N_CAMERAS) * (2.0 * math.pi / N_CAMERAS)


def bev_cell_centres() -> tuple[Tensor, Tensor]:
    """x (ahead) and y (left) of each bird's-eye cell's centre, in metres: two of [Y, X]."""
    centres = (torch.arange(BEV_CELLS) + 0.5 - BEV_CELLS / 2) * BEV_CELL_METRES
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return x, y


def camera_view(x: Tensor, y: Tensor, yaw: Tensor) -> tuple[Tensor, Tensor]:
    """Depth in metres and horizontal image coordinate (-1 left edge, 1 right) of points on the ground."""
    depth = x * yaw.cos() + y * yaw.sin()
    lateral = -x * yaw.sin() + y * yaw.cos()
    return depth, -lateral / depth.clamp(min=0.1) / math.tan(FIELD_OF_VIEW / 2)


class ColumnLift(nn.Module):
    """Turns each image column into features along its ray and places the rays of all cameras on the BEV grid.

    [B * N, C, h, w] -> [B, bev_channels, Y, X]; a cell seen by several cameras takes their mean.
    """

    grid: Tensor
    share: Tensor

    def __init__(self, channels: int, rows: int, bev_channels: int) -> None:
        super().__init__()
        bins = len(DEPTH_BINS)
        self.bev_channels = bev_channels
        self.reduce = ConvNormAct(channels, channels // 4)
        self.project = ConvNormAct(channels // 4 * rows, bev_channels * bins, 1)
        x, y = bev_cell_centres()
        depth, u = camera_view(x, y, camera_yaws()[:, None, None])
        bin_at = (depth - DEPTH_BINS[0]) / (DEPTH_BINS[-1] - DEPTH_BINS[0]) * 2.0 - 1.0
        seen = ((u.abs() <= 1.0) & (depth > 0.5)).float()
        self.register_buffer("grid", torch.stack([u.clamp(-2, 2), bin_at.clamp(-2, 1)], -1), persistent=False)
        self.register_buffer("share", (seen / seen.sum(0).clamp(min=1.0))[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.reduce(x).flatten(1, 2).unsqueeze(2)
        rays = self.project(columns).reshape(-1, self.bev_channels, len(DEPTH_BINS), x.shape[-1])
        scenes = x.shape[0] // N_CAMERAS
        grid = self.grid.repeat(scenes, 1, 1, 1)
        placed = F.grid_sample(rays, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        placed = placed.reshape(-1, N_CAMERAS, self.bev_channels, BEV_CELLS, BEV_CELLS)
        return (placed * self.share).sum(1)


class CenterHead(nn.Module):
    """Class heatmap in [0, 1] and box parameters: [B, C, Y, X] -> [B, classes, Y, X], [B, 8, Y, X]."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.shared = ConvNormAct(channels, channels)
        self.heatmap = ConvHead(channels, classes)
        self.box = ConvHead(channels, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.shared(x)
        return self.heatmap(x).sigmoid(), self.box(x)


class CameraBevDetector(nn.Module):
    """Detects boxes around the vehicle from surround cameras.

    images [B, N, 3, H, W] -> heatmap [B, 2, Y, X] (vehicle, pedestrian) and
    boxes [B, 8, Y, X] (offset x, offset y, centre z, log w, log l, log h, sin yaw, cos yaw).
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            ConvNormAct(3, 8),
            ConvNormAct(8, 12, stride=2),
            ResidualBlock(12),
            ResidualBlock(12),
            ConvNormAct(12, 16, stride=2),
            ResidualBlock(16),
        )
        self.lift = ColumnLift(16, IMAGE_SIZE[0] // 4, 12)
        self.neck = nn.Sequential(ConvNormAct(12, 12), ResidualBlock(12), ResidualBlock(12), ResidualBlock(12))
        self.head = CenterHead(12, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.neck(self.lift(self.backbone(images.flatten(0, 1)))))


# --- lane_head ------------------------------------------------------------------------------------


class RowAnchorHead(nn.Module):
    """Scores the cells (and none) of each lane and image row: [B, C, h, w] -> [B, lanes, rows, cells + 1]."""

    def __init__(self, channels: int, rows: int, columns: int) -> None:
        super().__init__()
        self.squeeze = ConvNormAct(channels, 4, norm=GroupNorm4, act=nn.SiLU)
        self.hidden = nn.Linear(4 * rows * columns, 32)
        self.act = nn.SiLU()
        self.dropout = nn.Dropout(0.25)
        self.out = nn.Linear(32, LANES * LANE_ROWS * (LANE_CELLS + 1))
        self.batch: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.act(self.hidden(self.squeeze(x).flatten(1))))
        return self.out(x).reshape(self.batch or x.shape[0], LANES, LANE_ROWS, LANE_CELLS + 1)


class LaneHead(nn.Module):
    """Row-anchor lane detection: image [B, 3, H, W] -> probabilities [B, lanes, rows, cells + 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            ConvNormAct(3, 8, stride=2, norm=GroupNorm4, act=nn.SiLU),
            ConvNormAct(8, 12, stride=2, norm=GroupNorm4, act=nn.SiLU),
            ResidualBlock(12, norm=GroupNorm4, act=nn.SiLU),
            ConvNormAct(12, 16, stride=2, norm=GroupNorm4, act=nn.SiLU),
            ResidualBlock(16, norm=GroupNorm4, act=nn.SiLU),
        )
        self.head = RowAnchorHead(16, LANE_IMAGE_SIZE[0] // 8, LANE_IMAGE_SIZE[1] // 8)

    def logits(self, image: Tensor) -> Tensor:
        """Scores before the softmax: [B, 3, H, W] -> [B, lanes, rows, cells + 1]."""
        return self.head(self.backbone(image))

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image).softmax(-1)


class LaneHeadForDeployment(LaneHead):
    """Adds a softmax, forgetting that the model has one."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).softmax(-1)


# --- lidar_pillar_encoder -------------------------------------------------------------------------


class PillarPointNet(nn.Module):
    """Per-point layers and a maximum over each pillar's points.

    points [B, P, 32, 9] and num_points [B, P] -> [B, P, C]; the zero rows that pad a pillar do not take part.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.input_norm: nn.Module | None = None
        self.linear1 = nn.Linear(POINT_FEATURES, channels[0], bias=False)
        self.norm1 = nn.BatchNorm1d(channels[0])
        self.act1 = nn.ReLU()
        self.linear2 = nn.Linear(channels[0], channels[1], bias=False)
        self.norm2 = nn.BatchNorm1d(channels[1])
        self.act2 = nn.ReLU()

    def forward(self, points: Tensor, num_points: Tensor) -> Tensor:
        batch, pillars = points.shape[0], points.shape[1]
        if self.input_norm is not None:
            flat = points.reshape(batch, pillars * POINTS_PER_PILLAR, POINT_FEATURES).transpose(1, 2)
            points = self.input_norm(flat).transpose(1, 2)
        x = points.reshape(-1, POINT_FEATURES)
        x = self.act1(self.norm1(self.linear1(x)))
        x = self.act2(self.norm2(self.linear2(x)))
        x = x.reshape(batch, pillars, POINTS_PER_PILLAR, -1)
        real = torch.arange(POINTS_PER_PILLAR, device=x.device) < num_points.unsqueeze(-1)
        return (x * real.unsqueeze(-1).to(x.dtype)).amax(2)


class LidarPillarEncoder(nn.Module):
    """Pillars to bird's-eye features and a class per cell.

    lidar_points [B, P, 32, 9] (x, y, z, intensity in [0, 1], x, y, z from the pillar's mean, x, y from its
    centre; metres), num_points [B, P] and cells [B, P] (flat cell index; Y * X for padding) ->
    bev_features [B, 20, Y, X] and class logits [B, 4, Y, X] (free, road paint, vehicle, pedestrian).
    """

    def __init__(self, drop_path: float = 0.1) -> None:
        super().__init__()
        self.pointnet = PillarPointNet((16, 24))
        self.backbone = nn.Sequential(
            ConvNormAct(24, 20),
            ResidualBlock(20, drop_path=drop_path),
            ResidualBlock(20, drop_path=drop_path),
        )
        self.classes = nn.Conv2d(20, 4, 3, padding=1)

    def forward(self, lidar_points: Tensor, num_points: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        pillars = self.pointnet(lidar_points, num_points).transpose(1, 2)
        canvas = pillars.new_zeros((pillars.shape[0], pillars.shape[1], LIDAR_CELLS * LIDAR_CELLS + 1))
        canvas = canvas.scatter(2, cells.unsqueeze(1).expand(-1, pillars.shape[1], -1), pillars)
        canvas = canvas[:, :, :-1].reshape(-1, pillars.shape[1], LIDAR_CELLS, LIDAR_CELLS)
        features = self.backbone(canvas)
        return features, self.classes(features)


# --- temporal_occupancy_head ----------------------------------------------------------------------


class TemporalBlock(nn.Module):
    """Pre-norm transformer block over time: tokens [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1: nn.Module = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2: nn.Module = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, 2 * channels)
        self.act = nn.GELU()
        self.dropout: nn.Module = nn.Dropout(dropout)
        self.fc2 = nn.Linear(2 * channels, channels)

    def attend(self, x: Tensor) -> Tensor:
        """Self-attention over time: [B, T, C] -> [B, T, C]."""
        channels = x.shape[2]
        qkv = self.qkv(x).reshape(-1, x.shape[1], 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1) * (channels // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(-1, x.shape[1], channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.fc2(self.dropout(self.act(self.fc1(self.norm2(x)))))


class OccupancyDecoder(nn.Module):
    """Doubles the resolution: [B, C, H, W] -> occupancy logits [B, 1, 2H, 2W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNormAct(channels, 16)
        self.up = nn.ConvTranspose2d(16, 12, 2, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.act = nn.ReLU()
        self.refine = ConvNormAct(12, 8)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.refine(self.act(self.norm(self.up(self.conv(x))))))


class TemporalOccupancyHead(nn.Module):
    """Predicts the next frame's occupancy: bev_sequence [B, T, C, H, W] -> logits [B, 1, 2H, 2W]."""

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        self.channels = channels
        self.embed = nn.Conv2d(FRAME_CHANNELS, channels, 5, padding=2)
        self.embed_act = nn.GELU()
        self.time_embedding = nn.Parameter(torch.zeros(FRAMES, channels))
        self.temporal = nn.Sequential(TemporalBlock(channels, 2, 0.1), TemporalBlock(channels, 2, 0.1))
        self.norm = nn.LayerNorm(channels)
        self.decoder = OccupancyDecoder(channels)

    def forward(self, bev_sequence: Tensor) -> Tensor:
        x = self.embed_act(self.embed(bev_sequence.flatten(0, 1)))
        x = x.reshape(-1, FRAMES, self.channels, FRAME_CELLS * FRAME_CELLS).permute(0, 3, 1, 2)
        x = x.reshape(-1, FRAMES, self.channels) + self.time_embedding
        x = self.norm(self.temporal(x)[:, -1])
        x = x.reshape(-1, FRAME_CELLS * FRAME_CELLS, self.channels).transpose(1, 2)
        return self.decoder(x.reshape(-1, self.channels, FRAME_CELLS, FRAME_CELLS))


# --- initialization -------------------------------------------------------------------------------


def initialise(model: nn.Module) -> None:
    """He (gain √2 before a rectifier, 1 elsewhere) uniform weights and zero biases."""
    for name, layer in weight_layers(model).items():
        bound = he_bound(name, layer)
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if isinstance(model, CameraBevDetector):
        heatmap_bias = model.head.heatmap.out.bias
        assert heatmap_bias is not None
        nn.init.constant_(heatmap_bias, -2.2)
    if isinstance(model, TemporalOccupancyHead):
        nn.init.normal_(model.time_embedding, std=0.02)
