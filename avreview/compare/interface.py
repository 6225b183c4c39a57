"""Inputs and outputs of two graphs: names, types and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.artifact import Graph, ValueInfo
from avreview.compare.inputs import paired_values
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change


def compare_interface(old: Graph, new: Graph) -> Iterator[Change]:
    """What changed about the inputs and outputs."""
    yield from _compared("input", old.inputs, new.inputs)
    yield from _compared("output", old.outputs, new.outputs)


def _compared(word: str, old: Sequence[ValueInfo], new: Sequence[ValueInfo]) -> Iterator[Change]:
    pairs = paired_values(old, new)
    for left, right in pairs:
        if left.name != right.name:
            yield Change(CHANGED, right.name, f"{word} renamed", left.name, right.name)
        if (left.dtype, left.dims) != (right.dtype, right.dims):
            yield Change(CHANGED, right.name, f"{word}: type or shape", _described(left), _described(right))
    kept = {id(info) for pair in pairs for info in pair}
    for info in old:
        if id(info) not in kept:
            yield Change(REMOVED, info.name, word, _described(info))
    for info in new:
        if id(info) not in kept:
            yield Change(ADDED, info.name, word, None, _described(info))
    places = {id(info): number for side in (old, new) for number, info in enumerate(side)}
    order = [places[id(right)] for _, right in sorted(pairs, key=lambda pair: places[id(pair[0])])]
    if order != sorted(order):
        yield Change(CHANGED, f"{word}s", f"order of the {word}s", [i.name for i in old], [i.name for i in new])


def _described(info: ValueInfo) -> str:
    dims = "rank not declared" if info.dims is None else [("?" if extent is None else extent) for extent in info.dims]
    shape = dims if isinstance(dims, str) else f"[{', '.join(map(str, dims))}]"
    return f"{info.dtype or 'no tensor'} {shape}"
