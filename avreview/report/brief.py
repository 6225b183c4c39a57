"""What the terminal report can do without: only the findings that fail, or counts by rule."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from avreview.engine.review import Severity
from avreview.report.details import write_findings
from avreview.report.places import main_path
from avreview.report.tables import write_table
from avreview.report.values import count

if TYPE_CHECKING:
    from avreview.engine.review import Finding, Report
    from avreview.report.page import Page

_PATH = 300  # characters of a path that are shown


def write_failing(report: Report, page: Page, verbose: bool) -> None:
    """The open findings at or above the severity from which the run fails, under the path of their model."""
    least = Severity.parse(str(report.settings.get("fail_on", "error")))
    for review in report.reviews:
        failing = [finding for finding in review.findings if finding.is_open and finding.severity >= least]
        if failing:
            page.part()
            page.block(page.text(main_path(review), "strong", limit=_PATH))
            write_findings(failing, review, page, verbose)


def write_statistics(report: Report, page: Page) -> None:
    """How often each rule found something over all reviews, the most frequent first; accepted findings apart."""
    page.heading(f"Statistics: {count(len(report.reviews), 'review')}")
    rows = _rows([(number, finding) for number, review in enumerate(report.reviews) for finding in review.findings])
    if rows:
        write_table(page, rows, indent=1, whole=True)
    else:
        page.block(page.text("No rule found anything."), indent=1)


def _rows(found: list[tuple[int, Finding]]) -> list[dict[str, str | int]]:
    """A row for each rule and severity: an override may give the findings of one rule several."""
    kinds = Counter((finding.rule, finding.name, finding.severity) for _, finding in found)
    rows = []
    for kind, amount in kinds.items():
        own = [pair for pair in found if (pair[1].rule, pair[1].name, pair[1].severity) == kind]
        accepted = sum(not finding.is_open for _, finding in own)
        row: dict[str, str | int] = {
            "rule": kind[0], "name": kind[1], "severity": str(kind[2]), "findings": amount - accepted,
            "accepted": accepted, "models": len({number for number, _ in own}),
        }  # fmt: skip
        rows.append((-(amount - accepted), -kind[2], kind[0], row))
    return [row for *_, row in sorted(rows, key=lambda entry: entry[:3])]
