"""The tensors of a weight set in the forms in which an export can hold them.

Beside each tensor as it is: weights that a parametrization computes (weight norm), the parts of a joint projection
(`in_proj_weight`, `qkv.weight`) and the joint form of separate ones, recurrent weights in ONNX's gate order.
Nothing is read before it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from avreview.artifact import Tensor

    Array = np.ndarray[Any, Any]

# Modules and tensors that hold several projections one behind the other, and how many.
_JOINT = {"in_proj_weight": 3, "in_proj_bias": 3, "qkv": 3, "to_qkv": 3, "Wqkv": 3, "qkv_proj": 3, "to_kv": 2, "kv": 2}
_SEPARATE = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("q", "k", "v"), ("to_q", "to_k", "to_v"),
             ("wq", "wk", "wv"), ("q_lin", "k_lin", "v_lin"))  # fmt: skip
_RECURRENT = re.compile(r"weight_ih(_l\d{1,4})?$")
# ONNX's gates by PyTorch's: LSTM i f g o → i o f c (c is g), GRU r z n → z r h; an RNN has one.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


class Source(NamedTuple):
    """What an exported tensor may have been made of.

    `module` and `leaf` name the parameter as the export's module would: `backbone.conv`, `weight`. `tensor` is the
    file's own where nothing is computed; `make` gives the values otherwise, in `shape`.
    """

    names: tuple[str, ...]
    module: str
    leaf: str
    shape: tuple[int, ...]
    dtype: str
    how: str = ""
    tensor: Tensor | None = None
    make: Callable[[], Array] | None = None

    @property
    def name(self) -> str:
        return f"{self.module}.{self.leaf}" if self.module else self.leaf

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    def read(self) -> Array:
        """The values in `shape`, as a copy."""
        if self.make is not None:
            return self.make()
        assert self.tensor is not None
        return self.tensor.copy()


class Sources:
    """Every form of every floating-point tensor of a weight set, by name and by module."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor for name, tensor in tensors.items() if tensor.is_floating and tensor.size}
        self.by_name: dict[str, Source] = {}
        self.by_module: dict[str, list[Source]] = {}
        for name, tensor in self.tensors.items():
            self._add(_plain(name, tensor))
        for made in (self._weight_norms, self._parts, self._joined):
            for source in list(made()):
                self._add(source)

    def _add(self, source: Source) -> None:
        if self.by_name.setdefault(source.name, source) is source:
            self.by_module.setdefault(source.module, []).append(source)

    @property
    def all(self) -> Sequence[Source]:
        return list(self.by_name.values())

    def _weight_norms(self) -> Iterator[Source]:
        """g · v / ‖v‖ of `weight_g` and `weight_v`, or of a parametrization's two originals."""
        for name, length in self.tensors.items():
            if name.endswith("_g"):
                other, target = f"{name[:-2]}_v", name[:-2]
            elif name.endswith(".original0") and ".parametrizations." in f".{name}":
                other, target = f"{name[:-1]}1", _parametrized(name)
            else:
                continue
            direction = self.tensors.get(other)
            if direction is not None and _is_length(length, direction):
                module, _, leaf = target.rpartition(".")
                yield Source(
                    (name, other), module, leaf, direction.shape, direction.dtype, "weight norm",
                    make=_weight_norm(length, direction),
                )  # fmt: skip

    def _parts(self) -> Iterator[Source]:
        """The queries', keys' and values' share of a joint projection."""
        for source in self.all:
            own = source.module.rpartition(".")[2]
            parts = _JOINT.get(source.leaf) or _JOINT.get(own) or 0
            if parts and source.shape and source.shape[0] % parts == 0 and source.tensor is not None:
                rows = source.shape[0] // parts
                for place in range(parts):
                    how = f"part {place + 1} of {parts}"
                    yield source._replace(
                        leaf=f"{source.leaf}[{place}]", shape=(rows, *source.shape[1:]), how=how, tensor=None,
                        make=_rows(source.tensor, place * rows, rows),
                    )  # fmt: skip

    def _joined(self) -> Iterator[Source]:
        """Queries, keys and values one behind the other."""
        for source in self.all:
            parent, _, own = source.module.rpartition(".")
            for names in _SEPARATE:
                if own != names[0] or source.tensor is None:
                    continue
                keys = [".".join(filter(None, (parent, each, source.leaf))) for each in names]
                held = [self.tensors[key] for key in keys if key in self.tensors]
                if len(held) == len(names) and all(part.shape[1:] == source.shape[1:] for part in held):
                    rows = sum(part.shape[0] for part in held if part.shape)
                    leaf = f"{'+'.join(names)}.{source.leaf}"
                    yield Source(
                        tuple(keys), parent, leaf, (rows, *source.shape[1:]), source.dtype, "joined",
                        make=_joined(held),
                    )  # fmt: skip

    def recurrent(self, kind: str, directions: int) -> Iterator[tuple[Source, Source, Source | None]]:
        """(W, R, B) of every recurrent layer, as ONNX's operator of that kind would take them."""
        for name in self.tensors:
            if _RECURRENT.search(name):
                made = self._recurrent_layer(name, kind, directions)
                if made is not None:
                    yield made

    def _recurrent_layer(self, name: str, kind: str, directions: int) -> tuple[Source, Source, Source | None] | None:
        order = _GATES[kind]
        inputs = [name, f"{name}_reverse"][:directions]
        hiddens = [each.replace("weight_ih", "weight_hh") for each in inputs]
        biases = [each.replace("weight_ih", f"bias_{side}") for each in inputs for side in ("ih", "hh")]
        w, r = (self._stacked(names, order) for names in (inputs, hiddens))
        if w is None or r is None or len(w.shape) != 3 or len(r.shape) != 3:
            return None
        flat = self._stacked(biases, order)
        if flat is None or len(flat.shape) != 2:
            return w, r, None
        shape, read = (directions, flat.size // directions), flat.read
        return w, r, flat._replace(shape=shape, make=lambda: read().reshape(shape))

    def _stacked(self, names: Sequence[str], order: Sequence[int]) -> Source | None:
        """Several weights with their gates in ONNX's order, [weights, gates × hidden, …]; None where they differ."""
        held = [self.tensors[name] for name in names if name in self.tensors]
        if len(held) != len(names) or len({part.shape for part in held}) != 1:
            return None
        if not held[0].shape or held[0].shape[0] % len(order):
            return None

        def make() -> Array:
            import numpy as np

            return np.stack([np.concatenate([np.split(t.copy(), len(order))[gate] for gate in order]) for t in held])

        module, _, leaf = names[0].rpartition(".")
        how = "gates in ONNX's order"
        return Source(tuple(names), module, leaf, (len(held), *held[0].shape), held[0].dtype, how, make=make)


def _plain(name: str, tensor: Tensor) -> Source:
    module, _, leaf = name.rpartition(".")
    return Source((name,), module, leaf, tensor.shape, tensor.dtype, tensor=tensor)


def _parametrized(name: str) -> str:
    """`conv.parametrizations.weight.original0` computes `conv.weight`."""
    before, _, behind = f".{name}".rpartition(".parametrizations.")
    return f"{before}.{behind.partition('.')[0]}".lstrip(".")


def _is_length(length: Tensor, direction: Tensor) -> bool:
    """Whether g holds one number a slice of v: its shape is v's, with 1 for the axes that the norm runs over."""
    if not length.shape:
        return True
    if len(length.shape) != len(direction.shape):
        return False
    return all(own in (1, whole) for own, whole in zip(length.shape, direction.shape, strict=True))


def _weight_norm(length: Tensor, direction: Tensor) -> Callable[[], Array]:
    def make() -> Array:
        import numpy as np

        g, v = length.copy().astype(np.float64), direction.copy().astype(np.float64)
        axes = tuple(axis for axis in range(v.ndim) if not g.ndim or g.shape[axis] == 1)
        return np.asarray(v * (g / np.sqrt(np.square(v).sum(axes, keepdims=True))), np.float32)

    return make


def _rows(tensor: Tensor, first: int, count: int) -> Callable[[], Array]:
    row = tensor.size // tensor.shape[0]
    return lambda: tensor.part(first * row, count * row).reshape(count, *tensor.shape[1:])


def _joined(parts: Sequence[Tensor]) -> Callable[[], Array]:
    def make() -> Array:
        import numpy as np

        return np.concatenate([part.copy() for part in parts])

    return make
