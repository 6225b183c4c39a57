from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from conftest import EVERY_PROBE, Assess
from models import Array, ModelBuilder

from avreview.engine.review import Review, Severity, Verdict
from avreview.probes.request import ProbeRequest, named_probes

WIDTH = 96
RANDOM = np.random.default_rng(0)


def normal(std: float, out: int = WIDTH, width: int = WIDTH) -> Array:
    return RANDOM.normal(0, std, (out, width)).astype(np.float32)


def he() -> Array:
    return normal((2 / WIDTH) ** 0.5)


def xavier() -> Array:
    return normal((1 / WIDTH) ** 0.5)


def stack(activation: str, weights: list[Array], *, batch: int | str = "batch") -> ModelBuilder:
    """fc0, fc1, … with an activation behind each, and a head."""
    model = ModelBuilder().input("x", [batch, WIDTH])
    for number, weight in enumerate(weights):
        model.gemm(f"fc{number}", len(weight), weight=weight, bias=False).op(activation, module=f"act{number}")
    return model.gemm("head", 4, bias=False).output("y")


# AV103


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_av103_normal_001_vanishes_from_the_second_layer_on(assess: Assess, batch: int | str) -> None:
    model = stack("Tanh", [normal(0.01) for _ in range(8)], batch=batch)
    outcome = assess(model, "AV103", probes=EVERY_PROBE)
    finding = outcome.only
    assert outcome.verdict is Verdict.ATTENTION
    assert finding.severity is Severity.WARNING
    assert finding.location.module == "fc1"
    assert finding.observed["trend"] == pytest.approx(0.01, rel=0.3)  # the weights' variance times their number
    assert len(finding.observed["variances"]) == 8
    assert "vanishes" in finding.message
    assert "synthetic samples" in finding.message


def test_av103_weights_that_are_too_large_explode_from_where_they_begin(assess: Assess) -> None:
    model = stack("Relu", [he(), he(), *(normal(0.5) for _ in range(8))])
    finding = assess(model, "AV103", probes=EVERY_PROBE).only
    assert finding.location.module == "fc2"
    assert "explodes" in finding.message


def test_av103_tells_a_signal_that_overflows(assess: Assess) -> None:
    finding = assess(stack("Relu", [he() * 1e4 for _ in range(9)]), "AV103", probes=EVERY_PROBE).only
    assert "explodes" in finding.message
    assert finding.observed["variances"][-1] == float("inf")


@pytest.mark.parametrize(("activation", "weight"), [("Relu", he), ("Tanh", xavier), ("Tanh", he)])
def test_av103_passes_a_sound_initialization(assess: Assess, activation: str, weight: Callable[[], Array]) -> None:
    assert assess(stack(activation, [weight() for _ in range(8)]), "AV103", probes=EVERY_PROBE).passed


@pytest.mark.parametrize("first", [10.0, 0.1])
def test_av103_passes_layers_that_grow_and_shrink_in_turn(assess: Assess, first: float) -> None:
    """As in attention blocks: the ratios of neighbours are 100 and .01, and the whole goes nowhere."""
    weights = [he() * (first if number % 2 else 1 / first) for number in range(9)]
    assert assess(stack("Relu", weights), "AV103", probes=EVERY_PROBE).passed


def test_av103_tells_a_batch_norm_that_was_never_calibrated(assess: Assess) -> None:
    def model(variance: float) -> ModelBuilder:
        built = ModelBuilder().input("image", ["batch", 16, 12, 12])
        ones, zeros = np.ones(16, np.float32), np.zeros(16, np.float32)
        for number in range(8):
            weight = RANDOM.normal(0, 0.02, (16, 16, 3, 3)).astype(np.float32)
            built.conv(f"block{number}.conv", 16, weight=weight, bias=False)
            built.batch_norm(f"block{number}.bn", scale=ones, bias=zeros, mean=zeros, variance=ones * variance)
            built.relu(f"block{number}.act")
        return built.conv("head", 2, 1).output("y")

    found = assess(model(1.0), "AV103", probes=EVERY_PROBE).only
    assert found.location.module == "block1.conv"
    assert assess(model(0.02**2 * 144 / 2), "AV103", probes=EVERY_PROBE).passed


def test_av103_is_not_for_shallow_models_and_needs_a_run(assess: Assess) -> None:
    shallow = assess(stack("Tanh", [normal(0.01) for _ in range(5)]), "AV103", probes=EVERY_PROBE)
    assert shallow.verdict is Verdict.NOT_APPLICABLE
    deep = stack("Tanh", [normal(0.01) for _ in range(8)])
    assert assess(deep, "AV103").verdict is Verdict.NOT_ASSESSED
    other = assess(deep, "AV103", probes=ProbeRequest(named_probes(["repeat"])))
    assert other.verdict is Verdict.NOT_ASSESSED
    assert "--probe=signal" in (other.reason or "")


def test_av103_a_model_that_does_not_run_is_not_assessed(assess: Assess) -> None:
    model = stack("Tanh", [xavier() for _ in range(8)])
    model.node("Unheard", domain="nobody.has.this").output("z")
    model.domains["nobody.has.this"] = 1
    outcome = assess(model, "AV103", probes=EVERY_PROBE)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "Unheard" in (outcome.reason or "")
    assert "\n" not in (outcome.reason or "")


def test_deep_tanh_net_looks_like_the_textbook(reviewed: Callable[..., Review]) -> None:
    """Xavier falls slowly, He keeps its variance and saturates, N(0, .01²) vanishes by a constant factor a layer."""

    def followed(weight: Callable[[], Array]) -> tuple[list[float], float]:
        review = reviewed(stack("Tanh", [weight() for _ in range(10)]), select=["AV103", "AV105"], probes=EVERY_PROBE)
        signal = review.evidence["signal"]
        variances = [row["variance"] for row in signal["layers"][:10]]
        return variances, signal["activations"][0]["saturated"]

    by_xavier, saturated = followed(xavier)
    assert 0.02 < by_xavier[-1] / by_xavier[0] < 0.5
    assert all(0.3 < later / earlier < 1.3 for earlier, later in itertools.pairwise(by_xavier))
    by_he, more_saturated = followed(he)
    assert by_he[-1] > 3 * by_xavier[-1]
    assert more_saturated > 2 * saturated
    by_tiny, unsaturated = followed(lambda: normal(0.01))
    ratios = [later / earlier for earlier, later in itertools.pairwise(by_tiny)]
    assert max(ratios) / min(ratios) < 2.5
    assert by_tiny[-1] < 1e-14
    assert unsaturated == 0


# AV105


@pytest.mark.parametrize("activation", ["Tanh", "Sigmoid", "HardSigmoid"])
def test_av105_large_weights_saturate(assess: Assess, activation: str) -> None:
    model = stack(activation, [normal(2.0), normal(0.1), normal(2.0)])
    finding = assess(model, "AV105", probes=EVERY_PROBE).found(Severity.WARNING, "act0", "act2")
    assert finding.observed["saturated_share"] > 0.5
    assert finding.observed["activations"] == 2


@pytest.mark.parametrize("activation", ["Tanh", "Sigmoid"])
def test_av105_passes_weights_of_the_right_scale(assess: Assess, activation: str) -> None:
    assert assess(stack(activation, [xavier() for _ in range(3)]), "AV105", probes=EVERY_PROBE).passed


def test_av105_leaves_out_gates_and_outputs(assess: Assess) -> None:
    model = ModelBuilder().input("x", ["batch", WIDTH]).gemm("fc", WIDTH).relu("act")
    features = model.value
    model.gemm("gate", WIDTH, weight=normal(5.0)).sigmoid("gate.act").op("Mul", features, module="scaled")
    model.gemm("head", WIDTH, weight=normal(5.0)).op("Tanh", module="head.act").output("y")
    outcome = assess(model, "AV105", probes=EVERY_PROBE)
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert outcome.reason == "the model has no tanh or sigmoid between layers"


# AV106, from a run


def shifted(shift: Array) -> ModelBuilder:
    """A layer whose bias closes the ReLU behind it, though no weight proves it."""
    model = ModelBuilder().input("x", ["batch", WIDTH]).gemm("fc1", WIDTH, bias=shift).relu("act1")
    return model.gemm("fc2", WIDTH).relu("act2").gemm("head", 4).output("y")


def test_av106_a_layer_that_never_fires_is_found_by_running_it(assess: Assess) -> None:
    closed = np.full(WIDTH, -1000, np.float32)
    finding = assess(shifted(closed), "AV106", probes=EVERY_PROBE).found(Severity.WARNING, "fc1")
    assert finding.message == f"None of the {WIDTH} units fired on 8 synthetic samples."
    assert finding.observed["silent_units"] == WIDTH
    assert assess(shifted(closed), "AV106").passed


def test_av106_passes_a_layer_some_of_whose_units_fire(assess: Assess) -> None:
    closed = np.full(WIDTH, -1000, np.float32)
    closed[:4] = 0
    assert assess(shifted(closed), "AV106", probes=EVERY_PROBE).passed


def test_av106_a_layer_known_from_its_weights_is_found_once(assess: Assess) -> None:
    weight = normal(0.1)
    weight[4:] = 0
    weight[:4] = 1e-3
    model = ModelBuilder().input("x", ["batch", WIDTH])
    model.gemm("fc1", WIDTH, weight=weight, bias=np.full(WIDTH, -5, np.float32)).relu("act1")
    model.gemm("fc2", WIDTH).relu("act2").gemm("head", 4).output("y")
    finding = assess(model, "AV106", probes=EVERY_PROBE).found(Severity.WARNING, "fc1")
    assert "zero" in finding.observed
