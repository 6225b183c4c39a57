from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Assess
from models import Array, ModelBuilder

from avreview.engine.review import Review, Severity, Verdict
from avreview.probes.request import ProbeRequest, named_probes

CHANNELS = 20
SAMPLES = 96
Statistics = dict[str, Any]


def network(statistics: list[Statistics], *, batch: int | str = "batch", opset: int = 17) -> ModelBuilder:
    """Blocks of a convolution, a batch norm with what is given for it, and a ReLU."""
    model = ModelBuilder(opset).input("image", [batch, 3, 6, 6])
    for block, given in enumerate(statistics):
        model.conv(f"blocks.{block}.conv", CHANNELS, bias=False)
        model.batch_norm(f"blocks.{block}.bn", **given).relu(f"blocks.{block}.act")
    return model.conv("head", 4).output("scores")


def images(samples: int = SAMPLES, *, seed: int = 1, brighter: float = 0.0) -> Array:
    random = np.random.default_rng(seed)
    return (random.standard_normal((samples, 3, 6, 6)) + random.standard_normal((samples, 1, 1, 1)) + brighter).astype(
        np.float32
    )


def calibrated(data: Array, blocks: int = 3) -> list[Statistics]:
    """What each norm keeps when it was calibrated on `data`, worked out from its inputs alone."""
    import onnxruntime

    found: list[Statistics] = []
    for block in range(blocks):
        model = network([*found, {}])
        model.outputs.clear()
        model.at(f"/blocks/{block}/conv/Conv_output_0").output()
        session = onnxruntime.InferenceSession(model.build().SerializeToString())
        values = session.run(None, {"image": data})[0].astype(np.float64)
        mean, variance = (part.astype(np.float32) for part in (values.mean((0, 2, 3)), values.var((0, 2, 3))))
        found.append({"mean": mean, "variance": variance})
    return found


@pytest.fixture
def given(tmp_path: Path) -> Callable[[Array], ProbeRequest]:
    """Asks for the probe on an array."""

    def write(data: Array) -> ProbeRequest:
        path = tmp_path / "inputs.npz"
        np.savez(path, image=data)
        return ProbeRequest(named_probes(["norms"]), seconds=60, inputs=str(path))

    return write


def stale(statistics: list[Statistics], block: int, channels: int, deviations: float) -> list[Statistics]:
    """The running mean of one norm's first channels is off."""
    changed = [dict(entry) for entry in statistics]
    changed[block]["mean"] = statistics[block]["mean"].copy()
    changed[block]["mean"][:channels] += deviations * np.sqrt(statistics[block]["variance"][:channels])
    return changed


Given = Callable[[Array], ProbeRequest]

# AV505


def test_av505_a_stale_running_mean_is_found_in_its_norm(assess: Assess, given: Given) -> None:
    data = images()
    result = assess(network(stale(calibrated(data), 2, 5, 1.5)), "AV505", probes=given(data))
    finding = result.found(Severity.WARNING, "blocks.2.bn")
    assert finding.location.tensor == "blocks.2.bn.running_mean"
    assert finding.observed["moved_share"] == 0.25
    assert finding.observed["mean_shift"].startswith("-1.5 to")
    assert finding.observed["samples"] == SAMPLES


def test_av505_an_early_stale_norm_comes_before_those_that_it_moves(assess: Assess, given: Given) -> None:
    data = images()
    result = assess(network(stale(calibrated(data), 0, CHANNELS, 3.0)), "AV505", probes=given(data))
    assert result.modules[0] == "blocks.0.bn"
    assert len(result.modules) > 1
    assert "an early one moves later ones" in result.only.message


def test_av505_statistics_of_other_data(assess: Assess, given: Given) -> None:
    request = given(images(brighter=4))
    finding = assess(network(calibrated(images())), "AV505", probes=request).only
    assert finding.location.module == "blocks.0.bn"
    assert finding.observed["moved_share"] > 0.5


def test_av505_a_scaled_variance(assess: Assess, given: Given) -> None:
    data = images()
    statistics = calibrated(data)
    statistics[2] = {**statistics[2], "variance": statistics[2]["variance"] * 3}
    assert assess(network(statistics), "AV505", probes=given(data)).modules == ["blocks.2.bn"]


@pytest.mark.parametrize("opset", [17, 18])
def test_av505_passes_on_the_data_of_the_calibration(assess: Assess, given: Given, opset: int) -> None:
    data = images()
    assert assess(network(calibrated(data), opset=opset), "AV505", probes=given(data)).passed


def test_av505_passes_on_other_samples_of_the_same_distribution(assess: Assess, given: Given) -> None:
    assert assess(network(calibrated(images())), "AV505", probes=given(images(64, seed=9))).passed


def test_av505_a_dead_channel_has_not_moved(assess: Assess, given: Given) -> None:
    data = images()
    statistics = calibrated(data)
    model = network(statistics)
    weight = model.tensors["blocks.0.conv.weight"]
    array = np.frombuffer(weight.raw_data, np.float32).reshape(CHANNELS, -1).copy()
    array[:4] = 0
    weight.raw_data = array.tobytes()
    for name in ("running_mean", "running_var"):
        stored = model.tensors[f"blocks.0.bn.{name}"]
        values = np.frombuffer(stored.raw_data, np.float32).copy()
        values[:4] = 1e-12
        stored.raw_data = values.tobytes()
    result = assess(model, "AV505", probes=given(data))
    assert "blocks.0.bn" not in result.modules


def test_av505_needs_inputs_and_enough_of_them(assess: Assess, given: Given) -> None:
    model = network([{}, {}])
    without = assess(model, "AV505", probes=ProbeRequest(named_probes(["norms"])))
    assert without.verdict is Verdict.NOT_ASSESSED
    assert "pass --inputs" in (without.reason or "")
    few = assess(model, "AV505", probes=given(images(12)))
    assert few.verdict is Verdict.NOT_ASSESSED
    assert few.reason == "needs at least 64 samples to recompute statistics from; --inputs has 12"


def test_av505_samples_that_fill_no_fixed_batch_do_not_count(assess: Assess, given: Given) -> None:
    result = assess(network([{}], batch=48), "AV505", probes=given(images(70)))
    assert result.verdict is Verdict.NOT_ASSESSED
    assert "of the 70 in --inputs only 48 fill batches of 48" in (result.reason or "")


def test_av505_does_not_apply_without_running_statistics(assess: Assess, given: Given) -> None:
    model = ModelBuilder().input("image", ["batch", 3, 6, 6]).conv("stem", 4).output("scores")
    assert assess(model, "AV505", probes=given(images())).verdict is Verdict.NOT_APPLICABLE


def test_av505_the_answer_and_the_evidence_have_a_row_a_norm(reviewed: Callable[..., Review], given: Given) -> None:
    data = images()
    review = reviewed(network(stale(calibrated(data), 1, 5, 1.5)), select=["AV505"], probes=given(data))
    answer = next(entry for entry in review.checklist if entry.item == 5)
    rows: list[dict[str, Any]] = [dict(row) for row in answer.table if "moved_share" in row]
    assert [row["layer"] for row in rows] == [f"blocks.{block}.bn" for block in range(3)]
    assert rows[0]["moved_share"] == 0
    assert rows[1]["moved_share"] == 0.25
    norms = review.evidence["norms"]["norms"]
    assert [entry["layer"] for entry in norms] == [row["layer"] for row in rows]
    worst = norms[1]["worst_channels"]
    assert len(worst) == 16
    assert {entry["channel"] for entry in worst if abs(entry["mean_shift"]) > 1} == set(range(5))
