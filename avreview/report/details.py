"""The findings in words, by question, with the tables that the answers rest on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from avreview.engine.review import Verdict
from avreview.report.places import in_words, main_path, names
from avreview.report.tables import write_table
from avreview.report.values import count, show
from avreview.report.waivers import waived

if TYPE_CHECKING:
    from avreview.engine.review import Answer, Finding, Location, Review
    from avreview.report.page import Page

_NAME = 120  # characters of a name
_MESSAGE = 600
_VALUES = 400
_PARAGRAPH = 2000
_FINDINGS = 6  # of one rule, where not all are asked for
_INDENT = 2
_LABELS = 10  # columns of `expected` and what parts it from its text


def write_details(review: Review, page: Page, verbose: bool) -> None:
    """For each question: its findings, and its table where the verdict asks for one."""
    telling = (Verdict.FAIL, Verdict.ATTENTION)
    for answer in review.checklist:
        findings = [finding for finding in review.findings if finding.item == answer.item]
        has_table = bool(answer.table) and (verbose or answer.verdict in telling)
        if findings or has_table:
            page.heading(f"{answer.item}  {answer.question}")
            write_findings(findings, review, page, verbose)
        if has_table:
            _write_answer_table(answer, page, verbose)
    known = {answer.item for answer in review.checklist}
    if strays := [finding for finding in review.findings if finding.item not in known]:
        page.heading("Findings outside the checklist")
        write_findings(strays, review, page, verbose)


def _write_answer_table(answer: Answer, page: Page, verbose: bool) -> None:
    page.blank()
    write_table(page, answer.table, indent=_INDENT, whole=verbose)


def write_findings(findings: Iterable[Finding], review: Review, page: Page, verbose: bool) -> None:
    """Findings by severity and rule; of one rule not all where the report is folded."""
    ordered = sorted(findings, key=lambda finding: (-finding.severity, finding.rule))
    for rule, same in itertools.groupby(ordered, key=lambda finding: (-finding.severity, finding.rule)):
        group = list(same)
        shown = group if verbose else group[:_FINDINGS]
        for alike in _runs_alike(shown):
            _write_alike(alike, review, page, verbose)
        if len(shown) < len(group):
            left = count(len(group) - len(shown), "more finding")
            page.block(page.text(f"… and {left} of {rule[1]} (--verbose lists all)", "quiet"), indent=_INDENT)


def _runs_alike(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Neighbours with the same reason and remedy, which are then said once."""
    return [list(run) for _, run in itertools.groupby(findings, key=lambda finding: (finding.why, finding.remedy))]


def _write_alike(findings: Sequence[Finding], review: Review, page: Page, verbose: bool) -> None:
    first = findings[0]
    page.blank()
    lead = page.join([" " * (_INDENT - 1), page.text(f" {first.severity} ", str(first.severity))])
    rule = page.join([page.text(first.rule, "strong"), " ", page.text(first.name, limit=_NAME)])
    page.block(rule, indent=lead.cell_len + 1, lead=lead)
    for number, finding in enumerate(findings):
        if number:
            page.blank()
        _write_finding(finding, review, page, verbose)
    _write_paragraphs("why", first.why, page)
    _write_paragraphs("do", first.remedy, page)


def _write_finding(finding: Finding, review: Review, page: Page, verbose: bool) -> None:
    page.block(page.text(finding.message, "strong", limit=_MESSAGE), indent=_INDENT)
    main = main_path(review)
    page.field("where", page.text(in_words(finding.location, main)), indent=_INDENT, labels=_LABELS)
    _write_also(finding.also, main, page, verbose)
    page.field("seen", page.text(show(finding.observed), limit=_VALUES), indent=_INDENT, labels=_LABELS)
    page.field("expected", page.text(show(finding.expected), limit=_VALUES), indent=_INDENT, labels=_LABELS)
    if finding.waived is not None:
        page.field("accepted", page.text(waived(finding.waived), limit=_VALUES), indent=_INDENT, labels=_LABELS)
    elif finding.known:
        page.field("accepted", page.text("the baseline holds it"), indent=_INDENT, labels=_LABELS)


def _write_also(also: Sequence[Location], main: str, page: Page, verbose: bool) -> None:
    """The further places of the same cause: all of them, or as many as two lines hold."""
    if not also:
        return
    margin = _INDENT + _LABELS
    if verbose:
        for location in also:
            page.block(page.text(in_words(location, main)), indent=margin)
        return
    entities = names(also)
    fold = ", … (--verbose lists all)"
    room = 2 * (page.prose - margin) - len(f"and {len(also)} more: ") - len(fold) - 10  # ends of wrapped lines
    shown = 1
    while shown < len(entities) and len(", ".join(entities[: shown + 1])) <= room:
        shown += 1
    listed = ", ".join(entities[:shown]) + (fold if shown < len(entities) else "")
    page.block(page.text(f"and {len(also)} more: {listed}"), indent=margin)


def _write_paragraphs(label: str, text: str, page: Page) -> None:
    """Running text of a rule card, filled anew; empty lines part its paragraphs."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    for number, paragraph in enumerate(filter(None, paragraphs)):
        page.field(label if number == 0 else "", page.text(paragraph, limit=_PARAGRAPH), indent=_INDENT, labels=_LABELS)
