"""Whether given arrays fit the inputs of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Graph
from avreview.errors import ArtifactError
from avreview.load.wording import quoted
from avreview.probes.given import Given, GivenArray
from avreview.probes.plan_axes import Batch
from avreview.probes.plan_declared import Declared

_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
_FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})
_RAW = {"2-byte": "bfloat16", "1-byte": "float8"}  # how numpy stores the types of ml_dtypes


class Fitted(NamedTuple):
    """The shape of one sample of each input (the fixed batch where there is one), and what a reader should know."""

    shapes: Mapping[str, tuple[int, ...]]
    samples: int
    notes: Sequence[str]


def fit(given: Given, inputs: Sequence[Declared], batch: Batch, graph: Graph) -> Fitted:
    """Compares names, types, shapes and the number of samples. Raises ArtifactError for the first that does not fit."""
    arrays = _by_input(given, inputs, graph)
    notes = [note for entry in inputs for note in _type(given, entry, arrays[entry.name])]
    for entry in inputs:
        _shape(given, entry, arrays[entry.name], batch.axes.get(entry.name))
    _symbols(given, inputs, arrays, batch)
    count = _count(given, arrays, batch)
    if batch.fixed and count % batch.fixed:
        notes.append(f"the last {count % batch.fixed} of {count} given samples do not fill a batch of {batch.fixed}")
    shapes = {}
    for entry in inputs:
        shape = list(arrays[entry.name].header.shape)
        if entry.name in batch.axes:
            shape[batch.axes[entry.name]] = batch.fixed or 1
        shapes[entry.name] = tuple(shape)
    return Fitted(shapes, count, notes)


def _by_input(given: Given, inputs: Sequence[Declared], graph: Graph) -> dict[str, GivenArray]:
    """The array of each input. Arrays of the outputs' names may be there too: recorded outputs for a comparison."""
    found = {entry.name: given.named(entry.name) for entry in inputs}
    known = {name: array for name, array in found.items() if array is not None}
    names = ", ".join(quoted(name) for name in found)
    missing = [entry for entry in inputs if entry.name not in known]
    if missing:
        entry = missing[0]
        wrong = f"has no array for the input {quoted(entry.name)} ({entry.dtype} {entry.shown})"
        raise ArtifactError(given.path, wrong, f"the model's inputs are {names}")
    taken = {array.name for array in known.values()} | {info.name for info in graph.outputs}
    extra = sorted(name for name in given.arrays if name not in taken)
    if extra:
        wrong = f"has an array {quoted(extra[0])}, which is neither an input nor an output of the model"
        raise ArtifactError(given.path, wrong, f"the model's inputs are {names}")
    return known


def _type(given: Given, entry: Declared, array: GivenArray) -> list[str]:
    """What is said of a type that is converted. Raises ArtifactError for one that cannot be."""
    have, want = array.header.dtype, entry.dtype or "no tensor"
    if have == want or _RAW.get(have, " ") == want or (have == "1-byte" and want.startswith("float8")):
        return []
    if (have in _FLOATS and want in _FLOATS) or (have in _INTEGERS and want in _INTEGERS):
        return [f"{entry.name} was converted from {have} to {want}"]
    wrong = f"its array {quoted(entry.name)} holds {have}, and the model takes {want}"
    raise ArtifactError(given.path, wrong, f"convert it with astype({want!r})")


def _shape(given: Given, entry: Declared, array: GivenArray, axis: int | None) -> None:
    shape, dims = array.header.shape, entry.dims
    if dims is None:
        return
    fits = len(shape) == len(dims) and all(
        isinstance(extent, str) or place == axis or shape[place] == extent for place, extent in enumerate(dims)
    )
    if not fits or 0 in shape:
        wrong = f"its array {quoted(entry.name)} has the shape {list(shape)}, and the model takes {entry.shown}"
        raise ArtifactError(given.path, wrong, "give it the input's shape, with samples along its batch axis")


def _symbols(given: Given, inputs: Sequence[Declared], arrays: Mapping[str, GivenArray], batch: Batch) -> None:
    """One symbol has one extent, whichever input it is in."""
    known: dict[str, tuple[int, str]] = {}
    for entry in inputs:
        for axis, symbol in enumerate(entry.dims or ()):
            if not isinstance(symbol, str) or axis == batch.axes.get(entry.name):
                continue
            extent = arrays[entry.name].header.shape[axis]
            first, owner = known.setdefault(symbol, (extent, entry.name))
            if first != extent:
                wrong = f"has {first} for {quoted(symbol)} in {quoted(owner)} and {extent} in {quoted(entry.name)}"
                raise ArtifactError(given.path, wrong, "give both one extent")


def _count(given: Given, arrays: Mapping[str, GivenArray], batch: Batch) -> int:
    """The number of samples, the same in every input with a batch axis; 1 where there is none."""
    counts = {name: arrays[name].header.shape[axis] for name, axis in batch.axes.items()}
    if not counts:
        return 1
    first = next(iter(counts))
    for name, count in counts.items():
        if count != counts[first]:
            wrong = f"has {counts[first]} samples of {quoted(first)} and {count} of {quoted(name)}"
            raise ArtifactError(given.path, wrong, "give each input the same number of samples")
    if batch.fixed and counts[first] < batch.fixed:
        wrong = f"has {counts[first]} samples, and the model takes {batch.fixed} at a time"
        raise ArtifactError(given.path, wrong, f"give at least {batch.fixed}")
    return counts[first]
