"""Which values may be keys of a dictionary or members of a set, when a stranger chose them.

Hashing a tuple walks all of it each time, so that a tuple shared with itself forty times over never ends; and
numbers can be chosen so that all of them hash alike, which makes every insertion as long as the dictionary.
Strings and bytes are hashed with a secret of the process and cannot.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from avreview.load.pickles.inert import Global, Instance

_QUICK = frozenset({str, bytes, bool, type(None), Global})
_OWN_HASH = (1 << 61) - 1  # smaller integers hash to themselves (docs.python.org/3/library/stdtypes.html#hashing)
_PARTS = 1_000  # of a tuple, at every level together
_ALL_PARTS = 20_000_000  # of all tuples: a key used again is hashed again
MANY = 5_000  # keys whose hash is open to choice: 12 million comparisons at worst


class Keys:
    """Counts the keys of one pickle (or of one set) whose hash the file's author can choose.

    `composed` tells whether any key was more than a number or text.
    """

    __slots__ = ("chosen", "composed", "parts")

    def __init__(self) -> None:
        self.chosen = 0
        self.parts = 0
        self.composed = False

    def checked(self, key: Any) -> Hashable:
        """The key. Raises ValueError for one that does not hash, or that is there to hash badly."""
        kind = type(key)
        if kind in _QUICK:
            return key  # type: ignore[no-any-return]
        if kind is int and -_OWN_HASH < key < _OWN_HASH:
            return key  # type: ignore[no-any-return]
        if kind in (list, dict, set, bytearray):
            raise ValueError(f"uses a {kind.__name__} as a key")
        if kind not in (int, float, complex):
            self.composed = True
        if kind is Instance or (kind in (tuple, frozenset) and self._has_text(key)):
            return key  # type: ignore[no-any-return]
        self.chosen += 1
        if self.chosen > MANY:
            raise ValueError(f"has more than {MANY:,} keys that may hash alike")
        return key  # type: ignore[no-any-return]

    def _has_text(self, key: Any) -> bool:
        """Whether a part of a tuple or set is hashed with the secret. Raises ValueError if it must not be a key."""
        text = False
        waiting: list[Any] = [key]
        parts = 0
        while waiting:
            part = waiting.pop()
            if isinstance(part, tuple | frozenset):
                parts += len(part)
                if parts > _PARTS:
                    raise ValueError(f"has a key of more than {_PARTS:,} parts")
                waiting.extend(part)
            elif type(part) in (list, dict, set, bytearray):
                raise ValueError(f"uses a {type(part).__name__} as part of a key")
            text = text or (type(part) in (str, bytes) and bool(part))  # nothing at all hashes to 0
        self.parts += parts
        if self.parts > _ALL_PARTS:
            raise ValueError("has keys of too many parts")
        return text


def as_set(values: Iterable[Any]) -> set[Any]:
    """The values as a set. Raises ValueError for one that must not be in it."""
    keys = Keys()
    return {keys.checked(value) for value in values}
