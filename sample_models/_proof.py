"""The proof that training reached every part of a sample model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from _blocks import ResidualBlock, WeightLayer, he_bound, weight_layers
from _task import Task, example
from torch import Tensor, nn


@dataclass
class Evidence:
    """What training did to a model."""

    loss_start: float
    loss_end: float
    moved: dict[str, float] = field(default_factory=dict)

    @property
    def least_moved(self) -> tuple[str, float]:
        """The weight that moved least and its relative L2 change."""
        name = min(self.moved, key=self.moved.__getitem__)
        return name, self.moved[name]


def prove_trained(model: nn.Module, start: nn.Module, task: Task, evidence: Evidence) -> None:
    """Asserts that nothing in the model could be taken for untrained, dead or copied."""
    name = task.name
    assert evidence.loss_end < 0.5 * evidence.loss_start, f"{name}: {evidence}"
    before = dict(start.named_parameters())
    for key, parameter in model.named_parameters():
        old, new = before[key].detach(), parameter.detach()
        assert torch.isfinite(new).all(), key
        assert (old != new).all(), f"{name}: part of {key} never moved"
        if new.dim() > 1:
            evidence.moved[key] = float((new - old).norm() / old.norm())
            assert evidence.moved[key] > 0.2, f"{name}: {key} moved by only {evidence.moved[key]:.3f}"
        else:
            assert float((new - old).abs().mean()) > 0.01, f"{name}: {key} hardly moved"
    for path, layer in weight_layers(model).items():
        _prove_not_initial(f"{name}: {path}", he_bound(path, layer), layer)
        _prove_distinct(f"{name}: {path}", layer)
    for path, part in model.named_modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            mean, var = part.running_mean, part.running_var
            assert mean is not None
            assert var is not None
            assert part.num_batches_tracked is not None
            assert int(part.num_batches_tracked) > 100, path
            assert float(mean.abs().max()) > 0.05, f"{name}: {path}"
            assert float(var.log().abs().max()) > 0.1, f"{name}: {path}"
            assert 1e-4 < float(var.min()) <= float(var.max()) < 1e4, f"{name}: {path} {var}"
            assert float(part.weight.detach().abs().min()) > 1e-3, f"{name}: {path} has a dead channel"
    for path, part in model.named_modules():
        if isinstance(part, ResidualBlock) and isinstance(part.norm1, nn.BatchNorm2d):
            agreement = predicted_mean_correlation(part)
            assert agreement > 0.8, f"{name}: {path}.norm2 does not fit its neighbours: {agreement:.2f}"
    dead = dead_units(model, task)
    assert not dead, f"{name}: units that never fire: {dead}"


def kolmogorov(values: Tensor, cdf: Callable[[Tensor], Tensor]) -> float:
    """Kolmogorov-Smirnov distance times √n between values and a distribution."""
    ordered = cdf(values.flatten().double().sort().values)
    n = len(ordered)
    steps = torch.arange(n, dtype=torch.float64)
    distance = torch.maximum((steps + 1) / n - ordered, ordered - steps / n).max()
    return float(distance) * math.sqrt(n)


def _uniform(bound: float) -> Callable[[Tensor], Tensor]:
    """Distribution function of U(-bound, bound)."""
    return lambda x: ((x / bound + 1) / 2).clamp(0, 1)


def _normal(deviation: float) -> Callable[[Tensor], Tensor]:
    """Distribution function of N(0, deviation²)."""
    return lambda x: torch.special.ndtr(x / deviation)


def _prove_not_initial(path: str, initial_bound: float, layer: WeightLayer) -> None:
    """Asserts that weights can be told from the usual initializations at the usual scales."""
    weight = layer.weight.detach()
    n = weight.numel()
    if n < 64:
        return
    receptive = weight[0, 0].numel()
    fan_in, fan_out = weight.shape[1] * receptive, weight.shape[0] * receptive
    deviations = {
        "own": initial_bound / math.sqrt(3),
        "he": math.sqrt(2 / fan_in),
        "he fan_out": math.sqrt(2 / fan_out),
        "lecun": math.sqrt(1 / fan_in),
        "torch": math.sqrt(1 / 3 / fan_in),
        "glorot": math.sqrt(2 / (fan_in + fan_out)),
    }
    for scheme, deviation in deviations.items():
        bound = deviation * math.sqrt(3)
        uniform = kolmogorov(weight, _uniform(bound))
        largest = float(weight.abs().max())
        assert uniform > 1.95 or not bound * (1 - 14 / n) <= largest <= bound * (1 + 2e-6), f"{path}: {scheme}"
        assert scheme != "own" or uniform > 1.95 or largest > 1.1 * bound, f"{path}: still uniform"
        normal = kolmogorov(weight, _normal(deviation))
        spread = (float(weight.double().var()) / deviation**2 - 1) / math.sqrt(2 / n)
        assert n < 4096 or normal > 1.95 or abs(spread) > 4.5, f"{path}: {scheme} normal"


def _prove_distinct(path: str, layer: WeightLayer) -> None:
    """Asserts that no unit is empty, or a copy or multiple of another."""
    weight = layer.weight.detach()
    rows = (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)
    assert float(rows.norm(dim=1).min()) > 1e-2 * float(rows.norm(dim=1).median()), f"{path}: an empty unit"
    if rows.shape[1] > 4:
        alike = F.normalize(rows, dim=1) @ F.normalize(rows, dim=1).T - torch.eye(len(rows))
        assert float(alike.abs().max()) < 0.999, f"{path}: two units alike"


@torch.no_grad()
def predicted_mean_correlation(block: ResidualBlock) -> float:
    """Correlation of norm2's running means with those that norm1, a ReLU and conv2 lead to.

    norm1 gives channels that are about N(β, γ²); E[max(0, N(β, γ²))] = β Φ(β/|γ|) + |γ| φ(β/|γ|).
    """
    assert isinstance(block.norm1, nn.BatchNorm2d)
    assert isinstance(block.norm2, nn.BatchNorm2d)
    shift, scale = block.norm1.bias, block.norm1.weight.abs()
    ratio = shift / scale
    density = torch.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    mean = block.conv2.weight.sum((2, 3)) @ (shift * torch.special.ndtr(ratio) + scale * density)
    assert block.norm2.running_mean is not None
    return float(torch.corrcoef(torch.stack([mean, block.norm2.running_mean]))[0, 1])


@torch.no_grad()
def dead_units(model: nn.Module, task: Task) -> dict[str, list[int]]:
    """Channels of each ReLU that fire on less than one value in two thousand over fresh scenes."""
    firing: dict[str, list[Tensor]] = {}

    def watch(path: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            axes = [axis for axis in range(output.dim()) if axis != 1]
            firing.setdefault(path, []).append((output > 0).float().mean(axes))

        return hook

    hooks = [
        part.register_forward_hook(watch(path)) for path, part in model.named_modules() if isinstance(part, nn.ReLU)
    ]
    for seed in range(4):
        model(*example(task, 8, seed))
    for hook in hooks:
        hook.remove()
    shares = {path: torch.stack(seen).mean(0) for path, seen in firing.items()}
    return {
        path: (share < 5e-4).nonzero().flatten().tolist()
        for path, share in shares.items()
        if bool((share < 5e-4).any())
    }
