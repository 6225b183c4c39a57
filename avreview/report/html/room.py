"""How long a page may get: lists are folded where they fill it, and what was cut is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from avreview.report.html.markup import Markup, el
from avreview.report.values import count

Entry = TypeVar("Entry")

_PAGE = 3_000_000  # characters of lists in a page: browsers open it at once, and mail takes it
_LEAST = 30_000  # characters for the lists of one review, below which it is not drawn


class Room:
    """Characters that a kind of list may still take."""

    def __init__(self, size: int) -> None:
        self.left = size

    def fill(self, entries: Sequence[Entry], draw: Callable[[Entry], Markup], most: int) -> tuple[list[Markup], int]:
        """As many entries as there is room for, at most `most`; and the number of those left out."""
        drawn: list[Markup] = []
        for entry in entries[:most]:
            if self.left <= 0:
                break
            before = self.left
            drawn.append(draw(entry))
            self.left = before - len(drawn[-1])  # what lists within it have taken is part of its length
        return drawn, len(entries) - len(drawn)


class Rooms(NamedTuple):
    """The room of one review, by what fills it: no kind of list takes another's."""

    findings: Room
    tables: Room
    tree: Room
    pictures: Room


def rooms(reviews: int) -> Rooms:
    """The room of each of so many reviews."""
    share = max(_PAGE // max(reviews, 1), _LEAST)
    return Rooms(Room(share // 2), Room(share * 3 // 10), Room(share // 5), Room(2 * share))


def most_reviews() -> int:
    """The number of reviews that a page holds whole."""
    return _PAGE // _LEAST


def left_out(number: int, noun: str, plural: str = "") -> Markup | None:
    """Says that so many were cut; None when none was."""
    if number <= 0:
        return None
    verb = "is" if number == 1 else "are"
    words = f"{count(number, f'more {noun}', f'more {plural}' if plural else '')} {verb} not shown here; "
    return el("p", f"{words}the YAML and JSON forms of this report hold all.", class_="cut")
