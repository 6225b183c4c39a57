from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Facts
from models import Array, ModelBuilder
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from avreview.facts.weights import Constants, Weight

Step = Callable[[ModelBuilder], ModelBuilder]

FLOATS = ModelBuilder(seed=1).trained(4, 6, 1)
INTEGERS = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)


def rest(model: ModelBuilder, place: int = 1) -> ModelBuilder:
    """Continues from a further output of the last node."""
    return model.at(model.nodes[-1].output[place])


def start(array: Array, opset: int = 21) -> ModelBuilder:
    """A model with one constant at hand, and an input that has nothing to do with it."""
    model = ModelBuilder(opset).input("x", [1])
    return model.at(model.tensor("stored", array))


def behind(fact: Facts, model: ModelBuilder) -> Weight | None:
    """The constant behind the value at hand."""
    key = model.value
    weight: Weight | None = fact(model.op("Identity").output("y"), Constants).weight(key)
    return weight


def computed(model: ModelBuilder) -> Array:
    """The model's output as onnx's reference computes it."""
    (value,) = ReferenceEvaluator(model.build()).run(None, {"x": np.zeros(1, np.float32)})
    return np.asarray(value, np.float32)


PLAIN: dict[str, Step] = {
    "itself": lambda m: m,
    "Identity": lambda m: m.op("Identity"),
    "Transpose": lambda m: m.transpose(2, 0, 1),
    "Transpose of all axes": lambda m: m.op("Transpose"),
    "Cast": lambda m: m.op("Cast", to=TensorProto.DOUBLE),
    "Reshape": lambda m: m.reshape(0, 2, -1),
    "Reshape of all": lambda m: m.reshape(-1),
    "Flatten": lambda m: m.op("Flatten", axis=2),
    "Flatten, a negative axis": lambda m: m.op("Flatten", axis=-1),
    "Flatten, axis 0": lambda m: m.op("Flatten", axis=0),
    "Squeeze": lambda m: m.op("Squeeze", m.ints(-1)),
    "Squeeze of every axis of 1": lambda m: m.op("Squeeze"),
    "Unsqueeze": lambda m: m.op("Unsqueeze", m.ints(0, -1)),
    "Split": lambda m: m.op("Split", m.ints(1, 3)),
    "the rest of a Split": lambda m: rest(m.node("Split", [m.value, m.ints(1, 3)], outputs=2)),
    "Split into equal parts": lambda m: rest(m.node("Split", outputs=2, num_outputs=2)),
    "Split, the last part short": lambda m: rest(m.node("Split", outputs=3, num_outputs=3), 1),
    "Slice": lambda m: m.op("Slice", m.ints(1), m.ints(3)),
    "Slice to the end": lambda m: m.op("Slice", m.ints(-3), m.ints(1 << 40), m.ints(0), m.ints(1)),
    "rows of rows": lambda m: m.op("Slice", m.ints(1), m.ints(4)).op("Slice", m.ints(1), m.ints(2)).transpose(2, 1, 0),
    "many": lambda m: m.op("Identity").transpose(1, 0, 2).reshape(3, -1).op("Transpose").op("Identity"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_weight_is_read_as_the_graph_uses_it(fact: Facts, name: str) -> None:
    model = PLAIN[name](start(FLOATS))
    weight = behind(fact, model)
    wanted = computed(model)
    assert weight is not None
    assert weight.shape == wanted.shape
    assert np.array_equal(weight.read(), wanted)
    assert (weight.name, weight.is_plain, weight.quantized) == ("stored", True, False)


@pytest.mark.parametrize(("op", "axes"), [("Squeeze", [2]), ("Unsqueeze", [0])])
def test_axes_are_read_from_the_attribute_of_old_opsets(fact: Facts, op: str, axes: Sequence[int]) -> None:
    model = start(FLOATS, opset=11).op(op, axes=list(axes))
    weight = behind(fact, model)
    assert weight is not None
    assert weight.shape == computed(model).shape


@pytest.mark.parametrize(("steps", "transposed"), [(0, False), (1, True), (2, False), (3, True)])
def test_a_weight_is_transposed_when_it_is_turned_an_odd_number_of_times(
    fact: Facts, steps: int, transposed: bool
) -> None:
    model = start(FLOATS)
    for _ in range(steps):
        model.op("Transpose")
    weight = behind(fact, model)
    assert weight is not None
    assert weight.transposed is transposed


def scaled(scale: Array, zero: Array | None = None, **attributes: Any) -> Step:
    """DequantizeLinear with that scale and zero point."""

    def step(model: ModelBuilder) -> ModelBuilder:
        others = [model.tensor("scale", np.asarray(scale, np.float32))]
        if zero is not None:
            others.append(model.tensor("zero", np.asarray(zero, np.int8)))
        return model.op("DequantizeLinear", *others, **attributes)

    return step


def multiplied(scale: Array, scale_first: bool = False) -> Step:
    """Weight-only quantization written out: a cast and a product."""

    def step(model: ModelBuilder) -> ModelBuilder:
        value = model.op("Cast", to=TensorProto.FLOAT).value
        factor = model.tensor("scale", np.asarray(scale, np.float32))
        return model.node("Mul", [factor, value] if scale_first else [value, factor])

    return step


ROWS = np.array([0.01, 0.02, 0.5, 1.5])
COLUMNS = np.linspace(0.1, 2, 6)
BLOCKS = np.linspace(0.1, 2, 12)
QUANTIZED: dict[str, Step] = {
    "per tensor": scaled(np.array(0.03)),
    "per tensor, with a zero point": scaled(np.array(0.03), np.array(3)),
    "per channel": scaled(ROWS, axis=0),
    "per channel of the last axis": scaled(COLUMNS),
    "per channel, with zero points": scaled(ROWS, np.arange(4), axis=0),
    "per channel, a negative axis": scaled(COLUMNS, np.arange(6), axis=-1),
    "per block of two columns": scaled(BLOCKS.reshape(4, 3), axis=1, block_size=2),
    "per block of four columns, the last one short": scaled(BLOCKS[:8].reshape(4, 2), axis=1, block_size=4),
    "per block of two rows, with zero points": scaled(
        BLOCKS.reshape(2, 6), np.arange(12).reshape(2, 6), axis=0, block_size=2
    ),
    "per channel, then transposed": lambda m: scaled(ROWS, axis=0)(m).op("Transpose"),
    "transposed, then per channel": lambda m: scaled(ROWS, axis=1)(m.op("Transpose")),
    "a cast and a product": multiplied(ROWS[:, None]),
    "a product with the scale in front": multiplied(ROWS[:, None], scale_first=True),
    "a product with one number": multiplied(np.array(0.25)),
    "a product with a vector, along the last axis": multiplied(COLUMNS),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_a_quantized_weight_is_read_in_floating_point(fact: Facts, name: str) -> None:
    model = QUANTIZED[name](start(INTEGERS))
    weight = behind(fact, model)
    wanted = computed(model)
    assert weight is not None
    assert weight.quantized
    assert not weight.is_plain
    assert weight.shape == wanted.shape
    assert weight.read() == pytest.approx(wanted, rel=1e-6)


BROKEN: dict[str, Step] = {
    "an axis that is not there": scaled(ROWS, axis=7),
    "too few channels": scaled(ROWS[:3], axis=0),
    "blocks of another shape": scaled(BLOCKS.reshape(2, 3, 2), axis=1, block_size=2),
    "blocks across the wrong axis": scaled(BLOCKS.reshape(6, 2), axis=1, block_size=3),
    "a product that does not fit": multiplied(ROWS[:3]),
    "a product that widens": multiplied(BLOCKS[:2, None, None]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_scale_that_does_not_fit_gives_no_weight(fact: Facts, name: str) -> None:
    assert behind(fact, BROKEN[name](start(INTEGERS))) is None


def test_fake_quantized_training_leaves_the_trained_values(fact: Facts) -> None:
    model = start(FLOATS)
    scale, zero = model.scalar(0.02), model.scalar(0, np.int8)
    weight = behind(fact, model.op("QuantizeLinear", scale, zero).op("DequantizeLinear", scale, zero))
    assert weight is not None
    assert np.array_equal(weight.read(), FLOATS)
    assert weight.is_plain


def filled(shape: Array, value: onnx.TensorProto | None = None) -> ModelBuilder:
    return start(shape).op("ConstantOfShape", **({} if value is None else {"value": value}))


@pytest.mark.parametrize("number", [None, 0.5])
def test_a_filled_shape_is_a_constant_weight(fact: Facts, number: float | None) -> None:
    value = None if number is None else helper.make_tensor("value", TensorProto.FLOAT, [1], [number])
    model = filled(np.array([3, 5], np.int64), value)
    weight = behind(fact, model)
    assert weight is not None
    assert weight.shape == (3, 5)
    assert np.array_equal(weight.read(), computed(model))


@pytest.mark.parametrize("shape", [[1 << 20, 1 << 20, 1 << 20], [-1, 4]], ids=["too large", "negative"])
def test_a_filled_shape_that_cannot_be_is_none(fact: Facts, shape: list[int]) -> None:
    assert behind(fact, filled(np.array(shape, np.int64))) is None


@pytest.mark.parametrize(
    "step",
    [
        lambda m: m.at("x"),
        lambda m: m.op("Add", "x"),
        lambda m: m.op("Mul", "x"),
        lambda m: m.op("Relu"),
        lambda m: m.node("Identity", domain="com.vendor"),
        lambda m: m.op("Slice", m.ints(0), m.ints(1), m.ints(1)),
        lambda m: m.op("Slice", m.ints(0), m.ints(4), m.ints(0), m.ints(2)),
        lambda m: m.op("Slice", m.ints(0, 0), m.ints(2, 2)),
        lambda m: m.op("Slice", "x", m.ints(2)),
        lambda m: m.node("Split", [m.value, m.ints(3, 3)], outputs=2, axis=1),
        lambda m: m.node("Split", [m.value, "x"], outputs=2),
        lambda m: m.transpose(1, 0, 2).op("Slice", m.ints(0), m.ints(2)),
        lambda m: m.reshape(5, -1),
        lambda m: m.reshape(0, 0, 0, 0),
    ],
    ids=["an input", "a sum", "a product", "an operator", "another domain",
         "columns", "every second row", "rows and columns", "computed rows", "split columns", "a computed split",
         "rows of a turned weight", "impossible shape", "too many zeros"],
)  # fmt: skip
def test_what_is_computed_is_no_constant(fact: Facts, step: Step) -> None:
    model = start(FLOATS)
    model.domains["com.vendor"] = 1
    assert behind(fact, step(model)) is None


def test_a_long_way_to_the_constant_is_given_up(fact: Facts) -> None:
    model = start(FLOATS)
    for _ in range(100):
        model.op("Identity")
    assert behind(fact, model) is None


def test_some_rows_of_a_weight_are_read_in_every_way(fact: Facts) -> None:
    whole = ModelBuilder(seed=1).trained(30, 8)
    model = start(whole)
    weight = behind(fact, model.op("Slice", model.ints(10), model.ints(30)))
    assert weight is not None
    rows = weight.tensor
    assert rows.shape == (20, 8)
    assert np.array_equal(rows.read(), whole[10:])
    assert np.array_equal(np.concatenate([chunk.copy() for chunk in rows.chunks(48)]), whole[10:].reshape(-1))
    assert np.array_equal(rows.part(150, 99), whole[10:].reshape(-1)[150:])
    assert np.array_equal(rows.heads(20, 3), whole[10:, :3])


def test_small_constants_are_read_as_numbers(fact: Facts) -> None:
    model = start(FLOATS).op("Identity").output("y")
    model.tensor("one", np.array([[2.5]], np.float32))
    model.tensor("axes", np.array([0, -1], np.int64))
    constants: Constants = fact(model, Constants)
    assert constants.scalar("one") == 2.5
    assert constants.scalar("axes") is None
    assert constants.scalar("") is None
    assert constants.scalar("x") is None
    assert constants.integers("axes") == (0, -1)
    assert constants.integers("x") is None
    assert constants.values("stored", most=4) is None
    values = constants.values("stored")
    assert values is not None
    assert np.array_equal(values, FLOATS)
