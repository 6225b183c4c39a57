"""Weights: layer by layer the same bits, moved and by how much, or of another shape."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from avreview.compare.held import Held
from avreview.compare.match import Match
from avreview.compare.pairing import Paired
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.facts.tensor_compare import Comparison, compare, compare_arrays, narrower

_TITLE = "Weights"
SAME, MOVED, RESHAPED, REQUANTIZED = "same", "moved", "other shape", "requantized"
_MOST_READ = 1 << 28  # elements of a tensor that is read whole, because it is stored otherwise on the other side


class Weighed(NamedTuple):
    """A pair of tensors and how they compare; `comparison` is None where shapes differ."""

    pair: Paired
    state: str
    comparison: Comparison | None = None

    @property
    def distance(self) -> float:
        return 0.0 if self.comparison is None else self.comparison.distance


class Weighing(NamedTuple):
    """All pairs of tensors that are no statistics, compared; `unread` are those that could not be."""

    all: Sequence[Weighed]
    unread: Sequence[Paired]


def weigh(match: Match) -> Weighing:
    """Compares every pair of tensors; each is read once, a chunk at a time where both are stored alike."""
    found: list[Weighed] = []
    unread: list[Paired] = []
    for pair in match.tensors:
        if pair.new.is_statistic or pair.old.is_statistic:
            continue
        if pair.old.shape != pair.new.shape:
            found.append(Weighed(pair, RESHAPED))
            continue
        comparison = _compared(pair)
        if comparison is None:
            unread.append(pair)
        else:
            found.append(Weighed(pair, _state(pair, comparison), comparison))
    return Weighing(found, unread)


def _state(pair: Paired, comparison: Comparison) -> str:
    if pair.old.is_quantized != pair.new.is_quantized or (
        pair.old.is_quantized and pair.old.tensor.dtype != pair.new.tensor.dtype
    ):
        return REQUANTIZED
    return MOVED if comparison.changed else SAME


def _compared(pair: Paired) -> Comparison | None:
    """How the newer tensor departs from the older one; None where one of them cannot be read as it is used."""
    old, new = pair.old, pair.new
    if "string" in (old.tensor.dtype, new.tensor.dtype):
        return None
    if _alike(old, new):
        return compare(new.tensor, old.tensor)
    if old.tensor.size > _MOST_READ or (old.export is None and old.is_quantized != new.is_quantized):
        return None
    scaled = [entry.export is not None and entry.export.stored_integers for entry in (old, new)]
    if scaled[0] != scaled[1]:
        return None  # integers whose scale stands elsewhere
    left, right = new.read(), old.read()
    if left.shape != right.shape:
        return None
    return compare_arrays(left, right, narrower(old.tensor.dtype, new.tensor.dtype))


def _alike(old: Held, new: Held) -> bool:
    """Whether both hold their values in the same order, unscaled."""
    if old.tensor.shape != new.tensor.shape or not (old.tensor.is_floating and new.tensor.is_floating):
        return False
    for entry in (old, new):
        if entry.export is not None and (entry.export.weight.steps or entry.export.weight.quantized):
            return False
    turned = [entry.export is not None and entry.export.transposed for entry in (old, new)]
    return turned[0] == turned[1]


def compare_weights(
    match: Match, weighing: Weighing, told: Collection[int], gone: tuple[Collection[str], Collection[str]]
) -> Section:
    """The section on weights. `told` are tensors (by id) of which another section tells, `gone` the modules without a
    partner on either side, whose tensors came and went with them.
    """
    layers: dict[str, list[Weighed]] = {}
    for weighed in weighing.all:
        if id(weighed.pair.new.tensor) not in told and id(weighed.pair.old.tensor) not in told:
            layers.setdefault(weighed.pair.new.where, []).append(weighed)
    changes = [change for where, own in layers.items() for change in _of_layer(where, own)]
    changes += _alone(match, told, gone)
    states = {where: {each.state for each in own} for where, own in layers.items()}
    moved = sum(MOVED in own for own in states.values())
    frozen = sum(own == {SAME} for own in states.values())
    words = (
        f"{len(layers)} layers compared: {frozen} hold the same weights, {moved} moved" if layers else "none compared"
    )
    notes = [f"{len(weighing.unread)} tensors are stored too differently to be compared"] if weighing.unread else []
    nameless = sum(each.pair.by == "values" for each in weighing.all)
    if nameless:
        notes.append(f"{nameless} tensors were paired by their values alone")
    return Section("weights", _TITLE, words, changes, notes=notes)


def _of_layer(where: str, own: Sequence[Weighed]) -> Iterator[Change]:
    for each in own:
        if each.state == RESHAPED:
            leaf = each.pair.new.leaf or each.pair.new.role
            yield Change(
                CHANGED, where, f"{leaf} has another shape", list(each.pair.old.shape), list(each.pair.new.shape)
            )
    moved = [each for each in own if each.state == MOVED and each.comparison is not None]
    if not moved:
        return
    told = ", ".join(f"{each.pair.new.leaf or each.pair.new.role} {_percent(each)}" for each in moved[:6])
    if len(moved) > 6:
        told += f" and {len(moved) - 6} more"
    yield Change(CHANGED, where, f"moved (relative L2): {told}", amount=_joint(moved))


def _joint(moved: Sequence[Weighed]) -> float:
    """The relative L2 distance of several tensors taken as one vector."""
    comparisons = [each.comparison for each in moved if each.comparison is not None]
    if any(math.isinf(each.difference) for each in comparisons):
        return math.inf
    gap = sum(max(each.aa + each.bb - 2 * each.ab, 0.0) for each in comparisons)
    base = sum(each.bb for each in comparisons)
    return math.sqrt(gap / base) if base > 0 and math.isfinite(gap) else math.inf


def _percent(weighed: Weighed) -> str:
    share = weighed.distance
    if weighed.comparison is not None and math.isinf(weighed.comparison.difference):
        return "to or from NaN or infinity"
    if math.isfinite(share):
        return f"{100 * share:.3g} %"
    return "from zero" if weighed.comparison is not None and not weighed.comparison.bb else "beyond measure"


def _alone(match: Match, told: Collection[int], gone: tuple[Collection[str], Collection[str]]) -> Iterator[Change]:
    """Tensors that one side alone holds, in a layer that both have."""
    for kind, entries, modules, place in (
        (REMOVED, match.old_left, gone[0], 0), (ADDED, match.new_left, gone[1], 1)
    ):  # fmt: skip
        for entry in entries:
            if entry.is_statistic or id(entry.tensor) in told or _goes_with_its_layer(match, entry, modules, place):
                continue
            words = f"{entry.leaf or entry.role} {list(entry.shape)}"
            yield Change(kind, entry.where, words)


def _goes_with_its_layer(match: Match, entry: Held, modules: Collection[str], place: int) -> bool:
    """Whether the layer itself came or went: the structure tells of it."""
    if match.alignment is not None and entry.node is not None:
        partners = match.alignment.old_of if place else match.alignment.new_of
        return entry.node.index not in partners
    return entry.module in modules
