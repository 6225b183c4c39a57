"""Networks that are saved as programs, and what the facts say of a program's graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from avreview.artifact import Artifact
from avreview.engine.resolve import Resolver
from avreview.facts import shapes  # noqa: F401 - registers what the other facts need
from avreview.facts.export_mode import ExportMode
from avreview.facts.layers import Layers
from avreview.facts.norms import NormLayers
from avreview.facts.randomness import Randomness

ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(), "relu6": nn.ReLU6(), "leaky_relu": nn.LeakyReLU(0.2), "silu": nn.SiLU(), "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"), "hardswish": nn.Hardswish(), "hardsigmoid": nn.Hardsigmoid(),
    "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "elu": nn.ELU(0.7), "selu": nn.SELU(), "mish": nn.Mish(),
    "softplus": nn.Softplus(), "prelu": nn.PReLU(), "softsign": nn.Softsign(), "softmax": nn.Softmax(1),
    "log_softmax": nn.LogSoftmax(1), "celu": nn.CELU(), "hardtanh": nn.Hardtanh(),
}  # fmt: skip


class Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions with norms, and the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=2)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x + self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))


class Detector(nn.Module):  # type: ignore[misc]
    """A bit of everything: convolutions, norms of all kinds, attention, dropout, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.block = Residual(8)
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 16, 2, stride=2), nn.InstanceNorm2d(16, affine=True), nn.GELU())
        self.encoder = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.2)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(self.block(self.stem(x)))
        x = nn.functional.max_pool2d(x, 4).flatten(2).permute(2, 0, 1)
        return self.head(self.drop(self.encoder(x).mean(0)))


class Mixed(nn.Module):  # type: ignore[misc]
    """Tensors of many types, strides and owners: what has to arrive bit for bit."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4).t())
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        whole = torch.randn(10, 6)
        self.register_buffer("part", whole[2:8, 1:4])
        self.register_buffer("halfs", torch.randn(4).half())
        self.register_buffer("brains", torch.randn(4).bfloat16())
        self.register_buffer("bytes", torch.arange(5, dtype=torch.uint8))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("scalar", torch.tensor(3))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("wide", torch.randn(3, dtype=torch.float64))
        self.register_buffer("waves", torch.randn(3, dtype=torch.complex64))
        self.register_buffer("hidden", torch.randn(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.first(x)) @ self.weight.t() + self.part.sum() + self.frozen.sum() + self.hidden.sum()
        return x + self.halfs.float() + self.brains.float() + self.bytes[:4] + self.wide.float().sum()


class DropPath(nn.Module):  # type: ignore[misc]
    """Stochastic depth as timm writes it."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        keep = 1 - self.rate
        mask = x.new_empty((x.shape[0], *(1,) * (x.ndim - 1))).bernoulli_(keep)
        return x * mask.div_(keep)


def chain_of_activations() -> nn.Module:
    """A convolution in front of each activation."""
    return nn.Sequential(*(part for act in ACTIVATIONS.values() for part in (nn.Conv2d(3, 3, 1), act)))


def resolver(artifact: Artifact) -> Resolver:
    return Resolver({Artifact: artifact})


def layer_facts(artifact: Artifact) -> list[tuple[Any, ...]]:
    """(module, kind, sorted shape, bias?, units, fan-in, groups, norm, activation, summed up?) of each layer."""
    kinds = {"Gemm": "Linear", "MatMul": "Linear"}
    return [
        (
            layer.module, kinds.get(layer.kind, layer.kind), sorted(layer.weight.shape or ()) if layer.weight else None,
            layer.bias is not None, layer.units, layer.fan_in, layer.groups, layer.norm and layer.norm.kind,
            layer.activation and layer.activation.name, layer.residual is not None,
        )
        for layer in resolver(artifact).get(Layers).all
    ]  # fmt: skip


def norm_facts(artifact: Artifact) -> list[tuple[Any, ...]]:
    """(kind, module, eps, momentum) of each norm."""
    return [
        (norm.kind, norm.module, norm.eps and round(norm.eps, 9), norm.momentum and round(norm.momentum, 6))
        for norm in resolver(artifact).get(NormLayers).all
    ]


def batch_statistics(artifact: Artifact) -> list[str | None]:
    """The modules of the norms that use their batch's statistics."""
    norms = resolver(artifact).get(NormLayers).all
    return [norm.module for norm in norms if norm.kind == "BatchNorm" and norm.statistics == "batch"]


def dropouts(artifact: Artifact, *, active: bool) -> list[tuple[str | None, float]]:
    """(module, rate) of the dropouts that are active, or of all."""
    found = resolver(artifact).get(Randomness).dropouts
    return [(drop.module, round(drop.rate or 0, 4)) for drop in found if drop.active or not active]


def mutated(artifact: Artifact) -> list[str]:
    return list(resolver(artifact).get(ExportMode).modules)
