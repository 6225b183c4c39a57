from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Assess, Assessed
from models import ModelBuilder
from onnx import numpy_helper

from avreview.engine.review import Review, Severity, Verdict
from avreview.probes.request import ProbeRequest, named_probes

Saved = Callable[[Any], Path]


def against(reference: Path | str | None, inputs: Path | None = None) -> ProbeRequest:
    """A request to compare with a reference, and for nothing else."""
    text = None if reference is None else str(reference)
    given = None if inputs is None else str(inputs)
    return ProbeRequest(named_probes(["parity"]), seconds=60, reference=text, inputs=given)


def weights(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return ModelBuilder(seed=seed).trained(*shape)


def four_bits(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    step = np.abs(weight).max() / 7
    return np.asarray(np.round(weight / step) * step, np.float32)


def network(
    *,
    first: int = 1,
    second: int = 2,
    eps: float = 1e-5,
    mean: float = 0.3,
    training: bool = False,
    approximate: str = "none",
    mode: str = "linear",
    pad: str = "constant",
    rounded: bool = False,
    seed: int = 0,
) -> ModelBuilder:
    """A small network in which one thing at a time can be made another."""
    model = ModelBuilder(20, seed=seed).input("image", ["batch", 8, 8, 8])
    model.node("Pad", [model.value, model.ints(0, 0, 1, 1, 0, 0, 1, 1)], module="stem.conv", mode=pad, channels=8)
    model.conv("stem.conv", 8, weight=weights(first, 8, 8, 3, 3), pads=[0] * 4)
    model.batch_norm("stem.bn", mean=np.full(8, mean, np.float32), epsilon=eps, training=training).relu("stem.act")
    neck = weights(second, 8, 8, 3, 3)
    model.conv("neck.conv", 8, weight=four_bits(neck) if rounded else neck)
    model.op("Gelu", module="neck.act", approximate=approximate)
    scales = model.tensor("scales", np.array([1, 1, 2, 2], np.float32))
    model.node("Resize", [model.value, "", scales], module="neck.up", mode=mode, channels=8, rank=4)
    return model.conv("head.conv", 4).output("scores")


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"first": 2, "second": 1}, "stem.conv"),  # two layers' weights exchanged
    ({"second": 3}, "neck.conv"),
    ({"eps": 1e-3}, "stem.bn"),
    ({"mean": 0.0}, "stem.bn"),
    ({"training": True}, "stem.bn"),
    ({"approximate": "tanh"}, "neck.act"),
    ({"mode": "nearest"}, "neck.up"),
    ({"pad": "reflect"}, "stem.conv"),
    ({"rounded": True}, "neck.conv"),
]


@pytest.mark.parametrize(("fault", "module"), FAULTS, ids=[next(iter(fault)) for fault, _ in FAULTS])
def test_av402_names_the_first_layer_that_departs(
    assess: Assess, saved: Saved, fault: dict[str, Any], module: str
) -> None:
    reference = saved(network())
    finding = assess(network(**fault), "AV402", probes=against(reference)).only
    assert finding.severity is Severity.ERROR
    assert finding.location.module == module
    assert finding.observed["drift"] > 1e-5
    assert finding.observed["drift"] > 20 * finding.observed["sensitivity"]
    assert finding.observed["largest_difference"] > 0


def test_av402_passes_an_export_of_the_same_model(assess: Assess, saved: Saved) -> None:
    right = network().build()
    reference = saved(right)
    folded = network()
    (norm,) = (node for node in folded.nodes if node.op_type == "BatchNormalization")
    conv = next(node for node in folded.nodes if node.output[0] == norm.input[0])
    _fold(folded, conv, norm)
    assert assess(folded, "AV402", probes=against(reference)).passed
    assert assess(right, "AV402", probes=against(saved(folded))).passed


def _fold(model: ModelBuilder, conv: Any, norm: Any) -> None:
    """Folds a batch norm into the convolution in front of it, as exporters do."""
    weight, bias, scale, shift, mean, variance = (
        numpy_helper.to_array(model.tensors[name]) for name in (*conv.input[1:], *norm.input[1:])
    )
    factor = scale / np.sqrt(variance + 1e-5)
    model.tensor(conv.input[1], weight * factor[:, None, None, None])
    model.tensor(conv.input[2], (bias - mean) * factor + shift)
    conv.output[:] = norm.output
    model.nodes.remove(norm)


def recorded(path: Path, model: Path, **changes: Any) -> Path:
    """What a team records that proves parity without its code: inputs and outputs by the graph's names."""
    import onnxruntime

    arrays: dict[str, Any] = {"image": np.random.default_rng(0).normal(size=(3, 8, 8, 8)).astype(np.float32)}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    arrays |= dict(zip(["scores"], session.run(None, dict(arrays)), strict=True))
    file = path / "recorded.npz"
    np.savez(file, **{**arrays, **changes})
    return file


def test_av402_compares_with_recorded_outputs(assess: Assess, saved: Saved, tmp_path: Path) -> None:
    right = saved(network())
    file = recorded(tmp_path, right)
    assert assess(right, "AV402", probes=against(file)).passed
    finding = assess(network(mean=0.0), "AV402", probes=against(file)).found(Severity.ERROR, None)
    assert finding.location.tensor == "scores"


def labels(offset: float) -> ModelBuilder:
    """A network whose output are class numbers."""
    model = ModelBuilder().input("image", [4, 8, 8, 8]).conv("head", 4)
    bias = model.tensor("offset", np.array([offset, 0, 0, 0], np.float32).reshape(1, 4, 1, 1))
    return model.op("Add", bias).node("ArgMax", axis=1, keepdims=0).output("classes", [4, 8, 8], 7)


def test_av402_counts_the_integers_that_differ(assess: Assess, saved: Saved) -> None:
    reference = saved(labels(0.0))
    assert assess(labels(0.0), "AV402", probes=against(reference)).passed
    finding = assess(labels(1.0), "AV402", probes=against(reference)).only
    assert 0.01 < finding.observed["differing"] < 1


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (None, "pass --reference"),
        ("no_such_package.model:build", "there is no Python module no_such_package"),
    ],
)
def test_av402_says_what_it_needs(assess: Assess, reference: str | None, reason: str) -> None:
    pytest.importorskip("torch")
    assessed = assess(network(), "AV402", probes=against(reference))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert reason in (assessed.reason or "")


def test_av402_runs_nothing_unless_asked(assess: Assess, saved: Saved) -> None:
    reference = str(saved(network()))
    assessed = assess(network(), "AV402", probes=ProbeRequest(named_probes(["repeat"]), reference=reference))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "--probe=parity" in (assessed.reason or "")


def test_av402_does_not_judge_outputs_of_unequal_size(assess: Assess, saved: Saved) -> None:
    smaller = ModelBuilder().input("image", [2, 8, 8, 8]).conv("head", 4, pads=[0] * 4).output("scores")
    assessed = assess(
        ModelBuilder().input("image", [2, 8, 8, 8]).conv("head", 4).output("scores"),
        "AV402",
        probes=against(saved(smaller)),
    )
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "'scores'" in (assessed.reason or "")
    assert "[2, 4, 6, 6]" in (assessed.reason or "")


# AV406


def half(weight_scale: float = 1.0) -> ModelBuilder:
    """The network of `full`, its weights stored in fp16, which loses what is smaller than 6e-8."""
    return _chain(np.float16, weight_scale)


def full(weight_scale: float = 1.0) -> ModelBuilder:
    return _chain(np.float32, weight_scale)


def _chain(dtype: Any, weight_scale: float) -> ModelBuilder:
    model = ModelBuilder().input("image", [2, 8, 8, 8])
    weight = (weights(5, 8, 8, 3, 3) * weight_scale).astype(dtype)
    stored = model.tensor("neck.weight", weight)
    if dtype is not np.float32:
        stored = model.node("Cast", [stored], module="neck", to=1).value
    model.node("Conv", ["image", stored], module="neck", channels=8, rank=4, pads=[1] * 4)
    back = model.tensor("back", np.array(1 / weight_scale, np.float32))
    return model.op("Mul", back, module="scale").conv("head", 4).output("scores")


def quantized(levels: int, seed: int = 5) -> ModelBuilder:
    """The network of `full` with a weight of so many levels to either side of 0."""
    model = ModelBuilder().input("image", [2, 8, 8, 8])
    weight = weights(seed, 8, 8, 3, 3)
    step = np.abs(weight).max() / levels
    stored = model.tensor("neck.weight", np.round(weight / step).astype(np.int8))
    scale, zero = model.tensor("neck.scale", np.float32(step)), model.tensor("neck.zero", np.int8(0))
    model.node("DequantizeLinear", [stored, scale, zero], module="neck")
    model.node("Conv", ["image", model.value], module="neck", channels=8, rank=4, pads=[1] * 4)
    back = model.tensor("back", np.array(1, np.float32))
    return model.op("Mul", back, module="scale").conv("head", 4).output("scores")


def both(assess: Assess, model: ModelBuilder, reference: Path) -> tuple[Assessed, Assessed]:
    drift, precision = (assess(model, rule, probes=against(reference)) for rule in ("AV402", "AV406"))
    return drift, precision


def test_av406_accepts_the_rounding_of_fp16_and_int8(assess: Assess, saved: Saved) -> None:
    reference = saved(full())
    for model in (half(), quantized(127)):
        drift, precision = both(assess, model, reference)
        assert drift.passed
        assert precision.passed


def test_av406_reports_weights_that_fp16_cannot_hold(assess: Assess, saved: Saved) -> None:
    drift, precision = both(assess, half(1e-6), saved(full(1e-6)))
    assert drift.passed
    finding = precision.only
    assert finding.severity is Severity.WARNING
    assert finding.location.module == "neck"
    assert finding.observed["drift"] > 0.01


def test_av406_reports_too_few_levels_and_av402_other_weights(assess: Assess, saved: Saved) -> None:
    reference = saved(full())
    drift, precision = both(assess, quantized(3), reference)
    assert drift.passed
    assert precision.only.location.module == "neck"
    drift, precision = both(assess, quantized(127, seed=6), reference)
    assert drift.only.location.module == "neck"
    assert precision.passed


def test_av406_does_not_apply_to_full_precision(assess: Assess, saved: Saved) -> None:
    assessed = assess(full(), "AV406", probes=against(saved(full())))
    assert assessed.verdict is Verdict.NOT_APPLICABLE


def test_av406_is_not_assessed_without_a_reference(assess: Assess) -> None:
    assessed = assess(half(), "AV406", probes=against(None))
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert "--reference" in (assessed.reason or "")


# AV409 and what the report says


def test_av409_is_silent_where_the_outputs_were_compared(
    assess: Assess, saved: Saved, reviewed: Callable[..., Review]
) -> None:
    reference = saved(network())
    assert assess(network(), "AV409", probes=against(reference)).passed
    assert assess(network(), "AV409", probes=against(None)).only.severity is Severity.NOTE
    review = reviewed(network(mean=0.0), select=["AV402"], probes=against(reference))
    said = next(answer.answer for answer in review.checklist if answer.item == 4)
    assert "1 departs" in said
    assert "not compared" not in said
    (row,) = review.evidence["parity"]["outputs"]
    assert row["output"] == "scores"
    assert row["departs"]
    assert row["largest_difference"] > 0
