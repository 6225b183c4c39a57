"""Numbers, values and lists in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from avreview.report.structure import simple

_ENTRIES = 8  # of a list or a mapping within a line
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def show(value: Any) -> str:
    """A value as a person writes it: four significant digits, `key: value` pairs, no brackets around a list."""
    return _show(simple(value))


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return _listed([f"{key or '(empty)'}: {_nested(entry)}" for key, entry in value.items()])
    if isinstance(value, list):
        return _listed([_nested(entry) for entry in value])
    return str(value)


def _nested(value: Any) -> str:
    return f"[{_show(value)}]" if isinstance(value, Mapping | list) else _show(value)


def _listed(entries: Sequence[str]) -> str:
    more = len(entries) - _ENTRIES
    kept = list(entries[:_ENTRIES]) + ([f"… ({more} more)"] if more > 0 else [])
    return ", ".join(kept) or "none"


def number(value: float) -> str:
    """A float in four significant digits, and in six where the whole part alone needs more."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.6g}"


def size(count: int) -> str:
    """A number of bytes in decimal units: `46.8 MB`."""
    amount = float(count)
    unit = 0
    while amount >= 999.5 and unit + 1 < len(_UNITS):
        amount /= 1000
        unit += 1
    return f"{count} bytes" if unit == 0 else f"{amount:.3g} {_UNITS[unit]}"


def count(amount: int, noun: str, plural: str = "") -> str:
    """`1 error`, `2 errors`."""
    return f"{amount} {noun if amount == 1 else plural or noun + 's'}"


def words(verdict: object) -> str:
    """A verdict as it is read: `not assessed`."""
    return str(verdict).replace("-", " ")


def ranges(rules: Iterable[str]) -> str:
    """Rule ids in order, neighbours drawn together: `AV601–AV603, AV802`."""
    runs: list[list[str]] = []
    for rule in sorted(set(rules)):
        if runs and _follows(runs[-1][-1], rule):
            runs[-1].append(rule)
        else:
            runs.append([rule])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _follows(first: str, second: str) -> bool:
    one, other = re.fullmatch(r"(\D*)(\d+)", first), re.fullmatch(r"(\D*)(\d+)", second)
    return bool(one and other and one[1] == other[1] and int(other[2]) == int(one[2]) + 1)
