"""The layers that the sample models are made of, and their initialization."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

WeightLayer: TypeAlias = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
LINEAR_OUTPUTS = ("out", "classes", "qkv", "proj", "fc2")
"""Last components of the layers that no rectifier follows."""


def fan_in(layer: WeightLayer) -> float:
    """How many inputs one output of the layer sums over."""
    if isinstance(layer, nn.ConvTranspose2d):
        taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
        return layer.in_channels * taps
    return layer.weight[0].numel()


def he_bound(name: str, layer: WeightLayer) -> float:
    """Bound of the uniform initialization that keeps the variance of the layer's signal."""
    gain = 1.0 if name.rsplit(".", 1)[-1] in LINEAR_OUTPUTS else math.sqrt(2.0)
    return gain * math.sqrt(3.0 / fan_in(layer))


def weight_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """The convolutions and linear layers of a model, by module path."""
    return {path: part for path, part in model.named_modules() if isinstance(part, WeightLayer)}


class ConvNormAct(nn.Module):
    """Convolution without bias, norm, activation: [B, C, H, W] -> [B, C', H/stride, W/stride]."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        norm: type[nn.Module] = nn.BatchNorm2d,
        act: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = norm(outputs)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class DropPath(nn.Module):
    """Stochastic depth: in training, drops the residual branch of whole samples and rescales the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep)
        return x * mask / keep


class ResidualBlock(nn.Module):
    """Two normalized convolutions beside an identity: [B, C, H, W] -> [B, C, H, W]."""

    def __init__(
        self,
        channels: int,
        norm: type[nn.Module] = nn.BatchNorm2d,
        act: type[nn.Module] = nn.ReLU,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = norm(channels)
        self.act1 = act()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm(channels)
        self.drop_path = DropPath(drop_path)
        self.act2 = act()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return self.act2(x + self.drop_path(branch))


class ConvHead(nn.Module):
    """Per-cell prediction: [B, C, H, W] -> [B, outputs, H, W]."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.LeakyReLU(0.1)
        self.out = nn.Conv2d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.conv(x)))


class GroupNorm4(nn.GroupNorm):
    """Group norm with four channels a group."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels // 4, channels)


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch norm over the channels of tokens: [B, T, C] -> [B, T, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class UnscaledDropout(nn.Module):
    """A random mask that forgets to divide by the keep probability."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > self.rate).to(x.dtype) if self.training else x
