"""How much a transform does: the options of a configuration as amounts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from avreview.recipe.mmengine.known import CHANCE, COIN, COUNT, INTERVAL, RANGE, SPREAD, Known, Told
from avreview.recipe.model import Amount, Does
from avreview.recipe.python.values import Row, Table, Unknown

_NEUTRAL = {Does.ROTATE: ("rotation", 0.0), Does.SCALE: ("scale", 1.0), Does.TRANSLATE: ("translation", 0.0),
            Does.SHEAR: ("shear", 0.0)}  # fmt: skip
FLIPS = ("flip_horizontal", "flip_vertical", "flip_x", "flip_y")


def number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def whole(value: Any) -> int | None:
    """A whole number; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def numbers(value: Any) -> list[float] | None:
    """The numbers of a flat or nested list, or one number; None where anything else is in it."""
    waiting, found = [value], list[float]()
    while waiting:
        part = waiting.pop()
        if isinstance(part, list | tuple) and not (isinstance(part, Row) and part.rest is not None):
            waiting.extend(part[:1000])
        elif (one := number(part)) is not None:
            found.append(one)
        else:
            return None
    return found[::-1]


def option(table: Table | None, way: str, default: Any = None) -> Any:
    """An option by its dotted way; the default where it is absent, an Unknown where it may be anything."""
    value: Any = table
    for key in way.split("."):
        if isinstance(value, Unknown):
            return value
        if not isinstance(value, Table):
            return default
        if key not in value:
            return default
        value = value[key]
    return default if value is None else value


def read_amounts(
    known: Known, options: Table, dataset: Table | None
) -> tuple[dict[str, Amount], dict[str, Unknown | None]]:
    """The amounts that the options tell; and by name those that are stated in a way that is not read."""
    amounts, unread = dict[str, Amount](), dict[str, Unknown | None]()
    for told in known.told:
        value = _stated(told, options, dataset)
        if value is None:
            continue
        amount = None if isinstance(value, Unknown) else _amount(told, value)
        if amount is not None:
            amounts[told.amount] = amount
        else:
            unread[told.amount] = value if isinstance(value, Unknown) else None
    return amounts, unread


def _stated(told: Told, options: Table, dataset: Table | None) -> Any:
    if told.option.startswith("@"):
        return option(dataset, told.option[1:], told.default)
    return option(options, told.option, told.default) if told.option else told.default


def _amount(told: Told, value: Any) -> Amount | None:
    if told.shape == COIN:
        return Amount(*((0.5, 0.5) if value else (0.0, 0.0)), told.unit) if isinstance(value, bool | int) else None
    found = numbers(value)
    if not found:
        return None
    single = number(value)
    if told.shape == RANGE:
        if single is not None:
            return Amount(0.0 - abs(single), abs(single), told.unit)
        return Amount(found[0], found[-1], told.unit) if len(found) <= 2 else None
    if told.shape == SPREAD:
        largest = max(abs(part) for part in found)
        return Amount(0.0 - largest, largest, told.unit)
    if told.shape in (CHANCE, COUNT):
        return Amount(min(found), max(found), told.unit) if single is not None else None
    if told.shape == INTERVAL and len(found) > 2:
        return None
    return Amount(min(found), max(found), told.unit)


def narrowed(does: frozenset[Does], amounts: Mapping[str, Amount]) -> frozenset[Does]:
    """Without the geometry whose amounts say that nothing happens."""
    idle = set()
    for what, (name, neutral) in _NEUTRAL.items():
        amount = amounts.get(name)
        if amount is not None and amount.low == amount.high == neutral:
            idle.add(what)
    flips = [amounts[name] for name in FLIPS if name in amounts]
    if flips and all(flip.high <= 0 for flip in flips):
        idle.add(Does.FLIP)
    return does - idle


def varies(amounts: Mapping[str, Amount]) -> bool | None:
    """Whether what happens is drawn anew each time; None where no amount tells."""
    told = [amount for name, amount in amounts.items() if name not in ("range", "stop_epoch", "start_epoch", "sweeps")]
    if not told:
        return None
    return any(0 < a.low < 1 if a.unit == "share" else a.low != a.high for a in told)
