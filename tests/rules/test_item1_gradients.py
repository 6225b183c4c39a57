from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Assess
from in_process import in_process
from models import ModelBuilder

from avreview.engine.review import Review, Severity, Verdict
from avreview.probes.request import ProbeRequest, named_probes

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

__all__ = ["in_process"]


def against(reference: str | None) -> ProbeRequest:
    return ProbeRequest(named_probes(["gradients"]), seconds=120, reference=reference)


def export() -> ModelBuilder:
    return ModelBuilder().input("x", ["batch", 48]).gemm("head", 4).output("scores")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"head.weight": torch.randn(4, 8)}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


# AV104


def test_av104_a_gradient_that_vanishes_in_sigmoids(reviewed: Callable[..., Review], checkpoint: Path) -> None:
    review = reviewed(checkpoint, select=["AV104"], probes=against("live_networks:sigmoids"))
    (finding,) = review.findings
    assert finding.rule == "AV104"
    assert finding.severity is Severity.WARNING
    assert [finding.location.module, finding.also[0].module] == ["0", "18"]
    assert finding.observed["ratio"] < 0.05
    assert finding.observed["layers"] == 10
    assert "shrinks by a factor of" in finding.message
    evidence = review.evidence["gradients"]
    assert [row["layer"] for row in evidence["layers"]] == [str(2 * layer) for layer in range(10)]
    assert evidence["layers"][0]["ratio"] < 0.05
    assert evidence["layers"][-1]["ratio"] is None
    assert [run["probe"] for run in review.evidence["probes"]] == ["gradients"]


@pytest.mark.usefixtures("in_process")
def test_av104_a_gradient_that_explodes(assess: Assess) -> None:
    finding = assess(export(), "AV104", probes=against("live_networks:relu_large")).only
    assert finding.observed["ratio"] > 3
    assert "grows" in finding.message


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", ["relu_layer_norm", "relu_batch_norm"])
def test_av104_passes_where_norms_keep_the_scale(assess: Assess, checkpoint: Path, name: str) -> None:
    assert assess(checkpoint, "AV104", probes=against(f"live_networks:{name}")).passed


@pytest.mark.usefixtures("in_process")
def test_av104_does_not_apply_to_a_few_layers(assess: Assess, checkpoint: Path) -> None:
    result = assess(checkpoint, "AV104", probes=against("live_networks:three_layers"))
    assert result.verdict is Verdict.NOT_APPLICABLE
    assert result.reason == "the reference has only 3 layers with weights"


@pytest.mark.usefixtures("in_process")
def test_av104_a_head_of_zeros_hides_the_drift(assess: Assess, checkpoint: Path) -> None:
    result = assess(checkpoint, "AV104", probes=against("live_networks:zero_head"))
    assert result.verdict is Verdict.NOT_ASSESSED
    assert "they reach only 1 of 11 layers" in (result.reason or "")


@pytest.mark.usefixtures("in_process")
def test_av104_needs_a_reference_and_the_probe(assess: Assess, checkpoint: Path) -> None:
    for model in (export(), checkpoint):
        without = assess(model, "AV104", probes=against(None))
        assert without.verdict is Verdict.NOT_ASSESSED
        assert without.reason == "needs the source model; pass --reference with pkg.module:factory"
        other = assess(
            model, "AV104", probes=ProbeRequest(named_probes(["repeat"]), reference="live_networks:sigmoids")
        )
        assert other.verdict is Verdict.NOT_ASSESSED
        assert "--probe=gradients" in (other.reason or "")


@pytest.mark.usefixtures("in_process")
def test_av104_is_left_open_by_a_reference_that_does_not_work(assess: Assess) -> None:
    result = assess(export(), "AV104", probes=against("live_networks:raising"))
    assert result.verdict is Verdict.NOT_ASSESSED
    assert result.reason == "the factory live_networks:raising raised ValueError: no weights here"


@pytest.mark.usefixtures("in_process")
def test_av104_a_checkpoint_beside_an_export_does_not_run_the_reference_again(
    reviewed: Callable[..., Review], checkpoint: Path
) -> None:
    review = reviewed(export(), checkpoint=checkpoint, select=["AV104"], probes=against("live_networks:raising"))
    assert len(review.evidence["probes"]) == 1
