"""Batch norms folded into the layer before them, seen from both ends.

A norm behind a layer multiplies each unit by γ/√(v + eps) and shifts it (Ioffe and Szegedy 2015, §3.1, algorithm 2):
folded, the layer has the weight W·γ/√(v + eps) and the bias (b − μ)·γ/√(v + eps) + β. Seen from the other end, the
factor between an exported weight and a trained one tells that a norm was folded in, which one, and with which eps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from avreview.artifact import Tensor

    Array = np.ndarray[Any, Any]

DEFAULT_EPS = 1e-5  # PyTorch's, ONNX's
_LARGEST_EPS = 1.0
_MOST_CHANNELS = 1 << 20


class FoldableNorm(NamedTuple):
    """A batch norm of a weight set: its module and its vectors, [channels] in float64."""

    module: str
    place: int  # in the order of the set
    channels: int
    tensors: Mapping[str, Tensor]

    def vector(self, leaf: str, otherwise: float) -> Array:
        import numpy as np

        tensor = self.tensors.get(leaf)
        if tensor is None:
            return np.full(self.channels, otherwise)
        return np.asarray(tensor.copy(), np.float64)

    def factor(self, eps: float) -> Array:
        """γ/√(v + eps), [channels]."""
        import numpy as np

        return np.asarray(self.vector("weight", 1.0) / np.sqrt(self.vector("running_var", 1.0) + eps))

    def bias(self, bias: Array | None, eps: float) -> Array:
        """(b − μ)·γ/√(v + eps) + β, [channels]."""
        import numpy as np

        centred = (0.0 if bias is None else bias.astype(np.float64)) - self.vector("running_mean", 0.0)
        return np.asarray(centred * self.factor(eps) + self.vector("bias", 0.0))

    def bias_terms(self, bias: Array | None, eps: float) -> Array:
        """The sum of the magnitudes that add up to the folded bias, [channels]."""
        import numpy as np

        own = 0.0 if bias is None else abs(bias)
        centred = own + abs(self.vector("running_mean", 0.0))
        return np.asarray(centred * abs(self.factor(eps)) + abs(self.vector("bias", 0.0)))


def foldable_norms(tensors: Mapping[str, Tensor]) -> Iterator[FoldableNorm]:
    """Every module of a weight set that keeps running statistics, in the set's order."""
    for place, (name, variance) in enumerate(tensors.items()):
        module, _, leaf = name.rpartition(".")
        if leaf != "running_var" or len(variance.shape) != 1 or not 0 < variance.size <= _MOST_CHANNELS:
            continue
        own = {leaf: tensors.get(f"{module}.{leaf}" if module else leaf) for leaf in _LEAVES}
        held = {leaf: tensor for leaf, tensor in own.items() if tensor is not None}
        if all(tensor.shape == variance.shape for tensor in held.values()):
            yield FoldableNorm(module, place, variance.size, held)


_LEAVES = ("weight", "bias", "running_mean", "running_var")


class UnitRatios(NamedTuple):
    """The factor of each unit that brings a trained weight nearest to an exported one, and what is left over.

    `factor` [units]; `residual` is ‖exported − factor · trained‖ / ‖exported‖ over all units.
    """

    factor: Array
    residual: float

    @property
    def is_constant(self) -> bool:
        """One factor for all units: an attention's 1/√d, not a norm."""
        largest = float(abs(self.factor).max(initial=0.0))
        return largest > 0 and float(abs(self.factor - self.factor[0]).max()) <= 1e-5 * largest


def unit_ratios(exported: Array, trained: Array) -> UnitRatios:
    """Ratios of two weights [units, elements], by least squares."""
    import numpy as np

    e, w = exported.astype(np.float64), trained.astype(np.float64)
    ee, ew, ww = ((a * b).sum(1) for a, b in ((e, e), (e, w), (w, w)))
    factor = np.divide(ew, ww, out=np.zeros_like(ew), where=ww > 0)
    total = float(ee.sum())
    left = float(np.square(e - factor[:, None] * w).sum())
    return UnitRatios(factor, math.sqrt(left / total) if 0 < total < math.inf else math.inf)


def solve_eps(norm: FoldableNorm, factor: Array) -> float | None:
    """The eps with which a norm gives the factors, or None where no eps does or none matters.

    (γ/f)² − v is eps in every channel, and surest where v is small: each channel is weighted by 1/(γ/f)⁴, the
    inverse of the variance that rounding gives it.
    """
    import numpy as np

    gamma, variance = norm.vector("weight", 1.0), norm.vector("running_var", 1.0)
    usable = (np.abs(factor) > 0) & (np.abs(gamma) > 0) & np.isfinite(factor) & np.isfinite(variance)
    if not usable.any():
        return None
    squared = np.square(gamma[usable] / factor[usable])
    weight = 1.0 / np.square(np.maximum(squared, 1e-30))
    weight /= weight.sum()
    eps = float((weight * (squared - variance[usable])).sum())
    return eps if 0.0 <= eps <= _LARGEST_EPS and math.isfinite(eps) else None


def eps_matters(norm: FoldableNorm, one: float, other: float, tolerance: float) -> bool:
    """Whether two values of eps give factors that differ by more than the tolerance, relative to the largest."""
    first, second = norm.factor(one), norm.factor(other)
    largest = float(abs(first).max(initial=0.0))
    return bool(largest > 0 and float(abs(first - second).max()) > tolerance * largest)
