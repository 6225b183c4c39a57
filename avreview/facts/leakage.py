"""What the lists of two sides of a split have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from avreview.engine.resolve import NotAvailable, fact
from avreview.recipe.manifests import ListsBeside, Manifest, Manifests
from avreview.recipe.manifests.ids import KINDS, NUMBER

_DENSE = 0.3  # of the numbers up to the largest: a list that counts its entries, with some left out
_FIRST = 10  # a count begins near 0
_LAST_NUMBER = re.compile(r"(\d{1,18})\D{0,100}$")
_BARE = re.compile(r"\d{1,8}")  # a sequence or scene that is nothing but a short number


class SplitLists(NamedTuple):
    """The lists to compare, given by a person or named by the recipe and lying beside it."""

    manifests: Manifests


class Shared(NamedTuple):
    """What training has in common with another side: the ids of the most telling kind, and how many of each kind.

    `compared` are the kinds that both sides name; `unsure` says why a common number proves nothing.
    """

    role: str
    kind: str | None
    ids: Sequence[str]
    counts: Mapping[str, int]
    sizes: tuple[int, int]  # of training and of the other side, in ids of that kind
    compared: Sequence[str]
    unsure: str = ""


@fact
def split_lists(beside: ListsBeside | None, manifests: Manifests | None) -> SplitLists:
    """Raises NotAvailable where nothing lists what the sides hold."""
    found = manifests or (beside.manifests() if beside is not None else None)
    if found is None:
        raise NotAvailable("needs the lists of what each split holds; pass --manifest train=FILE --manifest val=FILE")
    missing = [role for role in ("train", "val") if role not in found.sides]
    if "train" in missing or len(found.sides) == 1:
        wanted = " ".join(f"--manifest {role}=FILE" for role in missing)
        raise NotAvailable(f"needs the lists of both sides of the split; pass {wanted}")
    return SplitLists(found)


def shared_with_training(manifests: Manifests) -> list[Shared]:
    """What each other side has in common with training."""
    return [_shared(manifests, role) for role in manifests.sides if role != "train"]


def _shared(manifests: Manifests, role: str) -> Shared:
    training, other = manifests.sides["train"], manifests.sides[role]
    compared = [kind for kind in KINDS if _holds(training, kind) and _holds(other, kind)]
    telling = [kind for kind in compared if kind != NUMBER] or compared
    counts: dict[str, int] = {}
    first: tuple[str, list[str], tuple[int, int]] | None = None
    unsure = ""
    for kind in telling:
        here, there = _ids(training, kind), _ids(other, kind)
        common = here & there
        is_numbers = kind == NUMBER or all(map(_BARE.fullmatch, common))
        if common and is_numbers and (reason := _numbers_prove_nothing(here, there, role)):
            unsure = reason
        elif common:
            counts[kind] = len(common)
            first = first or (kind, sorted(common), (len(here), len(there)))
    if first is None:
        return Shared(role, None, [], counts, (0, 0), telling, unsure if len(telling) == 1 else "")
    return Shared(role, *first[:2], counts, first[2], telling)


def _holds(manifests: Iterable[Manifest], kind: str) -> bool:
    return any(manifest.ids.get(kind) for manifest in manifests)


def _ids(manifests: Iterable[Manifest], kind: str) -> set[str]:
    return set().union(*(manifest.ids.get(kind, {}) for manifest in manifests))


def _numbers_prove_nothing(training: set[str], other: set[str], role: str) -> str:
    """Why numbers that occur on both sides may be of other things; "" where they are of the same."""
    if role == "test":
        return "the numbers of a test set may be counted by themselves"
    if _is_count(training) and _is_count(other):
        return "both lists may count for themselves"
    return ""


def _is_count(ids: set[str]) -> bool:
    """Whether ids are numbers from the beginning, with some left out."""
    numbers = {int(match[1]) for name in ids if (match := _LAST_NUMBER.search(name))}
    return bool(numbers) and min(numbers) <= _FIRST and len(numbers) >= _DENSE * (max(numbers) + 1)
