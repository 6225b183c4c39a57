"""`--quiet` and `--statistics`: less of the terminal report, and counts over all reviews."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import report_sample as sample

from avreview.engine.review import Report, Severity, Waiver
from avreview.report import write


def terminal(report: Report, **options: Any) -> str:
    stream = io.StringIO()
    write(report, "terminal", stream, **{"width": 100, **options})
    return stream.getvalue()


def rows(text: str) -> list[list[str]]:
    """The cells of the table of statistics."""
    table = text[text.index("Statistics") :].splitlines()[2:]
    return [line.split() for line in table if re.match(r"\s*AV\d{3} ", line)]


def test_quiet_leaves_findings_that_fail_and_the_closing_line() -> None:
    text = terminal(sample.two_reviews(), quiet=True)
    assert text.startswith("exports/bevfusion-r18.onnx\n")
    assert [rule for rule in ("AV301", "AV502") if rule in text] == ["AV301", "AV502"]
    assert not [word for word in ("AV304", "AV705", "Checklist", "Not assessed", "explain", "lane-net") if word in text]
    assert text.splitlines()[-1] == terminal(sample.two_reviews()).splitlines()[-2]


@pytest.mark.parametrize(
    ("least", "shown"),
    [
        ("error", {"AV301", "AV502"}),
        ("warning", {"AV301", "AV502", "AV705"}),
        ("note", {"AV301", "AV502", "AV705", "AV304"}),
    ],
)
def test_quiet_goes_by_the_severity_that_fails(least: str, shown: set[str]) -> None:
    report = sample.full_report()._replace(settings={"fail_on": least})
    assert set(re.findall(r"^ *(?:error|warning|note) +(AV\d{3})", terminal(report, quiet=True), re.MULTILINE)) == shown


def accepted(report: Report) -> Report:
    """The report with its errors waived, or held by the baseline."""
    waiver = Waiver("AV301", "neck.*", "why", "who", "2027-01-01", "w.yaml", 2)
    (review,) = report.reviews
    found = [
        finding._replace(waived=waiver) if finding.rule == "AV301" else finding._replace(known=True)
        if finding.rule == "AV502" else finding
        for finding in review.findings
    ]  # fmt: skip
    return report._replace(reviews=[review._replace(findings=found)])


def test_quiet_leaves_out_what_is_accepted() -> None:
    text = terminal(accepted(sample.full_report()), quiet=True)
    assert text.count("\n") == 1


def test_quiet_on_a_clean_model_is_one_line() -> None:
    clean = sample.full_report()._replace(reviews=[sample.clean_review()])
    assert terminal(clean, quiet=True) == "pass: no findings · 1 of 2 rules assessed\n"


def test_quiet_says_what_could_not_be_reviewed() -> None:
    assert "1 file could not be reviewed" in terminal(sample.two_reviews(), quiet=True).splitlines()[-1]


def test_statistics_count_by_rule_over_all_reviews() -> None:
    report = sample.full_report()
    text = terminal(report._replace(reviews=[*report.reviews, *report.reviews]), statistics=True)
    assert rows(text) == [
        ["AV304", "bias-before-norm", "note", "4", "0", "2"],
        ["AV301", "batch-statistics-at-inference", "error", "2", "0", "2"],
        ["AV502", "norm-stats-degenerate", "error", "2", "0", "2"],
        ["AV705", "dropout-rate-extreme", "warning", "2", "0", "2"],
    ]
    assert "Checklist" in text
    assert text.index("Statistics: 2 reviews") > text.index("Checklist")


def test_statistics_keep_what_is_accepted_apart() -> None:
    counted = {row[0]: row[3:] for row in rows(terminal(accepted(sample.full_report()), statistics=True))}
    assert counted["AV301"] == counted["AV502"] == ["0", "1", "1"]
    assert counted["AV304"] == ["2", "0", "1"]


def test_a_rule_that_an_override_split_has_a_row_for_each_severity() -> None:
    report = sample.full_report()
    (review,) = report.reviews
    lowered = [f._replace(severity=Severity.NOTE) if f.rule == "AV502" else f for f in review.findings]
    both = report._replace(reviews=[review, review._replace(findings=lowered)])
    found = [row[2] for row in rows(terminal(both, statistics=True)) if row[0] == "AV502"]
    assert sorted(found) == ["error", "note"]


def test_statistics_of_nothing_say_so() -> None:
    clean = sample.full_report()._replace(reviews=[sample.clean_review()])
    assert "No rule found anything." in terminal(clean, quiet=True, statistics=True)


@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    text = terminal(sample.two_reviews(), width=width, quiet=True, statistics=True)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("text", ["\x1b[31m", "a\n::error::x", "[bold]x[/bold]", "\u202e"])
def test_hostile_names_are_as_safe_as_in_the_whole_report(text: str) -> None:
    written = terminal(sample.hostile_report(text), quiet=True, statistics=True)
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert not re.search(r"^\s*::", written, re.MULTILINE)


@pytest.mark.parametrize("format", ["yaml", "json", "sarif", "github", "markdown"])
def test_other_formats_do_not_change(format: str) -> None:
    def written(**options: bool) -> str:
        stream = io.StringIO()
        write(sample.full_report(), format, stream, **options)
        return stream.getvalue()

    assert written(quiet=True, statistics=True) == written()
