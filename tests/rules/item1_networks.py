"""Networks in which one layer or one residual block is as a test wants it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from models import Array, ModelBuilder

Step = Callable[[ModelBuilder], ModelBuilder]


def zeros(count: int) -> Array:
    return np.zeros(count, np.float32)


def relu(model: ModelBuilder) -> ModelBuilder:
    return model.relu("act")


def network(weight: Array, activation: Step, bias: Array | None = None) -> ModelBuilder:
    """Three linear layers: the first as given, the others trained."""
    shift = zeros(len(weight)) if bias is None else bias
    model = ModelBuilder().input("x", ["batch", weight.shape[1]]).gemm("fc1", len(weight), weight=weight, bias=shift)
    return activation(model).gemm("fc2", 512).relu("act2").gemm("head", 8).output("y")


def residual(
    *, weight: Array | None = None, scale: Array | None = None, factor: Array | None = None, norm: bool = False
) -> ModelBuilder:
    """One residual block between trained layers; its branch ends as the arguments say."""
    model = ModelBuilder().input("x", [1, 3, 8, 8]).conv("stem", 16).relu("stem_act")
    shortcut = model.value
    model.conv("block.conv1", 16).relu("block.act").conv("block.conv2", 16, weight=weight, bias=not norm)
    if norm:
        model.batch_norm("block.bn2", scale=scale)
    if factor is not None:
        model.op("Mul", model.tensor("block.gamma", factor), module="block.scale")
    return model.add(shortcut, "block").relu("block.out").conv("head", 4, 1).output("y")
