"""Layers with weights, norms, recurrence and attention: ATen's operators in ONNX's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avreview.load.aten.graph import GraphBuilder, Value
from avreview.load.aten.rules import Result, listed, rule

_Arguments = Mapping[str, Any]


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
def _convolution(build: GraphBuilder, given: _Arguments) -> Result:
    if given.get("transposed"):
        return _transposed(build, given)
    weight = build.dims(given["weight"])
    axes = len(weight) - 2 if weight is not None else len(given["stride"])
    attributes: dict[str, Any] = {
        "strides": listed(given["stride"], axes),
        "dilations": listed(given["dilation"], axes),
        "group": given["groups"],
        "kernel_shape": weight[2:] if weight is not None else None,
    }
    if isinstance(given["padding"], str):
        attributes["auto_pad"] = "SAME_UPPER" if given["padding"] == "same" else "VALID"
    else:
        attributes["pads"] = listed(given["padding"], axes) * 2
    return build.node("Conv", given["input"], given["weight"], given["bias"], **attributes)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed(build: GraphBuilder, given: _Arguments) -> Result:
    weight = build.dims(given["weight"])
    axes = len(weight) - 2 if weight is not None else len(given["stride"])
    return build.node(
        "ConvTranspose", given["input"], given["weight"], given["bias"],
        strides=listed(given["stride"], axes), dilations=listed(given["dilation"], axes), group=given["groups"],
        pads=listed(given["padding"], axes) * 2, output_padding=listed(given["output_padding"], axes),
        kernel_shape=weight[2:] if weight is not None else None,
    )  # fmt: skip


@rule("linear")
def _linear(build: GraphBuilder, given: _Arguments) -> Result:
    """A Gemm for a matrix of samples, a MatMul and a sum for more axes, as PyTorch's exporter writes them."""
    if build.rank(given["input"]) == 2 and given["bias"] is not None:
        return build.node("Gemm", given["input"], given["weight"], given["bias"], transB=1)
    product = build.node("MatMul", given["input"], build.node("Transpose", given["weight"], perm=(1, 0)))
    return product if given["bias"] is None else build.node("Add", product, given["bias"])


@rule("addmm")
def _addmm(build: GraphBuilder, given: _Arguments) -> Result:
    alpha, beta = float(given["alpha"]), float(given["beta"])
    return build.node("Gemm", given["mat1"], given["mat2"], given["self"], alpha=alpha, beta=beta)


@rule("mm", "bmm", "matmul", "mv", "dot")
def _matmul(build: GraphBuilder, given: _Arguments) -> Result:
    other = next(value for name, value in given.items() if name != "self")
    return build.node("MatMul", given["self"], _unexpanded(build, other))


def _unexpanded(build: GraphBuilder, value: Value) -> Any:
    """The matrix behind one that was only repeated along batch axes: a product broadcasts by itself."""
    dims = build.dims(value)
    node = build.producer.get(value.key)
    for _ in range(4):
        if node is None or node.op not in ("Reshape", "Expand", "Identity", "Unsqueeze") or dims is None:
            break
        key = node.input(0)
        if build.rank(key) == 2:
            return key if build.dims(key) == dims[-2:] and len(dims) > 2 else value
        node = build.producer.get(key)
    return value


@rule("baddbmm")
def _baddbmm(build: GraphBuilder, given: _Arguments) -> Result:
    product = build.node("MatMul", given["batch1"], given["batch2"])
    if given["alpha"] != 1:
        product = build.node("Mul", product, float(given["alpha"]))
    if given["beta"] == 0:
        return product
    summand = given["self"] if given["beta"] == 1 else build.node("Mul", given["self"], float(given["beta"]))
    return build.node("Add", product, summand)


@rule("einsum")
def _einsum(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Einsum", *given["tensors"], equation=given["equation"])


@rule("embedding")
def _embedding(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Gather", given["weight"], given["indices"], axis=0)


def _batch_norm(build: GraphBuilder, given: _Arguments, training: Any, momentum: Any, eps: Any) -> str:
    """BatchNormalization; ONNX's momentum is the weight of the old statistics, torch's that of the new ones."""
    places = (given[name] for name in ("input", "weight", "bias"))
    statistics = (given.get(name) for name in ("running_mean", "running_var"))
    return build.node(
        "BatchNormalization", *places, *statistics,
        epsilon=float(eps), momentum=1.0 - float(momentum or 0.0), training_mode=int(bool(training)),
    )  # fmt: skip


@rule("batch_norm")
def _plain_batch_norm(build: GraphBuilder, given: _Arguments) -> Result:
    return _batch_norm(build, given, given["training"], given["momentum"], given["eps"])


@rule("_native_batch_norm_legit", "native_batch_norm", "_native_batch_norm_legit_functional")
def _native_batch_norm(build: GraphBuilder, given: _Arguments) -> Result:
    source = _by_instance(build, given["input"]) if given["training"] else None
    if source is not None:
        affine = (_untiled(build, given[name]) for name in ("weight", "bias"))
        key = build.node("InstanceNormalization", source, *affine, epsilon=float(given["eps"]))
        return build.node("Identity", key), None, None, None, None
    return _batch_norm(build, given, given["training"], given["momentum"], given["eps"]), None, None, None, None


def _by_instance(build: GraphBuilder, value: Value) -> str | None:
    """What torch reshaped from [N, C, …] to [1, N·C, …], which makes an instance norm of a batch norm; else None."""
    node = build.producer.get(value.key)
    dims = build.dims(value)
    if node is None or node.op != "Reshape" or dims is None or dims[0] != 1 or len(dims) < 3:
        return None
    before = build.dims(node.input(0))
    if before is None or len(before) != len(dims) or before[2:] != dims[2:]:
        return None
    return node.input(0)


def _untiled(build: GraphBuilder, value: Value | None) -> Any:
    """An affine parameter as it was before it was repeated for every sample."""
    node = build.producer.get(value.key) if value is not None else None
    return node.input(0) if node is not None and node.op == "Tile" else value


@rule("_native_batch_norm_legit_no_training", "_batch_norm_no_update")
def _batch_norm_at_inference(build: GraphBuilder, given: _Arguments) -> Result:
    return _batch_norm(build, given, False, given["momentum"], given["eps"]), None, None, None


@rule("_batch_norm_with_update", "_batch_norm_with_update_functional")
def _batch_norm_in_training(build: GraphBuilder, given: _Arguments) -> Result:
    return _batch_norm(build, given, True, given["momentum"], given["eps"]), None, None, None, None, None


@rule("cudnn_batch_norm")
def _cudnn_batch_norm(build: GraphBuilder, given: _Arguments) -> Result:
    momentum = given["exponential_average_factor"]
    return _batch_norm(build, given, given["training"], momentum, given["epsilon"]), None, None, None


@rule("instance_norm")
def _instance_norm(build: GraphBuilder, given: _Arguments) -> Result:
    if not given["use_input_stats"]:
        return _batch_norm(build, given, False, given["momentum"], given["eps"])
    places = (given[name] for name in ("input", "weight", "bias"))
    return build.node("InstanceNormalization", *places, epsilon=float(given["eps"]))


@rule("group_norm")
def _group_norm(build: GraphBuilder, given: _Arguments) -> Result:
    places = (given[name] for name in ("input", "weight", "bias"))
    return build.node("GroupNormalization", *places, epsilon=float(given["eps"]), num_groups=given["num_groups"])


@rule("native_group_norm")
def _native_group_norm(build: GraphBuilder, given: _Arguments) -> Result:
    places = (given[name] for name in ("input", "weight", "bias"))
    key = build.node("GroupNormalization", *places, epsilon=float(given["eps"]), num_groups=given["group"])
    return key, None, None


@rule("layer_norm", "native_layer_norm")
def _layer_norm(build: GraphBuilder, given: _Arguments) -> Result:
    places = (given[name] for name in ("input", "weight", "bias"))
    axis = -len(given["normalized_shape"])
    return build.node("LayerNormalization", *places, axis=axis, epsilon=float(given["eps"])), None, None


@rule("rms_norm", "_fused_rms_norm")
def _rms_norm(build: GraphBuilder, given: _Arguments) -> Result:
    eps = given["eps"] if given["eps"] is not None else 2.0**-23  # of float32, as torch takes it
    axis = -len(given["normalized_shape"])
    return build.node("RMSNormalization", given["input"], given["weight"], axis=axis, epsilon=float(eps)), None


@rule("_weight_norm", "_weight_norm_interface")
def _weight_norm(build: GraphBuilder, given: _Arguments) -> Result:
    """The weight g · v / ‖v‖ that weight normalization computes at each call."""
    rank, dim = build.rank(given["v"]), given["dim"]
    if rank is None:
        raise TypeError("a weight of unknown rank")
    axes = [axis for axis in range(rank) if axis != dim % rank] if dim != -1 else list(range(rank))
    length = build.node("ReduceL2", given["v"], build.integers(axes), keepdims=1)
    return build.node("Mul", given["v"], build.node("Div", given["g"], length)), length


_RECURRENT = {"lstm": ("LSTM", 2), "gru": ("GRU", 1), "rnn_tanh": ("RNN", 1), "rnn_relu": ("RNN", 1)}


def _recurrent_rule(op: str, states: int) -> Any:
    def translate(build: GraphBuilder, given: _Arguments) -> Result:
        return _recurrent(build, given, op, states)

    return translate


for _name, (_op, _states) in _RECURRENT.items():
    rule(_name)(_recurrent_rule(_op, _states))


def _recurrent(build: GraphBuilder, given: _Arguments, op: str, states: int) -> Result:
    """One operator a layer and direction. Gates keep the order in which torch stores them, not ONNX's."""
    directions = 2 if given["bidirectional"] else 1
    layers = given["num_layers"]
    params = given["params"]
    each = 4 if given["has_biases"] else 2
    if not 0 < layers * directions * each == len(params):
        raise ValueError("weights of another form, such as projections")
    hidden = given["hx"] if op == "LSTM" else (given["hx"],)
    key = given["input"]
    if given["batch_first"]:
        key = build.node("Transpose", key, perm=(1, 0, 2))
    last: list[list[str]] = [[] for _ in range(states)]
    for layer in range(layers):
        if layer and given["dropout"]:
            key = build.node("Dropout", key, float(given["dropout"]), bool(given["train"]))
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            first = [_initial(build, state, place, layers * directions) for state in hidden]
            found = _pass(build, op, key, params[place * each : place * each + each], first, bool(direction))
            outputs.append(build.node("Squeeze", found[0], build.integers([1])))
            for state in range(states):
                last[state].append(found[1 + state])
        key = outputs[0] if directions == 1 else build.node("Concat", *outputs, axis=2)
    ends = [keys[0] if len(keys) == 1 else build.node("Concat", *keys, axis=0) for keys in last]
    if given["batch_first"]:
        key = build.node("Transpose", key, perm=(1, 0, 2))
    return key, *ends


def _initial(build: GraphBuilder, state: Any, place: int, all_places: int) -> Any:
    if all_places == 1:
        return state
    start, end, axis = build.integers([place]), build.integers([place + 1]), build.integers([0])
    return build.node("Slice", state, start, end, axis)


def _pass(
    build: GraphBuilder, op: str, key: Any, params: Sequence[Value], states: Sequence[Any], reverse: bool
) -> tuple[str, ...]:
    """One direction of one layer: (all outputs, last hidden state, last cell state)."""
    axis = build.integers([0])
    weights = [build.node("Unsqueeze", weight, axis) for weight in params[:2]]
    biases = build.node("Unsqueeze", build.node("Concat", *params[2:], axis=0), axis) if params[2:] else None
    dims = build.dims(params[1])
    return build.several(
        op, key, *weights, biases, None, *states, count=1 + len(states),
        direction="reverse" if reverse else "forward", hidden_size=dims[-1] if dims else None,
    )  # fmt: skip


@rule("scaled_dot_product_attention")
def _attention(build: GraphBuilder, given: _Arguments) -> Result:
    """Softmax(Q Kᵀ · scale + mask) V, with dropout in between, which torch applies whatever the mode."""
    query, keys = given["query"], given["key"]
    rank, dims = build.rank(keys), build.dims(query)
    if rank is None:
        raise TypeError("keys of unknown rank")
    order = (*range(rank - 2), rank - 1, rank - 2)
    scores = build.node("MatMul", query, build.node("Transpose", keys, perm=order))
    width = dims[-1] if dims else None
    scale = given["scale"] if given["scale"] is not None else width**-0.5 if isinstance(width, int) and width else None
    if scale is not None:
        scores = build.node("Mul", scores, float(scale))
    if given["attn_mask"] is not None:
        scores = build.node("Add", scores, given["attn_mask"])
    weights = build.node("Softmax", scores, axis=-1)
    if given["dropout_p"]:
        weights = build.node("Dropout", weights, float(given["dropout_p"]), True)
    return build.node("MatMul", weights, given["value"])
