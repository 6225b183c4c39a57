"""How much a Python configuration may make this reader do, and the one budget that all of its files share."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from avreview.recipe.model import Place
from avreview.recipe.python.values import Undecided, Unknown

MOST_STEPS = 200_000  # expressions of one recipe, with all that loops and copies repeat
MOST_ITEMS = 50_000  # of one sequence, and characters of one string
DEEPEST = 90  # expressions inside one another
LARGEST_BITS = 256  # of one integer
MOST_BASES = 30  # levels of bases
MOST_BYTES = 1 << 20  # of one Python file


class Budget:
    """Counts what has been done for one recipe."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps

    def spend(self, at: Place, steps: int = 1) -> None:
        """Raises Undecided once everything is spent."""
        self.left -= steps
        if self.left < 0:
            raise Undecided(Unknown(f"comes after {MOST_STEPS} steps of evaluation, more than is done", at))

    def check(self, value: Any, at: Place) -> Any:
        """The value, or Undecided for one that is too large to go on with."""
        if isinstance(value, bool | float) or value is None:
            return value
        if isinstance(value, int):
            if value.bit_length() > LARGEST_BITS:
                raise Undecided(Unknown("is a number beyond every use", at))
        elif isinstance(value, Sized) and len(value) > MOST_ITEMS:
            raise Undecided(Unknown(f"is longer than {MOST_ITEMS} items", at))
        return value
