"""Recognising the activation that follows a value, however it is written.

An activation is recognised by what it computes: the elementwise operators behind a value are followed until they
close into one result, and that little expression is evaluated on a grid and compared with the known functions. SiLU,
both GELUs, Mish, Hardswish and Softplus are found as an operator, as a function, or spelled out in any order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Graph, Node
from avreview.facts.flow import readers
from avreview.facts.weights import Constants

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MOST_NODES = 14  # of a written-out activation; tanh-GELU takes 8 to 10


class Activation(NamedTuple):
    """An activation: its name, its slope below zero where it has one, where its result is."""

    name: str
    output: str
    node: Node
    slope: float | None = None  # leaky ReLU's α


# Operators that are an activation by themselves.
_OPERATORS = {
    "Relu": "relu", "LeakyRelu": "leaky_relu", "PRelu": "prelu", "Elu": "elu", "Selu": "selu", "Celu": "celu",
    "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid", "Tanh": "tanh", "Softmax": "softmax",
    "LogSoftmax": "log_softmax", "Softplus": "softplus", "Softsign": "softsign", "Gelu": "gelu", "Mish": "mish",
    "HardSwish": "hardswish", "Swish": "silu", "FastGelu": "gelu_tanh", "BiasGelu": "gelu", "QuickGelu": "quick_gelu",
    "ThresholdedRelu": "thresholded_relu", "QLinearSigmoid": "sigmoid", "QLinearLeakyRelu": "leaky_relu",
    "QLinearSoftmax": "softmax",
}  # fmt: skip
_ELEMENTWISE = frozenset({
    "Abs", "Add", "Cast", "Clip", "Div", "Erf", "Exp", "HardSigmoid", "Identity", "Log", "Max", "Min", "Mul", "Neg",
    "Pow", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh",
})  # fmt: skip


class ActivationFinder:
    """Finds activations in one graph."""

    def __init__(self, graph: Graph, constants: Constants) -> None:
        self._graph = graph
        self._constants = constants
        self._outputs = {info.name for info in graph.outputs}

    def after(self, key: str) -> Activation | None:
        """The activation applied to the value `key`, or None."""
        consumers = readers(self._graph, key)
        if len(consumers) == 1 and (single := self._operator(consumers[0], key)):
            return single
        written = self._written_out(key)
        if written is not None:
            return written
        alone = (node for node in consumers if not self._meets_again(node, key))
        return next(filter(None, (self._operator(node, key) for node in alone)), None)

    def _meets_again(self, node: Node, key: str) -> bool:
        """True when an operator's result soon multiplies `key` itself: it is a part of something like SiLU."""
        waiting, seen = [node], 0
        while waiting and seen < _MOST_NODES:
            seen += 1
            for output in waiting.pop(0).outputs:
                for reader in readers(self._graph, output):
                    if reader.op == "Mul" and key in reader.inputs:
                        return True
                    if reader.op in _ELEMENTWISE:
                        waiting.append(reader)
        return False

    def _operator(self, node: Node, key: str) -> Activation | None:
        name = _OPERATORS.get(node.op)
        if name is None and node.op == "Clip" and not node.domain:
            name = self._clip_name(node)
        if name is None or node.input(0) != key:
            return None
        slope = None
        if name in ("leaky_relu", "prelu"):
            slope = self._slope(node)
        if name == "gelu" and node.attributes.get("approximate") == "tanh":
            name = "gelu_tanh"
        if name == "quick_gelu" and node.attributes.get("alpha") == 1:
            name = "silu"
        return Activation(name, node.outputs[0], node, slope)

    def _slope(self, node: Node) -> float | None:
        if node.op != "PRelu":
            return float(node.attributes.get("alpha", 0.01))
        values = self._constants.values(node.input(1))
        return None if values is None else float(values.mean())

    def _clip_name(self, node: Node) -> str | None:
        low = node.attributes.get("min", self._constants.scalar(node.input(1)))
        high = node.attributes.get("max", self._constants.scalar(node.input(2)))
        if low is None or low != 0:
            return "hardtanh" if low == -1 and high == 1 else None
        return "relu6" if high == 6 else "relu"

    def _written_out(self, key: str) -> Activation | None:
        """Grows the elementwise expression over `key` node by node until it closes into a known function."""
        values: dict[str, Array] = {key: _grid()}
        used = 0
        frontier = readers(self._graph, key)
        inside: set[int] = set()
        while frontier and used < _MOST_NODES:
            frontier.sort(key=lambda node: node.index)
            node = frontier.pop(0)
            if node.index in inside:
                continue
            result = self._evaluate(node, values)
            if result is None:
                continue
            inside.add(node.index)
            used += 1
            output = node.outputs[0]
            values[output] = result
            frontier += readers(self._graph, output)
            if self._closed(values, output, inside):
                if name := recognise(result):
                    return Activation(name, output, node)
                if slope := leaky_slope(result):
                    return Activation("leaky_relu", output, node, slope)
        return None

    def _closed(self, values: Mapping[str, Array], output: str, inside: set[int]) -> bool:
        """True when nothing outside reads what lies between the start and `output`."""
        return all(
            value == output
            or (value not in self._outputs and all(node.index in inside for node in readers(self._graph, value)))
            for value in values
        )

    def _evaluate(self, node: Node, values: Mapping[str, Array]) -> Array | None:
        if node.op not in _ELEMENTWISE or node.domain:
            return None
        operands: list[Array | float] = []
        for source in node.inputs:
            if not source:  # of Clip: no lower bound, no upper bound
                operands.append(-math.inf if len(operands) == 1 else math.inf)
                continue
            if source in values:
                operands.append(values[source])
                continue
            number = self._constants.scalar(source)
            if number is None:
                return None
            operands.append(number)
        return _compute(node, operands)


@functools.cache
def _grid() -> Array:
    import numpy as np

    return np.linspace(-6.0, 6.0, 41)


def _compute(node: Node, operands: Sequence[Any]) -> Array | None:
    """What an elementwise operator gives on the grid, or None where it cannot be said."""
    import numpy as np

    binary: dict[str, Callable[[Any, Any], Any]] = {
        "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power,
        "Max": np.maximum, "Min": np.minimum,
    }  # fmt: skip
    unary: dict[str, Callable[[Any], Any]] = {
        "Abs": np.abs, "Cast": np.positive, "Erf": np.vectorize(math.erf), "Exp": np.exp, "Identity": np.positive,
        "Log": np.log, "Neg": np.negative, "Reciprocal": np.reciprocal, "Relu": lambda x: np.maximum(x, 0),
        "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Softplus": lambda x: np.logaddexp(0, x), "Sqrt": np.sqrt,
        "Tanh": np.tanh,
    }  # fmt: skip
    with np.errstate(all="ignore"):
        if node.op in binary and len(operands) == 2:
            return np.asarray(binary[node.op](*operands) + 0 * _grid())
        if node.op in unary and len(operands) == 1:
            return np.asarray(unary[node.op](operands[0]))
        if node.op == "HardSigmoid":
            alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
            return np.asarray(np.clip(alpha * operands[0] + beta, 0, 1))
        if node.op == "Clip":
            low = node.attributes.get("min", operands[1] if len(operands) > 1 else -np.inf)
            high = node.attributes.get("max", operands[2] if len(operands) > 2 else np.inf)
            return np.asarray(np.clip(operands[0], low, high))
    return None


def _functions() -> Mapping[str, Callable[[Array], Array]]:
    """The known activations, as functions."""
    import numpy as np

    def sigmoid(x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-x)))

    def normal_cdf(x: Array) -> Array:
        return np.asarray((1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2)

    return {
        "relu": lambda x: np.maximum(x, 0),
        "relu6": lambda x: np.clip(x, 0, 6),
        "sigmoid": sigmoid,
        "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
        "tanh": np.tanh,
        "silu": lambda x: x * sigmoid(x),
        "quick_gelu": lambda x: x * sigmoid(1.702 * x),
        "gelu": lambda x: x * normal_cdf(x),
        "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
        "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        "softplus": lambda x: np.logaddexp(0, x),
        "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
        "softsign": lambda x: x / (1 + np.abs(x)),
    }


def apply(activation: Activation, values: Array) -> Array | None:
    """The activation of some values, or None where the function is not known exactly."""
    import numpy as np

    if activation.name in ("leaky_relu", "prelu"):
        return None if activation.slope is None else np.where(values > 0, values, activation.slope * values)
    function = _functions().get(activation.name)
    with np.errstate(all="ignore"):
        return None if function is None else function(values)


@functools.cache
def _references() -> tuple[tuple[str, ...], Array]:
    """The names of the known activations, and their values on the grid, one row each."""
    import numpy as np

    functions = _functions()
    return tuple(functions), np.stack([function(_grid()) for function in functions.values()])


def recognise(values: Array) -> str | None:
    """The activation whose values on the grid are these, or None.

    The tolerance tells exact GELU from its tanh form, which differ by 5e-4, and lets float16 constants pass.
    """
    names, references = _references()
    near = (abs(references - values) <= 1e-4 + 1e-4 * abs(references)).all(axis=1)
    return names[int(near.argmax())] if near.any() else None


def leaky_slope(values: Array) -> float | None:
    """The slope below zero of a leaky ReLU with these values on the grid, or None for another function."""
    import numpy as np

    grid = _grid()
    slope = float(values[0] / grid[0])
    fits = 0 < slope < 1 and np.allclose(values, np.where(grid > 0, grid, slope * grid), rtol=1e-4, atol=1e-4)
    return slope if fits else None
