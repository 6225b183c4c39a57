"""What a graph does with an input's values: indices have bounds, masks a sense, shapes and choices a meaning."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.facts.shapes import Shapes
from avreview.facts.weights import Constants

_KEEPS_VALUES = frozenset({
    "Cast", "CastLike", "Clip", "Concat", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "Max", "Min",
    "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where", "ScatterElements",
})  # fmt: skip
_SCATTERS = frozenset({"ScatterElements", "ScatterND"})
# Operators that read a shape, or a number of anything, and the place where they do.
_AS_SHAPE = {"Reshape": 1, "Expand": 1, "Tile": 1, "ConstantOfShape": 0, "TopK": 1, "Resize": 3, "Range": 1, "Trilu": 1}
_AS_BOUND = {"Slice": (1, 2, 3, 4), "Pad": (1,), "Split": (1,), "Loop": (0,)}
_STEPS = 6
_MOST = 400  # values that are looked at
_DIVISOR = 128.0  # a divisor or offset above it is for images of 0 to 255


class IndexBound(NamedTuple):
    """How many different indices there are; `unique` where two of the same would write to one place."""

    high: int
    unique: bool


def index_bound(graph: Graph, constants: Constants, shapes: Shapes, name: str) -> IndexBound | None:
    """The number of rows of the tables that an input indexes; None where it indexes none of known size."""
    highs: list[int] = []
    unique = False
    for key, node in _readers(graph, name, _KEEPS_VALUES):
        if node.op in ("Gather", "GatherElements") and node.input(1) == key:
            extent = _extent(shapes, node.input(0), int(node.attributes.get("axis", 0)))
        elif node.op == "OneHot" and node.input(0) == key:
            depth = constants.scalar(node.input(1))
            extent = int(depth) if depth is not None else None
        elif node.op in _SCATTERS and node.input(1) == key:
            axis = int(node.attributes.get("axis", 0)) if node.op == "ScatterElements" else 0
            extent = _extent(shapes, node.input(0), axis)
            unique = unique or node.attributes.get("reduction", "none") in ("none", b"none")
        elif node.op == "Equal":
            extent = _choices(graph, constants, node.input(1) if node.input(0) == key else node.input(0))
        elif node.op == "GatherND" and node.input(1) == key:
            extent = _extent(shapes, node.input(0), int(node.attributes.get("batch_dims", 0)))
        else:
            continue
        if extent:
            highs.append(extent)
    return IndexBound(min(highs), unique) if highs else None


def grid_side(graph: Graph, constants: Constants, shapes: Shapes, name: str) -> int | None:
    """The side of a square of cells inside the grid that coordinates are scattered into; None where nothing tells it.

    A cell's place is y × width + x, or a pair of indices.
    """
    widths: list[int] = []
    extents: list[int] = []
    for key, node in _readers(graph, name, _KEEPS_VALUES | {"Add", "Mul"}):
        if node.op == "Mul":
            factor = constants.scalar(node.input(1) if node.input(0) == key else node.input(0))
            widths += [int(factor)] if factor is not None and factor > 1 else []
        elif node.op in _SCATTERS and node.input(1) == key:
            extent = _extent(shapes, node.input(0), int(node.attributes.get("axis", 0)))
            extents += [extent] if extent else []
    if not extents:
        return min(widths, default=None)
    cells, width = min(extents), min(widths, default=0)
    return max(1, min(width, cells // width) if width else math.isqrt(cells))


def _choices(graph: Graph, constants: Constants, key: str) -> int | None:
    """How many numbers a written-out one-hot encoding compares with: 0, 1, 2, … ; None for anything else."""
    for _ in range(_STEPS):
        values = constants.values(key)
        if values is not None:
            flat = values.reshape(-1)
            return len(flat) if len(flat) > 1 and flat.tolist() == list(range(len(flat))) else None
        node = graph.producer.get(key)
        if node is None or node.op not in ("Cast", "Expand", "Identity", "Reshape", "Tile", "Unsqueeze"):
            return None
        key = node.input(0)
    return None


def _extent(shapes: Shapes, key: str, axis: int) -> int | None:
    dims = shapes.dims(key)
    if dims is None or not -len(dims) <= axis < len(dims):
        return None
    extent = dims[axis]
    return extent if isinstance(extent, int) and extent > 0 else None


def _readers(graph: Graph, name: str, through: frozenset[str]) -> Iterator[tuple[str, Node]]:
    """The operators that read an input's values, also through those that hand values on, with the key they read."""
    waiting, seen = [name], {name}
    while waiting and len(seen) < _MOST:
        key = waiting.pop(0)
        for node in graph.consumers.get(key, ()):
            yield key, node
            is_index = node.op in ("Gather", "GatherElements", "ScatterElements") and node.input(0) != key
            if node.op in through and not is_index:
                fresh = [output for output in node.outputs if output and output not in seen]
                seen.update(fresh)
                waiting += fresh


def is_shape(graph: Graph, name: str) -> str | None:
    """The operator that takes an input's values for a shape or a number of anything; None where none does."""
    for key, node in _readers(graph, name, _KEEPS_VALUES - {"Where"}):
        places = _AS_BOUND.get(node.op, (_AS_SHAPE.get(node.op, -1),))
        if any(node.input(place) == key for place in places if place >= 0):
            return node.op
    return None


def compared_with(graph: Graph, constants: Constants, name: str) -> float | None:
    """A constant that an input is compared with for equality, which chooses between ways through the graph."""
    for key, node in _readers(graph, name, frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})):
        if node.op == "Equal":
            other = node.input(1) if node.input(0) == key else node.input(0)
            number = constants.scalar(other)
            if number is not None:
                return number
    return None


def masks_where_true(graph: Graph, constants: Constants, name: str) -> bool:
    """True for a mask whose true elements are left out: `Where(mask, -inf, scores)`."""
    through = _KEEPS_VALUES - {"Where"} | {"Not", "Or", "And"}
    negated = {name: False}
    for key, node in _readers(graph, name, through):
        sense = negated.get(key, False)
        if node.op == "Where" and node.input(0) == key:
            kept = constants.scalar(node.input(2 if sense else 1))
            return kept is not None and kept < -1e3
        for output in node.outputs:
            negated.setdefault(output, sense != (node.op == "Not"))
    return bool(re.search(r"key_padding|padding_mask|pad_mask|ignore", name, re.IGNORECASE))


def takes_bytes(graph: Graph, constants: Constants, name: str) -> bool:
    """True where a floating image is normalized inside the graph: it comes in as 0 to 255."""
    through = frozenset({"Cast", "Identity", "Transpose", "Slice", "Split", "Gather", "Unsqueeze", "Squeeze"})
    for key, node in _readers(graph, name, through):
        if node.op not in ("Div", "Mul", "Sub") or len(node.inputs) != 2:
            continue
        other = node.input(1) if node.input(0) == key else node.input(0)
        values = constants.values(other, most=16)
        if values is None or not values.size or values.dtype.kind not in "fiu":
            continue
        size = float(abs(values.astype("float64")).mean())
        if (node.op == "Div" and size >= _DIVISOR) or (node.op == "Mul" and 0 < size <= 1 / _DIVISOR):
            return True
        if node.op == "Sub" and size >= _DIVISOR / 2:
            return True
    return False
