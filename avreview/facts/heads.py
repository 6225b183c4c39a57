"""The ends of a graph: what each output says, and what stands shortly before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.engine.resolve import fact
from avreview.facts.drawing import Drawing
from avreview.facts.layers import RECURRENT, Layers
from avreview.facts.modules import module_path

_GEOMETRY = re.compile(
    r"box|(?<![a-z])reg(?![iu])|offset|center|(?<![a-z])dims?(?![a-z])|yaw|heading|depth|(?<![a-z])vel|flow|(?<![a-z])occ|"
    r"lane|keypoint|traj"
)
_TEMPORAL = re.compile(r"temporal|memory|track|motion|forecast")
_SQUASHING = ("Sigmoid", "Softmax", "LogSoftmax")


class Head(NamedTuple):
    """One output, with the nodes before it and how many weight layers lie between each and the end."""

    output: str
    distance: dict[int, int]  # node index → weight layers from the node to the output
    kind: str | None  # geometry, temporal or None


class Heads(NamedTuple):
    """Every output's head."""

    all: Sequence[Head]
    by_name: bool = False  # the ends are not known: a module belongs to a head if its path says so

    def of(self, node: Node, module: str | None, most_layers: int) -> tuple[str, str] | None:
        """The kind and name of the geometry or temporal head that a node belongs to, or None.

        A module whose own name says that it works over time is one, wherever it stands; an output's head reaches back
        over at most `most_layers` weight layers.
        """
        named = head_by_name(module) if module is not None else None
        if named is not None and (named[0] == "temporal" or self.by_name):
            return named
        for head in self.all:
            if head.kind is not None and head.distance.get(node.index, most_layers + 1) <= most_layers:
                return head.kind, head.output
        return None


def head_by_name(module: str) -> tuple[str, str] | None:
    """The kind and name of the geometry or temporal head that a module's path speaks of, or None."""
    for kind, words in (("temporal", _TEMPORAL), ("geometry", _GEOMETRY)):
        if words.search(module.lower()):
            return kind, module.split(".")[0]
    return None


@fact
def heads(drawing: Drawing, layers: Layers) -> Heads:
    """Walks back from each output."""
    graph = drawing.graph
    if not drawing.is_whole:
        return Heads((), by_name=True)
    return Heads([_head(graph, layers, info.name) for info in graph.outputs])


_DEPTH = 4  # weight layers that a head's own nodes lie from the output, at most


def _head(graph: Graph, layers: Layers, output: str) -> Head:
    distance: dict[int, int] = {}
    members: list[Node] = []
    waiting = [(output, 0)]
    while waiting:
        key, passed = waiting.pop(0)
        node = graph.producer.get(key)
        if node is None or distance.get(node.index, _DEPTH + 1) <= passed:
            continue
        if node.index not in distance:
            members.append(node)
        distance[node.index] = passed
        further = passed + (node.index in layers.by_node)
        if further <= _DEPTH:
            waiting += [(source, further) for source in (*node.inputs, *node.branch_results) if source]
    return Head(output, distance, _kind(graph, output, members))


def _kind(graph: Graph, output: str, members: Sequence[Node]) -> str | None:
    own = [module_path(node) or "" for node in members]
    words = " ".join([output, *own]).lower()
    if any(node.op in RECURRENT for node in members) or _TEMPORAL.search(words):
        return "temporal"
    end = graph.producer.get(output)
    if _GEOMETRY.search(words) and not (end is not None and end.op in _SQUASHING):
        return "geometry"
    return None
