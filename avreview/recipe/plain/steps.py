"""The pipelines of a recipe in avreview's own plain form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avreview.recipe.model import Amount, Does, Pipeline, Step, Upon

if TYPE_CHECKING:
    from avreview.recipe.plain.reader import Stated

_RANGES = {"rotation": "", "scale": "ratio", "translation": "", "shear": "", "range": "m"}  # with a unit of their own
_NUMBERS = {
    "probability": "share", "flip_horizontal": "share", "flip_vertical": "share", "flip_x": "share",
    "flip_y": "share", "start_epoch": "epoch", "stop_epoch": "epoch", "sweeps": "count",
}  # fmt: skip
_RANDOM = ("rotation", "scale", "translation", "shear")  # drawn anew where both bounds differ
_CHANCES = ("probability", "flip_horizontal", "flip_vertical", "flip_x", "flip_y")
MOST_STEPS = 500


def pipelines(root: Stated) -> list[Pipeline]:
    """Raises ConfigError for a range whose bounds stand the wrong way round, and for too many steps."""
    return [
        Pipeline(entry.get("split"), _steps(entry), entry.at, entry.get("name", ""))
        for entry in root.entries("pipelines")
    ]


def _steps(entry: Stated) -> list[Step]:
    if len(entry.get("steps")) > MOST_STEPS:
        raise entry.wrong(f"steps: has more than {MOST_STEPS} entries", "steps")
    return [_step(step) for step in entry.entries("steps")]


def _step(entry: Stated) -> Step:
    amounts = _amounts(entry)
    return Step(
        name=entry.get("name"),
        at=entry.at,
        does=frozenset(map(Does, entry.get("does"))),
        upon=frozenset(map(Upon, entry.get("upon", []))),
        is_random=entry.get("random", True if _draws(amounts) else None),
        amounts=amounts,
        options=entry.get("options", {}),
        inside=tuple(entry.get("inside", [])),
        choice=entry.get("choice"),
        swaps_classes=entry.get("swaps_classes"),
        only_labels=entry.get("only_labels", False),
        collects=frozenset(entry.get("collects", [])),
    )


def _amounts(entry: Stated) -> dict[str, Amount]:
    found = {}
    for name, unit in _RANGES.items():
        if name in entry:
            stated = entry.inner(name)
            low, high = float(stated.get("low")), float(stated.get("high"))
            if low > high:
                raise stated.wrong(f"{name}: its low is above its high", "low")
            found[name] = Amount(low, high, unit or stated.get("unit"))
    for name, unit in _NUMBERS.items():
        if name in entry:
            value = float(entry.get(name))
            found[name] = Amount(value, value, unit)
    return found


def _draws(amounts: dict[str, Amount]) -> bool:
    """Whether the amounts alone tell that it differs from call to call."""
    ranges = any(name in amounts and amounts[name].low != amounts[name].high for name in _RANDOM)
    return ranges or any(name in amounts and 0 < amounts[name].high < 1 for name in _CHANCES)
