"""Who makes and who reads each value, and the order in which data flows."""

from __future__ import annotations

from avreview.artifact import Node
from avreview.errors import ArtifactError
from avreview.load.wording import quoted


def producers(nodes: list[Node]) -> dict[str, Node]:
    """The node that makes each value."""
    return {key: node for node in nodes for key in node.outputs if key}


def consumers(nodes: list[Node]) -> dict[str, list[Node]]:
    """The nodes that read each value, once each; a control-flow node reads the results of its branches too."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for key in (*node.inputs, *node.branch_results) if node.branch_results else node.inputs:
            known = readers.get(key)
            if known is None:
                readers[key] = [node]
            elif known[-1] is not node:
                known.append(node)
    readers.pop("", None)  # an input left out
    return readers


def in_order(path: str, nodes: list[Node], producer: dict[str, Node]) -> list[Node]:
    """The nodes so that each comes behind what it reads; in the file's own order where that already holds."""
    ordered = nodes if _is_ordered(nodes, producer) else _topological(path, nodes, producer)
    for index, node in enumerate(ordered):
        node.index = index
    return ordered


def _is_ordered(nodes: list[Node], producer: dict[str, Node]) -> bool:
    made = set[str]()
    for node in nodes:
        for key in (*node.inputs, *node.branch_results) if node.branch_results else node.inputs:
            if key not in made and key in producer:
                return False
        made.update(node.outputs)
    return True


def _topological(path: str, nodes: list[Node], producer: dict[str, Node]) -> list[Node]:
    """Kahn's algorithm, first come first served."""
    waiting: dict[int, int] = {}
    dependents: dict[int, list[Node]] = {}
    for node in nodes:
        sources = {id(producer[key]) for key in (*node.inputs, *node.branch_results) if key in producer}
        waiting[id(node)] = len(sources)
        for source in sources:
            dependents.setdefault(source, []).append(node)
    ready = [node for node in nodes if not waiting[id(node)]]
    for node in ready:
        for dependent in dependents.get(id(node), ()):
            waiting[id(dependent)] -= 1
            if not waiting[id(dependent)]:
                ready.append(dependent)
    if len(ready) < len(nodes):
        stuck = next(node for node in nodes if waiting[id(node)] > 0)
        what = f"data runs in a circle through the node {quoted(stuck.label)}"
        raise ArtifactError(path, what, "export the model again")
    return ready
