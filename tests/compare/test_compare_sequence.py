"""Aligning sequences: right, in order, and in bounded time."""

from __future__ import annotations

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.compare.sequence import aligned, increasing

_WORDS = st.lists(st.sampled_from("abcdef"), max_size=30)


def _longest(old: list[str], new: list[str]) -> int:
    row = [0] * (len(new) + 1)
    for entry in old:
        before = row
        row = [0]
        for place, other in enumerate(new):
            row.append(before[place] + 1 if entry == other else max(before[place + 1], row[place]))
    return row[-1]


@settings(deadline=None)
@given(_WORDS, _WORDS)
def test_pairs_are_equal_entries_in_the_order_of_both(old: list[str], new: list[str]) -> None:
    pairs = aligned(old, new)
    assert all(old[left] == new[right] for left, right in pairs)
    assert all(a < b and c < d for (a, c), (b, d) in itertools.pairwise(pairs))
    assert len(pairs) <= _longest(old, new)


@settings(deadline=None)
@given(st.lists(st.sampled_from("ab"), max_size=20), st.lists(st.sampled_from("ab"), max_size=20))
def test_without_unique_entries_the_subsequence_is_a_longest(old: list[str], new: list[str]) -> None:
    doubled = [entry for entry in old for _ in range(2)], [entry for entry in new for _ in range(2)]
    assert len(aligned(*doubled)) == _longest(*doubled)


@given(_WORDS)
def test_a_sequence_is_aligned_with_itself(words: list[str]) -> None:
    assert aligned(words, words) == [(place, place) for place in range(len(words))]


def test_an_entry_that_came_leaves_the_others_together() -> None:
    assert aligned("abcdef", "abxcdef") == [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5), (5, 6)]


@given(st.permutations(list(range(12))))
def test_the_longest_increasing_choice(order: list[int]) -> None:
    chosen = increasing(list(enumerate(order)))
    assert all(a < b and c < d for (a, c), (b, d) in itertools.pairwise(chosen))
    longest = [1] * len(order)
    for place, value in enumerate(order):
        longest[place] = 1 + max((longest[i] for i in range(place) if order[i] < value), default=0)
    assert len(chosen) == max(longest)


def test_sequences_without_anything_unique_are_aligned_in_bounded_time() -> None:
    started = time.monotonic()
    aligned(["a", "b"] * 50_000, ["b", "a", "a"] * 40_000)
    assert time.monotonic() - started < 20
