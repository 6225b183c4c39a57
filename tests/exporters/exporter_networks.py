"""Small PyTorch networks, each with one layer that must not be exported as it trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGE = (2, 3, 8, 8)
TOKENS = (2, 5, 8)


class TimmDropPath(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Stochastic depth as timm has it: one Bernoulli draw a sample, over the keep probability."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(0.75).div_(0.75)


class SwinDropPath(nn.Module):  # type: ignore[misc]
    """Stochastic depth as the first Swin had it: the floor of keep + u."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = 0.75 + torch.rand((x.shape[0], 1, 1, 1), dtype=x.dtype)
        return x.div(0.75) * mask.floor_()


class UnscaledMask(nn.Module):  # type: ignore[misc]
    """A dropout that forgets to divide by the keep probability."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.25).to(x.dtype) if self.training else x


class Noise(nn.Module):  # type: ignore[misc]
    """Gaussian noise on the features."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x) if self.training else x


class Residual(nn.Module):  # type: ignore[misc]
    """A convolution and what its branch ends in, beside an identity: [B, C, H, W] → [B, C, H, W]."""

    def __init__(self, channels: int, last: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.conv(x))


class ImageNet(nn.Module):  # type: ignore[misc]
    """stem (convolution, norm, ReLU) → a residual neck that ends in `last` → head: [2, 3, 8, 8] → [2, 4, 8, 8]."""

    def __init__(self, norm: nn.Module | None = None, last: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), norm or nn.BatchNorm2d(8), nn.ReLU())
        self.neck = Residual(8, last or nn.Identity())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.neck(self.stem(x)))


class LayerNormImage(nn.LayerNorm):  # type: ignore[misc]
    """Layer norm over the channels of an image: [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):  # type: ignore[misc]
    """Scaled dot-product attention with dropout on its weights: [2, 5, 8] → [2, 5, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
        rate = 0.25 if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=rate).squeeze(1)


class AttentionNet(nn.Module):  # type: ignore[misc]
    """Tokens through attention: [2, 5, 8] → [2, 5, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(Attention())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


class RecurrentNet(nn.Module):  # type: ignore[misc]
    """Two LSTM layers with dropout between them: [2, 5, 8] → [2, 5, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 8, num_layers=2, dropout=0.25, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0])


class EveryLayer(nn.Module):  # type: ignore[misc]
    """One of each: what is active at once in a model that was never set to eval: [2, 3, 8, 8] → [2, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.mixed = nn.Sequential(nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8), LayerNormImage(8))
        self.neck = Residual(8, TimmDropPath())
        self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.neck(self.mixed(self.stem(x))).mean((2, 3)))
