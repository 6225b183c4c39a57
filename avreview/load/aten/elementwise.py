"""Activations, arithmetic, reductions and randomness: ATen's operators in ONNX's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from avreview.load.aten.graph import GraphBuilder, Value
from avreview.load.aten.rules import Result, rule

_Arguments = Mapping[str, Any]

_UNARY = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish", "selu": "Selu", "mish": "Mish",
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs", "neg": "Neg", "erf": "Erf", "floor": "Floor",
    "ceil": "Ceil", "round": "Round", "sign": "Sign", "sgn": "Sign", "reciprocal": "Reciprocal", "sin": "Sin",
    "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "isnan": "IsNaN", "isinf": "IsInf", "logical_not": "Not", "bitwise_not": "Not", "special_erf": "Erf",
    "special_expit": "Sigmoid", "det": "Det", "nonzero": "NonZero",
}  # fmt: skip
_BINARY = {
    "mul": "Mul", "pow": "Pow", "maximum": "Max", "minimum": "Min", "eq": "Equal", "lt": "Less",
    "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "logical_and": "And", "logical_or": "Or",
    "logical_xor": "Xor", "bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor", "__and__": "And",
    "__or__": "Or", "__xor__": "Xor", "fmod": "Mod", "remainder": "Mod",
}  # fmt: skip


_SELU = (1.6732632423543772, 1.0507009873554805)  # α and scale: Klambauer et al. 2017


def _unary_rule(op: str) -> Any:
    return lambda build, given: build.node(op, given["self"])


def _binary_rule(op: str) -> Any:
    return lambda build, given: build.node(op, given["self"], given.get("other", given.get("exponent")))


for _name, _op in _UNARY.items():
    rule(_name)(_unary_rule(_op))
for _name, _op in _BINARY.items():
    rule(_name)(_binary_rule(_op))


@rule("leaky_relu")
def _leaky_relu(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("LeakyRelu", given["self"], alpha=float(given["negative_slope"]))


@rule("prelu")
def _prelu(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("PRelu", given["self"], given["weight"])


@rule("gelu")
def _gelu(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Gelu", given["self"], approximate=given["approximate"])


@rule("silu")
def _silu(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Mul", given["self"], build.node("Sigmoid", given["self"]))


@rule("log_sigmoid")
def _log_sigmoid(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Log", build.node("Sigmoid", given["self"]))


@rule("hardsigmoid")
def _hardsigmoid(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("HardSigmoid", given["self"], alpha=1 / 6, beta=0.5)


@rule("softplus")
def _softplus(build: GraphBuilder, given: _Arguments) -> Result:
    beta = float(given["beta"])
    if beta == 1:
        return build.node("Softplus", given["self"])
    return build.node("Div", build.node("Softplus", build.node("Mul", given["self"], beta)), beta)


@rule("elu")
def _elu(build: GraphBuilder, given: _Arguments) -> Result:
    if given["input_scale"] != 1:
        raise ValueError("a scaled input, which ONNX has not")
    numbers = zip((given["alpha"], given["scale"]), _SELU, strict=True)
    if all(math.isclose(number, wanted, rel_tol=1e-6) for number, wanted in numbers):
        return build.node("Selu", given["self"])
    key = build.node("Elu", given["self"], alpha=float(given["alpha"]))
    return key if given["scale"] == 1 else build.node("Mul", key, float(given["scale"]))


@rule("celu")
def _celu(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Celu", given["self"], alpha=float(given["alpha"]))


@rule("softsign")
def _softsign(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Softsign", given["self"])


@rule("threshold")
def _threshold(build: GraphBuilder, given: _Arguments) -> Result:
    if given["value"] != 0:
        raise ValueError("another value below the threshold, which ONNX has not")
    return build.node("ThresholdedRelu", given["self"], alpha=float(given["threshold"]))


def _clip(build: GraphBuilder, value: Any, low: Any, high: Any) -> str:
    bounds = (float(bound) if isinstance(bound, int) else bound for bound in (low, high))
    return build.node("Clip", value, *bounds)


@rule("clamp", "clip")
def _clamp(build: GraphBuilder, given: _Arguments) -> Result:
    return _clip(build, given["self"], given["min"], given["max"])


@rule("clamp_min")
def _clamp_min(build: GraphBuilder, given: _Arguments) -> Result:
    return _clip(build, given["self"], given["min"], None)


@rule("clamp_max")
def _clamp_max(build: GraphBuilder, given: _Arguments) -> Result:
    return _clip(build, given["self"], None, given["max"])


@rule("hardtanh")
def _hardtanh(build: GraphBuilder, given: _Arguments) -> Result:
    return _clip(build, given["self"], given["min_val"], given["max_val"])


@rule("relu6")
def _relu6(build: GraphBuilder, given: _Arguments) -> Result:
    return _clip(build, given["self"], 0.0, 6.0)


@rule("softmax", "_softmax")
def _softmax(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Softmax", given["self"], axis=given["dim"])


@rule("log_softmax", "_log_softmax")
def _log_softmax(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("LogSoftmax", given["self"], axis=given["dim"])


@rule("glu")
def _glu(build: GraphBuilder, given: _Arguments) -> Result:
    first, second = build.several("Split", given["self"], count=2, axis=given["dim"], num_outputs=2)
    return build.node("Mul", first, build.node("Sigmoid", second))


def _scaled(build: GraphBuilder, value: Any, factor: Any) -> Any:
    return value if factor == 1 and not isinstance(factor, bool) else build.node("Mul", value, _number(factor))


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@rule("add")
def _add(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Add", given["self"], _scaled(build, given["other"], given["alpha"]))


@rule("sub")
def _sub(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Sub", given["self"], _scaled(build, given["other"], given["alpha"]))


@rule("rsub")
def _rsub(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Sub", given["other"], _scaled(build, given["self"], given["alpha"]))


@rule("div", "true_divide")
def _div(build: GraphBuilder, given: _Arguments) -> Result:
    key = build.node("Div", given["self"], given["other"])
    rounding = {None: "", "floor": "Floor", "trunc": "Cast"}[given.get("rounding_mode")]
    return build.node(rounding, key) if rounding else key


@rule("floor_divide")
def _floor_divide(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Floor", build.node("Div", given["self"], given["other"]))


@rule("ne")
def _ne(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Not", build.node("Equal", given["self"], given["other"]))


@rule("rsqrt")
def _rsqrt(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Reciprocal", build.node("Sqrt", given["self"]))


@rule("square")
def _square(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Mul", given["self"], given["self"])


@rule("expm1")
def _expm1(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Sub", build.node("Exp", given["self"]), 1.0)


@rule("log1p")
def _log1p(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Log", build.node("Add", given["self"], 1.0))


@rule("addcmul", "addcdiv")
def _addcmul(build: GraphBuilder, given: _Arguments) -> Result:
    op = "Mul" if build.call.op.startswith("aten::addcmul") else "Div"
    product = build.node(op, given["tensor1"], given["tensor2"])
    return build.node("Add", given["self"], _scaled(build, product, given["value"]))


@rule("lerp")
def _lerp(build: GraphBuilder, given: _Arguments) -> Result:
    difference = build.node("Sub", given["end"], given["self"])
    return build.node("Add", given["self"], build.node("Mul", difference, _number(given["weight"])))


@rule("where")
def _where(build: GraphBuilder, given: _Arguments) -> Result:
    if given["self"] is None:
        return build.node("NonZero", given["condition"])
    return build.node("Where", given["condition"], given["self"], given["other"])


@rule("masked_fill")
def _masked_fill(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Where", given["mask"], given["value"], given["self"])


def _axes(build: GraphBuilder, dim: Any) -> Any:
    if dim is None or dim == ():
        return None
    return build.integers((dim,) if isinstance(dim, int) else dim)


def _reduction(op: str) -> Any:
    def translate(build: GraphBuilder, given: _Arguments) -> Result:
        keep = int(given.get("keepdim") or False)
        return build.node(op, given["self"], _axes(build, given.get("dim")), keepdims=keep)

    return translate


_REDUCTIONS = {
    "mean": "ReduceMean", "sum": "ReduceSum", "prod": "ReduceProd", "amax": "ReduceMax", "amin": "ReduceMin",
    "any": "ReduceMax", "all": "ReduceMin", "logsumexp": "ReduceLogSumExp",
}  # fmt: skip
for _name, _op in _REDUCTIONS.items():
    rule(_name)(_reduction(_op))


@rule("linalg_vector_norm", "norm", "frobenius_norm")
def _vector_norm(build: GraphBuilder, given: _Arguments) -> Result:
    order = given.get("ord", given.get("p", 2))
    op = {1: "ReduceL1", 2: "ReduceL2", None: "ReduceL2"}[order]
    return _reduction(op)(build, given)  # type: ignore[no-any-return]


@rule("max", "min")
def _extreme(build: GraphBuilder, given: _Arguments) -> Result:
    """Of two tensors, of all elements, or along an axis with the places."""
    op = "Max" if "max" in build.call.op else "Min"
    if "other" in given:
        return build.node(op, given["self"], given["other"])
    key = _reduction(f"Reduce{op}")(build, given)
    if given.get("dim") is None:
        return key  # type: ignore[no-any-return]
    places = build.node(f"Arg{op}", given["self"], axis=given["dim"], keepdims=int(given["keepdim"]))
    return key, places


@rule("argmax", "argmin")
def _arg_extreme(build: GraphBuilder, given: _Arguments) -> Result:
    op = "ArgMax" if "max" in build.call.op else "ArgMin"
    return build.node(op, given["self"], axis=given["dim"] or 0, keepdims=int(given["keepdim"]))


def _variance(build: GraphBuilder, given: _Arguments) -> tuple[str, str]:
    """(the variance, the mean), written out as exporters do: mean, difference, square, mean, Bessel's correction."""
    dims, dim = build.dims(given["self"]), given.get("dim")
    axes = _axes(build, dim)
    keep = int(given.get("keepdim") or False)
    mean = build.node("ReduceMean", given["self"], axes, keepdims=1)
    difference = build.node("Sub", given["self"], mean)
    variance = build.node("ReduceMean", build.node("Mul", difference, difference), axes, keepdims=keep)
    count = _count(dims, dim)
    correction = given.get("correction", 1 if given.get("unbiased", True) else 0)
    correction = 1 if correction is None else correction
    if correction:
        if count is None or count <= correction:
            raise ValueError("a correction by an unknown count")
        variance = build.node("Mul", variance, count / (count - correction))
    average = mean if keep else build.node("ReduceMean", given["self"], axes, keepdims=0)
    return variance, average


def _count(dims: Sequence[int | str | None] | None, dim: Any) -> int | None:
    if dims is None:
        return None
    axes = range(len(dims)) if dim in (None, ()) else (dim,) if isinstance(dim, int) else dim
    extents = [dims[axis] for axis in axes]
    numbers = [extent for extent in extents if isinstance(extent, int)]
    return math.prod(numbers) if len(numbers) == len(extents) else None


@rule("var")
def _var(build: GraphBuilder, given: _Arguments) -> Result:
    return _variance(build, given)[0]


@rule("std")
def _std(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Sqrt", _variance(build, given)[0])


@rule("var_mean")
def _var_mean(build: GraphBuilder, given: _Arguments) -> Result:
    return _variance(build, given)


@rule("std_mean")
def _std_mean(build: GraphBuilder, given: _Arguments) -> Result:
    variance, mean = _variance(build, given)
    return build.node("Sqrt", variance), mean


@rule("dropout", "feature_dropout", "native_dropout")
def _dropout(build: GraphBuilder, given: _Arguments) -> Result:
    active = True if given["train"] is None else bool(given["train"])
    return build.node("Dropout", given["input"], float(given["p"]), active), None


@rule("alpha_dropout", "feature_alpha_dropout")
def _alpha_dropout(build: GraphBuilder, given: _Arguments) -> Result:
    """Drops as dropout does; what it puts in place of what it dropped is another constant."""
    return build.node("Dropout", given["input"], float(given["p"]), bool(given["train"]))


@rule("rand", "randn")
def _random(build: GraphBuilder, given: _Arguments) -> Result:
    op = "RandomNormal" if "randn" in build.call.op else "RandomUniform"
    if all(isinstance(extent, int) for extent in given["size"]):
        return build.node(op, shape=tuple(given["size"]))
    return build.node(f"{op}Like", build.node("ConstantOfShape", build.integers(given["size"])))


@rule("rand_like", "uniform_")
def _random_uniform_like(build: GraphBuilder, given: _Arguments) -> Result:
    low, high = given.get("from"), given.get("to")
    return build.node("RandomUniformLike", given["self"], low=low, high=high)


@rule("randn_like", "normal_")
def _random_normal_like(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("RandomNormalLike", given["self"], mean=given.get("mean"), scale=given.get("std"))


@rule("bernoulli", "bernoulli_")
def _bernoulli(build: GraphBuilder, given: _Arguments) -> Result:
    """Draws with the probabilities in a tensor, or with one probability for every element of it."""
    probability = given["p"]
    if probability is None:
        return build.node("Bernoulli", given["self"])
    if isinstance(probability, Value):
        return build.node("Bernoulli", probability)
    dims = build.dims(given["self"])
    known = dims is not None and all(isinstance(extent, int) for extent in dims)
    shape = build.integers(dims) if known and dims is not None else build.node("Shape", given["self"])
    return build.node("Bernoulli", build.filled(shape, float(probability)))


@rule("multinomial")
def _multinomial(build: GraphBuilder, given: _Arguments) -> Result:
    return build.node("Multinomial", given["self"], sample_size=given["num_samples"])
