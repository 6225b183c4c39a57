"""The tensors of an artifact that were learned, each with what it is called and where it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Graph, Node, Tensor
from avreview.compare.sides import Side
from avreview.facts.export_weights import ExportWeight, ExportWeights
from avreview.facts.modules import module_path, parameter_module
from avreview.facts.tensor_pairs import SAMPLE, is_statistic
from avreview.facts.weights import Constants

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_LEAST = 8  # elements that tell a tensor from others by themselves
_LARGE = 65  # elements of a constant that is no setting any more
_NARROW = ("int8", "uint8", "int4", "uint4")
_SCALING = frozenset({"QuantizeLinear", "DequantizeLinear"})


class Held(NamedTuple):
    """One tensor. `label` is what a state_dict would call it, "" where the file does not tell.

    `shape` is PyTorch's; `role` is `weight`, `bias`, `scale`, `shift`, `mean`, `variance`, `table`, `factor`, or of a
    checkpoint's tensor `tensor`. `node` is the node that takes it, None in a checkpoint.
    """

    label: str
    module: str
    leaf: str
    role: str
    shape: tuple[int, ...]
    tensor: Tensor
    node: Node | None = None
    export: ExportWeight | None = None

    @property
    def where(self) -> str:
        """What a person would call the place: the module, or the node, or the tensor."""
        return self.module or (self.node.label if self.node is not None else "") or self.tensor.name

    @property
    def is_statistic(self) -> bool:
        return self.role in ("mean", "variance") or (self.role == "tensor" and is_statistic(self.label))

    @property
    def is_quantized(self) -> bool:
        """Whether integers stand for it."""
        if self.tensor.quantization is not None:
            return True
        return self.role not in ("table", "tensor") and not self.tensor.is_floating

    def read(self) -> Array:
        """The values in use, in `shape`."""
        return self.export.read() if self.export is not None else self.tensor.copy()


def held(side: Side) -> list[Held]:
    """Every tensor that was learned, in data-flow order, or in the order of the checkpoint."""
    if side.graph is None:
        return [_of_checkpoint(name, tensor) for name, tensor in side.artifact.tensors.items() if tensor.size]
    weights = side.resolver.get(ExportWeights)
    found = [_of_export(weight, side.graph) for weight in weights.all if not _is_setting(weight)]
    return found + list(_others(side.graph, side.constants, {id(entry.tensor) for entry in found}))


def _is_setting(weight: ExportWeight) -> bool:
    """A single number that no module holds: what a node is set to."""
    return weight.role == "factor" and weight.weight.tensor.size == 1 and parameter_module(weight.name) is None


def _others(graph: Graph, constants: Constants, known: set[int]) -> Iterator[Held]:
    """Further large constants: weights in layers of other kinds, parts that the graph puts together, integers."""
    for node in graph.nodes:
        for place, key in enumerate(node.inputs if node.op not in _SCALING else node.inputs[:1]):
            weight = constants.weight(key) if key else None
            tensor = weight.tensor if weight is not None else None
            if tensor is None or id(tensor) in known or tensor.size < _LARGE:
                continue
            if tensor.is_floating or tensor.dtype in _NARROW:
                known.add(id(tensor))
                module, label = module_path(node) or "", _label(tensor.name)
                leaf = label.rpartition(".")[2] or f"input {place}"
                yield Held(label, module or label.rpartition(".")[0], leaf, "factor", tensor.shape, tensor, node)


def _label(name: str) -> str:
    """A name as a state_dict has it; "" for one that an exporter made up."""
    made_up = "::" in name or "/" in name or name.rpartition(".")[2].isdecimal()
    return "" if made_up or "." not in name else name


def _of_checkpoint(name: str, tensor: Tensor) -> Held:
    module, _, leaf = name.rpartition(".")
    return Held(name, module, leaf, "tensor", tensor.shape, tensor)


def _of_export(weight: ExportWeight, graph: Graph) -> Held:
    own = _label(weight.name)
    module = weight.module or weight.at.module or ""
    made = f"{module}.{weight.leaf}" if weight.module and weight.leaf not in ("W", "R", "B") else ""
    node = weight.layer.node if weight.layer is not None else weight.norm.node if weight.norm is not None else None
    if node is None:
        node = next(iter(graph.consumers.get(weight.weight.key, ())), None)
    leaf = weight.leaf if own or weight.role != "factor" else ""
    return Held(
        own or made, module or own.rpartition(".")[0], leaf, weight.role, weight.shape, weight.weight.tensor,
        node, weight,
    )  # fmt: skip


def labelled(entries: list[Held]) -> dict[str, int]:
    """The places of the entries by their labels; those without one, and all but the first of one label, stay out."""
    found: dict[str, int] = {}
    for place, entry in enumerate(entries):
        if entry.label:
            found.setdefault(entry.label, place)
    return found


def shapes(entries: list[Held], places: Mapping[str, int]) -> dict[str, Tensor]:
    """What pairing by names looks at: shapes in PyTorch's layout; every type counts alike."""
    return {
        label: replace(entries[place].tensor, shape=entries[place].shape, dtype="float32")
        for label, place in places.items()
    }


def fingerprint(entry: Held) -> bytes | None:
    """What two tensors of equal content share; None for one that others may equal by chance."""
    size = min(entry.tensor.size, SAMPLE)
    if entry.tensor.size < _LEAST or entry.tensor.dtype == "string":
        return None
    sample = entry.tensor.part(0, size)
    if (sample == sample[0]).all():
        return None
    own = f"{entry.tensor.shape} {entry.tensor.dtype} {entry.role}".encode()
    return hashlib.sha256(own + sample.tobytes()).digest()
