"""What a graph does to an input by constants alone before anything learned sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Graph, Node, ValueInfo
from avreview.facts.flow import readers
from avreview.facts.weights import Constants

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MOST_STEPS = 32
_MOST_CONSTANTS = 4096  # elements of what scales or shifts an input
_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})
_VERBS = {
    ("Add", 0): "add", ("Add", 1): "add", ("Mul", 0): "multiply by", ("Mul", 1): "multiply by",
    ("Sub", 0): "subtract", ("Sub", 1): "subtract from", ("Div", 0): "divide by", ("Div", 1): "divide",
}  # fmt: skip
_PASSING = frozenset(
    {"Clip", "Pad", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)  # part of it where something follows
_MOVING = frozenset({"Cast", "Resize", "Upsample"})


class Step(NamedTuple):
    """One step in words, with its constants."""

    words: str
    values: tuple[float, ...] = ()
    is_affine: bool = False
    is_learned: bool = False  # a batch norm, which may be the network's first layer


class Reading(NamedTuple):
    """What is done to one input: `steps`, and all affine ones together as `scale`·x + `shift`, [channels] or [1].

    `scale` is None where the constants do not go together channel by channel. `nodes` are the indices of the nodes,
    `output` is the value behind them, which the first layer reads.
    """

    input: str
    steps: Sequence[Step]
    scale: Array | None
    shift: Array | None
    nodes: frozenset[int]
    output: str

    @property
    def mean(self) -> Array | None:
        """What is subtracted from the input."""
        return None if self.scale is None or self.shift is None or not self.scale.all() else -self.shift / self.scale

    @property
    def deviation(self) -> Array | None:
        """What the input is divided by."""
        return None if self.scale is None or not self.scale.all() else 1.0 / self.scale

    @property
    def is_affine(self) -> bool:
        return any(step.is_affine for step in self.steps)

    @property
    def others(self) -> list[str]:
        """The steps that do not scale and shift."""
        return [step.words for step in self.steps if not step.is_affine]


def readings(graph: Graph, constants: Constants) -> list[Reading]:
    """One reading for each input of the graph."""
    return [_Reader(graph, constants, info).read() for info in graph.inputs]


class _Reader:
    def __init__(self, graph: Graph, constants: Constants, info: ValueInfo) -> None:
        import numpy as np

        self._graph = graph
        self._constants = constants
        self._input = info.name
        self._steps: list[Step] = []
        self._nodes: list[int] = []
        self._scale: Array | None = np.ones(1)
        self._shift: Array | None = np.zeros(1)
        self._kept = Reading(info.name, (), self._scale, self._shift, frozenset(), info.name)

    def read(self) -> Reading:
        """The reading up to the last step that does more than pass values on."""
        key = self._input
        for _ in range(_MOST_STEPS):
            following = readers(self._graph, key)
            step = self._single(following[0], key) if len(following) == 1 else self._rearranged(following, key)
            if step is None:
                break
            key, telling = step
            if telling:
                self._kept = Reading(
                    self._input, tuple(self._steps), self._scale, self._shift, frozenset(self._nodes), key
                )
        return self._kept

    def _take(self, nodes: Sequence[Node], step: Step | None) -> str:
        self._nodes += [node.index for node in nodes]
        if step is not None:
            self._steps.append(step)
        return nodes[-1].outputs[0]

    def _single(self, node: Node, key: str) -> tuple[str, bool] | None:
        """The value behind a node that only constants take part in, and whether it tells of preprocessing."""
        if node.op == "Identity":
            return self._take([node], None), False
        if node.op in _ARITHMETIC:
            return self._arithmetic(node, key)
        if node.op == "BatchNormalization" and node.input(0) == key:
            return self._normalized(node)
        if node.op == "Gather" and node.input(0) == key:
            return self._gathered(node)
        if node.op == "Slice" and node.input(0) == key:
            steps = self._constants.integers(node.input(4)) if node.input(4) else None
            if steps == (-1,):
                axes = self._constants.integers(node.input(3)) or ()
                return self._take([node], Step(f"axis {_listed(axes)} reversed")), True
            return None
        if node.op == "Split" and node.input(0) == key:
            return self._split(node)
        if node.op in _MOVING | _PASSING and node.input(0) == key:
            return self._take([node], Step(self._told(node))), node.op in _MOVING
        return None

    def _told(self, node: Node) -> str:
        from avreview.compare.settings import settings

        told = {name: value for name, value in settings(node, self._constants, ()).items() if value is not None}
        if node.op == "Cast":
            return f"cast to {_type_name(told.get('to'))}"
        return f"{node.op}({', '.join(f'{name}={_listed(value)}' for name, value in sorted(told.items()))})"

    def _arithmetic(self, node: Node, key: str) -> tuple[str, bool] | None:
        import numpy as np

        place = 0 if node.input(0) == key else 1
        other = node.input(1 - place)
        values = self._constants.values(other, _MOST_CONSTANTS) if other and other != key else None
        if values is None or not values.size or (values.dtype.kind not in "fiu" and values.dtype.name != "bfloat16"):
            return None
        flat = np.asarray(values, np.float64).reshape(-1)
        if flat.size > 1 and max(values.shape) != flat.size:
            return None  # not one number a channel
        self._apply(*_affine(node.op, flat, constant_first=place == 1))
        words = f"{_VERBS[node.op, place]} {_listed(flat.tolist())}"
        return self._take([node], Step(words, tuple(flat.tolist()), True)), True

    def _apply(self, scale: Array | None, shift: Array) -> None:
        """Puts y = scale·x + shift behind what was there; without a scale it is no such step."""
        if self._scale is None or self._shift is None or scale is None:
            self._scale = self._shift = None
            return
        sizes = {part.size for part in (self._scale, self._shift, scale, shift)} - {1}
        if len(sizes) > 1:
            self._scale = self._shift = None
            return
        self._scale, self._shift = self._scale * scale, self._shift * scale + shift

    def _normalized(self, node: Node) -> tuple[str, bool] | None:
        import numpy as np

        parts = [self._constants.values(node.input(place), _MOST_CONSTANTS) for place in range(1, 5)]
        gamma, beta, mean, variance = (
            None if part is None else np.asarray(part, np.float64).reshape(-1) for part in parts
        )
        if gamma is None or beta is None or mean is None or variance is None or node.attributes.get("training_mode"):
            return None
        if not gamma.shape == beta.shape == mean.shape == variance.shape:
            return None
        with np.errstate(all="ignore"):
            scale = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
        shift = beta - mean * scale
        self._apply(scale, shift)
        words = f"batch norm: multiply by {_listed(scale.tolist())}, add {_listed(shift.tolist())}"
        return self._take([node], Step(words, (*scale.tolist(), *shift.tolist()), True, True)), True

    def _gathered(self, node: Node) -> tuple[str, bool] | None:
        order = self._constants.integers(node.input(1))
        if order is None or len(order) < 2:
            return None
        return self._reordered([node], order, int(node.attributes.get("axis", 0)))

    def _split(self, node: Node) -> tuple[str, bool] | None:
        """A Split whose parts are put together in another order."""
        after = {reader.index: reader for key in node.outputs for reader in readers(self._graph, key)}
        joined = next(iter(after.values()), None)
        if len(after) != 1 or joined is None or joined.op != "Concat" or sorted(joined.inputs) != sorted(node.outputs):
            return None
        order = [node.outputs.index(key) for key in joined.inputs]
        return self._reordered([node, joined], order, int(node.attributes.get("axis", 0)))

    def _rearranged(self, following: Sequence[Node], key: str) -> tuple[str, bool] | None:
        """Slices of single channels that are put together in another order."""
        if len(following) < 2 or any(node.op != "Slice" or node.input(0) != key for node in following):
            return None
        starts = {}
        for node in following:
            bounds = [self._constants.integers(node.input(place)) for place in (1, 2, 3)]
            if any(bound is None or len(bound) != 1 for bound in bounds):
                return None
            start, end, axis = (bound[0] for bound in bounds if bound is not None)
            if end - start != 1 or axis not in (1, -3, 3, -1):
                return None
            starts[node.outputs[0]] = start
        after = {reader.index: reader for name in starts for reader in readers(self._graph, name)}
        joined = next(iter(after.values()), None)
        if len(after) != 1 or joined is None or joined.op != "Concat" or sorted(joined.inputs) != sorted(starts):
            return None
        order = [starts[name] for name in joined.inputs]
        return self._reordered([*following, joined], order, int(joined.attributes.get("axis", 1)))

    def _reordered(self, nodes: Sequence[Node], order: Sequence[int], axis: int) -> tuple[str, bool]:
        if self._scale is not None and self._shift is not None:
            sizes = {self._scale.size, self._shift.size} - {1}
            if sizes:
                self._scale = self._shift = None  # told step by step
        return self._take(nodes, Step(f"entries of axis {axis} in the order {_listed(order)}")), True


def _affine(op: str, constant: Array, *, constant_first: bool) -> tuple[Array | None, Array]:
    """The scale and the shift of an operator that takes a value and a constant; no scale for a constant over it."""
    import numpy as np

    one, zero = np.ones(1), np.zeros(1)
    with np.errstate(all="ignore"):
        if op == "Add":
            return one, constant
        if op == "Mul":
            return constant, zero
        if op == "Sub":
            return (-one, constant) if constant_first else (one, -constant)
        return (None, zero) if constant_first else (1.0 / constant, zero)


def _listed(values: Any) -> str:
    if not isinstance(values, (tuple, list)):
        return f"{values:.6g}" if isinstance(values, float) else str(values)
    told = ", ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values[:8])
    more = f", … ({len(values) - 8} more)" if len(values) > 8 else ""
    return told + more if len(values) == 1 else f"[{told}{more}]"


def _type_name(number: Any) -> str:
    from onnx import TensorProto

    names = TensorProto.DataType.keys()
    return names[number].lower() if isinstance(number, int) and 0 <= number < len(names) else str(number)
