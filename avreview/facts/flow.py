"""Following data through a graph."""

from __future__ import annotations

from collections.abc import Iterator

from avreview.artifact import Graph, Node

# What moves values about without changing them.
MOVES = frozenset({
    "Cast", "CastLike", "Contiguous", "DepthToSpace", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "QuantizeLinear", "DequantizeLinear",
})  # fmt: skip
_SHAPES = frozenset({"Shape", "Size"})


def ancestors(graph: Graph, key: str, limit: int = 256) -> Iterator[Node]:
    """The nodes that a value is computed from, nearest first, at most `limit`; not those behind a Shape."""
    waiting, seen = [key], {key}
    found = 0
    while waiting and found < limit:
        node = graph.producer.get(waiting.pop(0))
        if node is None:
            continue
        found += 1
        yield node
        if node.op in _SHAPES:
            continue
        for source in (*node.inputs, *node.branch_results):
            if source and source not in seen:
                seen.add(source)
                waiting.append(source)


def is_fixed(graph: Graph, key: str) -> bool:
    """True when a value is computed from constants and shapes alone, so that no input's data reaches it."""
    return _reaches_only_constants(graph, key, {})


def _reaches_only_constants(graph: Graph, key: str, known: dict[str, bool]) -> bool:
    waiting = [key]
    while waiting:
        current = waiting.pop()
        if not current or current in graph.constants or current in known:
            continue
        known[current] = True
        node = graph.producer.get(current)
        if node is None or len(known) > 512:
            return False
        if node.op not in _SHAPES:
            waiting += [*node.inputs, *node.branch_results]
    return True


def readers(graph: Graph, key: str) -> list[Node]:
    """The nodes that read a value's data, and not its shape or its type alone."""
    return [
        node
        for node in graph.consumers.get(key, ())
        if node.op not in _SHAPES and (node.op != "CastLike" or node.input(0) == key)
    ]


def only_consumer(graph: Graph, key: str) -> Node | None:
    """The node that alone reads a value's data."""
    consumers = readers(graph, key)
    return consumers[0] if len(consumers) == 1 else None


def past_moves(graph: Graph, key: str, most: int = 8) -> str:
    """The value behind operators that only move data, as long as nothing else reads it on the way."""
    for _ in range(most):
        node = only_consumer(graph, key)
        if node is None or node.op not in MOVES or node.input(0) != key or node.op == "Split":
            break
        key = node.outputs[0]
    return key
