"""Nodes that one graph alone has, gathered where they hang together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.compare.alignment import Alignment

_MOST_NEAR = 64  # regions around one node that are looked at


class Region(NamedTuple):
    """Nodes that hang together and have no partner in the other graph; `ends` are the pairs and inputs around them."""

    nodes: Sequence[Node]
    ends: frozenset[tuple[str, str, int]]


def regions(alignment: Alignment) -> tuple[list[Region], list[Region]]:
    """The regions of the old and the new graph, in the order of the graphs."""
    numbers: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for number, (old, new) in enumerate(alignment.pairs):
        numbers[0][old.index], numbers[1][new.index] = number, number
    return (
        _of_graph(alignment.old, alignment.old_left, numbers[0]),
        _of_graph(alignment.new, alignment.new_left, numbers[1]),
    )


def together(old: Sequence[Region], new: Sequence[Region]) -> list[tuple[Region | None, Region | None]]:
    """Regions of both sides between the same nodes; others by themselves."""
    around: dict[tuple[str, str, int], list[int]] = {}
    for number, region in enumerate(new):
        for end in region.ends:
            around.setdefault(end, []).append(number)
    taken: set[int] = set()
    found: list[tuple[Region | None, Region | None]] = []
    for region in old:
        near = {number for end in region.ends for number in around.get(end, ())[:_MOST_NEAR]} - taken
        best = max(sorted(near), key=lambda number: _common(region, new[number]), default=None)
        if best is not None and _common(region, new[best]):
            taken.add(best)
            found.append((region, new[best]))
        else:
            found.append((region, None))
    return found + [(None, region) for number, region in enumerate(new) if number not in taken]


def _common(region: Region, other: Region) -> int:
    """How many ends two regions share; 0 unless both begin alike and end alike somewhere."""
    shared = region.ends & other.ends
    return len(shared) if {end[0] for end in shared} == {"in", "out"} else 0


def _of_graph(graph: Graph, left: Iterable[Node], numbers: dict[int, int]) -> list[Region]:
    nodes = {node.index: node for node in left}
    found: list[Region] = []
    seen: set[int] = set()
    for start in nodes.values():
        if start.index in seen:
            continue
        seen.add(start.index)
        waiting, own = [start], list[Node]()
        ends: set[tuple[str, str, int]] = set()
        while waiting:
            node = waiting.pop()
            own.append(node)
            for around in (*_before(graph, node, numbers, ends), *_behind(graph, node, numbers, ends)):
                if around.index in nodes and around.index not in seen:
                    seen.add(around.index)
                    waiting.append(around)
        found.append(Region(sorted(own, key=lambda node: node.index), frozenset(ends)))
    return found


def _before(graph: Graph, node: Node, numbers: dict[int, int], ends: set[tuple[str, str, int]]) -> list[Node]:
    found = []
    for key in node.inputs:
        producer = graph.producer.get(key)
        if producer is not None and producer.index in numbers:
            ends.add(("in", "", numbers[producer.index]))
        elif producer is not None:
            found.append(producer)
        elif key and key not in graph.constants:
            ends.add(("in", key, -1))
    return found


def _behind(graph: Graph, node: Node, numbers: dict[int, int], ends: set[tuple[str, str, int]]) -> list[Node]:
    found = []
    outputs = {info.name for info in graph.outputs}
    for key in node.outputs:
        if key in outputs:
            ends.add(("out", key, -1))
        for reader in graph.consumers.get(key, ()):
            if reader.index in numbers:
                ends.add(("out", "", numbers[reader.index]))
            else:
                found.append(reader)
    return found
