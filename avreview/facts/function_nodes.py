"""ATen's functions in ONNX's terms, as far as a recorded forward calls them with tensors and literals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.checkpoint import Call

# Functions of values alone. What changes no value is among them, so that data can be followed through.
_PLAIN = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "silu": "Swish", "mish": "Mish", "hardswish": "HardSwish",
    "hardsigmoid": "HardSigmoid", "selu": "Selu", "softplus": "Softplus", "softmax": "Softmax", "add": "Add",
    "mul": "Mul", "cat": "Concat", "flatten": "Flatten", "max_pool2d": "MaxPool", "avg_pool2d": "AveragePool",
    "adaptive_avg_pool2d": "GlobalAveragePool", "contiguous": "Identity",
}  # fmt: skip
# Functions with weights: their tensor parameters behind the signal, in ATen's order.
_TENSORS = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "_convolution"), ("weight", "bias")),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"), ("weight", "bias")),
    "batch_norm": ("weight", "bias", "running_mean", "running_var"),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"), ("weight", "bias")),
}
_WEIGHTED = {
    "conv1d": "Conv", "conv2d": "Conv", "conv3d": "Conv", "_convolution": "Conv", "linear": "Gemm",
    "conv_transpose1d": "ConvTranspose", "conv_transpose2d": "ConvTranspose", "conv_transpose3d": "ConvTranspose",
    "batch_norm": "BatchNormalization", "layer_norm": "LayerNormalization", "group_norm": "GroupNormalization",
    "instance_norm": "InstanceNormalization",
}  # fmt: skip


class FunctionNode(NamedTuple):
    """An operator, its attributes, and the places of the call's inputs that it takes ("" for what is left out)."""

    op: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    rate: float | None = None  # of a dropout, which is active if `drops`
    drops: bool = False


def function_name(call: Call) -> str:
    """`relu` of `aten::relu_`."""
    return call.target.rpartition("::")[2].rpartition(".")[2].rstrip("_")


def function_node(call: Call, training: bool, keys: Sequence[str]) -> FunctionNode | None:
    """The operator that a call stands for, with the keys of its inputs; None for a function that is not known.

    `training` is the module's own mode, which a dropout without a literal follows.
    """
    name = function_name(call)
    if not keys:
        return None
    if name.endswith("dropout"):
        rate = call.arguments.get("p")
        drops = call.arguments.get("train", training) is True
        return FunctionNode("Dropout", {}, (keys[0],), float(rate) if isinstance(rate, (int, float)) else 0.5, drops)
    if name in _WEIGHTED:
        return _weighted(name, call, keys)
    op = _PLAIN.get(name)
    if name == "gelu":
        return FunctionNode("Gelu", {"approximate": call.arguments.get("approximate", "none")}, (keys[0],))
    if name == "leaky_relu":
        return FunctionNode("LeakyRelu", {"alpha": call.arguments.get("negative_slope", 0.01)}, (keys[0],))
    return None if op is None else FunctionNode(op, {}, tuple(keys))


def _weighted(name: str, call: Call, keys: Sequence[str]) -> FunctionNode | None:
    given = iter(keys[1:])
    operands = [("" if part in call.arguments else next(given, "")) for part in _TENSORS[name]]
    while operands and not operands[-1]:
        operands.pop()
    op = "ConvTranspose" if call.arguments.get("transposed") is True else _WEIGHTED[name]
    return FunctionNode(op, _settings(name, call.arguments), (keys[0], *operands))


def _settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    if name == "linear":
        return {"transB": 1}
    if "conv" in name:
        groups, strides = given.get("groups", 1), given.get("stride")
        settings: dict[str, Any] = {"group": groups if isinstance(groups, int) and groups > 0 else 1}
        if isinstance(strides, tuple) and strides and all(isinstance(each, int) and each > 0 for each in strides):
            settings["strides"] = strides
        return settings
    settings = {"epsilon": given["eps"]} if isinstance(given.get("eps"), float) else {}
    if isinstance(given.get("momentum"), float):
        settings["momentum"] = 1.0 - given["momentum"]
    if given.get("training") is True:
        settings.update(training_mode=1, evidence="training=True in the recorded forward")
    return settings
