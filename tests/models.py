"""Builds small ONNX models, layer by layer, with weights that look trained.

A builder has one value at hand, `value`; each layer reads it and leaves its own output there:

    model = ModelBuilder().input("image", [1, 3, 8, 8]).conv("stem.conv", 16).relu("stem.act").output("scores")

Nodes are named as PyTorch's TorchScript exporter names them (`/stem/conv/Conv`), tensors as in a state_dict
(`stem.conv.weight`), so that a finding can be asserted by module, node and tensor.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


class ModelBuilder:
    """One ONNX graph in the making. Every random number comes from `seed`, in the order of the calls."""

    def __init__(self, opset: int = 17, *, seed: int = 0, producer: str = "pytorch", version: str = "2.13.0") -> None:
        self.opset = opset
        self.producer = producer
        self.version = version
        self.random = np.random.default_rng(seed)
        self.value = ""
        self.channels: dict[str, int] = {}  # of each value: axis 1 of an image, the last axis of anything else
        self.ranks: dict[str, int] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self.domains: dict[str, int] = {}
        self.metadata: dict[str, str] = {}
        self.graph_metadata: dict[str, str] = {}

    # What a graph is made of

    def input(self, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> ModelBuilder:
        """Declares a graph input and continues from it."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        place = 1 if len(shape) > 3 else len(shape) - 1
        channels = shape[place] if shape else 0
        return self._now(name, channels if isinstance(channels, int) else 0, len(shape))

    def output(
        self, name: str | None = None, shape: Sequence[int | str | None] | None = None, dtype: int = TensorProto.FLOAT
    ) -> ModelBuilder:
        """Makes the value at hand a graph output, under `name` if given."""
        if name is not None:
            for node in self.nodes:
                node.output[:] = [name if value == self.value else value for value in node.output]
                node.input[:] = [name if value == self.value else value for value in node.input]
            self._now(name, self.channels[self.value], self.ranks[self.value])
        if shape is None:
            shape = [None] * self.ranks[self.value]
        self.outputs.append(helper.make_tensor_value_info(self.value, dtype, shape))
        return self

    def at(self, value: str) -> ModelBuilder:
        """Continues from an earlier value."""
        self.value = value
        return self

    def tensor(self, name: str, array: Array | onnx.TensorProto) -> str:
        """Adds an initializer and gives its name."""
        if isinstance(array, onnx.TensorProto):
            array.name = name
            self.tensors[name] = array
        else:
            self.tensors[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def scalar(self, number: float, dtype: type = np.float32) -> str:
        """A scalar initializer, named by its number."""
        return self.tensor(f"scalar_{dtype.__name__}_{number:g}", np.array(number, dtype))

    def ints(self, *numbers: int) -> str:
        """An int64 vector initializer."""
        return self.tensor("ints_" + "_".join(map(str, numbers)), np.array(numbers, np.int64))

    def node(
        self,
        op: str,
        inputs: Sequence[str] | None = None,
        *,
        module: str = "",
        outputs: int | Sequence[str] = 1,
        channels: int | None = None,
        rank: int | None = None,
        domain: str = "",
        metadata: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> ModelBuilder:
        """Adds any operator (on the value at hand where no inputs are given) and continues from its first output."""
        given = [self.value] if inputs is None else list(inputs)
        name = self._name(op, module)
        names = [f"{name}_output_{place}" for place in range(outputs)] if isinstance(outputs, int) else list(outputs)
        node = helper.make_node(op, given, names, name, domain=domain, **attributes)
        for key, text in (metadata or {}).items():
            node.metadata_props.add(key=key, value=text)
        self.nodes.append(node)
        if channels is None:
            channels = max((self.channels.get(value, 0) for value in given), default=0)
        if rank is None:
            rank = max((self.ranks.get(value, 0) for value in given), default=0)
        for each in names:
            self._now(each, channels, rank)
        return self.at(names[0])

    def op(self, op: str, *others: str, module: str = "", **attributes: Any) -> ModelBuilder:
        """Adds an operator that keeps channels and rank, on the value at hand and `others`."""
        return self.node(op, [self.value, *others], module=module, **attributes)

    def _now(self, value: str, channels: int, rank: int) -> ModelBuilder:
        self.channels[value], self.ranks[value] = channels, rank
        return self.at(value)

    def _name(self, op: str, module: str) -> str:
        stem = f"/{module.replace('.', '/')}/{op}" if module else f"/{op}"
        taken = {node.name for node in self.nodes}
        names = [stem, *(f"{stem}_{number}" for number in range(1, len(taken) + 1))]
        return next(name for name in names if name not in taken)

    # Weights

    def trained(self, *shape: int, scale: float | None = None) -> Array:
        """Heavy-tailed numbers, as in a trained layer: no initialization draws them. [out, in, window…]."""
        fan_in = math.prod(shape[1:]) or 1
        spread = math.sqrt(1.0 / fan_in) if scale is None else scale
        return self.random.laplace(0.0, spread, shape).astype(np.float32)

    # Layers with weights

    def conv(
        self,
        module: str,
        out: int,
        kernel: int = 3,
        *,
        groups: int = 1,
        weight: Array | None = None,
        bias: Array | bool = True,
        op: str = "Conv",
        **attributes: Any,
    ) -> ModelBuilder:
        """A Conv, or with `op="ConvTranspose"` one that is stored [in, out / groups, …]; "same" padding."""
        channels = self.channels[self.value]
        shape = (channels, out // groups) if op == "ConvTranspose" else (out, channels // groups)
        inputs = [self.value, *self._weights(module, (*shape, kernel, kernel), out, weight, bias)]
        attributes.setdefault("pads", [kernel // 2] * 4)
        attributes.setdefault("kernel_shape", [kernel] * 2)
        return self.node(op, inputs, module=module, channels=out, group=groups, **attributes)

    def gemm(
        self, module: str, out: int, *, weight: Array | None = None, bias: Array | bool = True, transposed: bool = True
    ) -> ModelBuilder:
        """A Gemm with a weight [out, in] (`transB=1`), or [in, out] where not `transposed`."""
        shape = (out, self.channels[self.value]) if transposed else (self.channels[self.value], out)
        inputs = [self.value, *self._weights(module, shape, out, weight, bias)]
        return self.node("Gemm", inputs, module=module, channels=out, transB=int(transposed))

    def linear(self, module: str, out: int, *, weight: Array | None = None, bias: Array | bool = True) -> ModelBuilder:
        """A MatMul with a weight [in, out], and an Add for the bias: what exporters make of a Linear on sequences."""
        kernel, *shift = self._weights(module, (self.channels[self.value], out), out, weight, bias)
        rank = self.ranks[self.value]
        self.node("MatMul", [self.value, kernel], module=module, channels=out, rank=rank)
        return self.node("Add", [*shift, self.value], module=module, channels=out, rank=rank) if shift else self

    def _weights(
        self, module: str, shape: tuple[int, ...], out: int, weight: Array | None, bias: Array | bool
    ) -> list[str]:
        names = [self.tensor(f"{module}.weight", self.trained(*shape) if weight is None else weight)]
        if bias is not False:
            shift = self.trained(out, scale=0.1) if bias is True else bias
            names.append(self.tensor(f"{module}.bias", shift))
        return names

    # Norms

    def batch_norm(
        self,
        module: str,
        *,
        scale: Array | None = None,
        bias: Array | None = None,
        mean: Array | None = None,
        variance: Array | None = None,
        training: bool = False,
        **attributes: Any,
    ) -> ModelBuilder:
        """A BatchNormalization with the given or trained parameters; `training` in the form of the opset."""
        channels = self.channels[self.value]
        given = {
            "weight": (1 + self.trained(channels, scale=0.2)) if scale is None else scale,
            "bias": self.trained(channels, scale=0.2) if bias is None else bias,
            "running_mean": self.trained(channels, scale=0.3) if mean is None else mean,
            "running_var": np.exp(self.trained(channels, scale=0.3)) if variance is None else variance,
        }
        inputs = [self.value, *(self.tensor(f"{module}.{name}", array) for name, array in given.items())]
        outputs = 1
        if training and self.opset >= 14:
            attributes["training_mode"], outputs = 1, 3
        elif training:
            outputs = 5
        return self.node("BatchNormalization", inputs, module=module, outputs=outputs, **attributes)

    def layer_norm(self, module: str, **attributes: Any) -> ModelBuilder:
        """A LayerNormalization over the last axis (opset 17 and later)."""
        channels = self.channels[self.value]
        scale = self.tensor(f"{module}.weight", 1 + self.trained(channels, scale=0.2))
        shift = self.tensor(f"{module}.bias", self.trained(channels, scale=0.2))
        return self.node("LayerNormalization", [self.value, scale, shift], module=module, axis=-1, **attributes)

    # What has no weights

    def relu(self, module: str = "") -> ModelBuilder:
        return self.op("Relu", module=module)

    def sigmoid(self, module: str = "") -> ModelBuilder:
        return self.op("Sigmoid", module=module)

    def add(self, other: str, module: str = "") -> ModelBuilder:
        return self.op("Add", other, module=module)

    def dropout(self, module: str = "", rate: float = 0.1, *, training: bool | None = True) -> ModelBuilder:
        """A Dropout in the form of opset 12 and later; `training=None` leaves that input out."""
        inputs = [self.value, self.scalar(rate)]
        if training is not None:
            inputs.append(self.scalar(float(training), np.bool_))
        return self.node("Dropout", inputs, module=module)

    def reshape(self, *shape: int, channels: int | None = None, module: str = "") -> ModelBuilder:
        """A Reshape to a constant shape; 0 keeps an axis and -1 takes the rest."""
        inputs = [self.value, self.ints(*shape)]
        return self.node("Reshape", inputs, module=module, channels=channels, rank=len(shape))

    def transpose(self, *perm: int, module: str = "") -> ModelBuilder:
        return self.node("Transpose", module=module, perm=list(perm))

    # The model

    def build(self) -> onnx.ModelProto:
        """The finished model; not checked, because some tests want an invalid one."""
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, list(self.tensors.values()))
        for key, text in self.graph_metadata.items():
            graph.metadata_props.add(key=key, value=text)
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, version) for domain, version in self.domains.items()]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            functions=self.functions,
            producer_name=self.producer,
            producer_version=self.version,
            ir_version=10,
        )
        helper.set_model_props(model, self.metadata)
        return model

    def save(self, path: str | os.PathLike[str]) -> str:
        """Writes the model and gives its path."""
        onnx.save(self.build(), os.fspath(path))
        return os.fspath(path)
