"""A layer's weights unit by unit, read in small parts: what a question about units needs and no more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from avreview.artifact import CHUNK_ELEMENTS
from avreview.facts.layers import Layer

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PREFIX = 16  # weights of each unit that are read first: enough to tell units apart
_WHOLE = 1 << 22  # elements up to which a weight is simply read whole
_LONG_ROW = 8192  # elements of a unit from which reading the head alone is quicker than reading all


class UnitWeights:
    """The weights of a layer as a matrix of [units, inputs of a unit].

    `readable` is False where the file does not hold the values as floats, or not in an order that can be read unit by
    unit and too many to be read whole.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        weight = layer.weight
        self.readable = False
        if weight is None or weight.shape is None or not layer.units or layer.kind in ("LSTM", "GRU", "RNN"):
            return
        self.inputs = math.prod(weight.shape) // layer.units
        self._by_rows = self._units_first()
        self._matrix: Array | None = None
        small = weight.tensor.size <= _WHOLE
        self.readable = small if weight.quantized or not weight.is_plain else small or self._by_rows is not None

    def _units_first(self) -> bool | None:
        """Whether the file's first axis is the units' (True), its last (False), or neither (None)."""
        layer, weight = self._layer, self._layer.weight
        if weight is None or any(step in ("reshape", "expand") for step, _ in weight.steps):
            return None
        if layer.kind == "Conv":
            return None if weight.steps else True
        if layer.kind in ("Gemm", "MatMul") and len(weight.tensor.shape) == 2:
            return (layer.unit_axis in (0, -2)) != weight.transposed
        return None

    def prefix(self) -> Array:
        """The first weights of every unit, [units, at most PREFIX]."""
        weight = self._layer.weight
        if weight is None or self._by_rows is None or not weight.is_plain:
            return self._whole()[:, :PREFIX]
        import numpy as np

        count = min(PREFIX, self.inputs)
        if not self._by_rows:
            return np.transpose(weight.tensor.part(0, count * self._layer.units).reshape(count, -1))
        if self.inputs >= _LONG_ROW:
            return weight.tensor.heads(self._layer.units, count)
        # Rows so short are read in passing, through one buffer: quicker than a call for each.
        rows = max(CHUNK_ELEMENTS // self.inputs // 8, 1) * 8
        chunks = weight.tensor.chunks(rows * self.inputs)
        return np.concatenate([chunk.reshape(-1, self.inputs)[:, :count].copy() for chunk in chunks])

    def rows(self, units: Array) -> Array:
        """All weights of the given units, [len(units), inputs]."""
        weight = self._layer.weight
        few = len(units) <= self._layer.units // 8
        large = weight is not None and weight.tensor.size > _WHOLE
        if weight is None or not self._by_rows or not weight.is_plain or not (few or large):
            return self._whole()[units]
        import numpy as np

        return np.stack([weight.tensor.part(int(unit) * self.inputs, self.inputs) for unit in units])

    def block(self, most: int) -> Array:
        """Whole rows of the weight as it lies in the file, at most about `most` elements, as float [units, inputs].

        For a weight whose last axis is the units' these are some inputs of all units.
        """
        weight = self._layer.weight
        if weight is None or self._by_rows is None or weight.tensor.size <= most or not weight.is_plain:
            return self._whole()
        row = self.inputs if self._by_rows else self._layer.units
        rows = max(most // row, 1)
        part = weight.tensor.part(0, rows * row).reshape(rows, row)
        return part if self._by_rows else part.T

    def _whole(self) -> Array:
        if self._matrix is None:
            self._matrix = self._read_whole()
        return self._matrix

    def _read_whole(self) -> Array:
        import numpy as np

        layer, weight = self._layer, self._layer.weight
        if weight is None:
            return np.empty((0, 0), np.float32)
        values = weight.read()
        if layer.kind == "ConvTranspose":  # [inputs, units of a group, kernel …] → units of all groups first
            inputs, units, *kernel = values.shape
            grouped = values.reshape(layer.groups, inputs // layer.groups, units, *kernel)
            values = np.moveaxis(grouped, 2, 1)
        elif layer.kind in ("Gemm", "MatMul"):
            values = np.moveaxis(values, layer.unit_axis, 0)
        return values.reshape(layer.units, -1)
