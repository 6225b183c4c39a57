"""How knowledge of a transform is written down: what it does, upon what, and which options say how much."""

from __future__ import annotations

from typing import Any, NamedTuple

from avreview.recipe.model import Does, Upon

RANGE = "range"  # [low, high], or a number that stands for both signs
INTERVAL = "interval"  # [low, high], or a number that stands for both
SPREAD = "spread"  # one deviation, or one for each axis: the largest, with both signs
CHANCE = "chance"  # a probability
COIN = "coin"  # a switch: half of the time where it is on
COUNT = "count"


class Told(NamedTuple):
    """An option that says how much. `option` is a dotted way; one that begins with `@` is an option of the dataset.

    `default` is what the transform takes where the option is absent; None: then nothing is told.
    """

    amount: str
    option: str
    unit: str
    shape: str
    default: Any = None


class Known(NamedTuple):
    """A transform that is known by name.

    `random` is True where every call draws anew, False where none does, None where the amounts decide. Where the
    option `training` is there and false, what it does is fixed, and what is in `only_training` is left out.
    """

    does: frozenset[Does]
    upon: frozenset[Upon] = frozenset()
    told: tuple[Told, ...] = ()
    random: bool | None = False
    training: tuple[str, bool] | None = None  # the option and its default
    only_training: frozenset[Does] = frozenset()


def known(
    does: str,
    upon: str = "",
    *told: Told,
    random: bool | None = False,
    training: tuple[str, bool] | None = None,
    only_training: str = "",
) -> Known:
    """Written short: the values of Does and Upon in one string, blanks between them."""
    return Known(
        frozenset(Does(word) for word in does.split()),
        frozenset(Upon(word) for word in upon.split()),
        told,
        random,
        training,
        frozenset(Does(word) for word in only_training.split()),
    )
