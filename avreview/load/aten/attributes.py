"""Which of a module's settings the arguments of its operators are: the `p` of a dropout, the `eps` of a norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_NORM = (("eps", "eps"), ("epsilon", "eps"), ("momentum", "momentum"), ("exponential_average_factor", "momentum"))
_MODE = (("training", "training"),)
_SHAPE = (("normalized_shape", "normalized_shape"),)
_GROUPS = (("num_groups", "num_groups"), ("group", "num_groups"))
_DROPOUT = (("p", "p"), ("train", "training"))
_CONV = tuple((name, name) for name in ("stride", "padding", "output_padding", "dilation", "groups"))
_SOFTMAX = (("dim", "dim"),)
_RECURRENT = (
    *((name, name) for name in ("num_layers", "dropout", "bidirectional", "batch_first")), ("train", "training"),
)  # fmt: skip
# Operator → pairs of a literal argument and the module's attribute that it is.
_ATTRIBUTES: dict[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(
        ("batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "native_batch_norm",
         "cudnn_batch_norm"), (*_NORM, *_MODE),
    ),
    **dict.fromkeys(("_native_batch_norm_legit_no_training", "_batch_norm_no_update", "instance_norm"), _NORM),
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm"), (*_NORM, *_SHAPE)),
    **dict.fromkeys(("group_norm", "native_group_norm"), (*_NORM, *_GROUPS)),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "native_dropout"), _DROPOUT),
    **dict.fromkeys([f"conv{n}d" for n in (1, 2, 3)] + [f"conv_transpose{n}d" for n in (1, 2, 3)], _CONV),
    **dict.fromkeys(("convolution", "_convolution"), (*_CONV, ("transposed", "transposed"))),
    "leaky_relu": (("negative_slope", "negative_slope"),),
    "elu": (("alpha", "alpha"),),
    "gelu": (("approximate", "approximate"),),
    "hardtanh": (("min_val", "min_val"), ("max_val", "max_val")),
    "softplus": (("beta", "beta"), ("threshold", "threshold")),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax"), _SOFTMAX),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RECURRENT),
}  # fmt: skip
_AT_INFERENCE = ("_native_batch_norm_legit_no_training", "_batch_norm_no_update")
_KEPT_BY = ("torch.nn.modules.", "torchvision.ops.")  # whose classes have these attributes under these names


def keeps_attributes(kind: str) -> bool:
    """Whether the class, dotted, is one whose attributes its operator's arguments are."""
    return kind.startswith(_KEPT_BY)


def attributes_of(op: str, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The module's attributes that the plain arguments of an operator such as `aten::batch_norm` tell."""
    name = op.partition("::")[2]
    for argument, attribute in _ATTRIBUTES.get(name, ()):
        if argument in given:
            yield attribute, given[argument]
    if name in _AT_INFERENCE:
        yield "training", False
