"""Track ids: whether each object keeps its own, in one scene and from frame to frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from avreview.augment.child.observed import Observed
from avreview.augment.child.tally import Tally
from avreview.augment.model import Sample


def measure_own_tracks(seen: Observed, seed: int, tally: Tally) -> None:
    """In a single scene: an id that an augmentation changes there is another one in the frames beside it."""
    ids = [int(number) for number in seen.world.scene["track_ids"]]
    _measure([seen], dict(enumerate(ids)), ["the scene"], seed, tally)


def measure_tracks(frames: Sequence[Observed], names: Sequence[str], seed: int, tally: Tally) -> None:
    """In a sequence: ids may be others than before, if each object has the same one in all frames."""
    seen: dict[int, Counter[int]] = {}
    for frame in frames:
        for thing, number in _pairs(frame):
            seen.setdefault(thing, Counter())[number] += 1
    usual = {thing: counts.most_common(1)[0][0] for thing, counts in seen.items()}
    _measure(frames, usual, names, seed, tally)


def _measure(frames: Sequence[Observed], usual: dict[int, int], names: Sequence[str], seed: int, tally: Tally) -> None:
    for frame, name in zip(frames, names, strict=True):
        ids = frame.out.get("track_ids")
        if ids is None or frame.boxes is None:
            tally.unjudged("tracks", "the augmentation returned no track_ids for its boxes")
            continue
        numbers = [int(number) for number in np.nan_to_num(ids)]
        if len(numbers) != len(frame.boxes):
            words = f"{len(numbers)} ids for {len(frame.boxes)} boxes"
            tally.add("tracks", Sample(seed, name, float(abs(len(numbers) - len(frame.boxes))), 0.0, words))
            continue
        doubled = len(numbers) - len(set(numbers))
        changed = [(thing, number) for thing, number in _pairs(frame) if number != usual[thing]]
        value = max(len(changed), doubled)
        tally.add("tracks", Sample(seed, name, float(value), 0.0, _words(numbers, changed, doubled, usual)))


def _pairs(frame: Observed) -> list[tuple[int, int]]:
    ids = frame.out.get("track_ids")
    if ids is None or len(ids) != len(frame.things):
        return []
    return [(int(thing), int(number)) for thing, number in zip(frame.things, ids, strict=True) if thing >= 0]


def _words(numbers: list[int], changed: list[tuple[int, int]], doubled: int, usual: dict[int, int]) -> str:
    if doubled:
        return f"{doubled} of {len(numbers)} ids are another's too"
    if not changed:
        return ""
    if numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        return "the ids were renumbered"
    if all(number in usual.values() for _, number in changed):
        return "the ids moved to other objects: boxes and ids are not in the same order"
    return "the ids were changed"
