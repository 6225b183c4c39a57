"""Nodes that reduce a model's intermediate values inside the graph, so that no value has to be kept or copied out.

They are made for the opset of the model, because a graph has one opset: in 18 the axes of the reductions became an
input. Axes stand in Constant nodes, because models of before IR version 4 allow no
initializer that is not an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]

OLDEST_OPSET = 7  # the first with broadcasting as it is today
_AXES_AS_INPUT = 18


class BatchAxis(NamedTuple):
    """Where the samples of a value lie: along `axis`, each with `each` entries in a row (windows, cameras, heads)."""

    axis: int
    each: int


def picked(extent: int, step: int) -> int:
    """How many places along an axis are left of which every `step`-th is looked at."""
    return len(_places(extent, step)) if step > 1 else extent


def _places(extent: int, step: int) -> range:
    return range(min(step // 2, extent - 1), extent, step)


class Reductions:
    """Nodes and outputs to be added to a model of that opset; each method gives the names of the outputs it added."""

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self._model = ModelProto()
        self._number = 0

    def serialized(self) -> bytes:
        """A ModelProto that holds what is added and nothing else."""
        return bytes(self._model.SerializeToString())

    def shape(self, key: str) -> str:
        """The shape of a value, int64 [rank]."""
        return self._output(self._node("Shape", [key]), TensorProto.INT64)

    def squares(
        self, key: str, shape: Sequence[int], units: int, batch: BatchAxis, samples: int, steps: Sequence[int]
    ) -> tuple[str, str]:
        """Sums of squares from which the variance across samples follows, two of float32 [units].

        They are taken at every `steps`-th position along each axis, which is 1 along that of the samples.

        Of the difference d of each sample to the first one: the sum of d² over all samples and positions, and the sum
        over positions of (the mean of d over samples)². Differences, because E[x²] - E[x]² of the values themselves
        cancels where the mean is far from 0, and a signal that has died away entirely shall come out as 0.
        """
        value = self._float(self._picked(key, shape, steps))
        rank, axis = len(shape), batch.axis
        if batch.each > 1:
            left = list(map(picked, shape, steps))
            split = [*left[:axis], samples, batch.each, *left[axis + 1 :]]
            value = self._node("Reshape", [value, self._constant(split)])
            rank, units = rank + 1, units + (units > axis)
        difference = self._node("Sub", [value, self._node("Gather", [value, self._constant([0])], axis=axis)])
        others = [place for place in range(rank) if place != units]
        total = self._reduce("ReduceSumSquare", difference, others)
        mean = self._reduce("ReduceMean", difference, [axis], keep=True)
        return self._output(total), self._output(self._reduce("ReduceSumSquare", mean, others))

    def largest(self, key: str, rank: int, units: int | None) -> str:
        """The largest element for each unit, float32 [units]; of all elements where there is no axis of units."""
        others = [place for place in range(rank) if place != units]
        value = self._float(key)
        return self._output(self._reduce("ReduceMax", value, others) if others else value)

    def beyond(self, key: str, rank: int, level: float, *, logistic: bool) -> str:
        """The share of elements whose size is over `level`, float32 []; `logistic` ones are stretched from 0…1 first
        to -1…1."""
        value = self._float(key)
        if logistic:
            value = self._node("Sub", [value, self._constant(np.float32(0.5))])
        bound = self._constant(np.float32(level / 2 if logistic else level))
        far = self._node("Greater", [self._node("Abs", [value]), bound])
        return self._output(self._reduce("ReduceMean", self._float(far), list(range(rank))))

    def picked(self, key: str, shape: Sequence[int], steps: Sequence[int]) -> str:
        """About every `steps`-th element along each axis, float32."""
        return self._output(self._float(self._picked(key, shape, steps)))

    def _picked(self, key: str, shape: Sequence[int], steps: Sequence[int]) -> str:
        for axis, (extent, step) in enumerate(zip(shape, steps, strict=True)):
            if step > 1:
                key = self._node("Gather", [key, self._constant(list(_places(extent, step)))], axis=axis)
        return key

    def _reduce(self, op: str, key: str, axes: Sequence[int], *, keep: bool = False) -> str:
        if self._opset < _AXES_AS_INPUT:
            return self._node(op, [key], axes=list(axes), keepdims=int(keep))
        return self._node(op, [key, self._constant(list(axes))], keepdims=int(keep))

    def _float(self, key: str) -> str:
        return self._node("Cast", [key], to=TensorProto.FLOAT)

    def _constant(self, value: Any) -> str:
        array = np.asarray(value, None if isinstance(value, np.generic) else np.int64)
        return self._node("Constant", [], value=numpy_helper.from_array(array))

    def _node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        self._number += 1
        name = f"avreview/{self._number}/{op}"
        self._model.graph.node.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def _output(self, name: str, kind: int = TensorProto.FLOAT) -> str:
        self._model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
        return name
