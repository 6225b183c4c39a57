"""Units that are copies of one another, that are zero, or that can never fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Graph
from avreview.engine.resolve import fact
from avreview.facts.drawing import Drawing
from avreview.facts.flow import MOVES
from avreview.facts.layers import Layer, Layers
from avreview.facts.norms import RUNNING
from avreview.facts.output_activations import final_layers
from avreview.facts.parameters import statistics_of
from avreview.facts.statistics import Statistics
from avreview.facts.units import UnitWeights

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus"})
_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample"})
_RECTIFIERS = ("relu", "relu6")


class UnitFaults(NamedTuple):
    """A layer's faulty units: `copied` read the same as another, `zero` weigh nothing, `silent` can never fire."""

    layer: Layer
    constant: bool
    copied: Sequence[int]
    zero: Sequence[int]
    silent: Sequence[int]
    is_final: bool


class UnitReview:
    """Judges the units of every layer, once."""

    def __init__(self, graph: Graph, layers: Layers, statistics: Statistics) -> None:
        self._graph = graph
        self._layers = layers
        self._statistics = statistics
        self._final = final_layers(graph, layers)
        self._judged: dict[float, list[UnitFaults]] = {}

    def faults(self, tolerance: float) -> list[UnitFaults]:
        """The faults of every layer whose units can be read; weights within `tolerance` × the largest are equal."""
        if tolerance not in self._judged:
            every = (self._of(layer, tolerance) for layer in self._layers.weighted)
            self._judged[tolerance] = [faults for faults in every if faults is not None]
        return self._judged[tolerance]

    def _of(self, layer: Layer, tolerance: float) -> UnitFaults | None:
        units = UnitWeights(layer)
        if layer.units < 2 or layer.weight is None:
            return None
        measured = statistics_of(self._statistics, layer.weight)
        if measured is not None and measured.is_constant:
            return UnitFaults(layer, True, (), (), (), layer.node.index in self._final)
        if not units.readable:
            return None
        if measured is not None and not measured.all_finite:
            return None  # AV001 speaks of it
        prefix = units.prefix()
        largest = measured.abs_max if measured is not None else float(abs(prefix).max(initial=0))
        zero = self._zero(units, prefix, largest * tolerance)
        copied = [unit for unit in self._copied(layer, units, prefix, largest * tolerance) if unit not in set(zero)]
        silent = self._silent(layer, units, prefix, zero)
        return UnitFaults(layer, False, copied, zero, silent, layer.node.index in self._final)

    @staticmethod
    def _zero(units: UnitWeights, prefix: Array, slack: float) -> list[int]:
        import numpy as np

        candidates = np.flatnonzero((abs(prefix) <= slack).all(axis=1))
        if not len(candidates):
            return []
        whole = (abs(units.rows(candidates)) <= slack).all(axis=1)
        return [int(unit) for unit in candidates[whole]]

    @staticmethod
    def _copied(layer: Layer, units: UnitWeights, prefix: Array, slack: float) -> list[int]:
        """Units with the same weights and bias as another of their group."""
        import numpy as np

        group = np.arange(len(prefix)) // max(len(prefix) // layer.groups, 1)
        candidates = np.flatnonzero(_paired(prefix, group, slack))
        if not len(candidates):
            return []
        rows = units.rows(candidates)
        if layer.bias is not None and layer.bias.tensor.size == layer.units:
            rows = np.column_stack([rows, layer.bias.read().reshape(-1)[candidates]])
        return [int(unit) for unit in candidates[_paired(rows, group[candidates], slack)]]

    def _silent(self, layer: Layer, units: UnitWeights, prefix: Array, zero: Sequence[int]) -> list[int]:
        """Units in front of a ReLU that no input can make fire."""
        import numpy as np

        activation = layer.activation
        if activation is None or activation.name not in _RECTIFIERS:
            return []
        folded = _folded(layer)
        if folded is None:
            return []
        sign, bias = folded
        silent = {unit for unit in zero if bias[unit] <= 0}
        if self._input_not_negative(layer):
            candidates = np.flatnonzero((prefix * sign[:, None] <= 0).all(axis=1) & (bias <= 0))
            if len(candidates):
                whole = (units.rows(candidates) * sign[candidates][:, None] <= 0).all(axis=1)
                silent |= {int(unit) for unit in candidates[whole]}
        return sorted(silent)

    def _input_not_negative(self, layer: Layer) -> bool:
        key = layer.node.input(0)
        for _ in range(8):
            node = self._graph.producer.get(key)
            if node is None:
                return False
            if node.op in _NOT_NEGATIVE:
                return True
            if node.op not in MOVES | _POOLS or node.attributes.get("mode") == "cubic":
                return False
            key = node.input(0)
        return False


def _paired(rows: Array, group: Array, slack: float) -> Array:
    """Which rows have another of their group from which no element differs by more than `slack`; bool [rows].

    Rows are compared with their neighbours in the order of one projection, in which near copies lie side by side.
    """
    import numpy as np

    matrix = rows.astype(np.float64)
    order = np.lexsort((matrix @ np.cos(np.arange(1.0, matrix.shape[1] + 1)), group))
    matrix, group = matrix[order], group[order]
    near = (group[1:] == group[:-1]) & (abs(matrix[1:] - matrix[:-1]) <= slack).all(axis=1)
    paired = np.zeros(len(matrix), bool)
    paired[order[1:]] |= near
    paired[order[:-1]] |= near
    return paired


def _folded(layer: Layer) -> tuple[Array, Array] | None:
    """The sign by which a batch norm behind the layer multiplies its weights, and the bias it makes; each [units].

    None where a bias has another shape, or a norm other than one with stored statistics stands behind the layer.
    """
    import numpy as np

    sign, bias = np.ones(layer.units), np.zeros(layer.units)
    if layer.bias is not None:
        if layer.bias.tensor.size != layer.units:
            return None
        bias = layer.bias.read().astype(np.float64).reshape(-1)
    norm = layer.norm
    if norm is None:
        return sign, bias
    stored = [norm.gamma, norm.beta, norm.mean, norm.variance]
    read = [weight.read().astype(np.float64).reshape(-1) for weight in stored if weight is not None]
    if norm.statistics != RUNNING or len(read) < len(stored) or any(part.size != layer.units for part in read):
        return None
    gamma, beta, mean, variance = read
    with np.errstate(all="ignore"):
        bias = (bias - mean) * gamma / np.sqrt(variance + (norm.eps or 0.0)) + beta
    return np.sign(gamma), bias


@fact
def unit_review(drawing: Drawing, layers: Layers, statistics: Statistics) -> UnitReview:
    """What judges the units of the graph's layers."""
    return UnitReview(drawing.graph, layers, statistics)
