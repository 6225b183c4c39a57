"""Constants behind the values of a graph, through whatever stands between them and their use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Graph, Node, Tensor

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MOST_STEPS = 32
_TRANSPARENT = {"Identity", "Cast", "CastLike", "QuantizeLinear"}  # QuantizeLinear: of fake-quantized training
_RESHAPING = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"}
_FILL_LIMIT = 1 << 28  # elements of a ConstantOfShape that stand for a weight


class Weight(NamedTuple):
    """A constant as the graph uses it: the tensor in the file, and what is done to it on the way.

    `shape` is the shape in use (None where a reshape's target is not constant); `quantized` when the file holds
    integers and a scale.
    """

    key: str
    tensor: Tensor
    steps: tuple[tuple[str, Any], ...] = ()
    shape: tuple[int, ...] | None = None
    quantized: bool = False

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def is_plain(self) -> bool:
        """The file's own values in their own order: statistics of the tensor are those of the weight."""
        return not self.quantized and self.tensor.is_floating

    @property
    def transposed(self) -> bool:
        """A matrix that is used with its axes exchanged."""
        return sum(step == "Transpose" for step, _ in self.steps) % 2 == 1

    def read(self) -> Array:
        """The values in use, in `shape`; integers times their scale where quantized."""
        import numpy as np

        value = self.tensor.copy()
        for step, argument in self.steps:
            if step == "Transpose":
                value = np.transpose(value, argument)
            elif step == "reshape":
                value = value.reshape(argument)
            elif step == "expand":
                value = np.broadcast_to(value, argument)
            elif step == "scale":
                value = _dequantize(value, *argument)
        return np.asarray(value)


def _dequantize(value: Array, scale: Tensor, zero: Tensor | None, axis: int, block: int = 0) -> Array:
    """Integers times their scale: one, one a channel of the axis, or one a `block` of it (the last may be short)."""
    import numpy as np

    factor, offset = scale.read().astype(np.float32), zero.read().astype(np.float32) if zero else np.float32(0)
    if factor.size > 1 and factor.ndim == 1 and value.ndim:
        spread = [1] * value.ndim
        spread[axis] = factor.size
        factor = factor.reshape(spread)
        offset = offset.reshape(spread) if np.size(offset) > 1 else offset
    elif factor.ndim == value.ndim and factor.shape != value.shape:  # by blocks of the axis
        repeat = block or -(-value.shape[axis] // factor.shape[axis])
        factor, offset = (np.repeat(part, repeat, axis).take(range(value.shape[axis]), axis) if np.ndim(part) else part
                          for part in (factor, offset))  # fmt: skip
    return np.asarray((value.astype(np.float32) - offset) * factor)


def _is_scale(scale: Tensor, inner: Weight, axis: int) -> bool:
    """Whether a scale fits: one number, one a channel of the axis, or one a block of it."""
    if scale.size == 1 and len(scale.shape) < 2:
        return True
    rank = len(inner.shape) if inner.shape is not None else 0
    if inner.shape is None or not -rank <= axis < rank:
        return False
    if len(scale.shape) == 1:
        return scale.size == inner.shape[axis]
    if len(scale.shape) != rank or not scale.shape[axis]:
        return False
    return all(scale.shape[place] == inner.shape[place] for place in range(rank) if place != axis % rank)


def _broadcasts(factor: tuple[int, ...], shape: tuple[int, ...] | None) -> bool:
    """Whether a product with the factor keeps the shape."""
    if shape is None or len(factor) > len(shape):
        return False
    return all(extent in (1, wanted) for extent, wanted in zip(reversed(factor), reversed(shape), strict=False))


class Constants:
    """Finds the constant behind a value of the graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, Weight | None] = {}

    def weight(self, key: str) -> Weight | None:
        """The constant that a value comes from, or None when it comes from the model's inputs."""
        if key not in self._known:
            self._known[key] = self._find(key, _MOST_STEPS)
        return self._known[key]

    def values(self, key: str, most: int = 4096) -> Array | None:
        """The elements of a small constant in use, or None."""
        weight = self.weight(key) if key else None
        if weight is None or weight.tensor.size > most or weight.tensor.dtype == "string":
            return None
        return weight.read()

    def scalar(self, key: str) -> float | None:
        """The value of a constant that holds one number."""
        values = self.values(key, most=1)
        return None if values is None or values.size != 1 else float(values.reshape(-1)[0])

    def integers(self, key: str) -> tuple[int, ...] | None:
        """The elements of a constant that is a shape or a list of axes."""
        values = self.values(key, most=64)
        return None if values is None else tuple(int(value) for value in values.reshape(-1))

    def _find(self, key: str, steps: int) -> Weight | None:
        tensor = self._graph.constants.get(key)
        if tensor is not None:
            return Weight(key, tensor, shape=tensor.shape)
        node = self._graph.producer.get(key)
        if node is None or steps == 0 or (node.domain and node.op != "DequantizeLinear"):
            return None
        if node.op == "ConstantOfShape":
            return self._filled(key, node, steps)
        if node.op == "Mul":
            return self._scaled(node, steps)
        if node.op in ("Split", "Slice"):
            whole = self._find(node.input(0), steps - 1)
            return None if whole is None else self._rows(key, node, whole)
        if node.op not in _TRANSPARENT | _RESHAPING | {"Transpose", "DequantizeLinear"}:
            return None
        inner = self._find(node.input(0), steps - 1)
        return None if inner is None else self._through(node, inner)

    def _through(self, node: Node, inner: Weight) -> Weight | None:
        if node.op in _TRANSPARENT:
            return inner
        if node.op == "DequantizeLinear":
            scale = self._graph.constants.get(node.input(1))
            if scale is None:
                return None
            if inner.tensor.is_floating and inner.tensor.dtype in ("float32", "float64", "float16"):
                return inner  # quantized and dequantized again: the file holds the trained values
            zero = self._graph.constants.get(node.input(2))
            axis, block = (
                int(node.attributes.get(name, default)) for name, default in (("axis", 1), ("block_size", 0))
            )
            step = ("scale", (scale, zero, axis, max(block, 0)))
            if not _is_scale(scale, inner, axis):
                return None
            return Weight(inner.key, inner.tensor, (*inner.steps, step), inner.shape, quantized=True)
        if node.op == "Transpose":
            rank = len(inner.shape) if inner.shape is not None else 0
            order = tuple(node.attributes.get("perm") or range(rank - 1, -1, -1))
            if inner.shape is None or sorted(order) != list(range(rank)):
                return None
            shape = tuple(inner.shape[axis] for axis in order)
            return Weight(inner.key, inner.tensor, (*inner.steps, ("Transpose", order)), shape, inner.quantized)
        reshaped = self._reshaped(node, inner)
        if reshaped is None:
            return None
        return Weight(inner.key, inner.tensor, (*inner.steps, ("reshape", reshaped)), reshaped, inner.quantized)

    def _reshaped(self, node: Node, inner: Weight) -> tuple[int, ...] | None:
        if inner.shape is None:
            return None
        size = math.prod(inner.shape)
        if node.op == "Flatten":
            axis = int(node.attributes.get("axis", 1))
            rows = math.prod(inner.shape[:axis])
            return (rows, size // rows) if rows else None
        axes = node.attributes.get("axes") or self.integers(node.input(1))
        if node.op == "Reshape":
            own = inner.shape
            target = axes and tuple(own[i] if d == 0 and i < len(own) else d for i, d in enumerate(axes))
            known = math.prod(d for d in target if d != -1) if target else 0
            if not target or not known or size % known:
                return None
            return tuple(size // known if d == -1 else d for d in target)
        if node.op == "Squeeze":
            gone = {axis % len(inner.shape) for axis in axes} if axes and inner.shape else None
            return tuple(d for i, d in enumerate(inner.shape) if (d != 1 if gone is None else i not in gone))
        if axes is None:
            return None
        rank = len(inner.shape) + len(axes)
        added, rest = {axis % rank for axis in axes}, iter(inner.shape)
        return tuple(1 if i in added else next(rest, 1) for i in range(rank))

    def _rows(self, key: str, node: Node, whole: Weight) -> Weight | None:
        """Some rows of a constant, as attention takes queries and keys from one joint projection."""
        if whole.steps or not whole.tensor.shape:
            return None
        rows, *rest = whole.tensor.shape
        bounds = self._split_bounds(key, node, rows) if node.op == "Split" else self._slice_bounds(node)
        if bounds is None:
            return None
        start, stop, _ = slice(*bounds).indices(rows)
        shape = (max(stop - start, 0), *rest)
        part = _Part(whole.tensor, start * math.prod(rest), math.prod(shape))
        return Weight(whole.key, Tensor(whole.name, shape, whole.tensor.dtype, part), shape=shape)

    def _split_bounds(self, key: str, node: Node, rows: int) -> tuple[int, int] | None:
        place = node.outputs.index(key)
        sizes = self.integers(node.input(1)) if node.input(1) else node.attributes.get("split")
        if sizes is None and not node.input(1):
            sizes = (-(-rows // len(node.outputs)),) * len(node.outputs)  # the last may be short
        if sizes is None or node.attributes.get("axis", 0) != 0 or place >= len(sizes) or min(sizes) < 0:
            return None
        return sum(sizes[:place]), sum(sizes[: place + 1])

    def _slice_bounds(self, node: Node) -> tuple[int, int] | None:
        defaults: dict[str, tuple[int, ...]] = {"starts": (), "ends": (), "axes": (0,), "steps": (1,)}
        starts, ends, axes, steps = (
            self.integers(node.input(place)) if node.input(place) else tuple(node.attributes.get(name, default))
            for place, (name, default) in enumerate(defaults.items(), 1)
        )
        if not starts or not ends or len(starts) != 1 or axes != (0,) or steps != (1,):
            return None
        return starts[0], ends[0]

    def _scaled(self, node: Node, steps: int) -> Weight | None:
        """Integers times a constant scale: weight-only quantization written out."""
        for place in (0, 1):
            scale = self._graph.constants.get(node.input(1 - place))
            inner = self._find(node.input(place), steps - 1) if scale is not None else None
            if inner is not None and scale is not None and not inner.tensor.is_floating and scale.is_floating:
                if not _broadcasts(scale.shape, inner.shape):
                    return None
                step = ("scale", (scale, None, -1))
                return Weight(inner.key, inner.tensor, (*inner.steps, step), inner.shape, quantized=True)
        return None

    def _filled(self, key: str, node: Node, steps: int) -> Weight | None:
        where = self._find(node.input(0), steps - 1)
        if where is None or where.tensor.size > 64:
            return None
        shape = tuple(int(extent) for extent in where.read().reshape(-1))
        if any(extent < 0 for extent in shape) or math.prod(shape) > _FILL_LIMIT:
            return None
        value = node.attributes.get("value")
        number = float(value.read().reshape(-1)[0]) if isinstance(value, Tensor) and value.size else 0.0
        return Weight(key, number_tensor(key, number), (("expand", shape),), shape)


class _Part(NamedTuple):
    """A run of another tensor's elements."""

    whole: Tensor
    first: int
    length: int

    def array(self) -> Array:
        return self.part(0, self.length)

    def chunks(self, elements: int) -> Iterator[Array]:
        for start in range(0, self.length, elements):
            yield self.part(start, min(elements, self.length - start))

    def part(self, start: int, count: int) -> Array:
        return self.whole.part(self.first + start, min(count, self.length - start))

    def heads(self, rows: int, length: int) -> Array:
        import numpy as np

        return np.stack([self.part(row * (self.length // rows), length) for row in range(rows)])


def number_tensor(name: str, value: float | bool) -> Tensor:
    """A constant that stands in no file: one number, or a truth value."""
    return Tensor(name, (), "bool" if isinstance(value, bool) else "float32", _Number(value))


class _Number(NamedTuple):
    """One number."""

    value: float | bool

    def array(self) -> Array:
        import numpy as np

        return np.full(1, self.value, np.bool_ if isinstance(self.value, bool) else np.float32)

    def chunks(self, elements: int) -> Iterator[Array]:
        yield self.array()

    def part(self, start: int, count: int) -> Array:
        return self.array()[start : start + count]

    def heads(self, rows: int, length: int) -> Array:
        return self.array().reshape(rows, -1)[:, :length]
