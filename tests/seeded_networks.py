"""A small PyTorch network and the faults that are put into it, one at a time, before it is exported.

`healthy` is named as `--reference`, so that this module is imported by the child that runs it too.
"""

from __future__ import annotations

import copy
import functools
import io
import logging
import warnings
from collections.abc import Callable
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 12


class HandWrittenNorm(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Batch norm from its formula, with the statistics of whatever comes: [B, C, H, W] → [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = (x - mean).pow(2).mean((0, 2, 3), keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-5)


class HandWrittenDropout(nn.Module):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.25).to(x.dtype) / 0.75


class FunctionalDropout(nn.Module):  # type: ignore[misc]
    """`training` is True when nothing else is said."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.25)


class DropPath(nn.Module):  # type: ignore[misc]
    """Stochastic depth: one draw a sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand((x.shape[0], 1, 1, 1)).add(0.5).floor() / 0.5


class Upsample(nn.Module):  # type: ignore[misc]
    def __init__(self, mode: str = "bilinear", align: bool | None = False) -> None:
        super().__init__()
        self.mode, self.align = mode, align

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode=self.mode, align_corners=self.align)


class Neck(nn.Module):  # type: ignore[misc]
    """Two convolutions beside an identity, with the norms in front, as pre-activation residual blocks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False))
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.GELU()
        self.drop = nn.Identity()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.path = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(self.conv(self.drop(self.act(self.norm(self.first(x))))))


class Head(nn.Module):  # type: ignore[misc]
    """Scores of each cell as a list; `batch` is what the example had, for those who bake it in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 1)
        self.batch: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x.reshape(self.batch or x.shape[0], 4, 4 * SIDE * SIDE)


class Network(nn.Module):  # type: ignore[misc]
    """[B, 3, 12, 12] → [B, 4, 576]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.neck = Neck()
        self.up = Upsample()
        self.head = Head()

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.up(self.neck(self.stem(image))))


def images(samples: int, seed: int = 5) -> Tensor:
    made: Tensor = torch.randn(samples, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return 1.5 * made + 0.5


def network() -> Network:
    """The healthy network, to be changed: its statistics are those of `images`."""
    made: Network = copy.deepcopy(_calibrated())
    return made


@functools.cache
def _calibrated() -> Network:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    made = Network()
    made.train()
    with torch.no_grad():
        for norm in (made.neck.first[0], made.neck.norm):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        for _ in range(64):
            made(images(128))
    made.eval()
    return made


def healthy() -> tuple[nn.Module, Tensor]:
    return network(), images(2)


def put(path: str, part: Callable[[], nn.Module]) -> Callable[[Network], None]:
    """A fault that replaces a module."""

    def change(made: Network) -> None:
        parent, _, name = path.rpartition(".")
        setattr(made.get_submodule(parent), name, part())

    return change


def active(part: Callable[[], nn.Module]) -> Callable[[Network], None]:
    """A fault that puts a dropout into the neck and leaves it in train()."""
    return put("neck.drop", lambda: part().train())


def norm_in_training(made: Network) -> None:
    made.neck.norm.train()


def norm_without_statistics(made: Network) -> None:
    old = made.neck.norm
    made.neck.norm = nn.BatchNorm2d(8, track_running_stats=False)
    made.neck.norm.load_state_dict({"weight": old.weight, "bias": old.bias})


def weights_swapped(made: Network) -> None:
    first, second = made.neck.first[2], made.neck.conv
    first.weight, second.weight = second.weight, first.weight


def eps_changed(made: Network) -> None:
    made.neck.norm.eps = 1e-3


def mean_stale(made: Network) -> None:
    """As if the norm had stopped counting before the sensor's offset changed."""
    made.neck.norm.running_mean -= 2 * made.neck.norm.running_var.sqrt()


def rounded_to_four_bits(made: Network) -> None:
    with torch.no_grad():
        weight = made.neck.conv.weight
        step = weight.abs().max() / 7
        weight.copy_((weight / step).round() * step)


def batch_baked(made: Network) -> None:
    made.head.batch = 1


def export(made: nn.Module, path: Path, batch: int | None = None) -> Path:
    """By the TorchScript exporter, with a free batch axis unless it is given, and every norm left as it is."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with _quiet():
            torch.onnx.export(
                made,
                (images(batch or 1),),
                str(path),
                opset_version=20,
                dynamo=False,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                input_names=["image"],
                output_names=["scores"],
                dynamic_axes={} if batch else {"image": {0: "batch"}, "scores": {0: "batch"}},
            )
    finally:
        logging.disable(before)
    return path


@contextmanager
def _quiet() -> Any:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def record(path: Path, samples: int = 96) -> Path:
    """Images as the network saw them, as `--inputs` takes them."""
    np.savez(path, image=images(samples, seed=6).numpy())
    return path
