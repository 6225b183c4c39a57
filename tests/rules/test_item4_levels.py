from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import EVERY_PROBE, Assess, Assessed
from models import ModelBuilder
from onnx import TensorProto

from avreview.engine.review import Review, Severity, Verdict
from avreview.probes.request import ProbeRequest, named_probes


@pytest.fixture
def judged(assess: Assess) -> Callable[[ModelBuilder], Assessed]:
    return lambda model: assess(model, "AV405", probes=EVERY_PROBE)


def underflowing(middle: float = 1e-30) -> ModelBuilder:
    """A convolution of tiny weights and a factor: folded into one, the weights are smaller than float32 can hold."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8])
    model.op("Mul", model.scalar(1e20), module="scale")
    model.conv("neck.conv", 4, weight=model.trained(4, 3, 3, 3) * np.float32(1e-20), bias=False)
    model.op("Mul", model.scalar(middle), module="neck.factor")
    return model.op("Mul", model.scalar(1 / middle), module="head.factor").op("Tanh", module="head")


def test_av405_a_fusion_that_loses_the_weights(judged: Callable[[ModelBuilder], Assessed]) -> None:
    finding = judged(underflowing().output("scores")).only
    assert finding.severity is Severity.WARNING
    assert finding.location.tensor == "scores"
    assert finding.observed["drift"] == pytest.approx(1.0)
    assert finding.observed["input_rounding"] < 1e-4
    assert "without ConvMulFusion they agree" in finding.message


def test_av405_passes_where_the_product_can_be_held(judged: Callable[[ModelBuilder], Assessed]) -> None:
    assert judged(underflowing(1e-3).output("scores")).passed


def test_av405_overflow_is_no_number(judged: Callable[[ModelBuilder], Assessed]) -> None:
    """Weights of 1e20 and a factor of 1e20 are infinite once they are one, and infinity less infinity is NaN."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8])
    model.op("Mul", model.scalar(1e-30), module="scale")
    model.conv("neck.conv", 4, weight=model.trained(4, 3, 3, 3) * np.float32(1e20), bias=False)
    model.op("Mul", model.scalar(1e20), module="neck.factor").op("Mul", model.scalar(1e-10), module="head")
    finding = judged(model.output("scores")).only
    assert finding.observed["drift"] == "not finite"


def test_av405_rounding_that_a_model_amplifies_is_no_drift(judged: Callable[[ModelBuilder], Assessed]) -> None:
    """A difference of large numbers: drift over the bound, and as much from one unit in the last place of the input."""
    model = ModelBuilder().input("features", ["batch", 64])
    data = model.linear("fc1", 64).value
    model.linear("fc2", 64, bias=False).op("Add", model.scalar(1e4)).op("Sub", model.scalar(1e4))
    assert judged(model.op("Add", data).output("scores")).passed


def test_av405_integers_count_by_the_share_that_differs(judged: Callable[[ModelBuilder], Assessed]) -> None:
    model = underflowing()
    model.node("ArgMax", module="head.classes", axis=1, keepdims=0, rank=3)
    finding = judged(model.output("classes", dtype=TensorProto.INT64)).only
    assert finding.observed["drift"] > 0.3
    clean = underflowing(1e-3)
    clean.node("ArgMax", module="head.classes", axis=1, keepdims=0, rank=3)
    assert judged(clean.output("classes", dtype=TensorProto.INT64)).passed


def test_av405_active_dropout_is_another_rules(judged: Callable[[ModelBuilder], Assessed]) -> None:
    """The optimizer would delete it; both sides keep it, and AV702 speaks of it."""
    model = ModelBuilder().input("features", ["batch", 64]).linear("fc", 64).dropout("drop").linear("head", 4)
    assessed = judged(model.output("scores"))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "draws random numbers (a dropout, drop)" in (assessed.reason or "")


def test_av405_nan_shows_nothing(judged: Callable[[ModelBuilder], Assessed]) -> None:
    model = ModelBuilder().input("features", ["batch", 8]).linear("fc", 4, weight=np.full((8, 4), np.nan, np.float32))
    assessed = judged(model.output("scores"))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "'scores': it is NaN throughout" in (assessed.reason or "")


def half(model: ModelBuilder, *, bound: float = 1.0) -> ModelBuilder:
    """A layer in fp16 between casts."""
    model.op("Cast", module="down", to=TensorProto.FLOAT16)
    weight = model.tensor("fc.weight", (bound * model.trained(64, 64)).astype(np.float16))
    return model.node("MatMul", [model.value, weight], module="fc").op("Cast", module="up", to=TensorProto.FLOAT)


def test_av405_half_precision_has_its_own_bound(
    judged: Callable[[ModelBuilder], Assessed], reviewed: Callable[..., Review]
) -> None:
    model = half(ModelBuilder().input("features", ["batch", 64]).linear("stem", 64)).op("Tanh").output("scores")
    assert judged(model).passed
    review = reviewed(model, select=["AV405"], probes=EVERY_PROBE)
    answer = next(answer.answer for answer in review.checklist if answer.item == 4)
    assert "Graph optimizations" in answer


def test_av405_needs_a_run(assess: Assess) -> None:
    unasked = assess(underflowing().output("scores"), "AV405", probes=ProbeRequest(named_probes(["batch"])))
    assert unasked.verdict is Verdict.NOT_ASSESSED
    assert "--probe=levels" in (unasked.reason or "")
