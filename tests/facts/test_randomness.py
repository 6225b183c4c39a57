from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import Facts
from expressions import Term
from models import ModelBuilder
from onnx import TensorProto, helper

from avreview.facts.randomness import Dropout, Randomness

SHAPE = [4, 8, 6, 6]
Step = Callable[[Term], Term]


def start(opset: int = 17) -> ModelBuilder:
    return ModelBuilder(opset).input("x", SHAPE)


def found(fact: Facts, model: ModelBuilder) -> Randomness:
    randomness: Randomness = fact(model, Randomness)
    return randomness


def only(fact: Facts, model: ModelBuilder) -> Dropout:
    randomness = found(fact, model)
    assert not randomness.others
    (dropout,) = randomness.dropouts
    return dropout


# Dropout as an operator


def from_opset_12(*others: str) -> Callable[[ModelBuilder], ModelBuilder]:
    """A Dropout of ratio .3 whose further inputs are the named values."""
    return lambda m: m.op("Dropout", m.scalar(0.3), *others, module="head.drop")


OPERATORS: dict[str, tuple[int, Callable[[ModelBuilder], ModelBuilder], float | None, bool]] = {
    "training": (17, lambda m: m.dropout("head.drop", 0.3), 0.3, True),
    "not training": (17, lambda m: m.dropout("head.drop", 0.3, training=False), 0.3, False),
    "no third input": (17, lambda m: m.dropout("head.drop", 0.3, training=None), 0.3, False),
    "a rate of 0": (17, lambda m: m.dropout("head.drop", 0.0), 0.0, False),
    "a rate of 1": (17, lambda m: m.dropout("head.drop", 1.0), 1.0, True),
    "no rate": (17, lambda m: m.op("Dropout", "", m.scalar(1, np.bool_), module="head.drop"), 0.5, True),
    "opset 12": (12, lambda m: m.dropout("head.drop", 0.3), 0.3, True),
    "opset 22": (22, lambda m: m.dropout("head.drop", 0.3), 0.3, True),
    "opset 11": (11, lambda m: m.op("Dropout", module="head.drop", ratio=0.3), 0.3, False),
    "opset 7": (7, lambda m: m.op("Dropout", module="head.drop", ratio=0.3), 0.3, False),
    "opset 6, testing": (6, lambda m: m.op("Dropout", module="head.drop", ratio=0.3, is_test=1), 0.3, False),
    "opset 6, training": (6, lambda m: m.op("Dropout", module="head.drop", ratio=0.3, is_test=0), 0.3, True),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_dropout_drops_by_the_rules_of_its_opset(fact: Facts, name: str) -> None:
    opset, write, rate, active = OPERATORS[name]
    dropout = only(fact, write(start(opset)).output("y"))
    assert (dropout.form, dropout.module, dropout.active) == ("operator", "head.drop", active)
    assert dropout.rate == pytest.approx(rate)
    assert bool(dropout.evidence) is (active or dropout.rate == 0)


def test_a_training_mode_behind_nodes_is_followed(fact: Facts) -> None:
    model = start()
    mode = model.node("Identity", [model.scalar(1, np.bool_)]).value
    assert only(fact, from_opset_12(mode)(model.at("x")).output("y")).active


def test_a_training_mode_that_a_caller_sets_counts_as_active(fact: Facts) -> None:
    model = start().input("training", [], TensorProto.BOOL)
    dropout = only(fact, from_opset_12("training")(model.at("x")).output("y"))
    assert dropout.active
    assert "not constant" in dropout.evidence


def test_a_rate_that_a_caller_sets_is_not_known(fact: Facts) -> None:
    model = start().input("rate", [])
    dropout = only(fact, model.at("x").op("Dropout", "rate", model.scalar(1, np.bool_)).output("y"))
    assert dropout.rate is None
    assert dropout.active


# Dropout as a mask


def uniform(x: Term) -> Term:
    return x.op("RandomUniformLike")


MASKS: dict[str, Step] = {
    "u < keep, then divided": lambda x: x * ((uniform(x).op("Less", 0.75)).op("Cast", to=1) / 0.75),
    "divided first": lambda x: x / 0.75 * uniform(x).op("Less", 0.75).op("Cast", to=1),
    "divided last": lambda x: x * uniform(x).op("Less", 0.75).op("Cast", to=1) / 0.75,
    "times 4/3": lambda x: uniform(x).op("LessOrEqual", 0.75).op("Cast", to=1) * x * (1 / 0.75),
    "u > rate": lambda x: x * uniform(x).op("Greater", 0.25).op("Cast", to=1) / 0.75,
    "keep > u": lambda x: x * Term(x.model, x.model.scalar(0.75)).op("Greater", uniform(x)).op("Cast", to=1) / 0.75,
    "rate < u": lambda x: x * Term(x.model, x.model.scalar(0.25)).op("Less", uniform(x)).op("Cast", to=1) / 0.75,
    "not u < rate": lambda x: x * uniform(x).op("Less", 0.25).op("Not").op("Cast", to=1) / 0.75,
    "floor(u + keep)": lambda x: x / 0.75 * (uniform(x) + 0.75).op("Floor"),
    "floor(keep + u)": lambda x: (0.75 + uniform(x)).op("Floor") * (x / 0.75),
    "where": lambda x: uniform(x).op("Less", 0.75).op("Where", x / 0.75, 0.0),
    "where it is dropped": lambda x: uniform(x).op("Less", 0.25).op("Where", 0.0, x / 0.75),
    "Bernoulli": lambda x: x * Term(x.model, probabilities(x.model, 0.75)).op("Bernoulli") / 0.75,
}


def probabilities(model: ModelBuilder, keep: float) -> str:
    return model.tensor("keep", np.full(SHAPE, keep, np.float32))


@pytest.mark.parametrize("name", MASKS)
def test_a_random_mask_is_a_dropout_with_its_rate_and_scale(fact: Facts, name: str) -> None:
    model = start()
    MASKS[name](Term(model))
    dropout = only(fact, model.output("y"))
    assert (dropout.form, dropout.active, dropout.scaled, dropout.per_sample) == ("mask", True, True, False)
    assert dropout.rate == pytest.approx(0.25)


UNSCALED: dict[str, Step] = {
    "nothing divides": lambda x: x * uniform(x).op("Less", 0.75).op("Cast", to=1),
    "the wrong number divides": lambda x: x * uniform(x).op("Less", 0.75).op("Cast", to=1) / 0.25,
    "it is multiplied": lambda x: x * uniform(x).op("Less", 0.75).op("Cast", to=1) * 0.75,
    "where": lambda x: uniform(x).op("Less", 0.75).op("Where", x, 0.0),
}


@pytest.mark.parametrize("name", UNSCALED)
def test_a_mask_that_is_not_divided_by_the_keep_probability_is_unscaled(fact: Facts, name: str) -> None:
    model = start()
    UNSCALED[name](Term(model))
    dropout = only(fact, model.output("y"))
    assert dropout.scaled is False
    assert dropout.rate == pytest.approx(0.25)


@pytest.mark.parametrize(("extents", "per_sample"), [((4, 1, 1, 1), True), ((4, 8, 1, 1), False), (SHAPE, False)])
def test_one_draw_for_a_whole_sample_is_stochastic_depth(
    fact: Facts, extents: tuple[int, ...], per_sample: bool
) -> None:
    model = start()
    draw = Term(model, model.node("RandomUniform", [], shape=list(extents), rank=4).value)
    Term(model, "x") * (draw.op("Less", 0.9).op("Cast", to=1) / 0.9)
    assert only(fact, model.output("y")).per_sample is per_sample


# What is random and no dropout


@pytest.mark.parametrize("name", ["noise", "sampling", "a draw that is compared with data"])
def test_other_draws_are_random_and_no_dropout(fact: Facts, name: str) -> None:
    model = start()
    x = Term(model)
    if name == "noise":
        model.node("RandomNormalLike", ["x"], module="noise")
        x + Term(model) * 0.1
    elif name == "sampling":
        model.reshape(4, -1).node("Multinomial", module="noise", sample_size=3)
    else:
        uniform(x).op("Sub", 0.5)
    randomness = found(fact, model.output("y"))
    assert not randomness.dropouts
    (other,) = randomness.others
    assert other.node.op in ("RandomNormalLike", "Multinomial", "RandomUniformLike")
    assert other.module == ("noise" if name in ("noise", "sampling") else None)


def test_a_draw_that_reaches_no_output_is_not_random(fact: Facts) -> None:
    model = start().op("RandomNormalLike").at("x").relu().output("y")
    assert not found(fact, model).others


def test_randomness_inside_a_local_function_is_found(fact: Facts) -> None:
    model = start()
    model.domains["net"] = 1
    nodes = [helper.make_node("RandomNormalLike", ["a"], ["n"]), helper.make_node("Add", ["a", "n"], ["r"])]
    model.functions.append(helper.make_function("net", "Noise", ["a"], ["r"], nodes, [helper.make_opsetid("", 17)]))
    assert len(found(fact, model.node("Noise", domain="net").output("y")).others) == 1


def test_randomness_inside_a_branch_is_found(fact: Facts) -> None:
    model = start().input("switch", [], TensorProto.BOOL)
    info = helper.make_tensor_value_info("r", TensorProto.FLOAT, SHAPE)
    noisy = helper.make_graph([helper.make_node("RandomNormalLike", ["x"], ["r"])], "noisy", [], [info])
    quiet = helper.make_graph([helper.make_node("Identity", ["x"], ["r"])], "quiet", [], [info])
    model.node("If", ["switch"], then_branch=noisy, else_branch=quiet, rank=4).output("y")
    assert [other.node.op for other in found(fact, model).others] == ["RandomNormalLike"]


def test_a_deterministic_graph_has_none(fact: Facts) -> None:
    randomness = found(fact, start().conv("l", 8).relu().output("y"))
    assert not randomness.dropouts
    assert not randomness.others
    assert not randomness.active
