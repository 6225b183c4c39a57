"""PyTorch's modules in ONNX's terms: which operators a leaf of the module tree stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import Module
from avreview.facts.function_nodes import function_name

_VERSION = 20  # the operator set whose meaning the drawn nodes have


class Step(NamedTuple):
    """One operator of a module: its inputs behind the signal are tensors of the module, or numbers."""

    op: str
    attributes: Mapping[str, Any] = {}
    operands: tuple[Tensor | float | bool | None, ...] = ()


# Activations: class → operator and the attributes it takes, by the module's own names.
_ACTIVATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "ReLU": ("Relu", {}), "LeakyReLU": ("LeakyRelu", {"alpha": "negative_slope"}), "ELU": ("Elu", {"alpha": "alpha"}),
    "SELU": ("Selu", {}), "CELU": ("Celu", {"alpha": "alpha"}), "GELU": ("Gelu", {"approximate": "approximate"}),
    "SiLU": ("Swish", {}), "Swish": ("Swish", {}), "Mish": ("Mish", {}), "Hardswish": ("HardSwish", {}),
    "Sigmoid": ("Sigmoid", {}), "Hardsigmoid": ("HardSigmoid", {}), "Tanh": ("Tanh", {}), "Softmax": ("Softmax", {}),
    "LogSoftmax": ("LogSoftmax", {}), "Softplus": ("Softplus", {}), "Softsign": ("Softsign", {}),
}  # fmt: skip
# What changes no value, or only gathers neighbours.
_PASSIVE = {
    "Identity": "Identity", "Flatten": "Flatten", "Unflatten": "Reshape", "MaxPool1d": "MaxPool",
    "MaxPool2d": "MaxPool", "MaxPool3d": "MaxPool", "AvgPool1d": "AveragePool", "AvgPool2d": "AveragePool",
    "AvgPool3d": "AveragePool", "AdaptiveAvgPool1d": "GlobalAveragePool", "AdaptiveAvgPool2d": "GlobalAveragePool",
    "AdaptiveMaxPool2d": "GlobalMaxPool", "Upsample": "Resize", "UpsamplingNearest2d": "Resize",
    "UpsamplingBilinear2d": "Resize", "PixelShuffle": "DepthToSpace", "PixelUnshuffle": "SpaceToDepth",
}  # fmt: skip
_DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
RECURRENT = ("LSTM", "GRU", "RNN")


def steps(module: Module, own: Mapping[str, Tensor]) -> tuple[Step, ...]:
    """The operators of a leaf with the tensors `own`, in order; () for a class that is not known."""
    kind = module.kind
    if kind in _ACTIVATIONS:
        op, names = _ACTIVATIONS[kind]
        return (Step(op, {name: module.attributes[own] for name, own in names.items() if own in module.attributes}),)
    if kind in _PASSIVE:
        return (Step(_PASSIVE[kind]),)
    if kind in _DROPOUTS:
        return (Step("Dropout", {}, (_number(module.attributes.get("p"), 0.5), _recorded_mode(module) is True)),)
    if kind == "ReLU6":
        return (Step("Clip", {}, (0.0, 6.0)),)
    if kind == "Hardtanh":
        low, high = (
            _number(module.attributes.get(name), default) for name, default in (("min_val", -1), ("max_val", 1))
        )
        return (Step("Clip", {}, (low, high)),)
    if kind == "PReLU":
        return (Step("PRelu", {}, (own.get("weight"),)),)
    return _weighted(module, own)


def _weighted(module: Module, own: Mapping[str, Tensor]) -> tuple[Step, ...]:
    if is_norm(module, own):
        return (_norm(module, own),)
    weight = own.get("weight")
    if weight is None or not weight.is_floating:
        joint = own.get("in_proj_weight")
        return (Step("Gemm", {"transB": 1}, (joint, own.get("in_proj_bias"))),) if joint is not None else ()
    rank = len(weight.shape)
    if rank == 2 and "Embedding" in module.kind:
        return (Step("Gather", {}, (weight,)),)
    if rank == 2:
        return (Step("Gemm", {"transB": 1}, (weight, own.get("bias"))),)
    if rank in (3, 4, 5):
        return (_convolution(module, weight, own.get("bias")),)
    return ()


def _convolution(module: Module, weight: Tensor, bias: Tensor | None) -> Step:
    transposed = "Transpose" in module.kind or module.attributes.get("transposed") is True
    groups = module.attributes.get("groups")
    if not isinstance(groups, int) or groups < 1:  # names alone do not tell; one input a unit is depthwise as a rule
        groups = weight.shape[0] if weight.shape[1] == 1 and not module.attributes else 1
    strides = module.attributes.get("stride")
    attributes: dict[str, Any] = {"group": groups}
    if isinstance(strides, tuple) and strides and all(isinstance(each, int) and each > 0 for each in strides):
        attributes["strides"] = strides
    return Step("ConvTranspose" if transposed else "Conv", attributes, (weight, bias))


def is_norm(module: Module, own: Mapping[str, Tensor]) -> bool:
    return "running_mean" in own or "Norm" in module.kind


def _norm(module: Module, own: Mapping[str, Tensor]) -> Step:
    settings = module.attributes
    scale, shift = own.get("weight"), own.get("bias")
    attributes: dict[str, Any] = {}
    if isinstance(settings.get("eps"), (int, float)):
        attributes["epsilon"] = float(settings["eps"])
    if "running_mean" in own or "BatchNorm" in module.kind:
        return _batch_norm(module, own, attributes)
    if "Instance" in module.kind:
        return Step("InstanceNormalization", attributes, (scale, shift))
    if "Group" in module.kind:
        groups = settings.get("num_groups")
        return Step("GroupNormalization", {**attributes, "num_groups": groups or 0}, (scale, shift))
    if "RMS" in module.kind:
        return Step("RMSNormalization", attributes, (scale,))
    return Step("LayerNormalization", attributes, (scale, shift))


def _batch_norm(module: Module, own: Mapping[str, Tensor], attributes: dict[str, Any]) -> Step:
    mean, variance = own.get("running_mean"), own.get("running_var")
    momentum = module.attributes.get("momentum")
    if isinstance(momentum, (int, float)):
        attributes["momentum"] = 1.0 - momentum  # ONNX's is the weight of the old statistics
    if mean is None and module.attributes.get("track_running_stats") is not True:
        attributes.update(training_mode=1, evidence="track_running_stats=False")
    elif _recorded_mode(module) is True:
        attributes.update(training_mode=1, evidence="training=True in the recorded forward")
    return Step("BatchNormalization", attributes, (own.get("weight"), own.get("bias"), mean, variance))


def _recorded_mode(module: Module) -> bool | None:
    """The mode that the module's own recorded forward works in; None where there is none."""
    for call in module.calls:
        if function_name(call).endswith(("dropout", "batch_norm")):
            mode = call.arguments.get("train", call.arguments.get("training"))
            return mode if isinstance(mode, bool) else None
    return None


def recurrent_steps(module: Module, own: Mapping[str, Tensor]) -> tuple[Step, ...]:
    """One operator for each layer and direction of a recurrent module: input and hidden weights, [1, units, in]."""
    kind = module.kind.removesuffix("Cell")
    found = []
    for name, weight in own.items():
        if not name.startswith("weight_ih") or kind not in RECURRENT:
            continue
        hidden = own.get(name.replace("weight_ih", "weight_hh"))
        if hidden is None or len(weight.shape) != 2 or len(hidden.shape) != 2:
            continue
        attributes = {"hidden_size": hidden.shape[1]}
        found.append(Step(kind, attributes, (_one_direction(weight), _one_direction(hidden))))
    return tuple(found)


def _one_direction(weight: Tensor) -> Tensor:
    return Tensor(weight.name, (1, *weight.shape), weight.dtype, weight.storage, weight.quantization)


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) else float(default)
