"""Finding the first value of a graph at which two runs part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avreview.artifact import Node
from avreview.probes.child.runtime import Runtime

_AT_ONCE = 24  # values that are looked at in one round: each round takes a session and its runs


def first_departure(runtime: Runtime, start: str, departs: Callable[[Sequence[str]], set[str]]) -> str:
    """The key of a value that departs though nothing that it is computed from does.

    `start` is a value that departs; `departs` tells, of some values that can be made outputs, which ones do. Each
    round looks at values spread evenly over what `start` is computed from, with those it is computed from directly,
    and goes on from the earliest that departs. When time runs out it is the earliest found so far.
    """
    graph = runtime.graph
    clean: set[str] = set()
    while True:
        before = _before(runtime, start, clean)
        if not before or runtime.is_late:
            return start
        step = max(1, len(before) // _AT_ONCE)
        direct = nearest(runtime, start) - clean
        wanted = sorted({*before[::step], *direct}, key=lambda key: graph.producer[key].index)
        found = departs(wanted)
        clean |= set(wanted) - found
        if found:
            start = next(key for key in wanted if key in found)
        elif direct <= set(wanted):
            return start


def _before(runtime: Runtime, key: str, clean: set[str]) -> list[str]:
    """The values that `key` is computed from, in data-flow order, as far as they can be outputs and are not clean."""
    graph = runtime.graph
    found: set[str] = set()
    waiting = list(_sources(graph.producer.get(key)))
    while waiting:
        source = waiting.pop()
        node = graph.producer.get(source)
        if node is None or source in found:
            continue
        found.add(source)
        waiting += _sources(node)
    usable = [source for source in found if source not in clean and runtime.tappable(source)]
    return sorted(usable, key=lambda source: graph.producer[source].index)


def nearest(runtime: Runtime, key: str) -> set[str]:
    """The nearest values in front of `key` that can be outputs."""
    graph = runtime.graph
    found: set[str] = set()
    seen: set[str] = set()
    waiting = list(_sources(graph.producer.get(key)))
    while waiting:
        source = waiting.pop()
        if source in seen or source not in graph.producer:
            continue
        seen.add(source)
        if runtime.tappable(source):
            found.add(source)
        else:
            waiting += _sources(graph.producer[source])
    return found


def _sources(node: Node | None) -> list[str]:
    return [key for key in (*node.inputs, *node.branch_results) if key] if node is not None else []
