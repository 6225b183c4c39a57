"""How far apart the outputs of two runs are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def arrays(outputs: Mapping[str, Any]) -> dict[str, Array]:
    """The tensors among the outputs; the elements of a sequence get numbers, `boxes[0]`."""
    found: dict[str, Array] = {}
    for name, value in outputs.items():
        if isinstance(value, np.ndarray):
            found[name] = value
        elif isinstance(value, list | tuple):
            found |= arrays({f"{name}[{place}]": entry for place, entry in enumerate(value)})
        elif isinstance(value, Mapping):
            found |= arrays({f"{name}[{key!r}]": np.asarray(entry) for key, entry in value.items()})
    return found


def equal(one: Array, other: Array) -> bool:
    """Bit for bit the same; NaN counts as equal to itself."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.kind not in "fcV":
        return bool(np.array_equal(one, other))
    return one.tobytes() == other.tobytes()


def drift(one: Array, other: Array) -> float:
    """The largest |difference| over the largest |element| of `one`: inf for another shape or another pattern of NaN."""
    if one.shape != other.shape:
        return float("inf")
    if not one.size:
        return 0.0
    left, right = one.astype(np.float64), other.astype(np.float64)
    lost = np.isnan(left)
    if (lost != np.isnan(right)).any():
        return float("inf")
    same = lost | (left == right)
    if same.all():
        return 0.0
    difference = float(np.abs(left - right)[~same].max())
    scale = float(np.abs(left[~lost & np.isfinite(left)]).max(initial=0.0))
    return difference / scale if scale else float("inf")
