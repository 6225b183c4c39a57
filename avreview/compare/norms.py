"""Norms that came, went, or normalize otherwise; and running statistics that moved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.compare.folding import Folds
from avreview.compare.grouping import grouped
from avreview.compare.match import Match
from avreview.compare.members import between
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.compare.sides import Side
from avreview.facts.norms import Norm, NormLayers
from avreview.facts.weights import Weight

_TITLE = "Normalization layers"
_SETTINGS = {
    "kind": "kind", "statistics": "source of its statistics", "eps": "eps", "momentum": "momentum (ONNX's)",
    "groups": "groups", "training_mode": "training mode", "form": "form",
}  # fmt: skip


class NormPairs(NamedTuple):
    """The norms of both sides that belong together, and those that are alone."""

    pairs: Sequence[tuple[Norm, Norm]]
    old_left: Sequence[Norm]
    new_left: Sequence[Norm]


def pair_norms(match: Match, old: Sequence[Norm], new: Sequence[Norm]) -> NormPairs:
    """Pairs norms by their nodes, by the modules they stand in, and by what they read."""
    by_node = {norm.node.index: norm for norm in new}
    by_module: dict[str, list[Norm]] = {}
    for norm in new:
        by_module.setdefault(norm.module or "", []).append(norm)
    found: dict[int, tuple[Norm, Norm]] = {}
    taken: set[int] = set()

    def keep(norm: Norm, other: Norm | None) -> None:
        if other is not None and norm.node.index not in found and other.node.index not in taken:
            found[norm.node.index] = norm, other
            taken.add(other.node.index)

    for norm in old:
        partner = match.new_node(norm.node)
        keep(norm, by_node.get(partner.index) if partner is not None else None)
    for norm in old:
        there = by_module.get(match.names.new(norm.module), ()) if norm.module else ()
        keep(norm, next((other for other in there if other.node.index not in taken), None))
    by_input = {norm.input: norm for norm in new}
    for norm in old:
        keep(norm, _at_same_place(match, norm, by_input))
    left = [norm for norm in old if norm.node.index not in found]
    return NormPairs(list(found.values()), left, [norm for norm in new if norm.node.index not in taken])


def _at_same_place(match: Match, norm: Norm, by_input: Mapping[str, Norm]) -> Norm | None:
    """The norm on the new side that reads what belongs to what this one reads."""
    if match.old.graph is None or match.new.graph is None:
        return None
    producer = match.old.graph.producer.get(norm.input)
    partner = match.new_node(producer) if producer is not None else None
    outputs = partner.outputs if partner is not None else ()
    return next((by_input[key] for key in outputs if key in by_input), None)


def norm_nodes(side: Side, norms: Sequence[Norm]) -> set[int]:
    """The indices of all nodes that the norms are made of."""
    graph = side.drawing.graph
    found = {norm.node.index for norm in norms}
    for norm in norms:
        found |= {node.index for node in between(graph, [norm.input], norm.output)}
    return found


def compare_norms(match: Match, folds: Folds, spoken_for: tuple[set[int], set[int]]) -> Section:
    """The section on norms. `spoken_for` are nodes, by index, of which another section tells."""
    sides = [side.had(NormLayers) for side in (match.old, match.new)]
    if sides[0] is None or sides[1] is None:
        return Section("norms", _TITLE, "", unseen="the files do not show their norms")
    old, new = (
        [norm for norm in side.all if norm.node.index not in spoken]
        for side, spoken in zip(sides, spoken_for, strict=True)
        if side is not None
    )
    paired = pair_norms(match, old, new)
    changes = [*_came_and_went(folds, paired), *_settings(paired.pairs)]
    moved, unread = _moved(paired.pairs)
    tracked = sum(norm.mean is not None for _, norm in paired.pairs)
    words = f"{len(old)} before, {len(new)} now"
    if tracked:
        words += f"; running statistics moved in {len(moved)} of {tracked}"
    notes = [f"the running statistics of {unread} norms could not be compared"] if unread else []
    if match.old.only_names or match.new.only_names:
        notes.append("a state dict does not hold eps, momentum or mode")
    return Section("norms", _TITLE, words, [*grouped(changes), *moved], notes=notes)


def _came_and_went(folds: Folds, paired: NormPairs) -> Iterator[Change]:
    for norm in paired.old_left:
        how = ", folded into the layer in front of it" if norm.node.index in folds.old else ""
        yield Change(REMOVED, _where(norm), f"{norm.kind}{how}", _described(norm))
    for norm in paired.new_left:
        how = ", which was folded into the layer in front of it" if norm.node.index in folds.new else ""
        yield Change(ADDED, _where(norm), f"{norm.kind}{how}", None, _described(norm))


def _described(norm: Norm) -> dict[str, Any]:
    told = {"kind": norm.kind, "statistics": norm.statistics, "eps": norm.eps, "groups": norm.groups}
    return {name: value for name, value in told.items() if value is not None}


def _settings(pairs: Sequence[tuple[Norm, Norm]]) -> Iterator[Change]:
    """One change for each norm: all its settings that differ."""
    for old, new in pairs:
        was, now = {}, {}
        for field, word in _SETTINGS.items():
            left, right = getattr(old, field), getattr(new, field)
            if not _equal(left, right):
                was[word], now[word] = left, right
        for word, left, right in _vectors(old, new):
            was[word], now[word] = left, right
        if was:
            yield Change(CHANGED, _where(new), f"{new.kind}: {', '.join(was)}", was, now)


def _vectors(old: Norm, new: Norm) -> Iterator[tuple[str, str, str]]:
    """What a norm has on one side only."""
    for field, word in (("mean", "running mean"), ("variance", "running variance")):
        left, right = getattr(old, field), getattr(new, field)
        if (left is None) != (right is None) and old.kind == new.kind and old.statistics == new.statistics:
            yield word, "none" if left is None else "held", "none" if right is None else "held"


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-30)
    return bool(left == right)


def _moved(pairs: Sequence[tuple[Norm, Norm]]) -> tuple[list[Change], int]:
    """The norms whose running statistics moved, and the number of those that could not be compared."""
    found: list[Change] = []
    unread = 0
    for old, new in pairs:
        if old.mean is None or new.mean is None or old.variance is None or new.variance is None:
            continue
        told = _moments(old.mean, old.variance, new.mean, new.variance, old.eps or 1e-5)
        if told is None:
            unread += 1
        elif told:
            found.append(Change(CHANGED, _where(new), f"{new.kind}: running statistics moved: {told}"))
    return found, unread


def _moments(mean: Weight, variance: Weight, new_mean: Weight, new_variance: Weight, eps: float) -> str | None:
    """How far running statistics moved, "" where they did not; None where they cannot be laid side by side."""
    import numpy as np

    with np.errstate(all="ignore"):
        parts = [weight.read().reshape(-1) for weight in (mean, variance, new_mean, new_variance)]
        sizes = {part.size for part in parts}
        if len(sizes) != 1 or 0 in sizes:
            return None
        narrow = _narrow(mean.tensor, new_mean.tensor), _narrow(variance.tensor, new_variance.tensor)
        before, spread, after, wide = (np.asarray(part, np.float64) for part in parts)
        rounded = [_rounded(part, narrow[place % 2]) for place, part in enumerate((before, spread, after, wide))]
        if np.array_equal(rounded[0], rounded[2], equal_nan=True) and np.array_equal(
            rounded[1], rounded[3], equal_nan=True
        ):
            return ""
        shifts = np.abs(after - before) / np.sqrt(np.maximum(spread, 0) + eps)
        factors = (np.maximum(wide, 0) + eps) / (np.maximum(spread, 0) + eps)
    if not (np.isfinite(shifts).all() and np.isfinite(factors).all()):
        return "some to or from NaN or infinity"
    words = f"means by up to {shifts.max():.3g} standard deviations"
    low, high = float(factors.min()), float(factors.max())
    return words if low == high == 1.0 else f"{words}, variances by factors of {low:.3g} to {high:.3g}"


def _narrow(tensor: Tensor, other: Tensor) -> str:
    from avreview.facts.tensor_compare import narrower

    return narrower(tensor.dtype, other.dtype)


def _rounded(values: Any, dtype: str) -> Any:
    from avreview.load.dtypes import numpy_dtype

    return values.astype(numpy_dtype(dtype)) if dtype.startswith(("float", "bfloat")) else values


def _where(norm: Norm) -> str:
    return norm.module or norm.node.label
