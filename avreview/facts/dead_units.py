"""Units that are copies of one another, that are zero, or that can never fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avreview.artifact import Artifact, Graph
from avreview.engine.resolve import fact
from avreview.facts.flow import MOVES
from avreview.facts.graphs import the_graph
from avreview.facts.layers import Layer, Layers
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


@dataclass(frozen=True, slots=True)
class UnitFaults:
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

    def faults(self, tolerance: float) -> list[UnitFaults]:
        """The faults of every layer whose units can be read; weights within `tolerance` × the largest are equal."""
        return [faults for layer in self._layers.weighted if (faults := self._of(layer, tolerance)) is not None]

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
        step = slack or 1.0
        keys = np.column_stack([group, np.round(prefix / step).astype(np.float64)]) if slack else None
        if keys is None:
            return []
        _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        candidates = np.flatnonzero(counts[inverse.reshape(-1)] > 1)
        if not len(candidates):
            return []
        rows = np.round(units.rows(candidates) / step).astype(np.float64)
        columns = [group[candidates][:, None], rows]
        if layer.bias is not None and layer.bias.tensor.size == layer.units:
            columns.append(layer.bias.read().astype(np.float64).reshape(-1)[candidates][:, None])
        _, inverse, counts = np.unique(np.hstack(columns), axis=0, return_inverse=True, return_counts=True)
        return [int(unit) for unit in candidates[counts[inverse.reshape(-1)] > 1]]

    def _silent(self, layer: Layer, units: UnitWeights, prefix: Array, zero: Sequence[int]) -> list[int]:
        """Units in front of a ReLU that no input can make fire."""
        import numpy as np

        activation = layer.activation
        if activation is None or activation.name not in _RECTIFIERS or layer.norm is not None:
            return []
        bias = np.zeros(layer.units)
        if layer.bias is not None:
            if layer.bias.tensor.size != layer.units:
                return []
            bias = layer.bias.read().astype(np.float64).reshape(-1)
        silent = {unit for unit in zero if bias[unit] <= 0}
        if self._input_not_negative(layer):
            candidates = np.flatnonzero((prefix <= 0).all(axis=1) & (bias <= 0))
            if len(candidates):
                whole = (units.rows(candidates) <= 0).all(axis=1)
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
            if node.op not in MOVES | _POOLS:
                return False
            key = node.input(0)
        return False


@fact
def unit_review(artifact: Artifact, layers: Layers, statistics: Statistics) -> UnitReview:
    """What judges the units of the graph's layers."""
    return UnitReview(the_graph(artifact), layers, statistics)
