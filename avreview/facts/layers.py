"""The layers of a graph: what has weights, its fans, and what its result goes through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import fact
from avreview.engine.review import Location
from avreview.facts.activations import Activation, ActivationFinder
from avreview.facts.drawing import Drawing
from avreview.facts.flow import MOVES, only_consumer
from avreview.facts.modules import locate, module_path, parameter_module
from avreview.facts.norms import Norm, NormLayers
from avreview.facts.weights import Constants, Weight

# Operator → (kind, place of the weight, place of the bias).
_PLACES: dict[str, tuple[str, int, int]] = {
    "Conv": ("Conv", 1, 2),
    "FusedConv": ("Conv", 1, 2),
    "ConvInteger": ("Conv", 1, -1),
    "QLinearConv": ("Conv", 3, 8),
    "ConvTranspose": ("ConvTranspose", 1, 2),
    "Gemm": ("Gemm", 1, 2),
    "FusedGemm": ("Gemm", 1, 2),
    "QGemm": ("Gemm", 3, 6),
    "MatMul": ("MatMul", 1, -1),
    "FusedMatMul": ("MatMul", 1, -1),
    "MatMulInteger": ("MatMul", 1, -1),
    "QLinearMatMul": ("MatMul", 3, -1),
    "MatMulIntegerToFloat": ("MatMul", 1, 6),
    "DynamicQuantizeMatMul": ("MatMul", 1, 4),
    "LSTM": ("LSTM", 1, 3),
    "GRU": ("GRU", 1, 3),
    "RNN": ("RNN", 1, 3),
    "DynamicQuantizeLSTM": ("LSTM", 1, 3),
}
RECURRENT = ("LSTM", "GRU", "RNN")
_FUSING_RULE = "FuseBatchNorm"  # onnxscript's rules that fold a batch norm into the layer before it
_RULES = "pkg.onnxscript.rewriter.rule_name"


class Layer(NamedTuple):
    """A layer with weights.

    `fan_in` and `fan_out` count the inputs of one output unit and the outputs of one input unit, within a group and
    over the kernel, as PyTorch's initializers would if they knew of groups. `unit_axis` is the weight's axis of output
    units. `norm` is the norm behind the layer in front of any activation; `residual` the sum the branch ends in.
    """

    kind: str
    node: Node
    module: str | None
    weight: Weight | None
    bias: Weight | None
    units: int
    fan_in: int
    fan_out: int
    groups: int
    unit_axis: int
    output: str
    norm: Norm | None = None
    activation: Activation | None = None
    residual: Node | None = None
    folded_norm: bool | None = None  # True: a batch norm was folded in; None: the file does not tell

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1 and self.fan_in * self.groups <= self.groups * self.receptive_field

    @property
    def receptive_field(self) -> int:
        shape = self.weight.shape if self.weight is not None else None
        return math.prod(shape[2:]) if shape is not None and "Conv" in self.kind else 1

    def location(self, artifact: str) -> Location:
        return locate(artifact, self.node, self.module, self.weight.name if self.weight is not None else None)


class Layers(NamedTuple):
    """Every layer with weights, in data-flow order."""

    artifact: str
    all: Sequence[Layer]
    by_node: dict[int, Layer]
    norms: NormLayers

    @property
    def weighted(self) -> list[Layer]:
        """Those whose weights the file holds: a product of two activations has none."""
        return [layer for layer in self.all if layer.weight is not None]


@fact
def layers(artifact: Artifact, drawing: Drawing, constants: Constants, norms: NormLayers) -> Layers:
    """Finds the layers and follows each one's result to its norm, activation and residual sum."""
    graph = drawing.graph
    finder = _Finder(graph, constants, norms)
    found = [layer for node in graph.nodes if (layer := finder.layer(node)) is not None]
    return Layers(artifact.provenance.path, found, {layer.node.index: layer for layer in found}, norms)


@fact
def activations(drawing: Drawing, constants: Constants) -> ActivationFinder:
    """What recognises an activation behind any value of the graph."""
    return ActivationFinder(drawing.graph, constants)


class _Finder:
    def __init__(self, graph: Graph, constants: Constants, norms: NormLayers) -> None:
        self._graph = graph
        self._constants = constants
        self._norms = norms
        self._activations = ActivationFinder(graph, constants)

    def layer(self, node: Node) -> Layer | None:
        """The layer that a node is, or None; a MatMul of two activations is no layer."""
        places = _PLACES.get(node.op)
        if places is None:
            return None
        kind, weight_place, bias_place = places
        weight = self._constants.weight(node.input(weight_place))
        if kind == "MatMul" and weight is None:
            weight = self._constants.weight(node.input(0)) if node.op == "MatMul" else None
            if weight is None:
                return None
            return self._make(node, kind, weight, None, -2)
        bias = self._constants.weight(node.input(bias_place)) if bias_place >= 0 and node.input(bias_place) else None
        return self._make(node, kind, weight, bias, self._unit_axis(node, kind))

    @staticmethod
    def _unit_axis(node: Node, kind: str) -> int:
        if kind == "Gemm":
            return 0 if node.attributes.get("transB") else 1
        return {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}.get(kind, 1)

    def _make(self, node: Node, kind: str, weight: Weight | None, bias: Weight | None, unit_axis: int) -> Layer | None:
        groups = max(int(node.attributes.get("group", 1)), 1) if "Conv" in kind else 1
        units, fan_in, fan_out = _fans(kind, weight, groups, unit_axis)
        output = node.outputs[0] if node.outputs else ""
        bias, output = self._added_bias(node, kind, bias, output, units)
        norm, activation, residual = self._after(output) if kind not in RECURRENT else (None, None, None)
        return Layer(
            kind, node, _module(node, weight), weight, bias, units, fan_in, fan_out, groups, unit_axis, output,
            norm, activation or _fused(node), residual, _folded(node, norm, weight, bias),
        )  # fmt: skip

    def _added_bias(
        self, node: Node, kind: str, bias: Weight | None, output: str, units: int
    ) -> tuple[Weight | None, str]:
        """A bias that stands behind the layer as a sum of its own: a Linear on more than two axes."""
        after = only_consumer(self._graph, output)
        while after is not None and after.op in ("Cast", "Mul") and node.op in ("MatMulInteger", "ConvInteger"):
            output = after.outputs[0]  # integers back to floats: times the scales
            after = only_consumer(self._graph, output)
        summand = output
        while after is not None and after.op in ("QuantizeLinear", "DequantizeLinear"):
            summand = after.outputs[0]
            after = only_consumer(self._graph, summand)
        if bias is not None or kind in RECURRENT or after is None or after.op not in ("Add", "BiasGelu"):
            return bias, output
        other = after.inputs[1] if after.inputs[0] == summand else after.inputs[0]
        weight = self._constants.weight(other)
        if weight is None or weight.shape is None or math.prod(weight.shape) != units:
            return None, output
        return weight, after.outputs[0] if after.op == "Add" else output

    def _after(self, key: str) -> tuple[Norm | None, Activation | None, Node | None]:
        """What a layer's result goes through before the next layer: a norm, an activation, a residual sum."""
        norm: Norm | None = None
        activation: Activation | None = None
        for _ in range(12):
            if norm is None and activation is None and (found := self._norms.by_input.get(key)) is not None:
                norm, key = found, found.output
                continue
            if activation is None and (follows := self._activations.after(key)) is not None:
                activation, key = follows, follows.output
                continue
            node = only_consumer(self._graph, key)
            if node is None:
                return norm, activation, None
            if node.op in MOVES and node.op != "Split" and node.input(0) == key:
                key = node.outputs[0]
                continue
            return norm, activation, node if self._is_residual(node, key) else None
        return norm, activation, None

    def _is_residual(self, node: Node, key: str) -> bool:
        if node.op not in ("Add", "Sum"):
            return False
        return all(self._constants.weight(other) is None for other in node.inputs if other and other != key)


def _folded(node: Node, norm: Norm | None, weight: Weight | None, bias: Weight | None) -> bool | None:
    """Whether a batch norm was folded into the layer; None where nothing tells."""
    if _FUSING_RULE in node.metadata.get(_RULES, ""):
        return True
    if norm is not None:
        return False
    name = weight.name if weight is not None else ""
    if name.startswith("ConvBnFusion_W_"):  # ONNX Runtime's
        return True
    # TorchScript renames the weights that it folded a norm into. It renames folded weight normalization, too, but
    # leaves the bias there its own name, or leaves it out.
    own = bias is None or parameter_module(bias.name) == (module_path(node) or "")
    return True if name.startswith("onnx::Conv_") and not own else None


def _fused(node: Node) -> Activation | None:
    """The activation that ONNX Runtime made a part of the layer; behind a sum that it made a part too, it is not."""
    name = node.attributes.get("activation")
    if not isinstance(name, str) or not name or node.input(3):
        return None
    return Activation(name.lower().replace("leakyrelu", "leaky_relu"), node.outputs[0], node)


def _module(node: Node, weight: Weight | None) -> str | None:
    """A weight that kept its state_dict name tells its module best: a folded norm leaves its own in the metadata."""
    named = parameter_module(weight.name) if weight is not None else None
    return named or module_path(node)


def _fans(kind: str, weight: Weight | None, groups: int, unit_axis: int) -> tuple[int, int, int]:
    """(units, fan_in, fan_out) of a weight; zeros where its shape is not known."""
    shape = weight.shape if weight is not None else None
    if shape is None or len(shape) < 2:
        return 0, 0, 0
    if kind in RECURRENT:  # [directions, gates × hidden, inputs]
        return shape[-2] * shape[0], shape[-1], shape[-2]
    if kind == "MatMul":
        return shape[unit_axis], shape[-2 if unit_axis == -1 else -1], shape[unit_axis]
    field = math.prod(shape[2:])
    if kind == "Conv":
        return shape[0], shape[1] * field, shape[0] // groups * field
    if kind == "ConvTranspose":
        return shape[1] * groups, shape[0] // groups * field, shape[1] * field
    return shape[unit_axis], shape[1 - unit_axis], shape[unit_axis]
