"""One seed for every generator that an augmentation may draw from."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

# What a function may call an argument that takes its randomness, and what it is given there.
GENERATORS = ("rng", "random_state", "generator", "seed")


def seed_everything(seed: int) -> None:
    """Seeds Python's and numpy's global generators, and those of torch and OpenCV where they were imported."""
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)
    cv2 = sys.modules.get("cv2")
    if cv2 is not None and hasattr(cv2, "setRNGSeed"):
        cv2.setRNGSeed(seed % 2**31)


def seedable() -> frozenset[str]:
    """Which libraries with a generator of their own were imported so far, and so can be seeded."""
    return frozenset(name for name in ("torch", "cv2") if name in sys.modules)


def randomness_argument(function: Callable[..., Any]) -> str | None:
    """The name of the argument of GENERATORS that a function takes; None where it takes none."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    return next((name for name in GENERATORS if name in parameters), None)


def generator_for(argument: str, seed: int) -> Any:
    """What stands for a seed in the argument of that name."""
    import numpy as np

    if argument == "rng":
        return np.random.default_rng(seed)
    if argument == "random_state":
        return np.random.RandomState(seed % 2**32)
    if argument == "generator":
        torch = sys.modules.get("torch")
        return torch.Generator().manual_seed(seed) if torch is not None else np.random.default_rng(seed)
    return seed
