"""Aligning two sequences: the entries that both have, in the order that both have them in."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

_MOST_STEPS = 16_000_000  # comparisons of entries in all; beyond, only what is unique is aligned
_MOST_AT_ONCE = 4_000_000  # in one gap, which takes so many bytes
_DEEPEST = 100


def aligned(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The places of entries that belong together, ascending in both.

    What both begin and end with belongs together, then what either has once (Cohen's patience diff), and in the gaps
    that are left the longest common subsequence. The time stays bounded for any sequences.
    """
    return sorted(_Aligner(old, new).align(0, len(old), 0, len(new), 0))


def increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """A longest choice of the pairs, of which each place occurs once, that ascends on both sides."""
    ordered = sorted(pairs)
    ends: list[int] = []  # the smallest last place of a choice of each length
    last: list[int] = []
    before: list[int] = []
    for place, (_, right) in enumerate(ordered):
        at = bisect_left(ends, right)
        if at == len(ends):
            ends.append(right)
            last.append(place)
        else:
            ends[at], last[at] = right, place
        before.append(last[at - 1] if at else -1)
    chosen: list[tuple[int, int]] = []
    at = last[-1] if last else -1
    while at >= 0:
        chosen.append(ordered[at])
        at = before[at]
    return chosen[::-1]


class _Aligner:
    def __init__(self, old: Sequence[Hashable], new: Sequence[Hashable]) -> None:
        self._old, self._new = old, new
        self._steps = _MOST_STEPS

    def align(self, a: int, b: int, c: int, d: int, depth: int) -> Iterator[tuple[int, int]]:
        """Pairs of places in old[a:b] and new[c:d]."""
        old, new = self._old, self._new
        while a < b and c < d and old[a] == new[c]:
            yield a, c
            a, c = a + 1, c + 1
        while a < b and c < d and old[b - 1] == new[d - 1]:
            b, d = b - 1, d - 1
            yield b, d
        if a == b or c == d:
            return
        anchors = self._unique(a, b, c, d) if depth < _DEEPEST else []
        if not anchors:
            yield from self._common(a, b, c, d)
            return
        for left, right in [*anchors, (b, d)]:
            yield from self.align(a, left, c, right, depth + 1)
            if left < b:
                yield left, right
            a, c = left + 1, right + 1

    def _unique(self, a: int, b: int, c: int, d: int) -> list[tuple[int, int]]:
        """The places of what stands once in each range, in the order that both have."""
        left, right = Counter(self._old[a:b]), Counter(self._new[c:d])
        once = {entry for entry, amount in left.items() if amount == 1 and right.get(entry) == 1}
        places = {self._new[place]: place for place in range(c, d) if self._new[place] in once}
        return increasing([(place, places[self._old[place]]) for place in range(a, b) if self._old[place] in once])

    def _common(self, a: int, b: int, c: int, d: int) -> Iterator[tuple[int, int]]:
        """A longest common subsequence, where the two are not too long for it."""
        steps = (b - a) * (d - c)
        if steps > min(self._steps, _MOST_AT_ONCE):
            return
        self._steps -= steps
        rows, columns = b - a, d - c
        came = [bytearray(columns) for _ in range(rows)]  # 0: from the left, 1: from above, 2: a pair
        above = [0] * (columns + 1)
        for row in range(rows):
            own, entry, kept = came[row], self._old[a + row], [0] * (columns + 1)
            for column in range(columns):
                if entry == self._new[c + column]:
                    kept[column + 1], own[column] = above[column] + 1, 2
                elif above[column + 1] > kept[column]:
                    kept[column + 1], own[column] = above[column + 1], 1
                else:
                    kept[column + 1] = kept[column]
            above = kept
        row, column = rows - 1, columns - 1
        while row >= 0 and column >= 0:
            step = came[row][column]
            if step == 2:
                yield a + row, c + column
            row, column = row - (step != 0), column - (step != 1)
