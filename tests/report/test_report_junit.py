"""JUnit: one case a rule and model, as Jenkins, GitLab and the actions that read it expect."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element

import pytest
import report_sample as sample

from avreview.engine.review import Report, RuleOutcome, Severity, Verdict, Waiver
from avreview.report import write

# What Jenkins' schema (junit-10.xsd) allows of what is written here: attributes, and children in any order.
_ALLOWED = {
    "testsuites": ({"name", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped"}, {"properties", "testcase"}),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname"}, {"skipped", "failure", "error", "system-out"}),
    "skipped": ({"message"}, set()),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}


def written(report: Report) -> str:
    stream = io.StringIO()
    write(report, "junit", stream)
    return stream.getvalue()


def cases(report: Report) -> dict[str, Element]:
    """The cases of the first suite by rule."""
    suite = ElementTree.fromstring(written(report))[0]
    return {case.get("name", "").split()[0]: case for case in suite.iter("testcase")}


def ended(case: Element) -> str:
    return case[0].tag if len(case) else "passed"


@pytest.mark.parametrize(
    "report", [sample.two_reviews(), sample.hostile_report("\x1b<&]]>\ufffe")], ids=["usual", "hostile"]
)
def test_the_file_is_what_readers_of_junit_know(report: Report) -> None:
    root = ElementTree.fromstring(written(report))
    for element in root.iter():
        attributes, children = _ALLOWED[element.tag]
        assert set(element.keys()) <= attributes, element.tag
        assert {child.tag for child in element} <= children
    for suite in (root, *root):
        for kind, tag in {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}.items():
            if kind != "skipped" or suite is not root:
                assert suite.get(kind) == str(len(list(suite.iter(tag)))), (suite.tag, kind)


def test_every_selected_rule_is_one_case_of_its_model() -> None:
    root = ElementTree.fromstring(written(sample.two_reviews()))
    assert [suite.get("name") for suite in root] == [sample.MODEL, "exports/lane-net.onnx", "exports/cut-off.onnx"]
    names = [case.get("name") for case in root[0].iter("testcase")]
    assert names == [f"{outcome.rule} {outcome.name}" for outcome in sample.outcomes()]
    assert {case.get("classname") for case in root[0].iter("testcase")} == {sample.MODEL}


def test_each_verdict_has_its_ending() -> None:
    endings = {outcome.rule: ended(cases(sample.full_report())[outcome.rule]) for outcome in sample.outcomes()}
    expected = {
        Verdict.FAIL: {"failure"},
        Verdict.ATTENTION: {"system-out"},
        Verdict.PASS: {"passed"},
        Verdict.NOT_ASSESSED: {"skipped"},
        Verdict.NOT_APPLICABLE: {"system-out"},
    }
    for verdict, endings_of in expected.items():
        assert {endings[outcome.rule] for outcome in sample.outcomes() if outcome.verdict is verdict} == endings_of


def test_a_failure_says_what_where_and_what_to_do() -> None:
    (failure,) = cases(sample.full_report())["AV301"]
    assert failure.get("type") == "error"
    assert failure.get("message") == "20 of 21 batch norms compute their statistics from the batch they are given."
    for words in (
        "where: module neck.bn1",
        "and 19 more",
        "seen: training_mode: 1",
        "expected:",
        "do: Call `model.eval()`",
    ):
        assert words in str(failure.text)


def test_lesser_findings_pass_with_a_note() -> None:
    (note,) = cases(sample.full_report())["AV304"]
    assert note.tag == "system-out"
    assert str(note.text).count("is subtracted again by") == 2
    assert "(note)" in str(note.text)


def test_what_was_not_assessed_is_skipped_with_the_reason() -> None:
    (skipped,) = cases(sample.full_report())["AV601"]
    assert skipped.get("message") == f"not assessed: {sample.NEEDS_OPTIMIZER}"


def test_what_could_not_be_read_is_an_error() -> None:
    root = ElementTree.fromstring(written(sample.two_reviews()))
    (error,) = root.iter("error")
    assert "the file ends in the middle of a tensor" in str(error.get("message"))
    assert root.get("errors") == "1"
    only = ElementTree.fromstring(written(Report("0", "0", [], [("m.onnx", "m.onnx: no such file")])))
    assert (only.get("tests"), only.get("errors")) == ("1", "1")


def test_a_waived_finding_does_not_fail_and_says_why() -> None:
    waiver = Waiver("AV301", "neck.*", "measured, harmless", "A. Person", "2027-01-31", "waivers.yaml", 3)
    first = sample.findings()[0]._replace(waived=waiver)
    opened = sample.findings()[0]._replace(severity=Severity.WARNING, message="The other one.")
    outcomes = [RuleOutcome("AV301", "batch-statistics-at-inference", 3, Verdict.FAIL)]
    review = sample.full_review()._replace(rules=outcomes, findings=[first, opened])
    (failure,) = cases(Report("0", "0", [review]))["AV301"]
    assert (failure.get("type"), failure.get("message")) == ("warning", "The other one.")
    assert "waived: measured, harmless (A. Person, until 2027-01-31)" in str(failure.text)
    accepted = review._replace(rules=[outcomes[0]._replace(verdict=Verdict.ATTENTION)], findings=[first])
    (note,) = cases(Report("0", "0", [accepted]))["AV301"]
    assert note.tag == "system-out"


def test_the_file_is_ascii_and_bounded() -> None:
    assert written(sample.hostile_report("車\u202e")).isascii()
    assert len(written(sample.hostile_report("é" * 10_000_000))) < 200_000
