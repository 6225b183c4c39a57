"""What can be said of the shapes of a graph's values without running it."""

from __future__ import annotations

from avreview.artifact import Graph, Node, ValueInfo
from avreview.engine.resolve import fact
from avreview.facts.drawing import Drawing
from avreview.facts.weights import Constants

Dims = tuple[int | str | None, ...]

_SAME = frozenset({
    "Abs", "BatchNormalization", "Bernoulli", "Cast", "CastLike", "Ceil", "Clip", "CumSum", "DequantizeLinear",
    "Dropout", "Elu", "Erf", "Exp", "FastGelu", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish",
    "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization",
    "Mish", "Neg", "Not", "PRelu", "QuantizeLinear", "QuickGelu", "RMSNormalization", "RandomNormalLike",
    "RandomUniformLike", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "SimplifiedLayerNormalization",
    "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh",
})  # fmt: skip
_BROADCAST = frozenset({
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod",
    "Mul", "Or", "Pow", "Sub", "Sum", "Where",
})  # fmt: skip
# The first axis stays the batch, the second becomes channels, the rest are spatial and unknown.
_SPATIAL = frozenset({
    "AveragePool", "Conv", "ConvInteger", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool",
    "QLinearAveragePool", "QLinearConv", "QLinearGlobalAveragePool",
})  # fmt: skip


class Shapes:
    """Ranks and dimensions of values: declared ones, and those that follow from the operators."""

    def __init__(self, graph: Graph, constants: Constants) -> None:
        self._graph = graph
        self._constants = constants
        self._known: dict[str, Dims | None] = {info.name: info.dims for info in graph.inputs}
        for node in graph.nodes:
            dims = self._after(node)
            for key in node.outputs[:1]:
                self._known[key] = self._declared(key) or dims

    def dims(self, key: str) -> Dims | None:
        """The dimensions of a value; None where not even the rank is known."""
        if key not in self._known:
            tensor = self._graph.constants.get(key)
            self._known[key] = tensor.shape if tensor is not None else self._declared(key)
        return self._known[key]

    def rank(self, key: str) -> int | None:
        dims = self.dims(key)
        return None if dims is None else len(dims)

    def _declared(self, key: str) -> Dims | None:
        info: ValueInfo | None = self._graph.values.get(key)
        return None if info is None else info.dims

    def _after(self, node: Node) -> Dims | None:
        if node.domain not in ("", "com.microsoft"):
            return None
        if node.op in _SAME:
            return self.dims(node.input(0))
        if node.op in _BROADCAST:
            return self._broadcast(node)
        if node.op in _SPATIAL:
            return self._spatial(node)
        rule = getattr(self, f"_{node.op.lower()}", None)
        return rule(node) if rule is not None else None

    def _broadcast(self, node: Node) -> Dims | None:
        all_dims = [self.dims(key) for key in node.inputs if key]
        if not all_dims or any(dims is None for dims in all_dims):
            return None
        known = [dims for dims in all_dims if dims is not None]
        rank = max(map(len, known))
        result: list[int | str | None] = []
        for axis in range(-rank, 0):
            extents = [dims[axis] for dims in known if -axis <= len(dims)]
            wide = [extent for extent in extents if extent != 1]
            result.append(wide[0] if wide else 1)
        return tuple(result)

    def _spatial(self, node: Node) -> Dims | None:
        dims = self.dims(node.input(0))
        if dims is None or len(dims) < 2:
            return None
        channels = dims[1]
        if "Conv" in node.op:
            weight = self._constants.weight(node.input(3 if node.op == "QLinearConv" else 1))
            if weight is None or weight.shape is None:
                channels = None
            elif node.op == "ConvTranspose":
                channels = weight.shape[1] * int(node.attributes.get("group", 1))
            else:
                channels = weight.shape[0]
        spatial = 1 if node.op.startswith("Global") else None
        return (dims[0], channels, *([spatial] * (len(dims) - 2)))

    def _gemm(self, node: Node) -> Dims | None:
        left, right = self.dims(node.input(0)), self.dims(node.input(1))
        if left is None or right is None or len(left) != 2 or len(right) != 2:
            return (None, None)
        rows = left[1 if node.attributes.get("transA") else 0]
        return (rows, right[0 if node.attributes.get("transB") else 1])

    def _matmul(self, node: Node) -> Dims | None:
        left, right = self.dims(node.input(0)), self.dims(node.input(1))
        if left is None or right is None or len(left) < 2 or len(right) < 2:
            return None
        longer = left if len(left) >= len(right) else right
        return (*longer[:-2], left[-2], right[-1])

    def _transpose(self, node: Node) -> Dims | None:
        dims = self.dims(node.input(0))
        if dims is None:
            return None
        order = node.attributes.get("perm") or range(len(dims) - 1, -1, -1)
        return tuple(dims[axis] for axis in order) if sorted(order) == list(range(len(dims))) else None

    def _reshape(self, node: Node) -> Dims | None:
        target = self._target(node.input(1))
        if target is None:
            return None
        dims = self.dims(node.input(0))
        return tuple(
            (dims[axis] if dims is not None and axis < len(dims) else None)
            if extent == 0
            else None
            if isinstance(extent, int) and extent < 0
            else extent
            for axis, extent in enumerate(target)
        )

    def _shape(self, node: Node) -> Dims | None:
        return (self.rank(node.input(0)) if not node.attributes else None,)

    def _constantofshape(self, node: Node) -> Dims | None:
        return self._target(node.input(0))

    def _randomuniform(self, node: Node) -> Dims | None:
        return tuple(node.attributes.get("shape") or ()) or None

    _randomnormal = _randomuniform

    def _target(self, key: str, depth: int = 6) -> Dims | None:
        """The elements of a shape that the graph holds or computes; None for those that are not constant."""
        fixed = self._constants.integers(key)
        node = self._graph.producer.get(key)
        if fixed is not None or depth <= 0:
            return fixed
        if node is not None and node.op == "Concat" and len(node.inputs) <= 8:
            parts = [self._target(part, depth - 3) for part in node.inputs]
            known = [part for part in parts if part is not None]
            return tuple(extent for part in known for extent in part) if len(known) == len(parts) else None
        if node is not None and node.op == "Shape" and not node.attributes:
            return self.dims(node.input(0))  # the shape of another value
        if node is not None and node.op in ("Cast", "Identity", "Squeeze", "Unsqueeze"):
            return self._target(node.input(0), depth - 1)
        shape = self.dims(key)
        if shape is None or len(shape) > 1:
            return None
        length = shape[0] if shape else 1
        return (None,) * length if isinstance(length, int) and 0 <= length < 64 else None

    def _flatten(self, node: Node) -> Dims | None:
        dims = self.dims(node.input(0))
        return (dims[0] if dims and node.attributes.get("axis", 1) == 1 else None, None)

    def _unsqueeze(self, node: Node) -> Dims | None:
        dims, axes = self.dims(node.input(0)), node.attributes.get("axes") or self._constants.integers(node.input(1))
        if dims is None or axes is None:
            return None
        rank = len(dims) + len(axes)
        added, rest = {axis % rank for axis in axes}, iter(dims)
        return tuple(1 if axis in added else next(rest, None) for axis in range(rank))

    def _squeeze(self, node: Node) -> Dims | None:
        dims, axes = self.dims(node.input(0)), node.attributes.get("axes") or self._constants.integers(node.input(1))
        if dims is None or axes is None or not dims:
            return None
        gone = {axis % len(dims) for axis in axes}
        return tuple(extent for axis, extent in enumerate(dims) if axis not in gone)

    def _concat(self, node: Node) -> Dims | None:
        dims = next((found for key in node.inputs if (found := self.dims(key)) is not None), None)
        if dims is None or not dims:
            return None
        axis = int(node.attributes.get("axis", 0)) % len(dims)
        return (*dims[:axis], None, *dims[axis + 1 :])

    def _slice(self, node: Node) -> Dims | None:
        dims = self.dims(node.input(0))
        if dims is None:
            return None
        axes = node.attributes.get("axes") or self._constants.integers(node.input(3))
        cut = {axis % len(dims) for axis in axes} if axes and dims else set(range(len(dims)))
        return tuple(None if axis in cut else extent for axis, extent in enumerate(dims))

    def _gather(self, node: Node) -> Dims | None:
        dims, places = self.dims(node.input(0)), self.dims(node.input(1))
        if dims is None or places is None or not dims:
            return None
        axis = int(node.attributes.get("axis", 0)) % len(dims)
        return (*dims[:axis], *places, *dims[axis + 1 :])

    def _resize(self, node: Node) -> Dims | None:
        dims = self.dims(node.input(0))
        return None if dims is None else (*dims[:2], *([None] * (len(dims) - 2)))

    _upsample = _pad = _resize

    def _reducemean(self, node: Node) -> Dims | None:
        dims = self.dims(node.input(0))
        axes = reduced_axes(node, self._constants, None if dims is None else len(dims))
        if dims is None or axes is None:
            return None
        keep = bool(node.attributes.get("keepdims", 1))
        return tuple((1 if axis in axes else d) for axis, d in enumerate(dims) if keep or axis not in axes)

    _reducesum = _reducemax = _reducel2 = _reducesumsquare = _reducemin = _reducemean


def reduced_axes(node: Node, constants: Constants, rank: int | None) -> tuple[int, ...] | None:
    """The axes that a Reduce operator reduces, counted from 0 where the rank allows it; None where unknown."""
    axes = node.attributes.get("axes")
    if axes is None and node.input(1):
        axes = constants.integers(node.input(1))
        if axes is None:
            return None
    if not axes:
        return None if rank is None else tuple(range(rank))
    if rank:
        return tuple(sorted(axis % rank for axis in axes))
    return tuple(axes)


@fact
def constants(drawing: Drawing) -> Constants:
    """The constants behind the graph's values."""
    return Constants(drawing.graph)


@fact
def shapes(drawing: Drawing, constants: Constants) -> Shapes:
    """Shapes as far as they follow without running the model."""
    return Shapes(drawing.graph, constants)
