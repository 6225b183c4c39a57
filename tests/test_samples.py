"""Every sample model shows its seeded fault, and nothing else that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from avreview.api import review
from avreview.engine.cards import catalogue
from avreview.engine.review import Finding, Review, Severity, Verdict

SAMPLES = Path(__file__).parents[1] / "sample_models"
EXPECTED: Mapping[str, Sequence[Mapping[str, Any]]] = yaml.safe_load((SAMPLES / "expected.yaml").read_text("utf-8"))
# What else is rightly said of a sample.
ALSO_TRUE = {
    "camera_bev_detector__new_head_untrained.onnx": {"AV101", "AV109"},
    "temporal_occupancy_head__mask_without_scaling.onnx": {"AV701", "AV703"},
}


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def sample(request: pytest.FixtureRequest) -> tuple[str, Review]:
    """A sample model's file name, and its review."""
    report = review([SAMPLES / request.param])
    assert not report.unreadable
    return request.param, report.reviews[0]


def places(findings: Sequence[Finding]) -> set[str | None]:
    return {place.module for finding in findings for place in (finding.location, *finding.also)}


def test_each_sample_has_its_expectation() -> None:
    assert {path.name for path in SAMPLES.glob("*.onnx")} == EXPECTED.keys()


def test_the_seeded_rule_fires_on_the_seeded_module(sample: tuple[str, Review]) -> None:
    name, result = sample
    for expected in EXPECTED[name]:
        findings = [finding for finding in result.findings if finding.rule == expected["rule"]]
        assert findings, f"{expected['rule']} does not fire"
        if expected["module"] is not None:
            assert expected["module"] in places(findings)


def test_nothing_but_the_seeded_fault_is_an_error_or_a_warning(sample: tuple[str, Review]) -> None:
    name, result = sample
    allowed = {expected["rule"] for expected in EXPECTED[name]} | ALSO_TRUE.get(name, set())
    others = [
        finding for finding in result.findings if finding.severity > Severity.NOTE and finding.rule not in allowed
    ]
    assert not [f"{finding.rule} at {finding.location.entity}: {finding.message}" for finding in others]


def test_a_clean_sample_does_not_fail_and_no_rule_is_left_out(sample: tuple[str, Review]) -> None:
    name, result = sample
    assert [outcome.rule for outcome in result.rules] == [card.id for card in catalogue()]
    if not EXPECTED[name]:
        assert result.verdict is not Verdict.FAIL
        assert all(finding.severity is Severity.NOTE for finding in result.findings)
