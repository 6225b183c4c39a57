"""Made-up data of each kind: images, sound, points, indices, masks, states.

White noise alone dies in global pooling, which averages it away, so that what varies from sample to sample would be
lost on the way. Images, sound and features therefore have three parts: white noise, a smooth field, and an offset a
sample. Odd samples come from another distribution: another mean, scale and frequency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.load.dtypes import numpy_dtype

Array = np.ndarray[Any, Any]
Random = np.random.Generator

_WHITE, _SMOOTH, _OFFSET = 0.6, 0.65, 0.45  # together of variance 1: 0.36 + 0.42 + 0.20
_CELLS, _ODD_CELLS = 5, 13  # of the smooth field, a side
_ODD_SCALE, _ODD_MEAN = 2.0, 1.5
_SOUND_TONES = 6
_MOST_DRAWN = 1 << 24  # numbers that are drawn to find different indices
_METRES = 20.0  # how far points lie from the sensor, one standard deviation


def sample(entry: Mapping[str, Any], shape: Sequence[int], random: Random, *, odd: bool) -> Array:
    """One sample of an input, of `shape`, in the input's own type. `entry` is a PlannedInput."""
    dtype = numpy_dtype(entry["dtype"])
    if entry.get("value") is not None:
        return _fitting(np.full(shape, entry["value"]), dtype)
    low, high = int(entry["low"]), max(int(entry["high"]), int(entry["low"]) + 1)
    made = _MAKERS.get(entry["kind"])
    if made is not None:
        values = made(shape, random, low, high, odd)
    elif entry["kind"] in _SMOOTH_AXES:
        values = noise(shape, random, axes=_SMOOTH_AXES[entry["kind"]], odd=odd)
    else:
        values = random.integers(low, high, shape)
    return _fitting(values, dtype)


def _fitting(values: Array, dtype: np.dtype[Any]) -> Array:
    """Values in a type, without overflow."""
    values = np.asarray(values)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.asarray(np.clip(np.rint(values), limits.min, limits.max), dtype)
    if dtype.kind not in "fV" or dtype.itemsize > 2:
        return np.asarray(values, dtype, order="C")
    import ml_dtypes

    try:
        most = float(ml_dtypes.finfo(dtype).max)
    except ValueError:  # int4 and its like, which ml_dtypes has too
        integers = ml_dtypes.iinfo(dtype)
        return np.asarray(np.clip(np.rint(values), int(integers.min), int(integers.max)), dtype)
    return np.asarray(np.clip(values, -most, most), dtype, order="C")


def noise(shape: Sequence[int], random: Random, *, axes: int, odd: bool) -> Array:
    """Noise of mean 0 and variance 1, smooth in part along the last `axes` axes; float32."""
    white = random.standard_normal(shape, np.float32)
    offset = np.float32(random.standard_normal())
    values = _WHITE * white + _OFFSET * offset
    if axes and math.prod(shape):
        values += _SMOOTH * _field(shape, random, min(axes, len(shape)), _ODD_CELLS if odd else _CELLS)
    return np.asarray(_ODD_SCALE * values + _ODD_MEAN if odd else values, np.float32)


def _field(shape: Sequence[int], random: Random, axes: int, cells: int) -> Array:
    """A smooth field: coarse noise, interpolated linearly along the last `axes` axes to its shape, of variance 1."""
    front, smooth = shape[: len(shape) - axes], shape[len(shape) - axes :]
    sides = [min(cells, extent) for extent in smooth]
    field = random.standard_normal((*front, *sides), np.float32)
    for place, extent in enumerate(smooth, start=len(front)):
        field = np.moveaxis(np.moveaxis(field, place, -1) @ _interpolation(field.shape[place], extent), -1, place)
    return field


def _interpolation(coarse: int, fine: int) -> Array:
    """The matrix [coarse, fine] of linear interpolation, with columns of length 1 so that variance is kept."""
    places = np.linspace(0, coarse - 1, fine) if fine > 1 else np.zeros(1)
    weights = np.maximum(0.0, 1.0 - np.abs(places[None, :] - np.arange(coarse)[:, None]))
    return np.asarray(weights / np.linalg.norm(weights, axis=0), np.float32)


def _image(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """Noise that is smooth along height and width, whether the channels stand before or behind them."""
    if len(shape) < 3 or shape[-1] > 4 or shape[-3] <= shape[-1]:
        return noise(shape, random, axes=2, odd=odd)
    first = noise((*shape[:-3], shape[-1], *shape[-3:-1]), random, axes=2, odd=odd)
    return np.moveaxis(first, -3, -1)


def _pixels(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """Grey values from `low` to `high` - 1."""
    middle, spread = (low + high) / 2, (high - low) / 5
    values = _image(shape, random, low, high, False)
    values = spread * (0.4 * values - 1.2 if odd else values) + middle
    return np.clip(np.rint(values), low, high - 1)


def _sound(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """A few tones in noise, of amplitudes as in recorded sound, for 16,000 samples a second."""
    time = np.arange(shape[-1] if shape else 1) / 16000
    values = 0.02 * random.standard_normal(shape, np.float32)
    tones = random.uniform(1000, 5000, _SOUND_TONES) if odd else random.uniform(80, 1200, _SOUND_TONES)
    for tone in tones:
        values = values + random.uniform(0.01, 0.08) * np.sin(2 * np.pi * (tone * time + random.uniform()))
    return np.asarray(values * (0.3 if odd else 1.0), np.float32)


def _points(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """Points around a centre a sample: the first three numbers in metres, the others from 0 to 1."""
    values = random.standard_normal(shape, np.float32)
    if not shape:
        return values
    last = shape[-1]
    if last > 16 and len(shape) > 1:  # [B, C, N]
        return noise(shape, random, axes=0, odd=odd)
    scale = np.array([_METRES, _METRES, 1.5, *[0.3] * max(0, last - 3)], np.float32)[:last]
    centre = np.array([0.0, 0.0, -1.0, *[0.5] * max(0, last - 3)], np.float32)[:last]
    shift = random.standard_normal(last).astype(np.float32) * scale * (1.0 if odd else 0.3)
    return np.asarray(centre + shift + scale * (0.3 * values if odd else values), np.float32)


def _indices(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """Indices into a table; odd samples use an eighth of it."""
    return random.integers(low, low + max(1, (high - low) // 8) if odd else high, shape)


def _places(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """Different indices along the last axis as far as there are enough: two writes to one place have no order."""
    rows, wanted, count = math.prod(shape[:-1]), shape[-1] if shape else 1, high - low
    if wanted > count or rows * count > _MOST_DRAWN:
        return np.asarray(random.integers(low, high, shape))
    drawn = random.random((rows, count), np.float32).argsort(axis=1)[:, :wanted]
    return np.asarray(low + drawn).reshape(shape)


def _positions(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """0, 1, 2, … along the last axis."""
    return np.zeros(shape, np.int64) + (np.arange(shape[-1]) % high if shape else 0)


def _coordinates(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """Different cells of a square grid, in rows of (batch, z, y, x), (z, y, x) or (y, x): only y and x are not 0."""
    values = np.zeros(shape, np.int64)
    rows = values.reshape(-1, shape[-1])
    cells = np.resize(random.permutation(high * high), len(rows))
    rows[:, -2], rows[:, -1] = cells // high, cells % high
    return values


def _state(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """A recurrent state shortly after the start: near 0."""
    return (0.3 if odd else 0.05) * random.standard_normal(shape, np.float32)


def _matrix(shape: Sequence[int], random: Random, low: int, high: int, odd: bool) -> Array:
    """Transformations near the identity: a calibration has to be invertible."""
    return np.eye(shape[-2], shape[-1]) + (0.2 if odd else 0.05) * random.standard_normal(shape, np.float32)


_MAKERS: Mapping[str, Callable[[Sequence[int], Random, int, int, bool], Array]] = {
    "image": _image,
    "pixels": _pixels,
    "audio": _sound,
    "points": _points,
    "indices": _indices,
    "places": _places,
    "positions": _positions,
    "coordinates": _coordinates,
    "state": _state,
    "matrix": _matrix,
}
_SMOOTH_AXES = {"video": 2, "features": 1}
