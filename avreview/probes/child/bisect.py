"""Finding the first layer at which an export departs from its reference, where names tell which belongs to which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.artifact import Graph, Node
from avreview.facts.modules import module_path
from avreview.probes.child.compare import arrays, drift
from avreview.probes.child.observed import Call, Sample, sampled
from avreview.probes.child.runtime import Runtime
from avreview.probes.child.sensitivity import ulp
from avreview.probes.compared import Limits

Array = np.ndarray[Any, Any]
_AT_ONCE = 32  # values that are made outputs in one session
_BYTES_AT_ONCE = 256 << 20
_ENOUGH = 0.5  # of a graph's values must be found in the other by name


_MOST_SUSPECTS = 8
_MOVING = frozenset({  # data without computing on it, or shapes
    "Cast", "Concat", "Constant", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Shape", "Slice", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "FusedConv"})


class Observation(NamedTuple):
    """What a tensor of the reference should be found as: one of `keys` equals one of `samples`.

    There are several of each where a layer was folded into another, or a module hands on several tensors.
    """

    keys: Sequence[str]
    samples: Sequence[Sample]
    module: str | None = None  # whose result it is, by the graph's path; None for what a module takes
    folded: tuple[str, ...] = ()


class Found(NamedTuple):
    """The first departure: the value's key, and how many observed values agree before it.

    `suspects` are keys of values between it and those that agree, which were not observed themselves.
    """

    key: str
    module: str | None
    drift: float
    agreeing: int
    folded: tuple[str, ...]
    suspects: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


def first_departing(
    runtime: Runtime, feed: Mapping[str, Array], observations: Sequence[Observation], limits: Limits
) -> Found | None:
    """The observation that departs first in data-flow order; None where all of them agree, or none can be compared.

    Each round compares observations spread evenly over those that may still be the first: what comes before the
    earliest that departs, less what comes before one that agrees. When time runs out it is the earliest found so far.
    """
    search = _Search(runtime, observations)
    nudged = ulp(feed)
    while (wanted := search.next()) and not runtime.is_late:
        for group in _groups(wanted):
            keys = list(dict.fromkeys(key for seen in group for key in seen.keys))
            session = runtime.session(taps=[key for key in keys if runtime.tappable(key)])
            values = {key: sampled(array) for key, array in arrays(session.run(feed, keys)).items()}
            moved = {key: sampled(array) for key, array in arrays(session.run(nudged, keys)).items()}
            for seen in group:
                search.note(seen, min(_drifts(seen, values, moved), default=None), limits)
    return search.found()


class _Search:
    """Which observations agree, which departs first as far as is known, and which to look at next."""

    def __init__(self, runtime: Runtime, observations: Sequence[Observation]) -> None:
        self._graph = runtime.graph
        order = {key: node.index for key, node in self._graph.producer.items()}
        usable = [seen for seen in (_usable(runtime, each) for each in observations) if seen.keys]
        self._all = sorted(usable, key=lambda seen: (max(order[key] for key in seen.keys), seen.module is None))
        self._place = {id(seen): place for place, seen in enumerate(self._all)}
        self._open = list(self._all)
        self._clean: set[str] = set()  # what agrees, and what that is computed from
        self._first: tuple[int, str, float] | None = None
        self._before: set[str] = set()  # what the first that departs is computed from, and itself

    def next(self) -> list[Observation]:
        """Up to a round of observations that may be the first, spread evenly; none when the search is over."""
        if self._first is not None:
            place = self._first[0]
            self._open = [
                seen
                for seen in self._open
                if self._place[id(seen)] < place
                and not self._before.isdisjoint(seen.keys)
                and not self._clean.issuperset(seen.keys)
            ]
        step = max(1, len(self._open) // (_AT_ONCE - 1))
        wanted = self._open[::-step][:_AT_ONCE][::-1]
        chosen = {id(seen) for seen in wanted}
        self._open = [seen for seen in self._open if id(seen) not in chosen]
        return wanted

    def note(self, seen: Observation, best: tuple[float, float, str] | None, limits: Limits) -> None:
        """Takes in the drift, sensitivity and key of an observation; None where there was nothing to compare."""
        if best is None:
            return
        apart, sensitivity, key = best
        place = self._place[id(seen)]
        if not limits.exceeded(apart, sensitivity, 0.0):
            self._clean |= _sources(self._graph, key, self._clean)
        elif self._first is None or place < self._first[0]:
            self._first, self._before = (place, key, apart), _sources(self._graph, key, set())

    def found(self) -> Found | None:
        if self._first is None:
            return None
        place, key, apart = self._first
        seen = self._all[place]
        agreeing = {other for each in self._all[:place] for other in each.keys} & self._clean & self._before
        suspects = _between(self._graph, key, agreeing)
        return Found(key, seen.module, apart, len(agreeing), seen.folded, suspects)


def _sources(graph: Graph, key: str, known: set[str]) -> set[str]:
    """A value and all that it is computed from, without what comes before `known` ones."""
    found, waiting = {key}, [key]
    while waiting:
        node = graph.producer.get(waiting.pop())
        keys = {*node.inputs, *node.branch_results} if node is not None else set()
        fresh = {each for each in keys if each and each not in known} - found
        found |= fresh
        waiting += fresh
    return found


def _between(graph: Graph, key: str, agreeing: set[str]) -> list[str]:
    """What is computed between a value and those that agree, as far as it does arithmetic, in data-flow order."""
    found: dict[str, int] = {}
    waiting, seen = [key], {key}
    while waiting:
        node = graph.producer.get(waiting.pop())
        if node is None:
            continue
        if node.outputs[0] != key and node.op not in _MOVING:
            found[node.outputs[0]] = node.index
        fresh = {source for source in node.inputs if source and source not in agreeing} - seen
        seen |= fresh
        waiting += fresh
    return sorted(found, key=found.__getitem__)[-_MOST_SUSPECTS:]


def _drifts(
    seen: Observation, values: Mapping[str, Sample], moved: Mapping[str, Sample]
) -> Iterator[tuple[float, float, str]]:
    """Drift, sensitivity and key of every pair of one shape."""
    for key in seen.keys:
        value = values.get(key)
        for sample in seen.samples if value is not None else ():
            if value is not None and value.shape == sample.shape and value.values.dtype.kind in "fV":
                yield drift(sample.values, value.values), drift(value.values, moved[key].values), key


def _usable(runtime: Runtime, seen: Observation) -> Observation:
    """An observation with the keys that stand at the graph's top level."""
    own = {info.name for info in runtime.graph.outputs}
    keys = [key for key in seen.keys if runtime.tappable(key) or (key in own and key in runtime.graph.producer)]
    return seen._replace(keys=keys)


def _groups(observations: Sequence[Observation]) -> Iterator[list[Observation]]:
    """Observations in order, as many at a time as sessions and memory bear."""
    group: list[Observation] = []
    keys: set[str] = set()
    size = 0
    for seen in observations:
        new = set(seen.keys) - keys
        weight = len(new) * 4 * max(int(np.prod(sample.shape, dtype=np.int64)) for sample in seen.samples)
        if group and (len(keys) + len(new) > _AT_ONCE or size + weight > _BYTES_AT_ONCE):
            yield group
            group, keys, size, new = [], set(), 0, set(seen.keys)
        group.append(seen)
        keys |= new
        size += weight
    if group:
        yield group


def from_calls(graph: Graph, calls: Sequence[Call]) -> list[Observation]:
    """What a torch module's calls should be found as in the export, by the module paths of its nodes."""
    borders = Borders(graph)
    renamed = _aligned([call.path for call in calls], borders.paths)
    found = []
    for place, call in enumerate(calls):
        path = renamed(call.path)
        if path not in borders.paths:
            continue
        has_weights = call.is_leaf and borders.has_weights(path)
        behind = list(_absent(calls[place + 1 :], renamed, borders.paths)) if has_weights else []
        before = list(_absent(reversed(calls[:place]), renamed, borders.paths)) if has_weights else []
        folded = tuple(other.path for other in (*before[:1], *behind))
        for at, sample in enumerate(call.given):
            others = [follower.given[at] for follower in behind if at < len(follower.given)]
            found.append(Observation(borders.leaving(path), [sample, *others], path, folded))
        found += [Observation(borders.entering(path), [sample]) for sample in call.taken]
    return found


def _absent(calls: Iterable[Call], renamed: Callable[[str], str], paths: set[str]) -> Iterator[Call]:
    """The modules called directly before or behind one that have no nodes in the export: they were folded into it."""
    for call in calls:
        if call.is_leaf:  # a container merely begins or ends here
            if renamed(call.path) in paths:
                return
            yield call


def _aligned(reference: Sequence[str], graph: set[str]) -> Callable[[str], str]:
    """A function from the reference's paths to the graph's: one of them may stand in a wrapper, `model.`."""

    def score(prefix: str, added: bool) -> int:
        return sum(_moved(path, prefix, added) in graph for path in reference)

    heads = {""} | {path.partition(".")[0] + "." for path in (*graph, *reference)}
    choices = [(prefix, added) for prefix in sorted(heads, key=len) for added in (True, False)]
    prefix, added = max(choices[:200], key=lambda choice: score(*choice))
    return lambda path: _moved(path, prefix, added)


def _moved(path: str, prefix: str, added: bool) -> str:
    return prefix + path if added else path.removeprefix(prefix)


class Borders:
    """Which values go into a module and come out of it; a module holds its children's nodes too."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: dict[str, list[Node]] = {}
        self._path: dict[int, str] = {}
        self._outputs = {info.name for info in graph.outputs}
        for node in graph.nodes:
            path = module_path(node) or ""
            self._path[node.index] = path
            while path:
                self._nodes.setdefault(path, []).append(node)
                path = path.rpartition(".")[0]
        self.paths = set(self._nodes)

    def end(self, path: str) -> int:
        """The place of its last node."""
        return self._nodes[path][-1].index

    def has_weights(self, path: str) -> bool:
        """Whether it holds an operator that others are folded into."""
        return any(node.op in _WEIGHTED for node in self._nodes[path])

    def is_leaf(self, path: str) -> bool:
        return not any(other.startswith(f"{path}.") for other in self.paths)

    def leaving(self, path: str) -> list[str]:
        """What nodes outside the module read, or the graph gives."""
        return [
            key
            for node in self._nodes[path]
            for key in node.outputs
            if key
            and (key in self._outputs or any(not self._holds(path, r) for r in self._graph.consumers.get(key, ())))
        ]

    def entering(self, path: str) -> list[str]:
        """What its nodes read from nodes outside."""
        producers = ((key, self._graph.producer.get(key)) for node in self._nodes[path] for key in node.inputs if key)
        return list(dict.fromkeys(key for key, node in producers if node is not None and not self._holds(path, node)))

    def _holds(self, path: str, node: Node) -> bool:
        own = self._path.get(node.index, "")
        return own == path or own.startswith(f"{path}.")


def from_graph(runtime: Runtime, other: Runtime, feed: Mapping[str, Array]) -> list[Observation]:
    """What another ONNX file's values should be found as, for a feed of its own input names.

    Values of the same name and operator stand for each other, if most have one. What goes into modules and comes out
    of them does too, as far as no value of the same name tells it.
    """
    own = runtime.graph.producer
    keys = [key for key, node in own.items() if other.tappable(key) and other.graph.producer[key].op == node.op]
    if len(keys) < _ENOUGH * len(own):
        return _from_modules(runtime, other, feed)
    named = [Observation([key], [sample], module_path(own[key])) for key, sample in _values(other, feed, keys).items()]
    known = frozenset(key for seen in named for key in seen.keys)
    return named + [seen for seen in _from_modules(runtime, other, feed, known) if known.isdisjoint(seen.keys)]


def _from_modules(
    runtime: Runtime, other: Runtime, feed: Mapping[str, Array], known: frozenset[str] = frozenset()
) -> list[Observation]:
    """By modules, without those of which all that goes in and comes out is `known`."""
    borders, own = Borders(other.graph), Borders(runtime.graph)
    ends = sorted(borders.paths, key=borders.end)
    leaving, entering = ({path: find(path) for path in ends} for find in (borders.leaving, borders.entering))
    told = {path for path in own.paths if known.issuperset((*own.leaving(path), *own.entering(path)))}
    values = _values(other, feed, [key for path in ends if path not in told for key in leaving[path] + entering[path]])

    def samples(keys: Sequence[str]) -> list[Sample]:
        return [values[key] for key in keys if key in values]

    calls = [Call(path, samples(entering[path]), samples(leaving[path]), borders.is_leaf(path)) for path in ends]
    return from_calls(runtime.graph, calls)


def _values(runtime: Runtime, feed: Mapping[str, Array], keys: Sequence[str]) -> dict[str, Sample]:
    """Samples of the floating-point values among some that can be made outputs."""
    usable = [key for key in dict.fromkeys(keys) if runtime.tappable(key)]
    found: dict[str, Sample] = {}
    for start in range(0, len(usable), _AT_ONCE):
        part = usable[start : start + _AT_ONCE]
        values = arrays(runtime.session(taps=part).run(feed, part))
        found |= {key: sampled(array) for key, array in values.items() if array.dtype.kind in "fV"}
    return found
