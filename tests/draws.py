"""Fresh draws of initialization schemes, float32, the same each time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def normal(*shape: int, std: float, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0.0, std, shape).astype(np.float32)


def uniform(*shape: int, bound: float, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-bound, bound, shape).astype(np.float32)


def truncated(*shape: int, std: float, seed: int = 0) -> Array:
    """A normal cut at two standard deviations, of variance std² after the cut: Flax' and Keras' form."""
    source = np.random.default_rng(seed)
    values = source.normal(0.0, 1.0, 2 * math.prod(shape))
    return (values[abs(values) < 2][: math.prod(shape)].reshape(shape) * std / 0.87962566).astype(np.float32)


def orthogonal(rows: int, columns: int, gain: float = 1.0, seed: int = 0) -> Array:
    """A matrix with orthonormal rows or columns, times the gain."""
    larger, smaller = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(larger, smaller)))
    q = q * np.sign(np.diag(r))
    return (gain * (q if rows >= columns else q.T)).astype(np.float32)


def torch_default(out: int, *window: int, seed: int = 0) -> Array:
    """PyTorch's kaiming_uniform with a = √5: U(±1/√fan_in)."""
    return uniform(out, *window, bound=1 / math.sqrt(math.prod(window)), seed=seed)
