"""Can a weight be told from a fresh draw, and from which initialization scheme?

A fresh draw has a shape (uniform, normal, truncated normal, orthogonal), a scale that some named scheme explains
and, since a trained weight of a few thousand elements can look normal, a companion that training would have moved.
The tests and their limits follow what was measured on 1,078 trained and 1,475 fresh tensors: the energies of rows
and columns tell a trained weight from a normal draw where its histogram no longer does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from avreview.facts.scheme_names import Fans, Scheme, schemes
from avreview.facts.scheme_sample import WeightSample
from avreview.facts.scheme_shapes import NORMAL, TRUNCATED, UNIFORM, Shape, kolmogorov_smirnov
from avreview.facts.statistics import TensorStatistics

Strength = Literal["untouched", "note"]

_GRAM_SIDE = 512  # vectors whose scalar products are looked at: 512² of them, a few ms


class SchemeLimits(NamedTuple):
    """The thresholds, as they stand on the rule cards."""

    ks_sqrt_n: float  # Kolmogorov-Smirnov D·√n
    moment_z: float  # mean and variance, in standard errors
    shape_z: float  # skewness and kurtosis, in standard errors
    energy_z: float  # row and column energies and sums, as normal scores
    uniform_min_elements: float
    uniform_any_min_elements: float  # below it and alone, only its framework default explains a bound
    normal_min_elements: float  # also for orthogonal and for any scale that no name explains
    normal_note_min_elements: float  # below normal_min_elements, a note and only with a companion
    uniform_max_shortfall: float  # how far the largest |x| may lie under the bound, in units of bound / n
    uniform_max_excess: float  # relative; at least twice the rounding of a half-precision weight
    orthogonal_tolerance: float  # of ‖WWᵀ - cI‖max, relative to c

    @classmethod
    def of(cls, source: Any) -> SchemeLimits:
        """From anything that has the limits as attributes, such as a rule card's thresholds."""
        return cls(**{field: float(getattr(source, field)) for field in cls._fields})


class Companion(NamedTuple):
    """What shows, besides the weight itself, that it was not trained.

    A parameter beside it that still has exactly its initial value or distribution, or an optimizer without a trace of
    a gradient for it.
    """

    kind: Literal["zero-bias", "uniform-bias", "identity-norm", "no-gradient"]
    name: str = ""


class Match(NamedTuple):
    """A weight that cannot be told from a fresh draw.

    `distribution` is `uniform`, `normal`, `truncated-normal`, `orthogonal`, or for what is no draw `zeros`,
    `ones`, `constant` or `identity` (one equal entry a row): these carry strength `note`, since masks, box
    filters and fixed kernels look the same. `scale` is the largest |x| of a uniform, the gain of an orthogonal,
    the value of a constant, and otherwise the standard deviation; `gain` is std·√fan_in. `schemes` are all that
    fit within the error of the measurement, framework defaults first. With none, `scale_free` is True: beside a
    companion such a weight was at most shrunk by weight decay. `evidence` holds what was measured, in the units
    of the limits.
    """

    distribution: str
    scale: float
    gain: float
    schemes: tuple[Scheme, ...]
    strength: Strength
    companion: Companion | None = None
    scale_free: bool = False
    evidence: Mapping[str, float] = {}

    @property
    def default_of(self) -> tuple[str, ...]:
        """The frameworks whose default it may be."""
        return tuple(dict.fromkeys(scheme.default_of for scheme in self.schemes if scheme.default_of))


def recognise(
    sample: WeightSample, *, fans: Fans, limits: SchemeLimits, companion: Companion | None = None
) -> Match | None:
    """The draw that the weight cannot be told from, or None.

    Quantized weights, weights with NaN or Inf, and weights too small to tell give None. What the statistics of the
    whole tensor already exclude is decided before a single row is read again.
    """
    statistics = sample.statistics
    if not sample.floating or not statistics.all_finite or statistics.count < 2:
        return None
    if statistics.is_constant:
        return _constant(statistics, fans)
    if statistics.zeros >= statistics.count / 2:
        return _identity(sample, fans)
    possible = plausible(statistics, limits)
    if not possible or sample.is_quantized:
        return None
    for shape in possible:
        match = _orthogonal(sample, fans, limits, companion) if shape is NORMAL else None
        match = match or _drawn(sample, shape, fans, limits, companion)
        if match is not None:
            return match
    return None


def plausible(statistics: TensorStatistics, limits: SchemeLimits) -> list[Shape]:
    """The shapes that mean, skewness, kurtosis and extremes of the whole tensor allow, nearest kurtosis first."""
    smallest = min(limits.uniform_min_elements, limits.normal_note_min_elements)
    if statistics.count < smallest or not math.isfinite(statistics.kurtosis):
        return []
    if abs(_mean_z(statistics)) >= limits.moment_z:
        return []
    measured, count = statistics.kurtosis, statistics.shape_count
    near = [
        (abs(shape.kurtosis_z(measured, count)), shape)
        for shape in (UNIFORM, TRUNCATED, NORMAL)
        if abs(shape.skewness_z(statistics.skewness, count)) < limits.shape_z
        and statistics.abs_max / statistics.std <= shape.cut * (1.02 + 2.0 / math.sqrt(statistics.count))
    ]
    return [shape for distance, shape in sorted(near, key=lambda pair: pair[0]) if distance < limits.shape_z]


def companion_of(
    *,
    limits: SchemeLimits,
    bias: tuple[str, TensorStatistics] | None = None,
    norm_scale: tuple[str, TensorStatistics] | None = None,
    norm_shift: tuple[str, TensorStatistics] | None = None,
    bias_fan: int | None = None,
) -> Companion | None:
    """A companion among a layer's bias and the norm behind it, each given as (name, statistics).

    A bias of exactly 0; a norm of exactly (1, 0), or (1) for a norm without a shift; or, with `bias_fan`, a bias
    of at least `uniform_min_elements` whose moments and largest element are those of U(±1/√bias_fan), which is
    PyTorch's default.
    """
    if bias is not None and _is_all(bias[1], 0.0):
        return Companion("zero-bias", bias[0])
    unshifted = norm_shift is None or _is_all(norm_shift[1], 0.0)
    if norm_scale is not None and unshifted and _is_all(norm_scale[1], 1.0):
        return Companion("identity-norm", norm_scale[0])
    if bias is None or not bias_fan or bias[1].count < limits.uniform_min_elements:
        return None
    bound = 1.0 / math.sqrt(bias_fan)
    if UNIFORM in plausible(bias[1], limits) and _uniform_bound_fits(bias[1], bound, 2.0**-8, limits):
        return Companion("uniform-bias", bias[0])
    return None


def _is_all(statistics: TensorStatistics, value: float) -> bool:
    return statistics.is_constant and statistics.minimum == value


def _mean_z(statistics: TensorStatistics) -> float:
    return statistics.mean * math.sqrt(statistics.count) / statistics.std


def _constant(statistics: TensorStatistics, fans: Fans) -> Match:
    value = statistics.minimum
    kind = {0.0: "zeros", 1.0: "ones"}.get(value, "constant")
    return Match(kind, value, abs(value) * math.sqrt(fans.fan_in), (), "note")


def _identity(sample: WeightSample, fans: Fans) -> Match | None:
    """One equal entry in every row and zeros elsewhere: `eye_`, `dirac_`, a permutation."""
    import numpy as np

    block = sample.block
    entries = block[block != 0]
    if not np.all(np.count_nonzero(block, axis=1) == 1) or entries.min() != entries.max():
        return None
    value = float(entries[0])
    return Match("identity", value, sample.statistics.std * math.sqrt(fans.fan_in), (), "note")


def _drawn(
    sample: WeightSample, shape: Shape, fans: Fans, limits: SchemeLimits, companion: Companion | None
) -> Match | None:
    """A match with independent draws of this shape."""
    statistics = sample.statistics
    rms = math.hypot(statistics.std, statistics.mean)
    if shape is UNIFORM:
        any_scheme = companion is not None or statistics.count >= limits.uniform_any_min_elements
        allowed = [s for s in _named(shape, fans) if any_scheme or (s.default_of and s.mode != "fixed")]
        named = tuple(s for s in allowed if _uniform_fits(sample, s.scale, limits))
        scale = statistics.abs_max
        reference = (named[0].scale if named else scale * (1.0 + 1.0 / statistics.count)) / UNIFORM.cut
    else:
        named = tuple(s for s in _named(shape, fans) if _variance_fits(statistics, shape, s.scale, limits))
        scale = reference = rms
    strength = _strength(shape, statistics.count, bool(named), companion, limits)
    if strength is None or not _variance_fits(statistics, shape, reference, limits):
        return None
    ks = kolmogorov_smirnov(sample.ordered, shape, reference)
    if ks >= limits.ks_sqrt_n:
        return None
    energy = energy_scores(sample, shape, rms)
    if max(abs(score) for score in energy.values()) >= limits.energy_z:
        return None
    evidence = {
        "ks_sqrt_n": ks,
        "mean_z": _mean_z(statistics),
        "kurtosis_z": shape.kurtosis_z(statistics.kurtosis, statistics.shape_count),
        **energy,
    }
    gain = rms * math.sqrt(fans.fan_in)
    return Match(shape.name, scale, gain, named, strength, companion, not named, evidence)


def _named(shape: Shape, fans: Fans) -> list[Scheme]:
    return [scheme for scheme in schemes(fans) if scheme.shape == shape.name]


def _strength(
    shape: Shape, count: int, named: bool, companion: Companion | None, limits: SchemeLimits
) -> Strength | None:
    """The rule of decision: what a match of this shape and size is worth."""
    if shape is UNIFORM and named:
        return "untouched" if count >= limits.uniform_min_elements else None
    if count >= limits.normal_min_elements:
        return "untouched" if companion is not None else "note"
    if companion is not None and named and count >= limits.normal_note_min_elements:
        return "note"
    return None


def _variance_fits(statistics: TensorStatistics, shape: Shape, std: float, limits: SchemeLimits) -> bool:
    ratio = (statistics.variance + statistics.mean * statistics.mean) / (std * std)
    return abs(shape.variance_z(ratio, statistics.count)) < limits.moment_z


def _uniform_fits(sample: WeightSample, bound: float, limits: SchemeLimits) -> bool:
    """Whether the largest element, the variance and the distribution are those of U(±bound)."""
    return (
        _uniform_bound_fits(sample.statistics, bound, sample.rounding, limits)
        and kolmogorov_smirnov(sample.ordered, UNIFORM, bound / UNIFORM.cut) < limits.ks_sqrt_n
    )


def _uniform_bound_fits(statistics: TensorStatistics, bound: float, rounding: float, limits: SchemeLimits) -> bool:
    lowest = bound * (1.0 - limits.uniform_max_shortfall / statistics.count - rounding)
    highest = bound * (1.0 + max(limits.uniform_max_excess, 2.0 * rounding))
    return lowest <= statistics.abs_max <= highest and _variance_fits(statistics, UNIFORM, bound / UNIFORM.cut, limits)


def energy_scores(sample: WeightSample, shape: Shape, std: float) -> dict[str, float]:
    """Normal scores of how the squares and sums of rows and columns spread; all are about N(0, 1) on a fresh draw.

    `std` is the root mean square of the whole weight. Training moves whole rows and columns together, which shows
    here long before it shows in the histogram.
    """
    import numpy as np

    block = sample.block / np.float32(std)
    squares = block * block
    scores: dict[str, float] = {}
    for name, axis in (("row", 1), ("column", 0)):
        groups, terms = block.shape[1 - axis], block.shape[axis]
        energy = squares.mean(axis=axis, dtype=np.float64)
        extremes = shape.mean_energy_z(energy, terms)
        scores[f"{name}_energy_low_z"] = min(float(extremes.min()), 0.0)
        scores[f"{name}_energy_high_z"] = max(float(extremes.max()), 0.0)
        if groups > 1:
            scores[f"{name}_energy_spread_z"] = shape.energy_spread_z(energy, terms)
        scores[f"{name}_sum_z"] = shape.sum_spread_z(block.sum(axis=axis, dtype=np.float64), terms)
    return scores


def _orthogonal(sample: WeightSample, fans: Fans, limits: SchemeLimits, companion: Companion | None) -> Match | None:
    """A match with rows (or columns, whichever are fewer) that are orthogonal and of one length."""
    import numpy as np

    statistics = sample.statistics
    fewer, length = sorted((sample.units, sample.inputs))
    strength = _strength(NORMAL, statistics.count, True, companion, limits)
    tall = sample.units > sample.inputs
    if strength is None or fewer < 4 or (tall and not sample.is_whole):
        return None
    vectors = (sample.block.T if tall else sample.block)[:_GRAM_SIDE].astype(np.float64)
    gram = vectors @ vectors.T
    square = float(np.trace(gram)) / len(gram)
    error = float(np.abs(gram - square * np.eye(len(gram))).max()) / square
    # rounding adds to a scalar product of n terms about 2 errors of q/√3 over √n; 10 covers the largest of 512²
    if error >= limits.orthogonal_tolerance + 10.0 * sample.rounding / math.sqrt(length):
        return None
    std = math.sqrt(square / length)
    ks = kolmogorov_smirnov(sample.ordered, NORMAL, std)
    if ks >= limits.ks_sqrt_n:
        return None
    gain = math.sqrt(square)
    slack = max(limits.orthogonal_tolerance, sample.rounding)
    named = tuple(s for s in schemes(fans) if s.shape == "orthogonal" and abs(gain / s.scale - 1.0) < slack)
    evidence = {"ks_sqrt_n": ks, "orthogonal_tolerance": error}
    return Match("orthogonal", gain, std * math.sqrt(fans.fan_in), named, strength, companion, not named, evidence)
