"""Which tensors of two artifacts belong together: by name, by content, by prefix, by place, by direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Tensor
from avreview.compare.held import Held, fingerprint, labelled, shapes
from avreview.engine.cards import catalogue
from avreview.facts.tensor_pairs import pair, pair_names

_MOST_EXCHANGES = 4


class Paired(NamedTuple):
    """Two tensors that belong together, and what says so: `name`, `content`, `prefix`, `place` or `values`."""

    old: Held
    new: Held
    by: str


class Pairs:
    """The pairs found so far, and what is left of both sides."""

    def __init__(self, old: Sequence[Held], new: Sequence[Held]) -> None:
        self._old, self._new = list(old), list(new)
        self.all: list[Paired] = []
        self._reshaped: list[tuple[int, int]] = []
        self._taken: tuple[set[int], set[int]] = (set(), set())

    @property
    def old_left(self) -> list[Held]:
        return [entry for place, entry in enumerate(self._old) if place not in self._taken[0]]

    @property
    def new_left(self) -> list[Held]:
        return [entry for place, entry in enumerate(self._new) if place not in self._taken[1]]

    def by_name(self) -> None:
        """Equal labels; then equal content; then labels behind another prefix."""
        left, right = labelled(self._old), labelled(self._new)
        for label in left:
            if label in right and self._old[left[label]].shape == self._new[right[label]].shape:
                self._join(left[label], right[label], "name")
        self._by_content()
        left, right = self._free(left, 0), self._free(right, 1)
        found = pair_names(shapes(self._new, right), shapes(self._old, left))
        for label, match in found.pairs.items():
            self._join(left[match.other], right[label], "prefix")
        self._reshaped = [(left[other], right[label]) for label, other in found.reshaped.items()]

    def _free(self, places: Mapping[str, int], side: int) -> dict[str, int]:
        return {label: place for label, place in places.items() if place not in self._taken[side]}

    def _by_content(self) -> None:
        prints: list[dict[bytes, list[int]]] = [{}, {}]
        for side, entries in enumerate((self._old, self._new)):
            for place, entry in enumerate(entries):
                if place not in self._taken[side] and (print_ := fingerprint(entry)) is not None:
                    prints[side].setdefault(print_, []).append(place)
        for print_, places in prints[0].items():
            others = prints[1].get(print_, ())
            if len(places) == 1 and len(others) == 1:
                self._join(places[0], others[0], "content")

    def by_place(self, places: Iterable[tuple[Held, Held]]) -> None:
        """Pairs what other evidence says belongs together."""
        old = {id(entry): place for place, entry in enumerate(self._old)}
        new = {id(entry): place for place, entry in enumerate(self._new)}
        for left, right in places:
            self._join(old[id(left)], new[id(right)], "place")

    def by_name_alone(self, fits: Callable[[Held, Held], bool]) -> None:
        """Pairs what is called alike and has another shape, where it `fits`."""
        for old, new in self._reshaped:
            if fits(self._old[old], self._new[new]):
                self._join(old, new, "name")

    def by_direction(self) -> None:
        """Pairs renamed matrices that point the same way."""
        least = catalogue()["AV202"].limits.min_cosine
        free = [
            {f"{side}:{place}": entry.tensor for place, entry in enumerate(entries) if place not in self._taken[at]}
            for at, (side, entries) in enumerate((("old", self._old), ("new", self._new)))
        ]
        tensors: list[dict[str, Tensor]] = [
            {name: tensor for name, tensor in side.items() if tensor.is_floating} for side in free
        ]
        for name, match in pair(tensors[1], tensors[0], least).pairs.items():
            self._join(int(match.other.partition(":")[2]), int(name.partition(":")[2]), "values")

    def _join(self, old: int, new: int, by: str) -> None:
        if old not in self._taken[0] and new not in self._taken[1]:
            self._taken[0].add(old)
            self._taken[1].add(new)
            self.all.append(Paired(self._old[old], self._new[new], by))


class ModuleNames:
    """What the modules of the old side are called on the new one, as far as the tensors in them tell."""

    def __init__(self, pairs: Iterable[Paired]) -> None:
        votes: dict[str, Counter[str]] = {}
        prefixes: Counter[tuple[str, str]] = Counter()
        for old, new, _ in pairs:
            if old.label and new.label:
                votes.setdefault(old.module, Counter())[new.module] += 1
                prefixes[_exchanged(old.label, new.label)] += 1
        self._own = {module: found.most_common(1)[0][0] for module, found in votes.items()}
        self._prefixes = [exchange for exchange, _ in prefixes.most_common(_MOST_EXCHANGES)]

    def new(self, module: str | None) -> str:
        """The path on the new side; where nothing tells, the same."""
        if not module:
            return ""
        if module in self._own:
            return self._own[module]
        for old, new in self._prefixes:
            if f"{module}.".startswith(old):
                return (new + f"{module}."[len(old) :]).rstrip(".")
        return module


def _exchanged(old: str, new: str) -> tuple[str, str]:
    """The prefixes in which two dotted names differ."""
    left, right = old.split("."), new.split(".")
    while left and right and left[-1] == right[-1]:
        left.pop()
        right.pop()
    return "".join(f"{part}." for part in left), "".join(f"{part}." for part in right)
