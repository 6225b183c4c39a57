"""The weights of an export in PyTorch's layout, to be laid beside a checkpoint's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Artifact, Graph, Tensor
from avreview.engine.resolve import fact
from avreview.engine.review import Location
from avreview.facts.graphs import the_graph
from avreview.facts.layers import RECURRENT, Layer, Layers
from avreview.facts.modules import locate, parameter_module
from avreview.facts.norms import Norm, NormLayers
from avreview.facts.parameters import Parameters
from avreview.facts.weights import Constants, Weight

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NORM_LEAVES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
_RECURRENT_PLACES = (("W", 1), ("R", 2), ("B", 3))


class ExportWeight(NamedTuple):
    """A constant of the graph, what it serves as, and what it would be called in a state_dict.

    `shape` is PyTorch's: [out, in] for a matrix, [channels] for a vector; `transposed` says that the graph holds the
    matrix the other way round. `leaf` is `weight`, `bias`, `running_mean`, … or for a recurrent layer W, R, B.
    """

    weight: Weight
    role: str
    leaf: str
    module: str | None
    at: Location
    shape: tuple[int, ...]
    transposed: bool = False
    layer: Layer | None = None
    norm: Norm | None = None

    @property
    def name(self) -> str:
        return self.weight.name

    @property
    def is_learned(self) -> bool:
        """A weight or a table, which must come from somewhere; a factor may be a constant of the code."""
        return self.role not in ("factor", "shift", "scale") or parameter_module(self.name) is not None

    @property
    def stored_integers(self) -> bool:
        """Integers whose scale is applied elsewhere: to the activations, or by the operator itself."""
        return not self.weight.tensor.is_floating and not self.weight.quantized

    def read(self) -> Array:
        """The values in use, in PyTorch's layout."""
        import numpy as np

        value = self.weight.read()
        if self.transposed:
            value = np.swapaxes(value.reshape(self.shape[::-1]), 0, 1)
        return value.reshape(self.shape)


class ExportWeights(NamedTuple):
    """Every weight that the graph uses, each tensor in the place where it is used first, in data-flow order.

    `hidden` are layers whose weights the graph computes in a way that was not followed.
    """

    artifact: str
    all: Sequence[ExportWeight]
    norms: Sequence[Norm]
    hidden: Sequence[Layer]


@fact
def export_weights(
    artifact: Artifact, constants: Constants, layers: Layers, norms: NormLayers, parameters: Parameters
) -> ExportWeights:
    """Collects what layers and norms take, tables, and constant factors."""
    graph = the_graph(artifact)
    path = artifact.provenance.path
    found: dict[int, ExportWeight] = {}
    for each in (
        *_of_layers(path, constants, layers),
        *_of_norms(path, norms),
        *_others(parameters),
        *_unused(path, graph),
    ):
        if each.weight.tensor.size and each.weight.tensor.dtype != "string":
            found.setdefault(id(each.weight.tensor), each)
    seen = {each.layer.node.index for each in found.values() if each.layer is not None and each.role == "weight"}
    hidden = [layer for layer in layers.all if layer.node.index not in seen and layer.weight is None]
    return ExportWeights(path, list(found.values()), norms.all, hidden)


def _of_layers(path: str, constants: Constants, layers: Layers) -> Iterator[ExportWeight]:
    for layer in layers.all:
        if layer.kind in RECURRENT:
            yield from _recurrent(path, constants, layer)
            continue
        weight = layer.weight
        if weight is not None and weight.shape is not None and (form := _matrix(layer, weight.shape)) is not None:
            shape, transposed = form
            yield ExportWeight(
                weight, "weight", "weight", layer.module, layer.location(path), shape, transposed, layer
            )  # fmt: skip
        if layer.bias is not None and layer.bias.shape is not None:
            at = locate(path, layer.node, layer.module, layer.bias.name)
            size = math.prod(layer.bias.shape)
            yield ExportWeight(layer.bias, "bias", "bias", layer.module, at, (size,), layer=layer)


def _matrix(layer: Layer, shape: tuple[int, ...]) -> tuple[tuple[int, ...], bool] | None:
    """The weight's shape in PyTorch's layout, and whether its axes are exchanged in the graph."""
    if "Conv" in layer.kind:
        return (shape, False) if len(shape) > 2 else None
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2:
        return None
    if layer.kind == "Gemm":
        transposed = layer.unit_axis == 1
    else:  # a MatMul takes [in, out] from the right, [out, in] from the left
        transposed = layer.unit_axis == -1
        if layer.node.op == "FusedMatMul" and layer.node.attributes.get("transB"):
            transposed = not transposed
    return (shape[::-1], True) if transposed else (shape, False)


def _recurrent(path: str, constants: Constants, layer: Layer) -> Iterator[ExportWeight]:
    for leaf, place in _RECURRENT_PLACES:
        weight = constants.weight(layer.node.input(place)) if layer.node.input(place) else None
        if weight is not None and weight.shape is not None:
            at = locate(path, layer.node, layer.module, weight.name)
            role = "weight" if leaf != "B" else "bias"
            yield ExportWeight(weight, role, leaf, layer.module, at, weight.shape, layer=layer)


def _of_norms(path: str, norms: NormLayers) -> Iterator[ExportWeight]:
    for norm in norms.all:
        for field, leaf in _NORM_LEAVES.items():
            weight: Weight | None = getattr(norm, field)
            if weight is not None and weight.shape is not None:
                role = {"gamma": "scale", "beta": "shift"}.get(field, field)
                size = math.prod(weight.shape)
                shape = (size,) if max(weight.shape, default=1) == size else weight.shape
                at = norm.location(path, weight.name)
                yield ExportWeight(weight, role, leaf, norm.module, at, shape, norm=norm)


def _others(parameters: Parameters) -> Iterator[ExportWeight]:
    """Tables and factors, as the file holds them."""
    for parameter in parameters.all:
        if parameter.role in ("table", "factor"):
            tensor: Tensor = parameter.tensor
            weight = Weight(tensor.name, tensor, shape=tensor.shape)
            leaf = tensor.name.rpartition(".")[2]
            yield ExportWeight(weight, parameter.role, leaf, parameter.at.module, parameter.at, tensor.shape)


def _unused(path: str, graph: Graph) -> Iterator[ExportWeight]:
    """Whatever else has a state_dict's name: what goes into a weight that the graph itself computes."""
    for key, tensor in graph.constants.items():
        readers = graph.consumers.get(key)
        if tensor.is_floating and readers and "." in tensor.name and "::" not in tensor.name:
            at = locate(path, readers[0], None, tensor.name)
            leaf = tensor.name.rpartition(".")[2]
            yield ExportWeight(Weight(key, tensor, shape=tensor.shape), "factor", leaf, None, at, tensor.shape)
