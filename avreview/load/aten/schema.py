"""The parameters of ATen operators: their names in order, and what stands for one that a program leaves out.

Copied from torch's own schemas (`torch.ops.aten.<op>.<overload>._schema`, torch 2.13), overloads joined where they
agree. https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/native_functions.yaml
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping, Sequence
from typing import Any

_CONV = "input weight bias=None stride=1 padding=0 dilation=1 groups=1"
_CONV_TRANSPOSE = "input weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1"
_POOL = "self kernel_size stride=() padding=0 dilation=1 ceil_mode=False"
_AVERAGE = "self kernel_size stride=() padding=0 ceil_mode=False count_include_pad=True divisor_override=None"
_BATCH_NORM = "input weight bias running_mean running_var training momentum eps"
_FACTORY = "dtype=None layout=None device=None pin_memory=None"
_RECURRENT = "input hx params has_biases num_layers dropout train bidirectional batch_first"
_REDUCTION = "self dim=None keepdim=False dtype=None"
_BINARY = "self other alpha=1"
_RESIZE = "self output_size=None scales_h=None scales_w=None"

_PARAMETERS: dict[str, str] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONV),
    "convolution": "input weight bias stride padding dilation transposed output_padding groups",
    "_convolution": "input weight bias stride padding dilation transposed output_padding groups benchmark=False "
    "deterministic=False cudnn_enabled=False allow_tf32=False",
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _CONV_TRANSPOSE),
    "linear": "input weight bias=None",
    "addmm": "self mat1 mat2 beta=1 alpha=1",
    "addbmm": "self batch1 batch2 beta=1 alpha=1",
    "baddbmm": "self batch1 batch2 beta=1 alpha=1",
    **dict.fromkeys(("mm", "bmm"), "self mat2"),
    "matmul": "self other",
    "einsum": "equation tensors path=None",
    "batch_norm": f"{_BATCH_NORM} cudnn_enabled=True",
    "_native_batch_norm_legit": _BATCH_NORM,
    "_native_batch_norm_legit.no_stats": "input weight bias training momentum eps",
    "_native_batch_norm_legit_functional": _BATCH_NORM,
    "_native_batch_norm_legit_no_training": "input weight bias running_mean running_var momentum eps",
    "native_batch_norm": _BATCH_NORM,
    **dict.fromkeys(
        ("_batch_norm_with_update", "_batch_norm_with_update_functional", "_batch_norm_no_update"),
        "input weight bias running_mean running_var momentum eps",
    ),
    "cudnn_batch_norm": "input weight bias running_mean running_var training exponential_average_factor epsilon",
    "instance_norm": "input weight bias running_mean running_var use_input_stats momentum eps cudnn_enabled=True",
    "group_norm": "input num_groups weight=None bias=None eps=1e-05 cudnn_enabled=True",
    "native_group_norm": "input weight bias N C HxW group eps",
    "layer_norm": "input normalized_shape weight=None bias=None eps=1e-05 cudnn_enable=True",
    "native_layer_norm": "input normalized_shape weight bias eps",
    **dict.fromkeys(("rms_norm", "_fused_rms_norm"), "input normalized_shape weight=None eps=None"),
    "leaky_relu": "self negative_slope=0.01",
    "gelu": "self approximate='none'",
    "softplus": "self beta=1 threshold=20",
    "elu": "self alpha=1 scale=1 input_scale=1",
    "celu": "self alpha=1.0",
    "hardtanh": "self min_val=-1 max_val=1",
    **dict.fromkeys(("clamp", "clip"), "self min=None max=None"),
    "clamp_min": "self min",
    "clamp_max": "self max",
    "threshold": "self threshold value",
    "prelu": "self weight",
    **dict.fromkeys(("softmax", "log_softmax"), "self dim dtype=None"),
    **dict.fromkeys(("_softmax", "_log_softmax"), "self dim half_to_float=False"),
    "glu": "self dim=-1",
    **dict.fromkeys(("add", "sub", "rsub"), _BINARY),
    "mul": "self other",
    "div": "self other rounding_mode=None",
    "pow": "self exponent",
    **dict.fromkeys(("maximum", "minimum", "logical_and", "logical_or", "logical_xor"), "self other"),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "fmod", "remainder", "floor_divide"), "self other"),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "__and__", "__or__", "__xor__"), "self other"),
    "atan2": "self other",
    "addcmul": "self tensor1 tensor2 value=1",
    "addcdiv": "self tensor1 tensor2 value=1",
    "lerp": "self end weight",
    "where": "condition self=None other=None",
    "masked_fill": "self mask value",
    **dict.fromkeys(("mean", "sum"), _REDUCTION),
    "prod": _REDUCTION,
    **dict.fromkeys(("amax", "amin"), "self dim=() keepdim=False"),
    **dict.fromkeys(("any", "all"), "self dim=None keepdim=False"),
    "flip": "self dims",
    **dict.fromkeys(("max", "min"), "self dim=None keepdim=False"),
    **dict.fromkeys(("max.other", "min.other"), "self other"),
    **dict.fromkeys(("argmax", "argmin"), "self dim=None keepdim=False"),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), "self unbiased=True"),
    **dict.fromkeys(("var.dim", "std.dim", "var_mean.dim", "std_mean.dim"), "self dim unbiased=True keepdim=False"),
    **dict.fromkeys(
        ("var.correction", "std.correction", "var_mean.correction", "std_mean.correction"),
        "self dim=None correction=None keepdim=False",
    ),
    "linalg_vector_norm": "self ord=2 dim=None keepdim=False dtype=None",
    "norm": "self p=2 dim=None keepdim=False dtype=None",
    "logsumexp": "self dim keepdim=False",
    "cumsum": "self dim dtype=None",
    "topk": "self k dim=-1 largest=True sorted=True",
    **dict.fromkeys(("view", "_unsafe_view"), "self size"),
    "reshape": "self shape",
    **dict.fromkeys(("view_as", "reshape_as", "expand_as", "type_as"), "self other"),
    "permute": "self dims",
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), "self dim0 dim1"),
    "movedim": "self source destination",
    "flatten": "self start_dim=0 end_dim=-1",
    "unflatten": "self dim sizes",
    "squeeze": "self dim=None",
    "unsqueeze": "self dim",
    "expand": "self size implicit=False",
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), "tensors dim=0"),
    "split": "self split_size dim=0",
    "split_with_sizes": "self split_sizes dim=0",
    "chunk": "self chunks dim=0",
    "unbind": "self dim=0",
    "slice": "self dim=0 start=None end=None step=1",
    "narrow": "self dim start length",
    "select": "self dim index",
    "index_select": "self dim index",
    "gather": "self dim index sparse_grad=False",
    "index": "self indices",
    "embedding": "weight indices padding_idx=-1 scale_grad_by_freq=False sparse=False",
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), "input p train"),
    "native_dropout": "input p train",
    "pad": "self pad mode='constant' value=None",
    "constant_pad_nd": "self pad value=0",
    **dict.fromkeys([f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)], "self padding"),
    **dict.fromkeys([f"max_pool{n}d{tail}" for tail in ("", "_with_indices") for n in (1, 2, 3)], _POOL),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _AVERAGE),
    **dict.fromkeys(
        [f"{lead}adaptive_{kind}_pool{n}d" for lead in ("", "_") for kind in ("avg", "max") for n in (1, 2, 3)],
        "self output_size",
    ),
    **dict.fromkeys(
        [f"upsample_{kind}" for kind in ("nearest1d", "nearest2d", "nearest3d", "nearest_exact2d")], _RESIZE
    ),
    **dict.fromkeys(
        [f"upsample_{kind}" for kind in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")],
        "self output_size align_corners scales_h=None scales_w=None",
    ),
    "pixel_shuffle": "self upscale_factor",
    "pixel_unshuffle": "self downscale_factor",
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RECURRENT),
    "scaled_dot_product_attention": "query key value attn_mask=None dropout_p=0.0 is_causal=False scale=None "
    "enable_gqa=False",
    **dict.fromkeys(("rand", "randn", "zeros", "ones", "empty"), f"size {_FACTORY}"),
    **dict.fromkeys(
        ("rand_like", "randn_like", "zeros_like", "ones_like", "empty_like"), f"self {_FACTORY} memory_format=None"
    ),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty"), f"self size {_FACTORY}"),
    "full": f"size fill_value {_FACTORY}",
    "full_like": f"self fill_value {_FACTORY} memory_format=None",
    "new_full": f"self size fill_value {_FACTORY}",
    "bernoulli": "self p=None generator=None",
    "bernoulli_": "self p=0.5 generator=None",
    "uniform_": "self from=0.0 to=1.0 generator=None",
    "normal_": "self mean=0.0 std=1.0 generator=None",
    "multinomial": "self num_samples replacement=False generator=None",
    "to": "self dtype=None",
    "_to_copy": f"self {_FACTORY} non_blocking=False memory_format=None",
    "copy_": "self src non_blocking=False",
    "contiguous": "self memory_format=None",
    "clone": "self memory_format=None",
    **dict.fromkeys(("fill", "fill_"), "self value"),
    "repeat": "self repeats",
    "roll": "self shifts dims=()",
    "_weight_norm": "v g dim=0",
    "_weight_norm_interface": "v g dim=0",
    "_assert_tensor_metadata": "a size=None stride=None dtype=None device=None layout=None",
}  # fmt: skip
_UNARY = "self"  # what every other operator takes first


@functools.cache
def parameters(op: str, overload: str = "") -> tuple[tuple[str, bool, Any], ...] | None:
    """(name, has a default, the default) of each parameter of an operator, or None for one that is not listed.

    An in-place operator has the parameters of the one that it is named after.
    """
    text = None
    for name in (f"{op}.{overload}", op, f"{op.rstrip('_')}.{overload}", op.rstrip("_")):
        text = text or _PARAMETERS.get(name)
    if text is None:
        return None
    found = []
    for part in text.split():
        name, equals, default = part.partition("=")
        found.append((name, bool(equals), ast.literal_eval(default) if equals else None))
    return tuple(found)


def bound(op: str, overload: str, positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, defaults filled in. Those of an operator that is not listed are called by their place."""
    known = parameters(op, overload)
    if known is None:
        return {**{(_UNARY if place == 0 else str(place)): value for place, value in enumerate(positional)}, **keywords}
    given = dict(zip((name for name, _, _ in known), positional, strict=False))
    given.update(keywords)
    arguments = {name: given.pop(name, default) for name, has_default, default in known if has_default or name in given}
    arguments.update(given)
    arguments.update({str(place): positional[place] for place in range(len(known), len(positional))})
    return arguments
