"""Saves one small trained network in every form that PyTorch has."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn


class Block(nn.Module):  # type: ignore[misc]
    """Its forward calls the children in another order than they were registered, and functions besides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout2d(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.bn(self.conv(self.drop(x))))


class Net(nn.Module):  # type: ignore[misc]
    """A stem, two residual blocks and a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(1024, 48), nn.Tanh(), nn.Dropout(0.3), nn.Linear(48, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.blocks(self.stem(x)))
        return out


IMAGE = (2, 3, 8, 8)
NORMS = ["stem.1", "blocks.0.bn", "blocks.1.bn"]
DROPOUTS = ["blocks.0.drop", "blocks.1.drop", "head.3"]


def trained() -> tuple[Net, torch.optim.Optimizer]:
    """The network after fifty steps, with AdamW that decays everything."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.05)
    for _ in range(50):
        image = torch.randn(16, 3, 8, 8) * 2 + 1
        loss = nn.functional.cross_entropy(net(image), (image.mean((1, 2, 3)) * 2).long() % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net, optimizer


FORMS: Mapping[str, Callable[[Net, Path], None]] = {
    "state-dict": lambda net, path: torch.save(net.state_dict(), path),
    "legacy": lambda net, path: torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False),
    "module": lambda net, path: torch.save(net, path),
    "legacy-module": lambda net, path: torch.save(net, path, _use_new_zipfile_serialization=False),
    "scripted": lambda net, path: torch.jit.save(torch.jit.script(net), path),
    "traced": lambda net, path: torch.jit.save(torch.jit.trace(net, torch.zeros(IMAGE), check_trace=False), path),
    "program": lambda net, path: torch.export.save(torch.export.export(net, (torch.zeros(IMAGE),)), path),
}


def save(form: str, net: Net, path: Path) -> Path:
    """Writes the network, without the warnings that the older forms come with."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        FORMS[form](net, path)
    return path
