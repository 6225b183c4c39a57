"""What a graph declares of its inputs, completed by what its first operators say."""

from __future__ import annotations

import re
from typing import NamedTuple

from avreview.artifact import Graph, Node
from avreview.facts.weights import Constants

Extent = int | str
Dims = tuple[Extent, ...]

ROWS = re.compile(r"voxel|pillar|coor|indices_?3d", re.IGNORECASE)
POINTS = re.compile(r"point|pts|lidar|cloud|voxel|pillar", re.IGNORECASE)
_COUNTS = re.compile(r"num_?(points|pts)|points?_?(per|num|count)|n_?points", re.IGNORECASE)
_STATE = re.compile(
    r"(^|[^a-z])([hc]_?(0|n|in|prev|t)?|state|init(ial)?_?[hc]?_?state|hidden(_state)?|cell(_state)?|h_?[cn]?0)$"
    r"|(hidden|cell|rnn|gru|lstm)_?state(_in)?$|^(prev|in|init\w*)_?(state|hidden|cell|[hc]\d?)$",
    re.IGNORECASE,
)
_UNTOLD = (None, "", "?", "-1", "None", "unk", "*")
_UNNAMED = re.compile(
    r"\0|^[sudi]_?\d+$|^unk_*\d+$|dynamicdimension|_dim_?\d+$|dynamic_axes|^dim_?\d+$|_d\d+$|^axis_?\d+$|^dyn(amic)?\d*$",
    re.IGNORECASE,
)

# What hands an input on to the operator that first works with it.
_HANDS_ON = frozenset({"Add", "Cast", "Div", "Dropout", "Identity", "Mul", "QuantizeLinear", "DequantizeLinear", "Sub"})
_RECURRENT = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,), "DynamicQuantizeLSTM": (5, 6)}  # places of the initial states
_STEPS = 6


class Declared(NamedTuple):
    """A graph input. `dims` has an int for each fixed extent and a symbol for each open one; None without a rank.

    Extents that the file leaves without a name have symbols of their own, which begin with a NUL.
    """

    name: str
    dtype: str | None
    dims: Dims | None

    @property
    def rank(self) -> int:
        return len(self.dims or ())

    @property
    def shown(self) -> str:
        """The declared shape as a person writes it: `[batch, 3, ?, ?]`."""
        if self.dims is None:
            return "of unknown rank"
        words = ["?" if isinstance(extent, str) and is_unnamed(extent) else str(extent) for extent in self.dims]
        return f"[{', '.join(words)}]"

    @property
    def is_floating(self) -> bool:
        return self.dtype is not None and self.dtype.startswith(("float", "bfloat"))

    @property
    def is_rows(self) -> bool:
        """True where the first axis counts points, voxels or the like: `points [N, 4]`, `coors [M, 4]`."""
        if _COUNTS.search(self.name):
            return self.rank == 1
        if ROWS.search(self.name):
            return self.rank == (3 if re.search(r"voxel|pillar", self.name, re.IGNORECASE) and self.is_floating else 2)
        return bool(POINTS.search(self.name)) and self.rank == 2

    @property
    def channel_axis(self) -> int | None:
        """Where the channels of an image are, 1 or 3; None for what does not look like a batch of images."""
        if self.dims is None or self.rank != 4 or POINTS.search(self.name):
            return None
        if self.dims[3] in (1, 3, 4) and self.dims[1] not in (1, 3, 4):
            return 3
        few = isinstance(self.dims[1], int) and self.dims[1] <= 16
        return 1 if few and all(isinstance(extent, str) or extent >= 8 for extent in self.dims[2:]) else None


def is_unnamed(symbol: str) -> bool:
    """True for a symbol that an exporter made up: it says nothing of what it counts."""
    return bool(_UNNAMED.search(symbol))


def declared_inputs(graph: Graph, constants: Constants) -> list[Declared]:
    """The inputs that a caller has to give, without the initializers that one may override."""
    found = []
    for info in graph.inputs:
        dims = info.dims if info.dims is not None else _dims_from_reader(graph, constants, info.name)
        if dims is None or info.dtype is None:
            found.append(Declared(info.name, info.dtype, None))
            continue
        complete = [_extent(extent, info.name, axis) for axis, extent in enumerate(dims)]
        place, channels = _channels(graph, constants, info.name, len(complete))
        if channels and isinstance(complete[place], str):
            complete[place] = channels
        found.append(Declared(info.name, info.dtype, tuple(complete)))
    return found


def _extent(extent: int | str | None, name: str, axis: int) -> Extent:
    if isinstance(extent, int) and extent > 0:
        return extent
    return f"\0{name}:{axis}" if extent in _UNTOLD or isinstance(extent, int) else str(extent)


def is_state(graph: Graph, declared: Declared) -> bool:
    """True for the initial state of a recurrence: by what reads it, or by its name."""
    if declared.rank < 2 or not declared.is_floating:
        return False
    keys, seen = [declared.name], 0
    while keys and seen < 32:
        key = keys.pop(0)
        for node in graph.consumers.get(key, ()):
            seen += 1
            if key in [node.input(place) for place in _RECURRENT.get(node.op, ())]:
                return True
            if node.op in (
                "Cast",
                "Expand",
                "Gather",
                "Identity",
                "Slice",
                "Split",
                "Squeeze",
                "Transpose",
                "Unsqueeze",
            ):
                keys += node.outputs
    return is_named_state(declared)


def is_named_state(declared: Declared) -> bool:
    """True where an input's name and rank say that it is a recurrence's initial state."""
    return bool(_STATE.search(declared.name)) and declared.is_floating and declared.rank in (2, 3)


def is_count(name: str) -> bool:
    """True for the name of an input that counts points."""
    return bool(_COUNTS.search(name))


def first_readers(graph: Graph, name: str) -> list[tuple[str, Node]]:
    """The operators that first work with an input, past casts and normalization, with the key that each reads."""
    found: list[tuple[str, Node]] = []
    keys, seen = [name], {name}
    for _ in range(_STEPS):
        following: list[str] = []
        for key in keys:
            for node in graph.consumers.get(key, ()):
                found.append((key, node))
                following += [output for output in node.outputs[:1] if node.op in _HANDS_ON and output not in seen]
                seen.update(following)
        keys = following
    return found


def _channels(graph: Graph, constants: Constants, name: str, rank: int) -> tuple[int, int | None]:
    """The axis that a weight reads an input along, and its extent; None where no weight reads it."""
    for key, node in first_readers(graph, name):
        weight = constants.weight(node.input(1)) if node.op in ("Conv", "MatMul", "Gemm") else None
        shape = weight.shape if weight is not None else None
        if shape is None or node.input(0) != key:
            continue
        if node.op == "Conv" and len(shape) == rank:
            return 1, shape[1] * int(node.attributes.get("group", 1))
        if node.op == "MatMul" and rank and len(shape) == 2:
            return rank - 1, shape[0]
        if node.op == "Gemm" and rank == 2 and not node.attributes.get("transA"):
            return 1, shape[1 if node.attributes.get("transB") else 0]
    return 0, None


def _dims_from_reader(graph: Graph, constants: Constants, name: str) -> tuple[None, ...] | None:
    """An undeclared rank, where the first weight that reads the input tells it."""
    for key, node in first_readers(graph, name):
        weight = constants.weight(node.input(1)) if node.op in ("Conv", "Gemm") and node.input(0) == key else None
        if weight is not None and weight.shape is not None:
            return (None,) * len(weight.shape)
    return None
