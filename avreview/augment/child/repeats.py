"""Whether one seed gives one result: with the same instance again, and with two fresh ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avreview.augment.child.runs import Failed, Runner, difference
from avreview.augment.child.tally import Tally
from avreview.augment.child.task import Task
from avreview.augment.model import Sample

_SEEDS = 3  # that are run twice
_OWN = "it draws from a generator of its own, which the seed does not reach"
_NEVER = "nothing seeds what it draws from"


def measure_repeats(task: Task, run: Runner, given: Any, read: Callable[[Any], Any], tally: Tally) -> bool:
    """Adds `repeats`; True where the same instance gives the same result. Raises Failed."""
    same = True
    fresh = _fresh_differences(task, given, read)
    for seed in range(task.seed, task.seed + min(_SEEDS, task.seeds)):
        value, where = difference(run(given, seed), run(given, seed))
        same &= value == 0
        words = (_OWN if fresh and not fresh[0][0] else _NEVER) if value else ""
        tally.add("repeats", Sample(seed, where, value, 0.0, words))
    for value, where in fresh:
        words = "two fresh instances differ: nothing seeds what they draw from" if value else ""
        tally.add("repeats", Sample(task.seed, f"{where} of a fresh instance", value, 0.0, words))
    return same


def _fresh_differences(task: Task, given: Any, read: Callable[[Any], Any]) -> list[tuple[float, str]]:
    if task.fresh is None:
        return []
    try:
        results = [Runner(task.fresh(), read, task.seconds)(given, task.seed) for _ in range(2)]
    except (Failed, MemoryError):
        raise
    except Exception:
        return []  # it was built once; what keeps it from being built again is no fault of what it does
    return [difference(*results)]
