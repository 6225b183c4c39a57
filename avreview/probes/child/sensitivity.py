"""How much rounding alone moves a model: the smallest change of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def ulp(feed: Mapping[str, Array], towards: float = np.inf) -> dict[str, Array]:
    """The inputs with every floating-point number moved by one unit in its last place; others as they are.

    They move up, or `towards` minus infinity down.
    """
    return {name: _next(array, towards) for name, array in feed.items()}


def _next(array: Array, towards: float) -> Array:
    if array.dtype.kind == "f":
        return np.asarray(np.nextafter(array, np.array(towards, array.dtype)))
    if array.dtype.name == "bfloat16":  # of ml_dtypes, which numpy takes for raw bytes
        return np.asarray(np.nextafter(array, np.array(towards).astype(array.dtype)))
    return array
