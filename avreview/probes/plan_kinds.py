"""What an input is made to look like: an image, points, token ids, a mask, a state, a number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Graph
from avreview.facts.shapes import Shapes
from avreview.facts.weights import Constants
from avreview.probes.plan_axes import Batch
from avreview.probes.plan_declared import POINTS, ROWS, Declared, is_count, is_state
from avreview.probes.plan_sizes import is_audio, is_rate
from avreview.probes.plan_trace import (
    IndexBound,
    compared_with,
    grid_side,
    index_bound,
    is_shape,
    masks_where_true,
    takes_bytes,
)

_MASK = re.compile(r"mask|valid", re.IGNORECASE)
_LENGTH = re.compile(r"len(gth)?s?$|_lens?\b|seq_?len|num_?frames|sizes_in", re.IGNORECASE)
_TIME = re.compile(r"^t$|timestep|^time_?step|sigma|noise_level", re.IGNORECASE)
_VOXELS = re.compile(r"(voxel|pillar)s?_?num$|(num|n)_?(voxel|pillar)s?$|valid_?num", re.IGNORECASE)
_LABEL = re.compile(r"label|class_?id", re.IGNORECASE)
_PLACE = re.compile(r"position|cache_position", re.IGNORECASE)
_SIZE = re.compile(r"(orig|target|im(age)?|img).*(size|shape|hw)|^(height|width|[hw])$|im_info", re.IGNORECASE)
_CALIBRATION = re.compile(
    r"2(img|cam|ego|lidar|world|global)|intrin|extrin|pose|proj|rot|trans|calib|matri|ida|bda", re.IGNORECASE
)
# Numbers that models take beside their data, by name.
_NUMBERS = (
    (re.compile(r"thresh|iou|score|alpha|prob|ratio|dropout", re.IGNORECASE), 0.5),
    (re.compile(r"f_?min|low_?freq", re.IGNORECASE), 50.0),
    (re.compile(r"f_?max|high_?freq", re.IGNORECASE), 2000.0),
    (re.compile(r"max_?(out|det|box|num)|top_?k", re.IGNORECASE), 100.0),
)
_RATE = 16000
_TIMESTEPS = 1000
_POINTS_A_VOXEL = 20
_GRID = 16  # cells a side, where a file does not tell the grid that coordinates belong to
_SHAPE_LIKE = {"Reshape": 0, "Expand": 1, "Tile": 1, "TopK": 1, "Pad": 0, "Range": 8, "ConstantOfShape": 8, "Loop": 2}


class Kind(NamedTuple):
    """`name` is what is made; integers lie from `low` to `high` (excluded); with a `value` every element is that."""

    name: str
    low: int = 0
    high: int = 2
    value: float | None = None


class Kinds:
    """Judges the inputs of one graph."""

    def __init__(
        self, inputs: Sequence[Declared], batch: Batch, graph: Graph, constants: Constants, shapes: Shapes
    ) -> None:
        self._inputs = inputs
        self._batch = batch
        self._graph = graph
        self._constants = constants
        self._bounds = {entry.name: index_bound(graph, constants, shapes, entry.name) for entry in inputs}
        coordinates = filter(_is_coordinates, inputs)
        self._grids = {entry.name: grid_side(graph, constants, shapes, entry.name) for entry in coordinates}
        self._states = {entry.name for entry in inputs if is_state(graph, entry)}
        self._images = [entry for entry in inputs if entry.channel_axis is not None]

    @property
    def carries_state(self) -> bool:
        return bool(self._states)

    def of(self, entry: Declared, shapes: Mapping[str, Sequence[int]]) -> Kind:
        """The kind of an input, given the shapes of all of them in one attempt."""
        if entry.name in self._states:
            return Kind("state")
        if entry.dtype == "bool":
            return self._of_bool(entry)
        if _is_coordinates(entry):
            return Kind("coordinates", 0, self._grids[entry.name] or _GRID)
        bound = self._bounds[entry.name]
        if bound is not None and not (entry.is_floating and entry.rank > 3):
            return self._of_index(entry, bound)
        beside = self._beside_the_data(entry, shapes)
        if beside is not None:
            return beside
        return self._of_floats(entry, shapes) if entry.is_floating else self._of_integers(entry)

    def _of_bool(self, entry: Declared) -> Kind:
        if _MASK.search(entry.name) or entry.rank > 1:
            return Kind("mask", value=0.0 if masks_where_true(self._graph, self._constants, entry.name) else 1.0)
        return Kind("flag", value=1.0)

    def _of_index(self, entry: Declared, bound: IndexBound) -> Kind:
        if _PLACE.search(entry.name):
            return Kind("positions", 0, bound.high)
        return Kind("places" if bound.unique else "indices", 0, bound.high)

    def _beside_the_data(self, entry: Declared, shapes: Mapping[str, Sequence[int]]) -> Kind | None:
        """Inputs whose name says what they are: rates, lengths, counts, sizes, masks, time steps."""
        name = entry.name
        few = math.prod(shapes[name]) <= 4 or entry.rank <= 1
        if is_rate(name) and few:
            return Kind("rate", value=_RATE)
        if is_count(name):
            return Kind("counts", 1, 1 + self._points_a_voxel(shapes))
        if _VOXELS.search(name) and few:
            return Kind("number", value=self._rows(shapes))
        if _LABEL.search(name) and entry.rank <= 2:
            return Kind("integers", 0, 2)
        if _TIME.search(name) and entry.rank <= 2 and few:
            return Kind("timestep", 0, _TIMESTEPS)
        if _LENGTH.search(name) and entry.rank <= 1:
            return Kind("lengths", value=self._longest(shapes))
        if _SIZE.search(name) and entry.rank <= 2:
            return Kind("sizes", value=self._side(shapes))
        if re.search("scale", name, re.IGNORECASE) and few:
            return Kind("scale", value=1.0)
        if _MASK.search(name) and entry.channel_axis is None:
            return Kind("mask", value=0.0 if masks_where_true(self._graph, self._constants, name) else 1.0)
        return None

    def _of_integers(self, entry: Declared) -> Kind:
        if entry.rank >= 3 and entry.dtype in ("uint8", "int8", "int32", "uint16", "int16", "int64"):
            return Kind("pixels", 0, 128 if entry.dtype == "int8" else 256)
        if _PLACE.search(entry.name):
            return Kind("positions", 0, 1 << 30)
        chosen = compared_with(self._graph, self._constants, entry.name)
        if entry.rank <= 1 and chosen is not None:
            return Kind("number", value=chosen)
        reader = is_shape(self._graph, entry.name)
        if reader is not None and entry.rank <= 1:
            return Kind("number", value=_SHAPE_LIKE.get(reader, 1))
        if entry.rank == 2 and any(other.dims == entry.dims and self._bounds[other.name] for other in self._inputs):
            return Kind("mask", value=1.0)
        return Kind("number", value=_number(entry.name)) if entry.rank == 0 else Kind("integers")

    def _of_floats(self, entry: Declared, shapes: Mapping[str, Sequence[int]]) -> Kind:
        axis = self._batch.axes.get(entry.name)
        if math.prod(shapes[entry.name]) == 1 and axis is None and entry.rank <= 1:
            return Kind("number", value=_number(entry.name))
        opened = entry.rank == 4 and isinstance((entry.dims or ())[1], str) and shapes[entry.name][1] <= 4
        if entry.channel_axis is not None or opened or _is_bare_image(entry):
            return Kind("pixels", 0, 256) if takes_bytes(self._graph, self._constants, entry.name) else Kind("image")
        if entry.rank >= 2 and (entry.dims or ())[-2:] in ((3, 3), (4, 4), (3, 4)) and _CALIBRATION.search(entry.name):
            return Kind("matrix")
        if entry.rank == 5:
            return Kind("video")
        if POINTS.search(entry.name) or _has_point_layout(entry, self._inputs):
            return Kind("points")
        if is_audio(entry, self._inputs):
            return Kind("audio")
        return Kind("features")

    def _points_a_voxel(self, shapes: Mapping[str, Sequence[int]]) -> int:
        for entry in self._inputs:
            if entry.is_floating and entry.rank >= 3 and POINTS.search(entry.name):
                return max(1, shapes[entry.name][-2])
        return _POINTS_A_VOXEL

    def _rows(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """How many voxels there are."""
        return next((shapes[entry.name][0] for entry in self._inputs if entry.is_rows), 1)

    def _longest(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """The extent along which the data are a sequence: the first behind the batch of the largest input."""
        data = [entry for entry in self._inputs if entry.rank >= 2 and entry.name not in self._states]
        if not data:
            return 1
        main = max(data, key=lambda entry: math.prod(shapes[entry.name]))
        axes = [axis for axis in range(main.rank) if axis != self._batch.axes.get(main.name)]
        opened = [axis for axis in axes if isinstance((main.dims or ())[axis], str)]
        return int(shapes[main.name][(opened or axes)[0]])

    def _side(self, shapes: Mapping[str, Sequence[int]]) -> int:
        for entry in self._images:
            return int(shapes[entry.name][2 if entry.channel_axis == 1 else 1])
        return 640


def _is_coordinates(entry: Declared) -> bool:
    """Rows of (batch, z, y, x), (z, y, x) or (y, x): where each voxel is."""
    if not ROWS.search(entry.name) or re.search(r"voxels?$|pillars?$|feature", entry.name, re.IGNORECASE):
        return False
    return entry.rank >= 2 and (entry.dims or ())[-1] in (2, 3, 4) and not is_count(entry.name)


def _number(name: str) -> float:
    return next((number for pattern, number in _NUMBERS if pattern.search(name)), 1.0)


def _is_bare_image(entry: Declared) -> bool:
    dims = entry.dims or ()
    named = re.search(r"image|img|pixel|frame|rgb|camera", entry.name, re.IGNORECASE)
    return len(dims) == 3 and (dims[0] in (1, 3, 4) or dims[2] in (1, 3, 4)) and bool(named)


def _has_point_layout(entry: Declared, inputs: Sequence[Declared]) -> bool:
    """`[B, N, C]` or `[N, C]` with three to five numbers a point and many points."""
    dims = entry.dims or ()
    if len(dims) not in (2, 3) or len(inputs) > 4:
        return False
    points, channels = dims[-2], dims[-1]
    return channels in (3, 4, 5) and isinstance(points, int) and points >= 128
