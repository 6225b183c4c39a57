"""PyTorch modules that tests name as `--reference`, most with an example input.

Imported by the child that runs them, and by tests only behind `pytest.importorskip("torch")`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 48
Built = tuple[nn.Module, Tensor]


def stack(
    activation: type[nn.Module],
    layers: int = 10,
    *,
    norm: type[nn.Module] | None = None,
    init: Callable[[Tensor], Any] | None = None,
) -> Built:
    """Linear layers, each with an activation behind it, and an example of one sample."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        linear = nn.Linear(WIDTH, WIDTH)
        if init is not None:
            init(linear.weight)
        parts += [linear, *([norm(WIDTH)] if norm is not None else []), activation()]
    return nn.Sequential(*parts), torch.randn(1, WIDTH)


def sigmoids() -> Built:
    return stack(nn.Sigmoid)


def tanh_small() -> Built:
    return stack(nn.Tanh, init=lambda weight: nn.init.normal_(weight, std=0.01))


def tanh_xavier() -> Built:
    return stack(nn.Tanh, init=nn.init.xavier_normal_)


def relu_large() -> Built:
    return stack(nn.ReLU, init=lambda weight: nn.init.normal_(weight, std=0.4))


def relu_he() -> Built:
    return stack(nn.ReLU, init=nn.init.kaiming_normal_)


def orthogonal() -> Built:
    return stack(nn.Identity, init=nn.init.orthogonal_)


def relu_layer_norm() -> Built:
    return stack(nn.ReLU, norm=nn.LayerNorm)


def relu_batch_norm() -> Built:
    return stack(nn.ReLU, norm=nn.BatchNorm1d)


def three_layers() -> Built:
    return stack(nn.ReLU, 3)


class Residual(nn.Module):  # type: ignore[misc]
    """Blocks whose branch is small against the trunk, as behind a layer scale."""

    def __init__(self, scale: float = 1e-3, head: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        blocks = [(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH)) for _ in range(5)]
        self.blocks = nn.ModuleList([nn.Sequential(*block) for block in blocks])
        self.head = nn.Linear(WIDTH, 4)
        self.spare = nn.Linear(WIDTH, 4)
        self.scale = scale
        nn.init.normal_(self.head.weight, std=0.1) if head else nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> dict[str, Any]:
        for block in self.blocks:
            x = x + self.scale * block(x)
        return {"scores": self.head(x), "labels": self.head(x).argmax(-1)}


def residual() -> Built:
    module = Residual()
    module.blocks[0].requires_grad_(False)
    return module, torch.randn(1, WIDTH)


def zero_head() -> Built:
    return Residual(head=0.0), torch.randn(1, WIDTH)


def detached() -> Built:
    class Detached(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = stack(nn.ReLU)[0]

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).detach()

    return Detached(), torch.randn(1, WIDTH)


class Camera(nn.Module):  # type: ignore[misc]
    """A convolutional network with norms, dropout, and a dropout that is no module."""

    def __init__(self, *, momentum: float = 0.1, rate: float = 0.0, functional: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=momentum), nn.ReLU(inplace=True))
        blocks = [(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU()) for _ in range(6)]
        self.body = nn.Sequential(*[nn.Sequential(*block) for block in blocks])
        self.drop = nn.Dropout(rate)
        self.head = nn.Linear(8, 4)
        self.functional = functional

    def forward(self, image: Tensor) -> Tensor:
        x = self.body(self.stem(image)).mean((2, 3))
        x = nn.functional.dropout(x, self.functional, self.training)
        return self.head(self.drop(x))


def picture(samples: int = 1) -> Tensor:
    return torch.randn(samples, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def camera_stale() -> Built:
    module = Camera()
    norm = module.stem[1]
    norm.running_mean += 3
    return module, picture(4)


def camera_dropout() -> Built:
    module = Camera(rate=0.4)
    module.stem[1] = nn.Identity()
    return module, picture(4)


def camera_functional_dropout() -> Built:
    module = Camera(functional=0.4)
    module.stem[1] = nn.Identity()
    return module, picture(4)


def camera_without_modes() -> Built:
    module = Camera()
    module.stem[1] = nn.GroupNorm(2, 8)
    return module, picture(4)


def camera_synced() -> Built:
    return nn.SyncBatchNorm.convert_sync_batchnorm(Camera()), picture(4)


def camera_alone() -> nn.Module:
    """Without an example."""
    return Camera()


class Detector(nn.Module):  # type: ignore[misc]
    """In train() it wants targets and returns a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = Camera()

    def forward(self, image: Tensor, targets: Tensor | None = None) -> Any:
        scores = self.camera(image)
        if not self.training:
            return scores
        if targets is None:
            raise ValueError("in training mode, targets are needed")
        return {"loss": (scores - targets).abs().mean()}


def detector() -> Built:
    return Detector(), picture(4)


def restless() -> Built:
    class Restless(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = Camera()

        def forward(self, image: Tensor) -> Tensor:
            return nn.functional.dropout(self.inner(image), 0.5)

    return Restless(), picture(4)


def many_norms() -> Built:
    """More parts than are tried one by one; in the last stage one norm is far off."""
    torch.manual_seed(0)
    blocks = [[nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)) for _ in range(12)] for _ in range(6)]
    module = nn.Sequential(*[nn.Sequential(*stage) for stage in blocks])
    module.train()
    with torch.no_grad():
        for _ in range(60):
            module(torch.randn(8, 4, 6, 6))
    off = module[5][7][1]
    off.running_mean += 5
    return module, torch.randn(8, 4, 6, 6)


def attention() -> Built:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), torch.randn(4, 6, WIDTH)


class Recurrent(nn.Module):  # type: ignore[misc]
    """Linear, two LSTMs, linear."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(WIDTH, 16), nn.Linear(16, 4)
        self.inner = nn.ModuleList([nn.LSTM(16, 16, batch_first=True) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.inner:
            x, _ = layer(x)
        return self.last(x)


def recurrent() -> Built:
    return Recurrent(), torch.randn(4, 6, WIDTH)


class WithCache(nn.Module):  # type: ignore[misc]
    """Returns something beside its tensors, as language models return their cache."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = camera_stale()[0]

    def forward(self, image: Tensor) -> dict[str, Any]:
        return {"scores": self.inner(image), "cache": object()}


def with_cache() -> Built:
    return WithCache(), picture(4)


def raising() -> Built:
    raise ValueError("no weights here")


def leaving() -> Built:
    sys.exit(3)


def odd() -> int:
    return 3
