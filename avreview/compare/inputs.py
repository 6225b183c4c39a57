"""Input normalization: what the graph, or its first layer, does to the inputs otherwise than before (AV408)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import ValueInfo
from avreview.compare.match import Match
from avreview.compare.pairing import Paired
from avreview.compare.preprocessing import Reading, readings
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.compare.sides import Side
from avreview.engine.cards import catalogue
from avreview.facts.flow import readers

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_TITLE = "Input normalization"
_NO_GRAPH = "preprocessing is seen in exports only; a checkpoint holds none"


class Inputs(NamedTuple):
    """The section on inputs, and what it speaks for: nodes of both sides by index, tensors by id."""

    section: Section
    nodes: tuple[set[int], set[int]]
    tensors: set[int]


def compare_inputs(match: Match) -> Inputs:
    """Compares what stands in front of the first layer, and whether it went into that layer or out of it."""
    if match.old.graph is None or match.new.graph is None:
        return Inputs(Section("inputs", _TITLE, "", unseen=_NO_GRAPH), (set(), set()), set())
    old, new = (readings(side.graph, side.constants) for side in (match.old, match.new) if side.graph is not None)
    changes: list[Change] = []
    told: set[int] = set()
    pairs = paired_values(match.old.graph.inputs, match.new.graph.inputs)
    by_name = [{reading.input: reading for reading in side} for side in (old, new)]
    for left, right in pairs:
        before, after = by_name[0][left.name], by_name[1][right.name]
        changes += _compared(before, after)
        for pair, words in _first_layers(match, before, after):
            changes.append(Change(CHANGED, pair.new.where, words))
            told |= _of_layer(match, pair)
    nodes = tuple({index for reading in side for index in reading.nodes} for side in (old, new))
    seen = [sum(bool(reading.steps) for reading in side) for side in (old, new)]
    words = f"in the graph of {seen[0]} of {len(old)} inputs before, of {seen[1]} of {len(new)} now"
    notes = ["what was done to the inputs outside of the graph is not seen"]
    return Inputs(Section("inputs", _TITLE, words, changes, notes=notes), (nodes[0], nodes[1]), told)


def paired_values(old: Sequence[ValueInfo], new: Sequence[ValueInfo]) -> list[tuple[ValueInfo, ValueInfo]]:
    """Inputs or outputs that belong together: by name, and the others in their order where as many
    are left and their types allow it."""
    names = {info.name: info for info in new}
    pairs = [(info, names[info.name]) for info in old if info.name in names]
    taken = {info.name for info, _ in pairs}
    left = [[info for info in side if info.name not in taken] for side in (old, new)]
    if len(left[0]) == len(left[1]):
        pairs += [(one, other) for one, other in zip(*left, strict=True) if _kin(one, other)]
    return pairs


def _kin(one: ValueInfo, other: ValueInfo) -> bool:
    """Whether two values may be one under another name: of one type and rank."""
    ranks = [None if info.dims is None else len(info.dims) for info in (one, other)]
    return one.dtype == other.dtype and ranks[0] == ranks[1]


def _compared(old: Reading, new: Reading) -> Iterator[Change]:
    if not old.steps and not new.steps:
        return
    if [step.words for step in old.steps] == [step.words for step in new.steps] and _same_values(old, new):
        return
    kind = ADDED if not old.steps else REMOVED if not new.steps else CHANGED
    words = "preprocessing in the graph"
    limit = catalogue()["AV408"].limits.max_relative_difference
    if kind is CHANGED and old.others == new.others and alike(old, new, limit):
        words += ", written otherwise: its mean and deviation agree within AV408's limit"
    yield Change(kind, new.input, words, described(old), described(new))


def _same_values(old: Reading, new: Reading) -> bool:
    return [step.values for step in old.steps] == [step.values for step in new.steps]


def alike(old: Reading, new: Reading, limit: float) -> bool:
    """Whether both subtract and divide by the same within a relative limit."""
    import numpy as np

    parts = (old.mean, new.mean, old.deviation, new.deviation)
    given = [part for part in parts if part is not None]
    if len(given) < len(parts) or len({part.size for part in given} - {1}) > 1:
        return False
    means, deviations = np.broadcast_arrays(*given[:2]), np.broadcast_arrays(*given[2:])
    rounding = 1e-6 * np.abs(deviations[0])  # a mean of 0 has no relative difference
    for (left, right), slack in ((means, rounding), (deviations, 0.0)):
        allowed = limit * np.maximum(np.abs(left), np.abs(right)) + slack
        if not bool((np.abs(left - right) <= allowed).all()):
            return False
    return True


def described(reading: Reading) -> Any:
    """The steps in words, with mean and deviation where they can be told; None without any step."""
    if not reading.steps:
        return None
    told: dict[str, Any] = {"steps": [step.words for step in reading.steps]}
    if reading.is_affine and reading.mean is not None and reading.deviation is not None:
        told["mean"], told["deviation"] = _numbers(reading.mean), _numbers(reading.deviation)
    return told


def _numbers(values: Array) -> Any:
    listed = [float(f"{value:.6g}") for value in values.reshape(-1)[:16]]
    return listed[0] if len(listed) == 1 else listed


def _first_layers(match: Match, old: Reading, new: Reading) -> Iterator[tuple[Paired, str]]:
    """The layers that read the input first, where their weights are the old ones but for a factor or an order."""
    first = _readers(match.old, old), _readers(match.new, new)
    for pair in match.tensors:
        if pair.old.role != "weight" or pair.new.role != "weight" or pair.old.shape != pair.new.shape:
            continue
        if id(pair.old.node) in first[0] and id(pair.new.node) in first[1]:
            words = _refactored(pair)
            if words:
                yield pair, words


def _of_layer(match: Match, weight: Paired) -> set[int]:
    """The tensors of a layer, by id: a mean that is folded in moves its bias, too."""
    found = {id(weight.old.tensor), id(weight.new.tensor)}
    for entries, node in (
        ([*(pair.old for pair in match.tensors), *match.old_left], weight.old.node),
        ([*(pair.new for pair in match.tensors), *match.new_left], weight.new.node),
    ):
        found |= {id(entry.tensor) for entry in entries if entry.role == "bias" and entry.node is node}
    return found


def _readers(side: Side, reading: Reading) -> set[int]:
    """The nodes, by id, that read what a reading ends in."""
    return set() if side.graph is None else {id(node) for node in readers(side.graph, reading.output)}


def _refactored(pair: Paired) -> str:
    """What was done to the input channels of a layer; "" where its weights are the same, or others altogether."""
    import numpy as np

    shape = pair.old.shape
    if len(shape) < 2 or not 1 <= shape[1] <= 64 or pair.old.is_quantized or pair.new.is_quantized:
        return ""
    limit = catalogue()["AV403"].limits.max_difference
    close = catalogue()["AV408"].limits.max_relative_difference
    with np.errstate(all="ignore"):
        before, after = (np.asarray(side.read(), np.float64).reshape(*shape[:2], -1) for side in (pair.old, pair.new))
        if not (np.isfinite(before).all() and np.isfinite(after).all()) or np.array_equal(before, after):
            return ""
        for words, source in (("", before), (" in reverse order (RGB to BGR, or back)", before[:, ::-1])):
            factor = (source * after).sum((0, 2)) / np.square(source).sum((0, 2))
            left = np.abs(after - source * factor[:, None]).max()
            if not np.isfinite(factor).all() or left > limit * np.abs(after).max():
                continue
            same = np.allclose(factor, 1.0, rtol=close)
            if same and not words:
                return ""
            scaled = "" if same else f", times {_numbers(factor)}: a normalization was folded into it, or taken out"
            return f"the first layer takes its input channels{words or ' as before'}{scaled}"
    return ""
