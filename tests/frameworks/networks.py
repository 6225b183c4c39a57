"""A network small enough to train in a second, with everything that the rules look at."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):  # type: ignore[misc]
    """Two convolutions with batch norms, dropout, a linear head: [N, 3, 8, 8] → [N, 4]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(width, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(images)))
        x = torch.relu(self.bn2(self.conv2(x)))
        scores: torch.Tensor = self.head(self.drop(x.mean((2, 3))))
        return scores


def groups(model: nn.Module, decay: float, right: bool) -> list[dict[str, object]]:
    """Parameter groups with the decay on matrices only (right), or on everything (wrong)."""
    if not right:
        return [{"params": list(model.parameters()), "weight_decay": decay}]
    parameters = list(model.parameters())
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]


def batches(count: int = 6, size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Random images with random classes."""
    return [(torch.randn(size, 3, 8, 8), torch.randint(0, 4, (size,))) for _ in range(count)]
