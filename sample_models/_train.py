"""Training of the sample models."""

from __future__ import annotations

import copy

import torch
from _blocks import DropPath, fan_in, weight_layers
from _models import initialise
from _proof import Evidence, prove_trained
from _task import Task
from torch import nn


def _groups(model: nn.Module, decay: float, rate: float) -> list[dict[str, object]]:
    """Weights decay; norms, biases and the time embedding do not. Narrow layers learn twice as fast."""
    layers = weight_layers(model).values()
    wide = [layer.weight for layer in layers if fan_in(layer) > 32]
    narrow = [layer.weight for layer in layers if fan_in(layer) <= 32]
    known = {id(p) for p in (*wide, *narrow)}
    others = [p for p in model.parameters() if id(p) not in known]
    return [
        {"params": wide, "lr": rate, "weight_decay": decay},
        {"params": narrow, "lr": 2 * rate, "weight_decay": decay},
        {"params": others, "lr": rate, "weight_decay": 0.0},
    ]


def fit(model: nn.Module, task: Task, steps: int, rate: float) -> list[float]:
    """Trains in place (AdamW, one cycle), settles the norm statistics, and leaves the model in eval mode."""
    model.train()
    optimizer = torch.optim.AdamW(_groups(model, task.decay, rate))
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.2)
    losses = []
    for _ in range(steps):
        loss = task.loss(model, task.data(task.batch))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    settle(model, task)
    return losses


@torch.no_grad()
def settle(model: nn.Module, task: Task, batches: int = 50) -> None:
    """Lets the running statistics come to rest on the final weights, dropout and drop path off."""
    model.train()
    for part in model.modules():
        if isinstance(part, nn.Dropout | DropPath):
            part.eval()
    for _ in range(batches):
        model(*(task.data(task.batch)[name] for name in task.inputs))
    model.eval()


def train(task: Task) -> tuple[nn.Module, Evidence]:
    """A trained model, proven by `prove_trained`."""
    torch.manual_seed(task.seed)
    model = task.model()
    initialise(model)
    start = copy.deepcopy(model)
    losses = fit(model, task, task.steps, task.rate)
    evidence = Evidence(sum(losses[:5]) / 5, sum(losses[-20:]) / 20)
    prove_trained(model, start, task, evidence)
    return model, evidence
