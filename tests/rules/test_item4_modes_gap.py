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


def against(reference: str | None, inputs: Path | None = None) -> ProbeRequest:
    given = None if inputs is None else str(inputs)
    return ProbeRequest(named_probes(["modes"]), seconds=120, reference=reference, inputs=given)


def export() -> ModelBuilder:
    return ModelBuilder().input("image", ["batch", 3, 12, 12]).conv("stem", 4).output("scores")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"head.weight": torch.randn(4, 8)}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


# AV412


def test_av412_a_norm_whose_statistics_do_not_fit(reviewed: Callable[..., Review], checkpoint: Path) -> None:
    review = reviewed(checkpoint, select=["AV412"], probes=against("live_networks:camera_stale"))
    (finding,) = review.findings
    assert finding.severity is Severity.NOTE
    assert finding.location.module == "stem.1"
    assert finding.observed["gap"] > 0.05
    assert finding.observed["differs_between_runs"] == 0
    assert "stem.1 (BatchNorm2d)" in finding.message
    assert "by its statistics" in finding.message
    assert review.evidence["modes"]["parts"][0]["path"] == "stem.1"
    answer = next(entry for entry in review.checklist if entry.item == 4)
    assert "in train() and in eval() differ by" in answer.answer


@pytest.mark.usefixtures("in_process")
def test_av412_a_dropout(assess: Assess) -> None:
    finding = assess(export(), "AV412", probes=against("live_networks:camera_dropout")).found(Severity.NOTE, "drop")
    assert finding.observed["differs_between_runs"] > 0
    assert "at random" in finding.message


@pytest.mark.usefixtures("in_process")
def test_av412_the_inputs_of_the_export_serve_a_factory_without_an_example(
    reviewed: Callable[..., Review],
) -> None:
    review = reviewed(export(), select=["AV412"], probes=against("live_networks:camera_alone"))
    assert review.evidence["modes"]["inputs"] == {"origin": "made up", "samples": 8, "shapes": [[8, 3, 12, 12]]}


@pytest.mark.usefixtures("in_process")
def test_av412_given_inputs_serve_a_checkpoint(
    reviewed: Callable[..., Review], checkpoint: Path, tmp_path: Path
) -> None:
    import numpy as np

    np.savez(tmp_path / "inputs.npz", image=np.random.default_rng(0).standard_normal((20, 3, 12, 12), np.float32))
    request = against("live_networks:camera_alone", tmp_path / "inputs.npz")
    review = reviewed(checkpoint, select=["AV412"], probes=request)
    assert review.evidence["modes"]["inputs"] == {"origin": "given", "samples": 8, "shapes": [[8, 3, 12, 12]]}


@pytest.mark.usefixtures("in_process")
def test_av412_passes_where_no_part_has_modes(assess: Assess, checkpoint: Path) -> None:
    assert assess(checkpoint, "AV412", probes=against("live_networks:camera_without_modes")).passed


@pytest.mark.usefixtures("in_process")
def test_av412_says_what_to_supply(assess: Assess, checkpoint: Path) -> None:
    for reference, said in (
        (None, "needs the source model; pass --reference with pkg.module:factory"),
        ("live_networks:camera_alone", "let the factory return (module, example_inputs), or pass --inputs"),
        ("live_networks:leaving", "called sys.exit(3)"),
        (str(checkpoint), "the reference holds weights without the code that uses them"),
    ):
        result = assess(checkpoint, "AV412", probes=against(reference))
        assert result.verdict is Verdict.NOT_ASSESSED
        assert said in (result.reason or "")
