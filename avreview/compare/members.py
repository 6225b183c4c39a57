"""The nodes that one thing is made of: a norm that is written out, a mask that drops, a preprocessing."""

from __future__ import annotations

from collections.abc import Iterable

from avreview.artifact import Graph, Node

_MOST = 256  # nodes of one such thing


def between(graph: Graph, inputs: Iterable[str], output: str) -> list[Node]:
    """The nodes that lead from `inputs` to `output`, with those that only constants or chance lead to."""
    ends = set(inputs)
    waiting, seen = [output], {output}
    found: dict[int, Node] = {}
    while waiting and len(found) < _MOST:
        node = graph.producer.get(waiting.pop())
        if node is None:
            continue
        found[node.index] = node
        for key in node.inputs:
            if key and key not in ends and key not in seen:
                seen.add(key)
                waiting.append(key)
    kept: dict[str, Node] = {}
    for _, node in sorted(found.items()):
        given = [key for key in node.inputs if key and key not in graph.constants]
        if any(key in ends or key in kept for key in given) or not given:
            kept.update(dict.fromkeys(node.outputs, node))
    return list({node.index: node for node in kept.values()}.values())
