from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Facts
from expressions import Term, erf, exp, log, reciprocal, relu, sigmoid, softplus, tanh
from models import ModelBuilder
from onnx import helper

from avreview.facts.activations import Activation, ActivationFinder, apply

ROOT2 = math.sqrt(2)
GELU = math.sqrt(2 / math.pi)
Spelling = Callable[[Term], Term]

SILU: dict[str, Spelling] = {
    "x * sigmoid(x)": lambda x: x * sigmoid(x),
    "sigmoid(x) * x": lambda x: sigmoid(x) * x,
    "x / (1 + exp(-x))": lambda x: x / (1 + exp(-x)),
    "x / (exp(-x) + 1)": lambda x: x / (exp(-x) + 1),
    "x * 1/(1 + exp(-x))": lambda x: x * reciprocal(1 + exp(-x)),
    "x * (1 / (1 + exp(x * -1)))": lambda x: x * (1 / (1 + exp(x * -1))),
    "x - x * sigmoid(-x)": lambda x: x - x * sigmoid(-x),
    "x/2 * (1 + tanh(x/2))": lambda x: x / 2 * (1 + tanh(x / 2)),
}
EXACT_GELU: dict[str, Spelling] = {
    "x * .5 * (1 + erf(x / √2))": lambda x: x * 0.5 * (1 + erf(x / ROOT2)),
    "x * (1 + erf(x / √2)) * .5": lambda x: x * (1 + erf(x / ROOT2)) * 0.5,
    "x * (.5 * (1 + erf(x / √2)))": lambda x: x * (0.5 * (1 + erf(x / ROOT2))),
    ".5 * x * (erf(x * .7071) + 1)": lambda x: 0.5 * x * (erf(x * (1 / ROOT2)) + 1),
    "(erf(x / √2) + 1) * x / 2": lambda x: (erf(x / ROOT2) + 1) * x / 2,
    "x * (.5 + .5 * erf(x / √2))": lambda x: x * (0.5 + 0.5 * erf(x / ROOT2)),
}
TANH_GELU: dict[str, Spelling] = {
    ".5 x (1 + tanh(√(2/π) (x + .044715 x³)))": lambda x: 0.5 * x * (1 + tanh(GELU * (x + 0.044715 * x**3))),
    "x³ as x * x * x": lambda x: x * 0.5 * (1 + tanh((x + x * x * x * 0.044715) * GELU)),
    "x (1 + .044715 x²)": lambda x: x * (1 + tanh(GELU * x * (1 + 0.044715 * (x * x)))) * 0.5,
    "x * sigmoid(2 ...)": lambda x: x * sigmoid(2 * GELU * x + 2 * GELU * 0.044715 * x**3),
}
MISH: dict[str, Spelling] = {
    "x * tanh(softplus(x))": lambda x: x * tanh(softplus(x)),
    "tanh(softplus(x)) * x": lambda x: tanh(softplus(x)) * x,
    "x * tanh(log(1 + exp(x)))": lambda x: x * tanh(log(1 + exp(x))),
}
HARDSWISH: dict[str, Spelling] = {
    "x * hardsigmoid(x)": lambda x: x * x.op("HardSigmoid", alpha=1 / 6, beta=0.5),
    "x * clip(x + 3, 0, 6) / 6": lambda x: x * (x + 3).op("Clip", 0.0, 6.0) / 6,
    "x * (clip(x + 3, 0, 6) / 6)": lambda x: x * ((x + 3).op("Clip", 0.0, 6.0) / 6),
    "x * clip(relu(x + 3), none, 6) / 6": lambda x: x * relu(x + 3).op("Clip", "", 6.0) / 6,
    "x * min(relu(x + 3), 6) * .1667": lambda x: x * relu(3 + x).op("Min", 6.0) * (1 / 6),
}
OTHERS: dict[str, tuple[str, Spelling]] = {
    "x * sigmoid(1.702 x)": ("quick_gelu", lambda x: x * sigmoid(1.702 * x)),
    "sigmoid(x * 1.702) * x": ("quick_gelu", lambda x: sigmoid(x * 1.702) * x),
    "log(1 + exp(x))": ("softplus", lambda x: log(1 + exp(x))),
    "log(exp(x) + 1)": ("softplus", lambda x: log(exp(x) + 1)),
    "max(x, 0)": ("relu", lambda x: x.op("Max", 0.0)),
    "1 / (1 + exp(-x))": ("sigmoid", lambda x: 1 / (1 + exp(-x))),
    "x / (1 + |x|)": ("softsign", lambda x: x / (1 + x.op("Abs"))),
    "(exp(x) - exp(-x)) / (exp(x) + exp(-x))": ("tanh", lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x))),
}
WRITTEN = [
    *((name, "silu", spelling) for name, spelling in SILU.items()),
    *((name, "gelu", spelling) for name, spelling in EXACT_GELU.items()),
    *((name, "gelu_tanh", spelling) for name, spelling in TANH_GELU.items()),
    *((name, "mish", spelling) for name, spelling in MISH.items()),
    *((name, "hardswish", spelling) for name, spelling in HARDSWISH.items()),
    *((name, wanted, spelling) for name, (wanted, spelling) in OTHERS.items()),
]


def start(opset: int = 17) -> ModelBuilder:
    return ModelBuilder(opset).input("x", [1, 4, 8, 8])


def found(fact: Facts, model: ModelBuilder, key: str = "x") -> Activation | None:
    activation: Activation | None = fact(model, ActivationFinder).after(key)
    return activation


@pytest.mark.parametrize(("spelling", "name"), [(s, n) for _, n, s in WRITTEN], ids=[text for text, _, _ in WRITTEN])
def test_an_activation_is_known_by_what_it_computes(fact: Facts, spelling: Spelling, name: str) -> None:
    model = start()
    result = spelling(Term(model)).value
    activation = found(fact, model.relu().output("y"))
    assert activation is not None
    assert (activation.name, activation.output) == (name, result)


OPERATORS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("Relu", "relu", {}, 17, ""),
    ("Sigmoid", "sigmoid", {}, 17, ""),
    ("Tanh", "tanh", {}, 17, ""),
    ("Softplus", "softplus", {}, 17, ""),
    ("Softsign", "softsign", {}, 17, ""),
    ("Elu", "elu", {}, 17, ""),
    ("Selu", "selu", {}, 17, ""),
    ("Celu", "celu", {}, 17, ""),
    ("Softmax", "softmax", {}, 17, ""),
    ("HardSwish", "hardswish", {}, 17, ""),
    ("Mish", "mish", {}, 18, ""),
    ("Gelu", "gelu", {}, 20, ""),
    ("Gelu", "gelu_tanh", {"approximate": "tanh"}, 20, ""),
    ("Gelu", "gelu", {}, 17, "com.microsoft"),
    ("FastGelu", "gelu_tanh", {}, 17, "com.microsoft"),
    ("QuickGelu", "quick_gelu", {}, 17, "com.microsoft"),
    ("QuickGelu", "silu", {"alpha": 1.0}, 17, "com.microsoft"),
    ("QLinearSoftmax", "softmax", {}, 17, "com.microsoft"),
    ("Swish", "silu", {}, 24, ""),
]


@pytest.mark.parametrize(("op", "name", "attributes", "opset", "domain"), OPERATORS)
def test_an_operator_is_an_activation_by_itself(
    fact: Facts, op: str, name: str, attributes: dict[str, Any], opset: int, domain: str
) -> None:
    activation = found(fact, start(opset).node(op, domain=domain, **attributes).output("y"))
    assert activation is not None
    assert activation.name == name


@pytest.mark.parametrize(("low", "high", "name"), [(0, 6, "relu6"), (0, None, "relu"), (-1, 1, "hardtanh")])
@pytest.mark.parametrize("opset", [6, 17])
def test_a_clip_is_what_its_bounds_make_it(fact: Facts, low: float, high: float | None, name: str, opset: int) -> None:
    model = start(opset)
    if opset == 6:
        bounds: dict[str, Any] = {"min": float(low)} if high is None else {"min": float(low), "max": float(high)}
        model.op("Clip", **bounds)
    else:
        model.op("Clip", model.scalar(low), *([] if high is None else [model.scalar(high)]))
    activation = found(fact, model.output("y"))
    assert activation is not None
    assert activation.name == name


def test_a_clip_to_other_bounds_is_no_activation(fact: Facts) -> None:
    model = start()
    assert found(fact, model.op("Clip", model.scalar(-5), model.scalar(5)).output("y")) is None


LEAKY: dict[str, tuple[Spelling, float]] = {
    "LeakyRelu": (lambda x: x.op("LeakyRelu", alpha=0.2), 0.2),
    "LeakyRelu's default": (lambda x: x.op("LeakyRelu"), 0.01),
    "PRelu": (lambda x: x.op("PRelu", x.model.tensor("slope", np.full((4, 1, 1), 0.25, np.float32))), 0.25),
    "max(x, .1 x)": (lambda x: x.op("Max", x * 0.1), 0.1),
    "max(.1 x, x)": (lambda x: (x * 0.1).op("Max", x), 0.1),
    "relu(x) - .1 relu(-x)": (lambda x: relu(x) - 0.1 * relu(-x), 0.1),
}


@pytest.mark.parametrize("name", LEAKY)
def test_a_leaky_relu_has_its_slope(fact: Facts, name: str) -> None:
    spelling, slope = LEAKY[name]
    model = start()
    spelling(Term(model))
    activation = found(fact, model.output("y"))
    assert activation is not None
    assert activation.name in ("leaky_relu", "prelu")
    assert activation.slope == pytest.approx(slope)


@pytest.mark.parametrize("moved", ["Identity", "Cast"])
def test_what_moves_values_may_stand_inside(fact: Facts, moved: str) -> None:
    model = start()
    x = Term(model)
    attributes: dict[str, Any] = {"to": 1} if moved == "Cast" else {}
    x * sigmoid(x.op(moved, **attributes))
    activation = found(fact, model.output("y"))
    assert activation is not None
    assert activation.name == "silu"


def test_constants_in_half_precision_are_near_enough(fact: Facts) -> None:
    model = start()
    x = Term(model)
    half = float(np.float16(1 / ROOT2))
    x * (0.5 * (1 + erf(x * half)))
    activation = found(fact, model.output("y"))
    assert activation is not None
    assert activation.name == "gelu"


def test_an_activation_inside_a_local_function_is_found(fact: Facts) -> None:
    model = start()
    model.domains["net"] = 1
    nodes = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["r"])]
    model.functions.append(helper.make_function("net", "SiLU", ["a"], ["r"], nodes, [helper.make_opsetid("", 17)]))
    activation = found(fact, model.node("SiLU", domain="net").output("y"))
    assert activation is not None
    assert activation.name == "silu"


@pytest.mark.parametrize("other", ["a constant", "another signal"])
def test_a_gate_is_a_sigmoid_and_not_silu(fact: Facts, other: str) -> None:
    model = start()
    signal = model.tensor("signal", model.trained(1, 4, 8, 8))
    if other == "another signal":
        signal = model.input("signal2", [1, 4, 8, 8]).value
    activation = found(fact, model.at("x").sigmoid().op("Mul", signal).output("y"))
    assert activation is not None
    assert activation.name == "sigmoid"


def test_a_gate_of_the_signal_by_what_a_layer_makes_of_it_is_no_activation(fact: Facts) -> None:
    model = start().conv("gate", 4, 1).sigmoid().op("Mul", "x").output("y")
    assert found(fact, model) is None


@pytest.mark.parametrize("tapped", ["the sigmoid", "the sum inside"])
def test_what_is_read_from_outside_does_not_close(fact: Facts, tapped: str) -> None:
    model = start()
    x = Term(model)
    if tapped == "the sigmoid":
        inside = sigmoid(x)
        result = x * inside
    else:
        inside = 1 + exp(-x)
        result = x / inside
    model.at(result.value).output("y").at(inside.value).relu().output("tap")
    assert found(fact, model) is None


def test_a_result_that_is_an_output_does_not_close_around_it(fact: Facts) -> None:
    model = start()
    x = Term(model)
    inside = sigmoid(x)
    (x * inside).model.output("y").at(inside.value).output("gate")
    assert found(fact, model) is None


def test_one_of_two_readers_that_is_an_operator_is_the_activation(fact: Facts) -> None:
    model = start().conv("side", 4).output("side")
    activation = found(fact, model.at("x").relu().output("y"))
    assert activation is not None
    assert activation.name == "relu"


def test_a_long_chain_of_elementwise_nodes_ends_the_search(fact: Facts) -> None:
    model = start()
    x = Term(model)
    for _ in range(40):
        x = x + 0.001
    assert found(fact, model.output("y")) is None


VALUES = np.linspace(-4, 4, 33)


@pytest.mark.parametrize(("name", "slope"), [("leaky_relu", 0.1), ("relu", None), ("gelu", None), ("silu", None)])
def test_an_activation_is_applied_as_onnx_computes_it(name: str, slope: float | None) -> None:
    from onnx.reference import ReferenceEvaluator

    model = ModelBuilder(20).input("x", [33])
    if name == "silu":
        x = Term(model)
        x * sigmoid(x)
    else:
        op = {"leaky_relu": "LeakyRelu", "relu": "Relu", "gelu": "Gelu"}[name]
        attributes: dict[str, Any] = {"alpha": slope} if slope else {}
        model.op(op, **attributes)
    proto = model.output("y").build()
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x": VALUES.astype(np.float32)})
    result = apply(Activation(name, "y", None, slope), VALUES)  # type: ignore[arg-type]
    assert result is not None
    assert result == pytest.approx(wanted, abs=1e-5)


def test_an_activation_without_a_closed_form_is_not_applied() -> None:
    assert apply(Activation("softmax", "y", None), VALUES) is None  # type: ignore[arg-type]
