"""Precision and format: types that weights are stored in, quantization, operator sets, producers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from avreview.artifact import Graph, Node
from avreview.compare.grouping import grouped
from avreview.compare.match import Match
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.compare.sides import Side
from avreview.compare.structure import place
from avreview.compare.weights import REQUANTIZED, Weighing
from avreview.facts.weights import Constants

_TITLE = "Precision and format"
_QUANTIZING = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QGemm",
    "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool",
    "MatMulNBits",
})  # fmt: skip
_OTHER_FLOATS = (10, 11, 16, 17, 18, 19, 20)  # float16, double, bfloat16 and the four of 8 bits
_ONLY_AROUND = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_DETAILS = {"ir_version": "IR version", "layout": "layout", "weights": "weights"}


def compare_precision(match: Match, weighing: Weighing) -> Section:
    """The section on precision, operator sets and where the files come from."""
    changes = [
        *_dtypes(match),
        *_quantization(match, weighing),
        *grouped(_scales(match)),
        *_provenance(match.old, match.new),
    ]
    words = ", ".join(_dtype_words(side) for side in (match.old, match.new))
    return Section("precision", _TITLE, f"weights are {words.replace(', ', ' before, ', 1)} now", changes)


def quantization_nodes(side: Side) -> set[int]:
    """Nodes that quantize and scale back, and casts of mixed precision, by index: precision tells of them."""
    graph = side.graph
    if graph is None:
        return set()
    casts = _casts(graph)
    return {node.index for node in graph.nodes if node.op in _ONLY_AROUND} | {node.index for node in casts}


def _casts(graph: Graph) -> list[Node]:
    """Casts to other floating-point types than float32; those to float32 as well where there are such."""
    casts = [node for node in graph.nodes if node.op == "Cast"]
    if not any(node.attributes.get("to") in _OTHER_FLOATS for node in casts):
        return []
    return [node for node in casts if node.attributes.get("to") in (1, *_OTHER_FLOATS)]


def _dtype_words(side: Side) -> str:
    sizes: Counter[str] = Counter()
    for tensor in side.artifact.tensors.values():
        if (
            tensor.is_floating
            or (tensor.quantization is not None)
            or tensor.dtype in ("int8", "uint8", "int4", "uint4")
        ):
            sizes[tensor.dtype] += tensor.size
    return sizes.most_common(1)[0][0] if sizes else "none"


def _dtypes(match: Match) -> Iterator[Change]:
    """One change for each change of type, with the places where."""
    places: dict[tuple[str, str], list[str]] = {}
    for old, new, _ in match.tensors:
        if old.tensor.dtype != new.tensor.dtype:
            places.setdefault((old.tensor.dtype, new.tensor.dtype), []).append(new.label or new.where)
    for (before, after), names in places.items():
        count = f"{len(names)} tensors" if len(names) > 1 else "1 tensor"
        yield Change(CHANGED, names[0], f"stored as {after}: {count}", before, after, also=tuple(names[1:]))


def _quantization(match: Match, weighing: Weighing) -> Iterator[Change]:
    """How many operators work in integers, and how far rounding moved the weights; and casts of mixed precision."""
    where = "graph" if match.new.graph is not None else "weights"
    rounded = [each.distance for each in weighing.all if each.state == REQUANTIZED]
    words = "quantization"
    if rounded:
        words += f"; {len(rounded)} weights moved by it, by up to {100 * max(rounded):.3g} % (relative L2)"
    for told, was, now in (
        (words, _operators(match.old), _operators(match.new)),
        ("casts between floating-point types", _cast_count(match.old), _cast_count(match.new)),
    ):
        if was != now or (rounded and told is words):
            yield Change(ADDED if not was else REMOVED if not now else CHANGED, where, told, was or None, now or None)


def _operators(side: Side) -> Mapping[str, int]:
    """Quantizing operators of a graph, or quantized tensors of a checkpoint."""
    if side.graph is None:
        amount = sum(tensor.quantization is not None for tensor in side.artifact.tensors.values())
        return {"quantized tensors": amount} if amount else {}
    return dict(sorted(Counter(node.op for node in side.graph.nodes if node.op in _QUANTIZING).items()))


def _cast_count(side: Side) -> int:
    return 0 if side.graph is None else len(_casts(side.graph))


def _scales(match: Match) -> Iterator[Change]:
    """Scales and zero points of activations that differ; those of weights show in the weights."""
    if match.alignment is None:
        return
    for old, new in match.alignment.pairs:
        if new.op not in ("QuantizeLinear", "DequantizeLinear") or old.op != new.op:
            continue
        sides = ((old, match.old.constants), (new, match.new.constants))
        if any(constants.weight(node.input(0)) is not None for node, constants in sides):
            continue
        was, now = ([_numbers(constants, node.input(place)) for place in (1, 2)] for node, constants in sides)
        if was != now:
            yield Change(CHANGED, place(new), f"{new.op}: scale or zero point", was, now)


def _numbers(constants: Constants, key: str) -> Any:
    values = constants.values(key) if key else None
    return None if values is None else values.reshape(-1).tolist()


def _provenance(old: Side, new: Side) -> Iterator[Change]:
    """Format, producer and versions."""
    before, after = old.artifact.provenance, new.artifact.provenance
    pairs: list[tuple[str, Any, Any]] = [("format", before.format, after.format)]
    pairs.append(("producer", before.producer, after.producer))
    pairs += [(word, before.details.get(name), after.details.get(name)) for name, word in _DETAILS.items()]
    opsets = [dict(side.details.get("opsets", {})) for side in (before, after)]
    differ = [
        {domain: own[domain] for domain in own if own[domain] != other.get(domain)}
        for own, other in (opsets, opsets[::-1])
    ]
    pairs.append(("operator sets", differ[0] or None, differ[1] or None))
    sets = [_sets(side) for side in (old, new)]
    pairs.append(("weight sets", sets[0], sets[1]))
    for word, left, right in pairs:
        if left != right:
            kind = ADDED if left is None else REMOVED if right is None else CHANGED
            yield Change(kind, "file", word, left, right)


def _sets(side: Side) -> list[str] | None:
    checkpoint = side.artifact.checkpoint
    return sorted(checkpoint.sets) if checkpoint is not None else None
