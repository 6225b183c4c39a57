"""Dropouts and other random operators that came, went, or work otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from avreview.compare.grouping import grouped
from avreview.compare.match import Match
from avreview.compare.members import between
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.compare.sides import Side
from avreview.facts.randomness import Dropout, Randomness, RandomNode

_TITLE = "Dropout and randomness"
_SETTINGS = {"rate": "rate", "active": "active", "form": "form", "per_sample": "one draw a sample", "scaled": "scaled"}
_RATE = 1e-6  # rates that differ by less come from arithmetic in float32


def compare_dropouts(match: Match) -> Section:
    """The section on dropouts, and on generators that are no part of one."""
    sides = [side.had(Randomness) for side in (match.old, match.new)]
    if sides[0] is None or sides[1] is None or match.old.only_names or match.new.only_names:
        return Section("dropout", _TITLE, "", unseen="a state dict does not show dropout; compare exports or modules")
    old, new = sides[0], sides[1]
    changes = grouped([*_dropouts(match, old.dropouts, new.dropouts), *_others(match, old.others, new.others)])
    words = f"{len(old.dropouts)} before ({len(old.active)} active), {len(new.dropouts)} now ({len(new.active)} active)"
    return Section("dropout", _TITLE, words, changes)


def dropout_nodes(side: Side) -> set[int]:
    """The indices of all nodes that dropouts are made of."""
    found = side.had(Randomness)
    if found is None:
        return set()
    graph = side.drawing.graph
    nodes = {node.index for each in found.dropouts for node in between(graph, [each.input], each.output)}
    return nodes | {each.node.index for each in found.dropouts} | {each.node.index for each in found.others}


def _dropouts(match: Match, old: Sequence[Dropout], new: Sequence[Dropout]) -> Iterator[Change]:
    pairs, gone, came = _paired(match, old, new)
    for left, right in pairs:
        was, now = {}, {}
        for field, word in _SETTINGS.items():
            before, after = getattr(left, field), getattr(right, field)
            if before != after and not (field == "rate" and _same_rate(before, after)):
                was[word], now[word] = before, after
        if was:
            yield Change(CHANGED, _where(right), f"dropout: {', '.join(was)}", was, now)
    for each in gone:
        yield Change(REMOVED, _where(each), "dropout", _described(each))
    for each in came:
        yield Change(ADDED, _where(each), "dropout", None, _described(each))


def _same_rate(old: float | None, new: float | None) -> bool:
    return old is not None and new is not None and abs(old - new) < _RATE


def _paired(
    match: Match, old: Sequence[Dropout], new: Sequence[Dropout]
) -> tuple[list[tuple[Dropout, Dropout]], list[Dropout], list[Dropout]]:
    """Pairs by nodes, then by modules in their order."""
    by_node = {each.node.index: each for each in new}
    by_module: dict[str, list[Dropout]] = {}
    for each in new:
        by_module.setdefault(each.module or "", []).append(each)
    found: dict[int, Dropout] = {}
    taken: set[int] = set()
    for each in old:
        node = match.new_node(each.node)
        other = by_node.get(node.index) if node is not None else None
        if other is not None:
            found[each.node.index] = other
            taken.add(other.node.index)
    for each in old:
        module = match.names.new(each.module)
        others = iter(by_module.get(module, ()) if module and each.node.index not in found else ())
        other = next((candidate for candidate in others if candidate.node.index not in taken), None)
        if other is not None:
            found[each.node.index] = other
            taken.add(other.node.index)
    pairs = [(each, found[each.node.index]) for each in old if each.node.index in found]
    gone = [each for each in old if each.node.index not in found]
    return pairs, gone, [each for each in new if each.node.index not in taken]


def _described(each: Dropout) -> dict[str, Any]:
    return {"rate": each.rate, "active": each.active, "form": each.form}


def _where(each: Dropout | RandomNode) -> str:
    return each.module or each.node.label


def _others(match: Match, old: Sequence[RandomNode], new: Sequence[RandomNode]) -> Iterator[Change]:
    """Generators that are no part of a dropout: by their nodes, in checkpoints by their modules."""
    if match.alignment is not None:
        before = {node.index for each in old if (node := match.new_node(each.node)) is not None}
        after = {each.node.index for each in new}
        came = [each for each in new if each.node.index not in before]
        gone = [each for each in old if (node := match.new_node(each.node)) is None or node.index not in after]
    else:
        modules = {match.names.new(each.module) for each in old}, {each.module or "" for each in new}
        came = [each for each in new if (each.module or "") not in modules[0]]
        gone = [each for each in old if match.names.new(each.module) not in modules[1]]
    for each in gone:
        yield Change(REMOVED, _where(each), f"random operator {each.node.op}")
    for each in came:
        yield Change(ADDED, _where(each), f"random operator {each.node.op}")
