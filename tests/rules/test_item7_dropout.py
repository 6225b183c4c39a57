from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import Assess
from models import ModelBuilder
from onnx import TensorProto

from avreview.engine.review import Severity, Verdict


def dense(opset: int = 17, width: int = 32) -> ModelBuilder:
    """A dense layer and its activation, at hand."""
    return ModelBuilder(opset).input("features", ["batch", 16]).gemm("fc1", width).relu("act")


def end(model: ModelBuilder, output: str = "class_scores") -> ModelBuilder:
    return model.gemm("fc2", 4).output(output)


# AV701


@pytest.mark.parametrize("opset", [12, 13, 17, 22])
def test_av701_operator_in_training_mode(assess: Assess, opset: int) -> None:
    finding = assess(end(dense(opset).dropout("drop", 0.25)), "AV701").found(Severity.ERROR, "drop")
    assert finding.location.node == "/drop/Dropout"
    assert finding.observed == {"evidence": "training_mode=true", "rates": [0.25]}
    assert assess(end(dense(opset).dropout("drop", 0.25, training=False)), "AV701").passed
    assert assess(end(dense(opset).dropout("drop", 0.25, training=None)), "AV701").passed


@pytest.mark.parametrize("by", ["Identity", "Cast"])
def test_av701_training_mode_is_traced(assess: Assess, by: str) -> None:
    def model(value: bool) -> ModelBuilder:
        built = dense()
        data = built.value
        to = {"to": TensorProto.BOOL} if by == "Cast" else {}
        kind = np.bool_ if by == "Identity" else np.int32
        flag = built.node(by, [built.tensor("flag", np.array(value, kind))], **to).value
        rate = built.scalar(0.25)
        return end(built.node("Dropout", [data, rate, flag], module="drop", channels=32, rank=2))

    assert assess(model(True), "AV701").found(Severity.ERROR, "drop")
    assert assess(model(False), "AV701").passed


def test_av701_training_mode_that_is_not_constant(assess: Assess) -> None:
    model = ModelBuilder().input("training", [], TensorProto.BOOL).input("features", ["batch", 16]).gemm("fc1", 8)
    model.node("Dropout", [model.value, model.scalar(0.25), "training"], module="drop", channels=8, rank=2)
    finding = assess(end(model), "AV701").found(Severity.ERROR, "drop")
    assert "not constant" in finding.observed["evidence"]


def test_av701_ratio_left_out_is_a_half(assess: Assess) -> None:
    model = dense()
    flag = model.scalar(1, np.bool_)
    finding = assess(end(model.node("Dropout", [model.value, "", flag], module="drop")), "AV701")
    assert finding.found(Severity.ERROR, "drop").observed["rates"] == [0.5]


def test_av701_ratio_of_0_drops_nothing(assess: Assess) -> None:
    assert assess(end(dense().dropout("drop", 0.0)), "AV701").passed


@pytest.mark.parametrize(("is_test", "found"), [(0, True), (None, True), (1, False)])
def test_av701_is_test_of_opset_6(assess: Assess, is_test: int | None, found: bool) -> None:
    given = {} if is_test is None else {"is_test": is_test}
    assessed = assess(end(dense(6).op("Dropout", module="drop", ratio=0.25, **given)), "AV701")
    assert assessed.modules == (["drop"] if found else [])


@pytest.mark.parametrize("opset", [7, 9, 10, 11])
def test_av701_opsets_without_a_flag_never_drop(assess: Assess, opset: int) -> None:
    assert assess(end(dense(opset).op("Dropout", module="drop", ratio=0.25)), "AV701").passed


def test_av701_one_finding_lists_all(assess: Assess) -> None:
    model = ModelBuilder().input("features", ["batch", 16])
    for block in range(4):
        model.gemm(f"blocks.{block}.fc", 16).dropout(f"blocks.{block}.drop", 0.1 + 0.1 * (block % 2))
    finding = assess(end(model), "AV701").found(Severity.ERROR, *[f"blocks.{block}.drop" for block in range(4)])
    assert finding.observed["rates"] == [0.1, 0.2]


def test_av701_without_dropout_nothing_drops(assess: Assess) -> None:
    assert assess(end(dense()), "AV701").passed


@pytest.mark.parametrize("rule", ["AV703", "AV704", "AV705", "AV706"])
def test_without_dropout_there_is_nothing_to_judge(assess: Assess, rule: str) -> None:
    assessed = assess(end(dense()), rule)
    assert assessed.verdict is Verdict.NOT_APPLICABLE
    assert assessed.reason is not None
    assert "the graph" in assessed.reason


# AV703


def headed(
    output: str = "scores", module: str = "head", *, layers: int = 1, rate: float = 0.2, last: str = ""
) -> ModelBuilder:
    """A backbone, a dropout that is off, and `layers` weight layers up to the output."""
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("backbone", 16).relu("backbone.act")
    model.dropout("drop", rate, training=False)
    for place in range(layers):
        model.conv(f"{module}.{place}", 8)
    if last:
        model.op(last, module=f"{module}.act")
    return model.output(output)


GEOMETRY = (
    "boxes", "bbox_reg", "offset", "center_map", "dim", "yaw", "heading", "depth", "vel", "flow", "occ_logits",
    "lanes", "keypoints", "trajectory",
)  # fmt: skip


@pytest.mark.parametrize("output", GEOMETRY)
def test_av703_geometry_by_the_outputs_name(assess: Assess, output: str) -> None:
    finding = assess(headed(output), "AV703").found(Severity.WARNING, "drop")
    assert finding.observed == {"dropouts": 1, "rates": [0.2]}
    assert "geometry head" in finding.message


@pytest.mark.parametrize("module", ["box_head", "head.reg", "depthNet"])
def test_av703_geometry_by_its_modules(assess: Assess, module: str) -> None:
    assert assess(headed(module=module), "AV703").found(Severity.WARNING, "drop")


@pytest.mark.parametrize("output", ["scores", "class_logits", "segmentation", "region", "level"])
def test_av703_other_heads(assess: Assess, output: str) -> None:
    assert assess(headed(output), "AV703").passed


@pytest.mark.parametrize("last", ["Sigmoid", "Softmax"])
def test_av703_a_head_that_ends_in_probabilities_regresses_nothing(assess: Assess, last: str) -> None:
    assert assess(headed("lanes", last=last), "AV703").passed
    assert assess(headed("lanes", last="Relu"), "AV703").findings


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_av703_head_reaches_back_three_weight_layers(assess: Assess, layers: int) -> None:
    assert bool(assess(headed("boxes", layers=layers), "AV703").findings) is (layers <= 3)


def test_av703_rate_of_0(assess: Assess) -> None:
    assert assess(headed("boxes", rate=0.0), "AV703").passed


def recurrent(*, lstm: bool) -> ModelBuilder:
    model = ModelBuilder().input("features", [5, "batch", 16])
    if lstm:
        weights = [model.tensor(f"rnn.{n}", model.trained(1, 64, 16)) for n in ("W", "R")]
        model.node("LSTM", [model.value, *weights], module="rnn", hidden_size=16, channels=16, rank=4)
        model.node("Squeeze", [model.value, model.ints(1)], channels=16, rank=3)
    else:
        model.linear("rnn", 16)
    return model.dropout("drop", 0.2, training=False).linear("head", 4).output("scores")


def test_av703_temporal_by_its_operator(assess: Assess) -> None:
    assert "temporal head" in assess(recurrent(lstm=True), "AV703").found(Severity.WARNING, "drop").message
    assert assess(recurrent(lstm=False), "AV703").passed


@pytest.mark.parametrize("name", ["temporal", "memory_bank", "tracker", "motion", "forecast"])
def test_av703_temporal_by_its_modules(assess: Assess, name: str) -> None:
    model = ModelBuilder().input("features", [5, "batch", 16]).linear(f"{name}.fc", 16)
    model.dropout(f"{name}.drop", 0.2, training=False)
    for place in range(5):
        model.linear(f"later.{place}", 8).relu()
    assert assess(model.output("scores"), "AV703").found(Severity.WARNING, f"{name}.drop")


def test_av703_one_finding_a_head(assess: Assess) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("backbone", 16)
    shared = model.value
    for head in ("boxes", "velocity", "scores"):
        model.at(shared).dropout(f"{head}_in", 0.1, training=False).conv(f"{head}_1", 8)
        model.dropout(f"{head}_mid", 0.3, training=False).conv(f"{head}_2", 4).output(head)
    findings = assess(model, "AV703").findings
    modules = [[place.module for place in (finding.location, *finding.also)] for finding in findings]
    assert modules == [["boxes_in", "boxes_mid"], ["velocity_in", "velocity_mid"]]
    assert findings[0].observed == {"dropouts": 2, "rates": [0.1, 0.3]}


# AV704

KEEP = 0.8


def uniform(model: ModelBuilder) -> ModelBuilder:
    return model.op("RandomUniformLike", module="drop")


def as_mask(model: ModelBuilder) -> ModelBuilder:
    return model.op("Cast", module="drop", to=TensorProto.FLOAT)


DRAWS: dict[str, Callable[[ModelBuilder], ModelBuilder]] = {
    "u < keep": lambda m: as_mask(uniform(m).op("Less", m.scalar(KEEP), module="drop")),
    "u > rate": lambda m: as_mask(uniform(m).op("Greater", m.scalar(1 - KEEP), module="drop")),
    "u >= rate": lambda m: as_mask(uniform(m).op("GreaterOrEqual", m.scalar(1 - KEEP), module="drop")),
    "rate < u": lambda m: as_mask(m.node("Less", [m.scalar(1 - KEEP), uniform(m).value], module="drop", rank=2)),
    "not u < rate": lambda m: as_mask(
        uniform(m).op("Less", m.scalar(1 - KEEP), module="drop").op("Not", module="drop")
    ),
    "floor(keep + u)": lambda m: uniform(m).op("Add", m.scalar(KEEP), module="drop").op("Floor", module="drop"),
    "bernoulli": lambda m: m.node("Bernoulli", [m.tensor("keep", np.full((2, 32), KEEP, np.float32))], module="drop"),
}
"""Masks that keep 0.8, drawn like the value at hand."""


def masked(draw: str = "u < keep", around: dict[str, tuple[str, float]] | None = None) -> ModelBuilder:
    """A mask times a signal, and constant factors: on the `mask`, `before` on the signal, or `after` the product."""
    factors = around or {}
    model = ModelBuilder().input("features", [2, 16]).gemm("fc1", 32).relu("act")

    def scale(place: str) -> None:
        if place in factors:
            op, number = factors[place]
            model.op(op, model.scalar(number), module="drop")

    scale("before")
    if "far before" in factors:
        scale("far before")
        model.op("Identity", module="drop").op("Identity", module="drop")
    data = model.value
    DRAWS[draw](model)
    scale("mask")
    model.node("Mul", [data, model.value], module="drop", channels=32, rank=2)
    if "far after" in factors:
        model.op("Identity", module="drop").op("Identity", module="drop")
        scale("far after")
    scale("after")
    return end(model)


@pytest.mark.parametrize("draw", DRAWS)
def test_av704_mask_without_scaling(assess: Assess, draw: str) -> None:
    finding = assess(masked(draw), "AV704").found(Severity.ERROR, "drop")
    assert finding.location.node == "/drop/Mul"
    assert finding.observed["rate"] == pytest.approx(1 - KEEP)
    assert assess(masked(draw, {"mask": ("Div", KEEP)}), "AV704").passed
    assert assess(masked(draw, {"mask": ("Mul", 1 / KEEP)}), "AV704").passed


@pytest.mark.parametrize("place", ["before", "after", "far before", "far after"])
def test_av704_scaling_beside_the_product(assess: Assess, place: str) -> None:
    assert assess(masked(around={place: ("Div", KEEP)}), "AV704").passed
    assert assess(masked(around={place: ("Mul", 1 / KEEP)}), "AV704").passed
    assert assess(masked(around={place: ("Div", 0.5)}), "AV704").findings


@pytest.mark.parametrize(("factor", "found"), [(0.5, True), (0.2, True), (0.82, True), (0.796, False), (0.804, False)])
def test_av704_scaling_by_another_number(assess: Assess, factor: float, found: bool) -> None:
    assert bool(assess(masked(around={"mask": ("Div", factor)}), "AV704").findings) is found


@pytest.mark.parametrize("place", ["x where mask", "0 where mask"])
def test_av704_mask_that_chooses(assess: Assess, place: str) -> None:
    def model(scaled: bool) -> ModelBuilder:
        built = ModelBuilder().input("features", [2, 16]).gemm("fc1", 32).relu("act")
        if scaled:
            built.op("Div", built.scalar(KEEP), module="drop")
        data, zero = built.value, built.scalar(0.0)
        kept = place == "x where mask"
        uniform(built).op("Less", built.scalar(KEEP if kept else 1 - KEEP), module="drop")
        choice = [data, zero] if kept else [zero, data]
        return end(built.node("Where", [built.value, *choice], module="drop", channels=32, rank=2))

    finding = assess(model(scaled=False), "AV704").found(Severity.ERROR, "drop")
    assert finding.observed["rate"] == pytest.approx(1 - KEEP)
    assert assess(model(scaled=True), "AV704").passed


def test_av704_alpha_dropout_is_left_out(assess: Assess) -> None:
    """As the exporter writes it: x · mask · a + ((mask − 1) · b + c)."""
    model = ModelBuilder().input("features", [2, 16]).gemm("fc1", 32).op("Selu", module="act")
    data = model.value
    mask = DRAWS["u < keep"](model).value
    model.op("Add", model.scalar(-1.0), module="drop").op("Mul", model.scalar(1.5), module="drop")
    shift = model.op("Add", model.scalar(0.3), module="drop").value
    model.at(mask).op("Mul", model.scalar(0.88), module="drop")
    model.node("Mul", [data, model.value], module="drop", channels=32, rank=2).add(shift, "drop")
    assert assess(end(model), "AV704").passed
    assert assess(model, "AV701").found(Severity.ERROR, "drop")


def test_av704_the_operator_scales_by_definition(assess: Assess) -> None:
    assert assess(end(dense().dropout("drop", 0.2)), "AV704").verdict is Verdict.NOT_APPLICABLE


def test_av704_normal_noise_times_the_signal_is_no_mask(assess: Assess) -> None:
    model = dense()
    data = model.value
    model.op("RandomNormalLike", module="noise")
    assert assess(end(model.add(data, "noise")), "AV704").verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(("op", "span"), [("RandomNormalLike", {}), ("RandomUniformLike", {"low": -1.0})])
def test_av704_rate_of_a_draw_that_is_not_from_0_to_1(assess: Assess, op: str, span: dict[str, float]) -> None:
    model = dense()
    data = model.value
    as_mask(model.op(op, module="drop", **span).op("Greater", model.scalar(0.25), module="drop"))
    end(model.node("Mul", [data, model.value], module="drop", channels=32, rank=2))
    assert assess(model, "AV704").found(Severity.ERROR, "drop").observed["rate"] is None


# AV705


def between(rate: float, *, width: int = 32, layer: str = "gemm") -> ModelBuilder:
    """A dropout between two layers of a width."""
    if layer == "gemm":
        model = ModelBuilder().input("features", ["batch", 16]).gemm("first", width).relu("act")
        return model.dropout("drop", rate, training=False).gemm("second", 4).output("scores")
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("first", width).relu("act")
    return model.dropout("drop", rate, training=False).conv("second", 4, 1).output("scores")


@pytest.mark.parametrize("layer", ["gemm", "conv"])
@pytest.mark.parametrize("rate", [0.5, 0.7, 0.95])
def test_av705_high_rate(assess: Assess, layer: str, rate: float) -> None:
    finding = assess(between(rate, layer=layer), "AV705").found(Severity.WARNING, "drop")
    assert finding.observed["rate"] == pytest.approx(rate)
    assert assess(between(0.4, layer=layer), "AV705").passed


@pytest.mark.parametrize(
    ("width", "layer", "found"), [(1024, "gemm", False), (1023, "gemm", True), (1024, "conv", True)]
)
def test_av705_half_of_a_large_dense_layer(assess: Assess, width: int, layer: str, found: bool) -> None:
    assert bool(assess(between(0.5, width=width, layer=layer), "AV705").findings) is found


def test_av705_large_layer_behind(assess: Assess) -> None:
    model = ModelBuilder().input("image", ["batch", 32, 8, 8]).dropout("drop", 0.5, training=False)
    model.node("Flatten", channels=2048, rank=2)
    assert assess(model.gemm("fc", 8).output("scores"), "AV705").passed


def test_av705_rate_of_1(assess: Assess) -> None:
    assert assess(between(1.0), "AV705").found(Severity.ERROR, "drop").observed["rate"] == 1
    assert assess(between(1.0, width=2048), "AV705").found(Severity.ERROR, "drop")


def test_av705_rates_of_0_are_one_note(assess: Assess) -> None:
    model = dense()
    for block in range(3):
        model.dropout(f"blocks.{block}.drop", 0.0 if block != 1 else 0.1, training=False).gemm(f"blocks.{block}.fc", 8)
    finding = assess(end(model), "AV705").found(Severity.NOTE, "blocks.0.drop", "blocks.2.drop")
    assert finding.observed["rate"] == 0


def test_av705_rate_that_is_not_constant(assess: Assess) -> None:
    model = ModelBuilder().input("rate", []).input("features", ["batch", 16]).gemm("fc1", 8)
    assert assess(end(model.op("Dropout", "rate", module="drop")), "AV705").passed


# AV706


def before_norm(*between: str, norm: str = "batch") -> ModelBuilder:
    """A dropout, what stands between, and a norm."""
    model = ModelBuilder().input("features", ["batch", 16]).gemm("stem", 16).dropout("drop", 0.3, training=False)
    for place, what in enumerate(between):
        if what == "gemm":
            model.gemm(f"layer.{place}", 16)
        elif what == "layer norm":
            model.layer_norm(f"norm.{place}")
        else:
            model.op(what, module=f"step.{place}")
    model = model.batch_norm("bn") if norm == "batch" else model.layer_norm("ln")
    return model.relu("end").gemm("head", 4).output("scores")


@pytest.mark.parametrize("between", [(), ("Relu",), ("gemm",), ("Identity", "gemm", "Sigmoid")])
def test_av706_dropout_in_front_of_a_batch_norm(assess: Assess, between: tuple[str, ...]) -> None:
    finding = assess(before_norm(*between), "AV706").found(Severity.NOTE, "drop", "bn")
    assert finding.observed["batch_norms"] == "bn"
    assert assess(before_norm(*between, norm="layer"), "AV706").passed


@pytest.mark.parametrize("between", [("gemm", "Relu", "gemm"), ("layer norm",), ("gemm", "layer norm")])
def test_av706_another_norm_or_two_layers_end_the_search(assess: Assess, between: tuple[str, ...]) -> None:
    assert assess(before_norm(*between), "AV706").passed


def test_av706_behind_the_last_norm(assess: Assess) -> None:
    model = ModelBuilder().input("features", ["batch", 16]).gemm("fc", 16).batch_norm("bn").relu("act")
    assert assess(end(model.dropout("drop", 0.3, training=False)), "AV706").passed


def test_av706_rate_of_0(assess: Assess) -> None:
    model = ModelBuilder().input("features", ["batch", 16]).dropout("drop", 0.0, training=False).batch_norm("bn")
    assert assess(end(model), "AV706").passed


def test_av706_a_norm_in_training_mode_measures_at_inference(assess: Assess) -> None:
    model = ModelBuilder().input("features", ["batch", 16]).gemm("fc", 16).dropout("drop", 0.3, training=False)
    assert assess(end(model.batch_norm("bn", training=True)), "AV706").passed
