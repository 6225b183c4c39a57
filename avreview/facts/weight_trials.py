"""Trying whether an exported weight was made of a tensor of a checkpoint, and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Tensor
from avreview.facts.export_weights import ExportWeight
from avreview.facts.folding import DEFAULT_EPS, FoldableNorm, solve_eps, unit_ratios
from avreview.facts.source_tensors import Source
from avreview.facts.tensor_compare import ROUNDOFF, Comparison, compare, compare_arrays, narrower
from avreview.facts.weights import Weight

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NEAREST_NORMS = 3  # behind a layer that are tried where the factors do not tell
_SCALED_RESIDUAL = 1e-4  # ‖E − fW‖ / ‖E‖ up to which E is W times a factor a unit, in float32
_WIDEST_HEAD = 4096  # channels of an attention head
_FOLDING_STEPS = 8  # roundings on the way from W, γ, v and eps to a folded weight, each stored in the format
FOLDED = "batch norm folded in"


class Trial(NamedTuple):
    """A comparison of an exported weight with what a source, treated as `how` says, would give."""

    comparison: Comparison
    how: str
    norm: FoldableNorm | None = None
    eps: float | None = None
    scale: float = 1.0


def unit_axis_first(values: Array, weight: ExportWeight) -> Array:
    """A weight in PyTorch's layout as [units, elements]; a transposed convolution keeps its units on axis 1."""
    import numpy as np

    layer = weight.layer
    if layer is None or layer.kind != "ConvTranspose" or values.ndim < 3:
        return values.reshape(len(values), -1)
    groups = layer.groups if values.shape[0] % layer.groups == 0 else 1
    split = values.reshape(groups, values.shape[0] // groups, *values.shape[1:])
    return np.asarray(split.swapaxes(1, 2).reshape(groups * values.shape[1], -1))


def spread_units(factor: Array, weight: ExportWeight, shape: Sequence[int]) -> Array:
    """A number a unit, shaped so that it multiplies a weight of that shape in PyTorch's layout."""
    layer = weight.layer
    if layer is None or layer.kind != "ConvTranspose" or len(shape) < 3:
        return factor.reshape(-1, *[1] * (len(shape) - 1))
    groups = layer.groups if shape[0] % layer.groups == 0 else 1
    spread = factor.reshape(groups, 1, shape[1]).repeat(shape[0] // groups, 1)
    return spread.reshape(shape[0], shape[1], *[1] * (len(shape) - 2))


class Trials:
    """All trials of one exported weight: its values are read once, and only when they have to be."""

    def __init__(self, weight: ExportWeight, tolerance: float) -> None:
        self.weight = weight
        self.tolerance = tolerance
        self._values: Array | None = None
        self._half_step: Array | float | None = None

    @property
    def values(self) -> Array:
        if self._values is None:
            self._values = self.weight.read()
        return self._values

    @property
    def quantized(self) -> bool:
        return self.weight.weight.quantized or self.weight.stored_integers

    def fits(self, source: Source) -> bool:
        """Whether the source has the weight's shape, but for axes of 1 and the order of a matrix's two."""
        own, other = _squeezed(self.weight.shape), _squeezed(source.shape)
        return own == other or (len(own) == 2 and own == other[::-1])

    def plain(self, source: Source) -> Trial:
        """The source as it is, or with its axes exchanged."""
        weight = self.weight
        same = weight.shape == source.shape
        direct = not weight.weight.steps and not weight.transposed and weight.weight.tensor.is_floating
        if same and direct and source.tensor is not None:
            trial = Trial(compare(weight.weight.tensor, source.tensor), source.how)
        else:
            trial = self._orientations(source)
        if same and len(source.shape) == 2 and source.shape[0] == source.shape[1] and not self.agrees(trial):
            return self.better(trial, self.against(source.read().T, source, "transposed"))
        return trial

    def _orientations(self, source: Source) -> Trial:
        values = source.read()
        if _squeezed(self.weight.shape) == _squeezed(source.shape):
            how = "transposed" if self.weight.transposed else ""
            return self.against(values.reshape(self.weight.shape), source, how)
        turned = values.reshape(_squeezed(source.shape)).T
        return self.against(turned.reshape(self.weight.shape), source, "transposed")

    def against(self, expected: Array, source: Source, *how: str, slack: Array | float = 0.0, **details: Any) -> Trial:
        """Compares with expected values in PyTorch's layout; `slack` is what rounding may add to each element."""
        words = ", ".join(dict.fromkeys(word for word in (source.how, *how) if word))
        dtype = narrower(self.weight.weight.tensor.dtype, source.dtype)
        values = self.values
        if self.weight.stored_integers:
            values, half_step = _rescaled(values, expected)
            return Trial(
                compare_arrays(values, expected, "float32", half_step + slack), _and(words, "quantized"), **details
            )
        if self.weight.weight.quantized:
            expected = _clipped(expected, values)
            return Trial(
                compare_arrays(values, expected, "float32", self.half_step + slack), _and(words, "quantized"), **details
            )
        return Trial(compare_arrays(values, expected, dtype, slack), words, **details)

    @property
    def half_step(self) -> Array | float:
        """Half a quantization step for each element, in PyTorch's layout."""
        if self._half_step is None:
            steps = self.weight._replace(weight=_of_ones(self.weight.weight)).read()
            self._half_step = abs(steps) * (0.5 * (1 + 1e-3))
        return self._half_step

    def agrees(self, trial: Trial | None) -> bool:
        return trial is not None and trial.comparison.agrees(self.tolerance)

    def better(self, first: Trial, second: Trial | None) -> Trial:
        if second is None or self.agrees(first):
            return first
        if self.agrees(second):
            return second
        return min(first, second, key=lambda trial: trial.comparison.distance)

    def scaled(self, source: Source, norms: Sequence[FoldableNorm], eps: Callable[[str], float | None]) -> Trial | None:
        """The source times a factor a unit: a folded norm's (those given first are likelier), or one number.

        None where the weight is no such product. Where it is, and no norm gives the factors, the first norm is taken.
        """
        trained = source.read()
        if _squeezed(trained.shape) != _squeezed(self.weight.shape):
            return None
        trained = trained.reshape(self.weight.shape)
        rows = unit_axis_first(trained, self.weight)
        if self.quantized:
            return self._nearest_fold(source, trained, norms, eps)
        ratios = unit_ratios(unit_axis_first(self.values, self.weight), rows)
        roundoff = self._roundoff(source)
        if not ratios.residual <= max(_SCALED_RESIDUAL, 4 * roundoff):
            return self._nearest_fold(source, trained, norms, eps)
        if ratios.is_constant and _is_attention_scale(float(ratios.factor[0])):
            scale = float(ratios.factor[0])
            return self.against(trained * scale, source, f"times {scale:.6g}", scale=scale)
        fitting = [norm for norm in norms if norm.channels == len(ratios.factor)]
        tolerance = max(self.tolerance, _FOLDING_STEPS * roundoff)
        for norm, value in self._eps_to_try(fitting, ratios.factor, eps):
            if _close(norm.factor(value), ratios.factor, tolerance):
                return self.fold(source, trained, norm, value)
        return self._nearest_fold(source, trained, norms, eps)

    def _roundoff(self, source: Source) -> float:
        return max(ROUNDOFF.get(dtype, 0.0) for dtype in (self.weight.weight.tensor.dtype, source.dtype))

    @staticmethod
    def _eps_to_try(
        norms: Sequence[FoldableNorm], factor: Array, eps: Callable[[str], float | None]
    ) -> Iterator[tuple[FoldableNorm, float]]:
        """Each norm with the eps that its module states and usual ones; only then with whatever eps fits."""
        for norm in norms:
            for value in dict.fromkeys((eps(norm.module) or DEFAULT_EPS, DEFAULT_EPS, 1e-3)):
                yield norm, value
        for norm in norms:
            solved = solve_eps(norm, factor)
            if solved is not None:
                yield norm, solved

    def _nearest_fold(
        self, source: Source, trained: Array, norms: Sequence[FoldableNorm], eps: Callable[[str], float | None]
    ) -> Trial | None:
        """The best of the likeliest norms, where the factors do not tell: the weights moved, or were quantized."""
        units = len(unit_axis_first(trained, self.weight))
        best: Trial | None = None
        for norm in [norm for norm in norms if norm.channels == units][:_NEAREST_NORMS]:
            trial = self.fold(source, trained, norm, eps(norm.module) or DEFAULT_EPS)
            best = trial if best is None else self.better(best, trial)
        return best

    def fold(self, source: Source, trained: Array, norm: FoldableNorm, eps: float) -> Trial:
        """The source with the norm folded in."""
        import numpy as np

        factor = spread_units(norm.factor(eps), self.weight, trained.shape)
        expected = np.asarray(trained.astype(np.float64) * factor)
        slack = _FOLDING_STEPS * self._roundoff(source) * abs(expected)
        return self.against(expected, source, FOLDED, slack=slack, norm=norm, eps=eps)

    def fold_bias(self, source: Source, bias: Array | None, norm: FoldableNorm, eps: float, how: str) -> Trial:
        """A bias (None for 0) with the norm folded in. Its terms may cancel: they are what rounding is relative to."""
        slack = _FOLDING_STEPS * self._roundoff(source) * norm.bias_terms(bias, eps)
        return self.against(norm.bias(bias, eps), source, how, slack=slack, norm=norm, eps=eps)


def _is_attention_scale(factor: float) -> bool:
    """Whether a factor is 1/√d or d to the power of −1/4 for a whole d, as exporters fold it into a projection.

    Any other factor, were it accepted, would make a weight that only decayed look like the one it was.
    """
    if not 0 < factor < 1:
        return False
    return any(
        2 <= round(width) <= _WIDEST_HEAD and abs(width - round(width)) <= 1e-4 * width
        for width in (factor**-2, factor**-4)
    )


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


def _and(words: str, word: str) -> str:
    return f"{words}, {word}" if words else word


def _close(factor: Array, seen: Array, tolerance: float) -> bool:
    """Equal within the tolerance, relative to the largest."""
    largest = float(abs(seen).max(initial=0.0))
    return bool(largest > 0 and float(abs(factor - seen).max()) <= tolerance * largest)


def _clipped(expected: Array, values: Array) -> Array:
    """Quantization cuts what lies outside its range, which a calibration may choose narrower than the weights."""
    import numpy as np

    low, high = float(values.min()), float(values.max())
    return np.asarray(np.clip(expected, low, high)) if low < high else expected


def _rescaled(integers: Array, expected: Array) -> tuple[Array, Array]:
    """Integers brought to the expected values by the best scale and offset of each unit, and half that scale."""
    import numpy as np

    q = integers.reshape(len(integers), -1).astype(np.float64)
    x = expected.reshape(len(expected), -1).astype(np.float64)
    if q.shape[1] < 8:  # too few to fit two numbers to
        q, x = q.reshape(1, -1), x.reshape(1, -1)
    centred, wanted = q - q.mean(1, keepdims=True), x - x.mean(1, keepdims=True)
    spread = np.square(centred).sum(1, keepdims=True)
    scale = np.divide((centred * wanted).sum(1, keepdims=True), spread, out=np.zeros_like(spread), where=spread > 0)
    fitted = centred * scale + x.mean(1, keepdims=True)
    slack = np.broadcast_to(abs(scale) * (0.5 * 1.05), fitted.shape)
    return fitted.reshape(expected.shape), slack.reshape(expected.shape)


class _Ones(NamedTuple):
    """Storage of as many ones."""

    size: int

    def array(self) -> Array:
        return self.part(0, self.size)

    def chunks(self, elements: int) -> Iterator[Array]:
        for start in range(0, self.size, elements):
            yield self.part(start, elements)

    def part(self, start: int, count: int) -> Array:
        import numpy as np

        return np.ones(min(count, self.size - start), np.int8)

    def heads(self, rows: int, length: int) -> Array:
        return self.part(0, rows * length).reshape(rows, length)


def _of_ones(weight: Weight) -> Weight:
    """The weight with every integer 1 and no zero point, so that what comes out is its scales."""
    tensor = weight.tensor
    steps = tuple(
        (step, (argument[0], None, *argument[2:]) if step == "scale" else argument) for step, argument in weight.steps
    )
    ones = Tensor(tensor.name, tensor.shape, "int8", _Ones(math.prod(tensor.shape)))
    return weight._replace(tensor=ones, steps=steps)
