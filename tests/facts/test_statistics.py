from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.artifact import Tensor
from avreview.facts.statistics import Statistics, TensorStatistics, measure, measure_array

ml_dtypes = pytest.importorskip("ml_dtypes")


class Stored:
    """Elements handed out through one reused buffer, as a file is read; counts how often it is read."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values.reshape(-1)
        self.reads = 0

    def array(self) -> np.ndarray[Any, Any]:
        self.reads += 1
        return self.values

    def part(self, start: int, count: int) -> np.ndarray[Any, Any]:
        return np.array(self.values[start : start + count])

    def heads(self, rows: int, length: int) -> np.ndarray[Any, Any]:
        return np.array(self.values.reshape(rows, -1)[:, :length])

    def chunks(self, elements: int) -> Iterator[np.ndarray[Any, Any]]:
        self.reads += 1
        buffer = np.empty(elements, self.values.dtype)
        for start in range(0, self.values.size, elements):
            part = self.values[start : start + elements]
            buffer[: part.size] = part
            yield buffer[: part.size]


def tensor(values: np.ndarray[Any, Any], name: str = "w") -> Tensor:
    return Tensor(name, values.shape, values.dtype.name, Stored(values))


def check_against_numpy(values: np.ndarray[Any, Any], got: TensorStatistics, rel: float = 2e-5) -> None:
    wide = values.astype(np.float64).reshape(-1)
    gap = wide - wide.mean()
    variance = float((gap**2).mean())
    assert got.count == got.finite == got.shape_count == wide.size
    assert got.mean == pytest.approx(wide.mean(), rel=rel, abs=rel * math.sqrt(variance))
    assert got.variance == pytest.approx(variance, rel=rel)
    assert (got.minimum, got.maximum) == (wide.min(), wide.max())
    assert got.abs_max == np.abs(wide).max()
    assert got.zeros == np.count_nonzero(wide == 0)
    if variance > 0:
        assert got.kurtosis == pytest.approx((gap**4).mean() / variance**2, rel=10 * rel)
        assert got.skewness == pytest.approx((gap**3).mean() / variance**1.5, rel=10 * rel, abs=10 * rel)


@pytest.mark.parametrize("size", [1, 2, 63, 4_096, 4_097, 65_536, 65_537, 200_000])
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "int8", "int4", "int64"]
)
def test_agrees_with_a_reference_in_double_precision(size: int, dtype: str) -> None:
    values = (np.random.default_rng(size).standard_normal(size) * 2).astype(np.dtype(dtype))
    check_against_numpy(values, measure(tensor(values)))


@pytest.mark.parametrize("offset", [0.3, 1.0, -50.0, 1e4])
def test_a_mean_far_from_zero_does_not_cancel(offset: float) -> None:
    values = (np.random.default_rng(1).gamma(2.0, size=150_000) * 0.5 + offset).astype(np.float32)
    check_against_numpy(values, measure(tensor(values)), rel=1e-4)


def test_chunks_with_different_means_are_joined_about_the_common_one() -> None:
    values = (np.random.default_rng(2).standard_normal(300_000) + np.arange(300_000) / 1e5).astype(np.float32)
    check_against_numpy(values, measure(tensor(values)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "float8_e5m2"])
def test_nan_and_inf_are_counted_and_left_out(dtype: str) -> None:
    values = np.random.default_rng(3).standard_normal(70_000).astype(np.dtype(dtype))
    clean = measure(tensor(values[6:]))
    values[:6] = np.array([np.nan, np.inf, -np.inf, np.nan, np.nan, np.inf]).astype(values.dtype)
    got = measure(tensor(values))
    assert (got.count, got.nan, got.inf, got.finite) == (70_000, 3, 3, 69_994)
    assert not got.all_finite
    assert clean.all_finite
    assert got.variance == pytest.approx(clean.variance, rel=1e-5)
    assert got.kurtosis == pytest.approx(clean.kurtosis, rel=1e-5)
    assert (got.minimum, got.maximum) == (clean.minimum, clean.maximum)


def test_nothing_finite_leaves_no_moments() -> None:
    got = measure(tensor(np.full(10, np.nan, np.float32)))
    assert (got.nan, got.finite) == (10, 0)
    assert all(math.isnan(value) for value in (got.mean, got.variance, got.minimum, got.maximum))
    assert measure(tensor(np.empty(0, np.float32))).count == 0


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_finite_half_and_extreme_float_is_exact(dtype: str) -> None:
    bits = np.arange(65_536, dtype=np.uint16).view(np.float16)
    values = bits[np.isfinite(bits)].astype(dtype)
    got = measure(tensor(values))
    assert (got.minimum, got.maximum, got.zeros) == (-65_504.0, 65_504.0, 2)
    assert measure(tensor(bits)).nan == np.isnan(bits).sum()


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e12, 1e30])
def test_moments_survive_magnitudes_whose_powers_leave_float32(scale: float) -> None:
    unit = np.random.default_rng(4).standard_normal(100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = measure(tensor((unit * scale).astype(np.float32)))
    assert got.variance == pytest.approx(unit.var() * scale**2, rel=1e-5)
    assert got.kurtosis == pytest.approx(3.0, abs=0.1)


def test_doubles_whose_squares_overflow_keep_their_shape() -> None:
    unit = np.random.default_rng(5).standard_normal(100_000)
    unit[:70_000] *= 1e-5
    values = np.concatenate([unit, unit * 1e-200]) * 1e200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = measure(tensor(values))
    gap = values / 1e200 - (values / 1e200).mean()
    assert got.variance == math.inf
    assert got.kurtosis == pytest.approx((gap**4).mean() / (gap**2).mean() ** 2)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.1, 1e-40, 3e38])
def test_a_constant_has_exactly_no_variance(value: float) -> None:
    got = measure(tensor(np.full(140_000, value, np.float32)))
    assert got.is_constant
    assert (got.variance, got.mean) == (0.0, np.float32(value))
    assert math.isnan(got.kurtosis)
    assert got.zeros == (140_000 if value == 0 else 0)


def test_large_tensors_take_their_shape_from_a_part_and_all_else_from_everything() -> None:
    values = np.random.default_rng(6).standard_normal(65_536 * 24).astype(np.float32)
    values[-1], values[-2] = 9.0, 0.0
    got = measure(tensor(values))
    assert got.shape_count == 65_536 * 18
    assert (got.maximum, got.zeros, got.finite) == (9.0, int(np.count_nonzero(values == 0)), values.size)
    assert got.variance == pytest.approx(values.astype(np.float64).var(), rel=1e-6)
    assert got.kurtosis == pytest.approx(3.0, abs=0.02)


def test_complex_numbers_count_as_two_and_strings_are_refused() -> None:
    got = measure(tensor(np.array([1 + 2j, complex(np.nan, 0)], np.complex64)))
    assert (got.count, got.nan, got.maximum, got.zeros) == (4, 1, 2.0, 1)
    with pytest.raises(TypeError, match="no statistics"):
        measure(Tensor("names", (2,), "string", Stored(np.array(["a", "b"], object))))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_and_layout_do_not_matter(numbers: list[float], random: Any) -> None:
    values = np.array(numbers, np.float32)
    shuffled = list(numbers)
    random.shuffle(shuffled)
    got, other = measure(tensor(values)), measure_array(np.array([shuffled, shuffled], np.float32).T[:, 1])
    assert got.variance == pytest.approx(other.variance, rel=1e-9, abs=1e-9)
    assert (got.minimum, got.maximum, got.zeros) == (other.minimum, other.maximum, other.zeros)


def test_a_strided_array_is_measured_whole() -> None:
    values = np.random.default_rng(7).standard_normal((300, 400)).astype(np.float32)
    check_against_numpy(values[:, ::2], measure_array(values.T[::2]))


def test_statistics_are_measured_when_asked_for_and_only_once() -> None:
    stores = {name: Stored(np.ones(8, np.float32)) for name in ("a", "b")}
    statistics = Statistics({name: Tensor(name, (8,), "float32", store) for name, store in stores.items()})
    assert list(statistics) == ["a", "b"]
    assert len(statistics) == 2
    assert "b" in statistics
    assert "c" not in statistics
    assert statistics["a"] is statistics["a"]
    assert (stores["a"].reads, stores["b"].reads) == (1, 0)
    with pytest.raises(KeyError):
        statistics["c"]
