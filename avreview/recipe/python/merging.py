"""Merging a configuration into its base, as mmcv and mmengine do it."""

from __future__ import annotations

from typing import Any

from avreview.recipe.python.limits import DEEPEST
from avreview.recipe.python.values import Row, Table, Unknown

MOST_COPIES = 100_000
DELETE = "_delete_"


def merged(own: Table, base: Table) -> Table:
    """`own` over `base`: dicts go into dicts, unless `_delete_` stands in them; everything else replaces."""
    made = base.copy()
    made.at = own.at
    for key, value in own.items():
        if key == DELETE:
            continue
        made.put(key, _over(value, made.get(key), key in made), own.place(key))
    if own.rest is not None:
        made.blur(own.rest, set(own))
    elif made.rest is not None:
        for key, value in own.items():
            if key not in base:
                made[key] = _open(value, made.rest)
    return made


def handed_on(base: Table) -> Table:
    """A base as those see it that build on it: its dicts are mmengine's own, and no two settings share one.

    Of a base that would grow beyond all measure by that, the rest stays shared.
    """
    left = [MOST_COPIES]

    def follow(value: Any, deep: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or deep > DEEPEST:
            return value
        if isinstance(value, Table):
            table = value.copy()
            table.merges = True
            for key, item in value.items():
                table[key] = follow(item, deep + 1)
            return table
        if isinstance(value, Row):
            return Row([follow(item, deep + 1) for item in value], value.at, value.rest)
        if isinstance(value, tuple):
            return tuple([follow(item, deep + 1) for item in value])
        return value

    made: Table = follow(base, 0)
    return made


def _over(value: Any, below: Any, there: bool) -> Any:
    if not isinstance(value, Table):
        return value
    if not there or value.get(DELETE):
        return value
    if isinstance(below, Table):
        return merged(value, below)
    if isinstance(below, Unknown):
        return _open(value, below)
    return Unknown("is a dict over a base's value that is none, which mmengine refuses", value.at)


def _open(value: Any, below: Unknown) -> Any:
    """A dict over something that is not known: it may hold more."""
    if not isinstance(value, Table) or value.get(DELETE):
        return value
    made = value.copy()
    for key, item in value.items():
        made[key] = _open(item, below)
    made.rest = value.rest or below
    return made
