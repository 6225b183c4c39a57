"""Class names that tell left from right: what a mirror makes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

# The two words for a side. The clear ones mean a side by themselves; the others only where another name differs from
# this one by the other word alone.
_CLEAR = (
    ("left", "right"), ("lefthand", "righthand"), ("leftward", "rightward"), ("linker", "rechter"),
    ("izquierda", "derecha"), ("左", "右"),
)  # fmt: skip
_PAIRED = (
    ("l", "r"), ("lt", "rt"), ("lh", "rh"), ("lhs", "rhs"), ("links", "rechts"), ("gauche", "droite"),
    ("sinistra", "destra"), ("esquerda", "direita"), ("clockwise", "counterclockwise"),
    ("clockwise", "anticlockwise"), ("cw", "ccw"),
)  # fmt: skip
# Where `left` and `right` mean no side.
_PHRASES = (
    ("left", "over"), ("left", "overs"), ("left", "behind"), ("left", "luggage"), ("left", "alone"),
    ("right", "of", "way"), ("right", "angle"), ("right", "angled"), ("copy", "right"),
)  # fmt: skip
# Words that people glue to a side: `turnleft`, `leftturn`. Anything else glued to it is another word: `bright`.
_GLUED = (
    "turn|keep|go|arrow|lane|signal|no|only|bend|curve|merge|exit|light|indicator|blinker|slight|sharp|straight|front|"
    "rear|back|upper|lower|top|bottom|pass|side|door|mirror|lamp|wheel|up|down|ahead|and|or"
)
_GLUED_SIDE = re.compile(rf"((?:{_GLUED}){{0,4}})(left|right)((?:{_GLUED}){{0,4}})")
_OTHER_WORDS = frozenset({"upright", "downright"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[左右]|\d+|[^\W\d_a-zA-Z左右]+")
_LONGEST = 200  # characters of a name that are looked at
_MOST = 20_000  # classes

_Words = tuple[str, ...]


class SidedClass(NamedTuple):
    """A class that a mirror turns into another: its name, and the name of the other where there is one."""

    name: str
    mirrored: str | None


def sided_classes(names: Iterable[str]) -> list[SidedClass]:
    """The names that tell left from right, each with its counterpart among the others."""
    every = {name: _words(name) for name in islice(names, _MOST)}
    by_words = {words: name for name, words in every.items()}
    found = []
    for name, words in every.items():
        paired = next((by_words[other] for other in _mirrored(words) if by_words.get(other, name) != name), None)
        if paired is not None or _has_side(words):
            found.append(SidedClass(name, paired))
    return found


def _words(name: str) -> _Words:
    """`TurnLeft_2` as (`turn`, `left`, `2`), with glued words taken apart at the side."""
    return tuple(word for part in _WORDS.findall(name[:_LONGEST]) for word in _unglued(part.lower()))


def _unglued(word: str) -> list[str]:
    match = _GLUED_SIDE.fullmatch(word)
    return [word] if match is None or word in _OTHER_WORDS else [part for part in match.groups() if part]


def _has_side(words: _Words) -> bool:
    """Whether a name means one side, and not both: `left_or_right` looks the same in a mirror."""
    for sides in _CLEAR:
        if len({word for word in words if word in sides}) == 1 and not any(_holds(words, part) for part in _PHRASES):
            return True
    return False


def _holds(words: _Words, phrase: _Words) -> bool:
    return any(words[place : place + len(phrase)] == phrase for place in range(len(words)))


def _mirrored(words: _Words) -> Iterator[_Words]:
    """The names that this one could be the mirror image of."""
    for left, right in (*_CLEAR, *_PAIRED):
        if left in words or right in words:
            swapped = {left: right, right: left}
            yield tuple(swapped.get(word, word) for word in words)
