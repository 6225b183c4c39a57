"""The structure of two graphs: nodes that came, went, are set otherwise, or read from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from avreview.artifact import Node
from avreview.compare.alignment import COMMUTATIVE, Alignment
from avreview.compare.grouping import grouped
from avreview.compare.interface import compare_interface
from avreview.compare.match import Match
from avreview.compare.regions import regions, together
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.compare.settings import COMPUTED, differences, settings
from avreview.compare.sides import Side
from avreview.facts.modules import module_path
from avreview.facts.weights import Constants

TITLE = "Structure"
_NAMED = 6  # layers that a region names
_MOST_SHOWN = 8  # elements of a constant
_KINDRED = 0.5  # the share of the smaller graph's nodes below which the pairs are called into question

Spoken = tuple[Collection[int], Collection[int]]


def compare_structure(match: Match, spoken_for: Spoken) -> Section:
    """The section on structure. `spoken_for` are nodes, by index, of which another section tells."""
    alignment = match.alignment
    assert alignment is not None
    changes = [
        *compare_interface(alignment.old, alignment.new),
        *grouped(_regions(match, alignment, spoken_for)),
        *grouped(_set_otherwise(match, alignment, spoken_for)),
        *_rewired(alignment, spoken_for),
    ]
    nodes = len(alignment.old.nodes), len(alignment.new.nodes)
    words = f"{nodes[0]:,} nodes before, {nodes[1]:,} now; {len(alignment.old_of):,} of them belong together"
    elsewhere = [
        sum(node.index in spoken for node in left)
        for left, spoken in zip((alignment.old_left, alignment.new_left), spoken_for, strict=True)
    ]
    notes = []
    if len(alignment.old_of) < _KINDRED * min(nodes):
        notes.append("the two graphs have little in common: what was paired may be so by chance")
    if any(elsewhere):
        notes.append(
            f"without a partner, and part of what the other sections tell of (norms, dropout, input normalization, "
            f"quantization): {elsewhere[0]:,} nodes before, {elsewhere[1]:,} now"
        )
    return Section("structure", TITLE, words, changes, notes=notes)


def _regions(match: Match, alignment: Alignment, spoken_for: Spoken) -> Iterator[Change]:
    for old, new in together(*regions(alignment)):
        was = [] if old is None else [node for node in old.nodes if node.index not in spoken_for[0]]
        now = [] if new is None else [node for node in new.nodes if node.index not in spoken_for[1]]
        if was and now and len(was) == len(now) == 1:
            yield Change(CHANGED, place(now[0]), "operator", _op(was[0]), _op(now[0]))
        elif was and now:
            yield Change(CHANGED, _common_place(now), "nodes replaced", _told(match.old, was), _told(match.new, now))
        elif was:
            words = _amount(was) + _instead(alignment, was, 0, match.new.constants)
            yield Change(REMOVED, _common_place(was), words, _told(match.old, was))
        elif now:
            words = _amount(now) + _instead(alignment, now, 1, match.old.constants)
            yield Change(ADDED, _common_place(now), words, None, _told(match.new, now))


def _instead(alignment: Alignment, nodes: Sequence[Node], side: int, others: Constants) -> str:
    """The constant that stands on the other side in the place of what several nodes compute."""
    graph, partners = (alignment.new, alignment.old_of) if side else (alignment.old, alignment.new_of)
    for node in nodes if len(nodes) > 1 else ():
        for key in node.outputs:
            for reader in graph.consumers.get(key, ()):
                partner = partners.get(reader.index)
                values = (
                    None if partner is None else others.values(partner.input(reader.inputs.index(key)), _MOST_SHOWN)
                )
                if values is not None:
                    took = "took" if side else "takes"
                    return f"; {place(reader)} {took} {values.reshape(-1).tolist()} instead"
    return ""


def _amount(nodes: Sequence[Node]) -> str:
    return f"{len(nodes)} nodes" if len(nodes) > 1 else "1 node"


def _told(side: Side, nodes: Sequence[Node]) -> str:
    """Operators and how often, and the layers by name."""
    counts = Counter(_op(node) for node in nodes)
    words = ", ".join(op if amount == 1 else f"{op} ×{amount}" for op, amount in counts.most_common(12))
    if len(counts) > 12:
        words += f", and {len(counts) - 12} further operators"
    layers = [layer for node in nodes if (layer := side.layers.by_node.get(node.index)) is not None]
    named = [
        f"{layer.module or layer.node.label} ({layer.kind} {layer.fan_in}→{layer.units})" for layer in layers[:_NAMED]
    ]
    if len(layers) > _NAMED:
        named.append(f"{len(layers) - _NAMED} more")
    return f"{words}; layers: {', '.join(named)}" if named else words


def _op(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain else node.op


def place(node: Node) -> str:
    """What a person calls a node's place: with its module, where the name does not tell that."""
    module = module_path(node)
    return node.label if not module or node.name.startswith("/") else f"{module} ({node.label})"


def _common_place(nodes: Sequence[Node]) -> str:
    """The module that all nodes lie in, or the first and the last node."""
    if len(nodes) == 1:
        return place(nodes[0])
    paths = [(module_path(node) or "").split(".") for node in nodes]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common) or f"{nodes[0].label} to {nodes[-1].label}"


def _set_otherwise(match: Match, alignment: Alignment, spoken_for: Spoken) -> Iterator[Change]:
    """Settings of paired nodes that differ."""
    weights = [
        {id(entry.tensor) for entry in (*left, *(getattr(pair, side) for pair in match.tensors))}
        for side, left in (("old", match.old_left), ("new", match.new_left))
    ]
    constants = match.old.constants, match.new.constants
    for old, new in alignment.pairs:
        if old.index in spoken_for[0] or new.index in spoken_for[1]:
            continue
        if old.op != new.op or old.domain != new.domain:
            yield Change(CHANGED, place(new), "operator", _op(old), _op(new))
            continue
        found = _differences(old, new, constants, weights)
        alone = _computed_alone(alignment, old, 0), _computed_alone(alignment, new, 1)
        found = {
            name: values
            for name, values in found.items()
            if not any(value == COMPUTED and told for value, told in zip(values, alone, strict=True))
        }
        if found:
            was, now = ({name: values[side] for name, values in found.items()} for side in (0, 1))
            yield Change(CHANGED, place(new), f"{_op(new)}: {', '.join(found)}", was, now)


def _computed_alone(alignment: Alignment, node: Node, side: int) -> bool:
    """Whether a node reads what only its own graph computes: of those nodes their region tells."""
    graph, partners = (alignment.new, alignment.old_of) if side else (alignment.old, alignment.new_of)
    producers = (graph.producer.get(key) for key in node.inputs)
    return any(producer is not None and producer.index not in partners for producer in producers)


def _differences(
    old: Node, new: Node, constants: tuple[Constants, Constants], weights: Sequence[Collection[int]]
) -> dict[str, tuple[object, object]]:
    was, now = settings(old, constants[0], weights[0]), settings(new, constants[1], weights[1])
    if old.op in COMMUTATIVE:  # the constant may stand on either side
        was, now = ({("constant" if name.startswith("input ") else name): value for name, value in side.items()}
                    for side in (was, now))  # fmt: skip
    return differences(old, new, was, now)


def _rewired(alignment: Alignment, spoken_for: Spoken) -> Iterator[Change]:
    """Paired nodes, and outputs, that directly read what does not belong together."""
    for old, new in alignment.pairs:
        if old.op != new.op or old.index in spoken_for[0] or new.index in spoken_for[1]:
            continue
        was, now = _sources(alignment, old.inputs, 0), _sources(alignment, new.inputs, 1)
        if old.op in COMMUTATIVE:
            was, now = ([source for source in side if source not in other] for side, other in ((was, now), (now, was)))
        for left, right in zip(was, now, strict=False):
            if left != right and left is not None and right is not None:
                yield Change(CHANGED, place(new), f"{_op(new)} reads from elsewhere", left.label, right.label)
                break
    outputs = {info.name for info in alignment.old.outputs}
    for info in alignment.new.outputs:
        left, right = (_sources(alignment, (info.name,), side)[0] for side in (0, 1))
        if info.name in outputs and left is not None and right is not None and left != right:
            yield Change(CHANGED, info.name, "the output comes from elsewhere", left.label, right.label)


class _Source:
    """Where a value comes from, in terms of the new graph: equal ones belong together."""

    def __init__(self, node: Node, output: int, label: str) -> None:
        self._place = node.index, output
        self.label = label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Source) and self._place == other._place

    def __hash__(self) -> int:
        return hash(self._place)


def _sources(alignment: Alignment, keys: Sequence[str], side: int) -> list[_Source | None]:
    """Where values come from; None for inputs and constants, and for what has no partner: others tell of those."""
    found: list[_Source | None] = []
    graph = alignment.new if side else alignment.old
    for key in keys:
        node = graph.producer.get(key)
        partner = node if node is None or side else alignment.new_of.get(node.index)
        if node is None or partner is None or (side and node.index not in alignment.old_of):
            found.append(None)
        else:
            found.append(_Source(partner, node.outputs.index(key), node.label))
    return found
