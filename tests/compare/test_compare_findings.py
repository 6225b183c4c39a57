"""Findings that are new, gone or unchanged: of two models, and of two reports."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from avreview.api import diff, review
from avreview.compare.findings import compare_findings
from avreview.compare.reports import is_report, read_report
from avreview.compare.result import Findings
from avreview.config.document import ConfigError
from avreview.engine.review import Finding, Location, Review, RuleOutcome, Severity, Verdict, Waiver
from avreview.errors import AvreviewError, UsageError
from avreview.report import write

SAMPLES = Path(__file__).parents[2] / "sample_models"
CLEAN = SAMPLES / "lane_head.onnx"
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"
WAIVER = Waiver("AV701", "head.*", "sampled on purpose", "perception", "2027-01-01", "waivers.yaml", 1)


def finding(rule: str = "AV701", module: str = "head", severity: Severity = Severity.ERROR, **more: Any) -> Finding:
    return Finding(rule, "some-name", 7, severity, Location("m.onnx", module=module), "wrong", {}, {}, "", "", **more)


def reviewed(*findings: Finding, **verdicts: Verdict) -> Review:
    rules = [RuleOutcome("AV701", "some-name", 7, verdicts.get("av701", Verdict.FAIL), "needs something")]
    return Review({"model": {"path": "m.onnx"}}, Verdict.FAIL, [], rules, findings)


def kinds(found: Findings) -> dict[str, list[str]]:
    return {
        kind: [entry.finding.location.entity for entry in getattr(found, kind)]
        for kind in ("new", "gone", "unchanged", "accepted")
        if getattr(found, kind)
    }


def test_findings_are_told_apart_by_their_fingerprints() -> None:
    old, new = reviewed(finding(module="a"), finding(module="b")), reviewed(finding(module="b"), finding(module="c"))
    assert kinds(compare_findings(old, new, "m")) == {"new": ["c"], "gone": ["a"], "unchanged": ["b"]}


def test_two_findings_of_one_fingerprint_are_two() -> None:
    found = compare_findings(reviewed(finding()), reviewed(finding(), finding()), "m")
    assert kinds(found) == {"new": ["head"], "unchanged": ["head"]}


def test_what_is_waived_or_in_the_baseline_does_not_count() -> None:
    new = reviewed(finding(module="a", waived=WAIVER), finding(module="b", known=True))
    assert kinds(compare_findings(reviewed(), new, "m")) == {"accepted": ["a", "b"]}
    assert kinds(compare_findings(new, reviewed(), "m")) == {}


def test_a_finding_that_spread_and_grew_worse_says_so() -> None:
    old = finding(severity=Severity.NOTE)
    new = finding(also=[Location("m.onnx", module="b")])
    (entry,) = compare_findings(reviewed(old), reviewed(new), "m").unchanged
    assert entry.remark == "places: 1 before, 2 now, note before"


def test_a_finding_whose_rule_was_not_assessed_is_not_called_mended() -> None:
    found = compare_findings(reviewed(finding()), reviewed(av701=Verdict.NOT_ASSESSED), "m")
    assert found.gone[0].remark == "not assessed now: needs something"
    assert found.unassessed == {"AV701": "needs something"}
    found = compare_findings(reviewed(av701=Verdict.NOT_ASSESSED), reviewed(finding()), "m")
    assert found.new[0].remark == "not assessed before: needs something"


# Reports


def report(folder: Path, name: str, *models: Path, format: str = "yaml") -> Path:
    path = folder / f"{name}.{format}"
    stream = io.StringIO()
    write(review(models), format, stream)
    path.write_text(stream.getvalue(), encoding="utf-8")
    return path


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_reports_are_compared_by_findings_and_verdicts(tmp_path: Path, format: str) -> None:
    old, new = report(tmp_path, "old", CLEAN, format=format), report(tmp_path, "new", FAULTY, format=format)
    found = diff(old, new)
    assert (found.kind, found.sections, found.identical) == ("report", (), False)
    (findings,) = found.findings
    assert (findings.old_verdict, findings.new_verdict) == ("attention", "fail")
    assert [entry.finding.rule for entry in findings.new] == ["AV701"]
    assert [entry.finding.rule for entry in findings.unchanged] == ["AV409"]
    assert [each.rule for each in found.failing] == ["AV701"]
    assert diff(new, old).failing == []
    assert not diff(old, old).findings[0].new
    assert diff(old, old).identical


def test_a_report_reads_back_as_it_was_reviewed(tmp_path: Path) -> None:
    fresh = review([FAULTY]).reviews[0]
    for format in ("yaml", "json"):
        read = read_report(report(tmp_path, "r", FAULTY, format=format)).reviews[0]
        assert [each.fingerprint for each in read.findings] == [each.fingerprint for each in fresh.findings]
        assert [(rule.rule, rule.verdict) for rule in read.rules] == [(rule.rule, rule.verdict) for rule in fresh.rules]
        assert [answer.verdict for answer in read.checklist] == [answer.verdict for answer in fresh.checklist]


def test_selection_holds_for_reports_too(tmp_path: Path) -> None:
    old, new = report(tmp_path, "old", CLEAN), report(tmp_path, "new", FAULTY)
    assert not diff(old, new, ignore=["AV701"]).failing
    assert not diff(old, new, select=["AV3"]).findings[0].new
    assert diff(old, new, select=["item7"]).failing


def test_models_of_two_reports_are_paired_by_name_and_file(tmp_path: Path) -> None:
    copy = tmp_path / "candidate" / CLEAN.name
    copy.parent.mkdir()
    copy.write_bytes(CLEAN.read_bytes())
    old = report(tmp_path, "old", CLEAN, SAMPLES / "camera_bev_detector.onnx")
    new = report(tmp_path, "new", SAMPLES / "camera_bev_detector.onnx", copy, FAULTY)
    found = diff(old, new)
    assert [(Path(each.model).name, each.old_verdict is None) for each in found.findings] == [
        ("camera_bev_detector.onnx", False),
        (CLEAN.name, False),
        (FAULTY.name, True),
    ]
    assert found.findings[2].new[0].remark == "the model was not reviewed before"
    assert [finding.rule for finding in found.failing] == ["AV701"]


def test_what_the_newer_report_could_not_review_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    new = report(tmp_path, "new", CLEAN, broken)
    assert [path for path, _ in diff(report(tmp_path, "old", CLEAN), new).unreadable] == [str(broken)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: avreview/report/1\nreviews: 3\n", "bad.yaml:2:1: reviews: has to be a list, not a whole number"),
        ("schema: avreview/report/1\nreviews: &a []\n", "bad.yaml:2:10: sets an anchor"),
        ("schema: avreview/report/9\nreviews: []\n", "bad.yaml:1:1: schema: has to be 'avreview/report/1'"),
        ("schema: avreview/report/1\nreviews: !!python/name:os.system []\n", "has the tag"),
        ('{"schema": "avreview/report/1", "reviews": [}', "bad.yaml:1:45: is no JSON"),
        ('{"schema": "avreview/report/1", "schema": 1}', "the key 'schema' stands twice"),
        ('{"schema": "avreview/report/1", "reviews": NaN}', "NaN is no number"),
        ('{"schema": "avreview/report/1", "reviews": ' + "[" * 100_000, "is nested too deep"),
        ("schema: avreview/report/1\nreviews: " + "[" * 100 + "\n", "is nested more than 50 deep"),
        ("# avreview/report/1\n- 1\n", "has to be a mapping, not a list"),
        (
            "schema: avreview/report/1\n"
            "reviews:\n- {subject: {}, verdict: great, checklist: [], rules: [], findings: []}",
            "reviews.0.verdict: 'great' is none of",
        ),
    ],
)
def test_a_report_that_is_wrong_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    assert is_report(path)
    with pytest.raises(ConfigError) as error:
        diff(path, path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_report_is_not_compared_with_a_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name two reports, or two models"):
        diff(report(tmp_path, "old", CLEAN), CLEAN)


def test_a_report_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = report(tmp_path, "old", CLEAN)
    monkeypatch.setattr("avreview.config.report_files.MOST_YAML", 1000)
    with pytest.raises(AvreviewError, match="compare the reports in their JSON form"):
        diff(path, path)
    monkeypatch.setattr("avreview.config.report_files.MOST_JSON", 1000)
    with pytest.raises(AvreviewError, match="which no report is"):
        diff(path, path)


def test_a_report_whose_values_are_of_other_types_is_refused_and_never_crashes(tmp_path: Path) -> None:
    data = json.loads(report(tmp_path, "r", FAULTY, format="json").read_text("utf-8"))
    path = tmp_path / "changed.json"
    for wrong in (None, 3, "text", [], {}, [None], [3], {"a": None}, True):
        for key in ("verdict", "rules", "findings", "checklist", "subject", "name"):
            changed = json.loads(json.dumps(data))
            changed["reviews"][0][key] = wrong
            _reads_or_refuses(path, changed)
        for key in data["reviews"][0]["findings"][0]:
            changed = json.loads(json.dumps(data))
            changed["reviews"][0]["findings"][0][key] = wrong
            _reads_or_refuses(path, changed)
        for key in data:
            _reads_or_refuses(path, {**data, key: wrong})


def _reads_or_refuses(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        read_report(path)
