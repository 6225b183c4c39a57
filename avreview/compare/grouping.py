"""Changes that are the same but for their place, told once."""

from __future__ import annotations

from collections.abc import Iterable

from avreview.compare.result import Change


def grouped(changes: Iterable[Change]) -> list[Change]:
    """The changes in their order; one that several places share comes once, with the others in `also`."""
    found: dict[object, list[Change]] = {}
    for change in changes:
        key = (change.kind, change.what, repr(change.old), repr(change.new), change.amount)
        found.setdefault(key, []).append(change)
    return [
        group[0]._replace(
            also=(*group[0].also, *(place for other in group[1:] for place in (other.where, *other.also)))
        )
        for group in found.values()
    ]
