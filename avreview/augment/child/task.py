"""What is to be measured: one augmentation, or one member of it, and how thoroughly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from avreview.augment.child.adapters import Apply


class Task(NamedTuple):
    """One augmentation. The rest is as in `AugmentRequest`.

    `fresh` makes the same augmentation anew, None where it cannot be; `steps` is how many members run in a row.
    """

    apply: Apply
    fresh: Callable[[], Apply] | None = None
    seeds: int = 16
    seed: int = 0
    seconds: float = 60.0
    pictures: bool = True
    image_size: tuple[int, int] | None = None
    without: frozenset[str] = frozenset()
    steps: int = 1
