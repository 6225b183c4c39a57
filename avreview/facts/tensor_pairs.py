"""Pairing the tensors of two models: by name, by name behind another prefix, by values.

A prefix is one that many tensors have exchanged alike: `conv1.weight` of a base is `backbone.conv1.weight` of the
model when the other tensors of the base moved there too. Names are compared by their dotted parts from the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from avreview.artifact import Tensor

    Array = np.ndarray[Any, Any]

SAMPLE = 4096  # elements that tell two weights of one shape apart
_MOST_ALIKE = 64  # tensors of one name ending or one shape; more tell nothing
_MOST_EXCHANGES = 64  # changes of prefix that are tried on every name
_LEAST_VOTES = 3  # tensors that must share a change of prefix when their names have but a number in common
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Pair(NamedTuple):
    """A tensor's counterpart and what paired them: `name`, `prefix` (with what was exchanged), `values`."""

    other: str
    how: str
    prefixes: tuple[str, str] = ("", "")


class Pairing(NamedTuple):
    """What became of each name. `reshaped` maps a name to the one that it is but for its shape."""

    pairs: Mapping[str, Pair]
    reshaped: Mapping[str, str]
    alone: tuple[str, ...]  # names on the left without a counterpart, among them the reshaped
    missing: tuple[str, ...]  # names on the right that nothing was paired with


def is_statistic(name: str) -> bool:
    """Whether a state_dict key is a norm's running statistics, which no gradient moves."""
    return name.rpartition(".")[2] in _STATISTICS


def pair(left: Mapping[str, Tensor], right: Mapping[str, Tensor], min_cosine: float) -> Pairing:
    """Pairs the floating-point tensors of two models; `min_cosine` is asked of a pair by values."""
    pairer = _Pairer(left, right)
    pairer.by_name()
    pairer.by_values(min_cosine)
    return pairer.result()


def pair_names(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Pairing:
    """Pairs by names and shapes alone; no tensor is read."""
    pairer = _Pairer(left, right)
    pairer.by_name()
    return pairer.result()


class _Pairer:
    def __init__(self, left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
        self._left = {name: tensor for name, tensor in left.items() if tensor.is_floating}
        self._right = {name: tensor for name, tensor in right.items() if tensor.is_floating}
        self._pairs: dict[str, Pair] = {}
        self._reshaped: dict[str, str] = {}
        self._taken: set[str] = set()

    def result(self) -> Pairing:
        alone = tuple(name for name in self._left if name not in self._pairs)
        missing = tuple(name for name in self._right if name not in self._taken)
        reshaped = {name: other for name, other in self._reshaped.items() if name not in self._pairs}
        return Pairing(self._pairs, reshaped, alone, missing)

    def by_name(self) -> None:
        """Exchanges prefixes, those that most tensors share first; to keep the name is one of the exchanges.

        An equal name alone does not decide: `conv1.weight` of a base may by chance be the name of another layer of
        a model that keeps the whole base under `backbone.`
        """
        for place, ((old, new), voters) in enumerate(self._votes()):
            certain = (old, new) == ("", "") or len(voters) >= _LEAST_VOTES
            names = list(self._left) if place < _MOST_EXCHANGES else voters
            for name in names:
                if name in self._pairs or not name.startswith(old):
                    continue
                other = new + name[len(old) :]
                if other in self._right and other not in self._taken and (certain or not _is_vague(name, other)):
                    self._join(name, other, "prefix" if old or new else "name", (old, new))

    def _votes(self) -> list[tuple[tuple[str, str], list[str]]]:
        """Every change of prefix with the names that vote for it, those with most votes first."""
        endings: dict[str, list[str]] = {}
        for other in self._right:
            for ending in _endings(other):
                endings.setdefault(ending, []).append(other)
        votes: dict[tuple[str, str], list[str]] = {("", ""): []}
        for name in self._left:
            for exchange in self._exchanges(name, endings):
                votes.setdefault(exchange, []).append(name)
        # Of two exchanges with as many votes the shorter prefixes say more.
        return sorted(votes.items(), key=lambda item: (-len(item[1]), len(item[0][0]) + len(item[0][1]), item[0]))

    def _exchanges(self, name: str, endings: Mapping[str, list[str]]) -> set[tuple[str, str]]:
        """The changes of prefix that would give the name a counterpart of its shape, by the longest common ending."""
        for ending in _endings(name):  # the longest first
            others = endings.get(ending, ())
            if len(others) > _MOST_ALIKE:
                return set()
            keep = len(ending)
            alike = [other for other in others if self._right[other].shape == self._left[name].shape]
            if alike:
                return {(name[: len(name) - keep], other[: len(other) - keep]) for other in alike}
        return set()

    def by_values(self, min_cosine: float) -> None:
        """Pairs renamed matrices by their values, and what stands beside them by the modules so found."""
        groups: dict[tuple[int, ...], tuple[list[str], list[str]]] = {}
        for place, names, done in ((0, self._left, self._pairs), (1, self._right, self._taken)):
            for name, tensor in names.items():
                if name not in done and len(tensor.shape) > 1 and tensor.size >= 64:
                    groups.setdefault(tensor.shape, ([], []))[place].append(name)
        modules: dict[str, str] = {}
        for own, foreign in groups.values():
            if own and foreign and max(len(own), len(foreign)) <= _MOST_ALIKE:
                for name, other in self._alike(own, foreign, min_cosine):
                    self._join(name, other, "values")
                    modules[name.rpartition(".")[0]] = other.rpartition(".")[0]
        for name in list(self._left):
            module, _, leaf = name.rpartition(".")
            if name not in self._pairs and module in modules:
                other = f"{modules[module]}.{leaf}"
                if other in self._right and other not in self._taken:
                    self._join(name, other, "values")

    def _alike(self, own: list[str], foreign: list[str], min_cosine: float) -> Iterator[tuple[str, str]]:
        size = min(SAMPLE, self._left[own[0]].size)
        samples = [
            [tensors[name].part(0, size) for name in names]
            for tensors, names in ((self._left, own), (self._right, foreign))
        ]
        for row, nearest in mutually_nearest(samples[0], samples[1], min_cosine):
            yield own[row], foreign[nearest]

    def _join(self, name: str, other: str, how: str, prefixes: tuple[str, str] = ("", "")) -> None:
        if self._left[name].shape != self._right[other].shape:
            self._reshaped.setdefault(name, other)
            return
        self._pairs[name] = Pair(other, how, prefixes)
        self._taken.add(other)


def _is_vague(name: str, other: str) -> bool:
    """Whether two names have only the last part, or that and numbers, in common."""
    common = []
    for own, foreign in zip(reversed(name.split(".")), reversed(other.split(".")), strict=False):
        if own != foreign:
            break
        common.append(own)
    return all(part.isdecimal() for part in common[1:])


def _endings(name: str) -> list[str]:
    """A dotted name's endings, the longest (the whole) first, the last part alone as the last."""
    parts = name.split(".")
    if len(parts) > 32:
        parts = [".".join(parts[:-31]), *parts[-31:]]
    return [".".join(parts[start:]) for start in range(len(parts))]


def mutually_nearest(own: Sequence[Array], others: Sequence[Array], min_cosine: float) -> Iterator[tuple[int, int]]:
    """Pairs that are each other's nearest, by the cosine of samples of equal length, flat.

    The cosine must be at least `min_cosine`, and six standard deviations of what unrelated weights have.
    """
    import numpy as np

    cosines = _directions(own) @ _directions(others).T
    least = max(min_cosine, 6 / math.sqrt(max(own[0].size, 1)))
    for row, nearest in enumerate(np.asarray(cosines.argmax(1))):
        if cosines[row, nearest] >= least and cosines[:, nearest].argmax() == row:
            yield row, int(nearest)


def _directions(samples: Sequence[Array]) -> Array:
    """Each sample as a unit vector about its mean, [samples, elements]; 0 where constant."""
    import numpy as np

    rows = np.stack([np.nan_to_num(np.asarray(sample, np.float64), posinf=0.0, neginf=0.0) for sample in samples])
    rows -= rows.mean(1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(lengths > 0, rows / lengths, 0.0))
