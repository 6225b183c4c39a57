"""Waivers and the baseline: what is accepted does not fail, what expires comes back, what is unused is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from avreview.api import review_planned
from avreview.config.baseline import baseline_of
from avreview.config.document import ConfigError
from avreview.config.reading import read_settings
from avreview.config.settings import Planned, Settings
from avreview.engine.cards import shipped
from avreview.engine.review import Report, Severity, Verdict
from avreview.report.schema import report_schema
from avreview.report.structure import to_dict

SAMPLES = Path(__file__).parents[2] / "sample_models"
FAULTY = str(SAMPLES / "lane_head__dropout_active.onnx")  # AV701 in head.dropout

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def _november(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795305600")  # 2026-11-22


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return to


def waiver(**changed: str) -> str:
    entry = {"rule": "AV701", "module": "head.*", "reason": "MC dropout", "owner": "a@b.c", "expires": "2027-03-31"}
    return json.dumps({"waivers": [{**entry, **changed}]})


def reviewed(settings: Settings, **planned: Any) -> Report:
    return review_planned([Planned(FAULTY, **planned)], settings._replace(select=("AV701",)))


def waived(path: Path) -> Report:
    return reviewed(Settings(waivers=(str(path),)))


def test_a_waived_finding_is_shown_and_does_not_fail(write: Write) -> None:
    path = write("accepted.yaml", waiver())
    report = waived(path)
    (found,) = report.reviews[0].findings
    assert found.waived is not None
    assert (found.waived.owner, found.waived.line) == ("a@b.c", 1)
    assert report.reviews[0].verdict is Verdict.ATTENTION
    assert report.reviews[0].tally(Severity.ERROR) == 0
    structure = to_dict(report)
    assert structure["reviews"][0]["counts"] == {"error": 0, "warning": 0, "note": 0, "waived": 1}
    assert [(use["status"], use["findings"]) for use in structure["waivers"]] == [("in-force", 1)]
    jsonschema.validate(structure, report_schema())


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"expires": "2026-11-21"}, "expired"),
        ({"module": "backbone.*"}, "unused"),
        ({"rule": "AV301"}, "unused"),
        ({"model": "models/*"}, "unused"),
    ],
)
def test_what_does_not_cover_a_finding_leaves_it_open(write: Write, changed: dict[str, str], status: str) -> None:
    report = waived(write("accepted.yaml", waiver(**changed)))
    assert report.reviews[0].verdict is Verdict.FAIL
    assert [use.status for use in report.waivers] == [status]


@pytest.mark.parametrize(
    "changed",
    [{"expires": "2026-11-22"}, {"rule": "dropout-active-at-inference"}, {"rule": "item7"}, {"module": "*"},
     {"module": "/head/dropout/*"}, {"model": "*lane_head*"}],
)  # fmt: skip
def test_rules_modules_nodes_and_models_are_matched(write: Write, changed: dict[str, str]) -> None:
    assert waived(write("accepted.yaml", waiver(**changed))).reviews[0].verdict is Verdict.ATTENTION


def test_a_waiver_names_the_model_by_its_path_or_by_what_the_configuration_calls_it(write: Write) -> None:
    for model in ("*lane_head*", "lane detector"):
        settings = Settings(waivers=(str(write("accepted.yaml", waiver(model=model))),))
        assert reviewed(settings, name="lane detector").reviews[0].verdict is Verdict.ATTENTION


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("waivers:\n- {rule: AV701, module: a, reason: b, expires: 2027-01-01}\n", ":2:3: lacks 'owner'"),
        ("waivers:\n- {rule: AV701, module: a, owner: b, expires: 2027-01-01}\n", ":2:3: lacks 'reason'"),
        ("waivers:\n- {rule: AV701, module: a, reason: ' ', owner: b, expires: 2027-01-01}\n", "reason: is empty"),
        ("waivers:\n- {rule: AV701, module: a, reason: r, owner: b, expires: soon}\n", "not a date such as 2027-03-31"),
        ("waivers:\n- {rule: AV701, module: a, reason: r, owner: b, expires: 2027-02-30}\n", "no date of the calendar"),
        ("waivers:\n- {rule: AV7777, module: a, reason: r, owner: b, expires: 2027-02-03}\n", "no rule is called"),
        ("- rule: AV701\n", "has to be a mapping, not a list"),
    ],
)
def test_a_waiver_that_is_wrong_stops_the_review(write: Write, text: str, words: str) -> None:
    path = write("accepted.yaml", text)
    with pytest.raises(ConfigError) as refusal:
        waived(path)
    assert str(refusal.value).startswith(f"{path}:")
    assert words in str(refusal.value)


def test_the_baseline_holds_todays_findings_and_only_new_ones_fail(write: Write) -> None:
    path = write("known.yaml", json.dumps(baseline_of(reviewed(Settings()).reviews)))
    report = reviewed(Settings(baseline=str(path)))
    (found,) = report.reviews[0].findings
    assert found.known
    assert report.reviews[0].verdict is Verdict.ATTENTION
    other = reviewed(Settings(baseline=str(path)), name="another model")
    assert other.reviews[0].verdict is Verdict.FAIL
    jsonschema.validate(to_dict(report), report_schema())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: avreview/baseline/2\nfindings: []\n", "has to be 'avreview/baseline/1'"),
        ("schema: avreview/baseline/1\nfindings: [{rule: AV1, model: a, fingerprint: xyz}]\n", "sixteen hexadecimal"),
    ],
)
def test_a_baseline_that_is_wrong_stops_the_review(write: Write, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        reviewed(Settings(baseline=str(write("known.yaml", text))))


# Severities, thresholds and modules


def configured(path: Path) -> Report:
    settings = read_settings(path, None, shipped())
    return review_planned([Planned(FAULTY)], settings)


def test_severities_thresholds_and_modules_decide(write: Write) -> None:
    softer = configured(write("a.yaml", "select: AV701\nrules: {AV701: {severity: note}}\n"))
    assert softer.reviews[0].verdict is Verdict.ATTENTION
    assert softer.settings["severities"] == {"AV701": "note"}
    higher = configured(write("b.yaml", "select: AV701\nrules: {AV701: {thresholds: {min_rate: 0.9}}}\n"))
    assert higher.reviews[0].verdict is Verdict.PASS
    there = configured(write("c.yaml", "select: AV701\noverrides: [{modules: head.*, severity: {AV701: warning}}]\n"))
    assert there.reviews[0].tally(Severity.WARNING) == 1
    off = configured(write("d.yaml", "select: item7\nrules: {AV701: {severity: off}}\n"))
    assert "AV701" not in [outcome.rule for outcome in off.reviews[0].rules]


def test_what_is_left_out_everywhere_is_not_called_a_pass(write: Write) -> None:
    report = configured(write("a.yaml", "select: AV701\noverrides: [{modules: '*', ignore: AV701}]\n"))
    (outcome,) = report.reviews[0].rules
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert outcome.reason is not None
    assert "leaves the rule out" in outcome.reason


def test_an_own_card_takes_the_place_of_the_shipped_one(tmp_path: Path, write: Write) -> None:
    card = next(path for path in shipped().cards.values() if path.id == "AV701").path
    own = tmp_path / "rules" / card.parent.name
    own.mkdir(parents=True)
    (own / card.name).write_text(card.read_text("utf-8").replace("severity: error", "severity: note"))
    report = configured(write("a.yaml", "select: AV701\nrule_folders: rules\n"))
    assert report.reviews[0].findings[0].severity is Severity.NOTE
    assert report.rules_digest != shipped().digest
