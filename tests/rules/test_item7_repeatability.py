from __future__ import annotations

import pytest
from conftest import EVERY_PROBE, Assess
from models import ModelBuilder

from avreview.engine.review import Severity, Verdict
from avreview.probes.request import ProbeRequest, named_probes

# AV702


def network(*, training: bool, opset: int = 17) -> ModelBuilder:
    model = ModelBuilder(opset).input("image", ["batch", 3, 8, 8]).conv("stem.conv", 16).relu("stem.act")
    return model.dropout("stem.drop", training=training).conv("head.conv", 4).output("scores")


@pytest.mark.parametrize("opset", [12, 13, 17, 21])
def test_av702_active_dropout_is_the_culprit(assess: Assess, opset: int) -> None:
    finding = assess(network(training=True, opset=opset), "AV702", probes=EVERY_PROBE).found(
        Severity.ERROR, "stem.drop"
    )
    assert finding.location.node == "/stem/drop/Dropout"
    assert finding.observed["largest_difference"] > 0.01


def test_av702_passes_where_every_run_agrees(assess: Assess) -> None:
    assert assess(network(training=False), "AV702", probes=EVERY_PROBE).passed


def test_av702_runs_nothing_unless_asked(assess: Assess) -> None:
    unasked = assess(network(training=True), "AV702")
    assert unasked.verdict is Verdict.NOT_ASSESSED
    assert unasked.reason == "needs the model to be run, which has to be asked for; pass --probe"
    other = assess(network(training=True), "AV702", probes=ProbeRequest(named_probes(["signal"])))
    assert other.verdict is Verdict.NOT_ASSESSED
    assert "--probe=repeat" in (other.reason or "")
