"""The report as JUnit XML: a suite for each model, and a case for each rule.

A rule fails its case where it has findings at or above the failing severity. One with lesser findings passes, as it
does for the exit code, and what it found stands in the case's output; so does why a rule does not apply. What was
not assessed is skipped, with the reason, and a file that could not be read is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from avreview.engine.review import Verdict
from avreview.report.escape import plain
from avreview.report.places import everywhere, main_path
from avreview.report.values import count, show

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from avreview.engine.review import Finding, Report, Review, RuleOutcome

_NAME = 300
_MESSAGE = 600
_VALUES = 400
_PARAGRAPH = 1000
_FINDINGS = 50  # of one rule
_ALSO = 20


def write(report: Report, stream: TextIO) -> None:
    """Writes `testsuites` with one suite a review, and one for each file that could not be reviewed."""
    from xml.etree import ElementTree

    root = ElementTree.Element("testsuites", name=plain(f"avreview {report.version}", _NAME))
    for review in report.reviews:
        root.append(_suite(review))
    for path, reason in report.unreadable:
        root.append(_unreadable(path, reason))
    for suite in root:
        _count(suite, ("skipped", "failures", "errors", "tests"))
    _count(root, ("failures", "errors", "tests"))
    ElementTree.indent(root)
    # ASCII with character references reads the same in any encoding that the stream may have.
    text = ElementTree.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii")
    stream.write(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _count(element: Element, kinds: Sequence[str]) -> None:
    """Notes on a suite, or on all of them, how many cases there are and how many of them ended in which way."""
    tags = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for kind in reversed(kinds):
        element.set(kind, str(sum(1 for _ in element.iter(tags[kind]))))


def _suite(review: Review) -> Element:
    from xml.etree.ElementTree import Element, SubElement

    path = plain(main_path(review), _NAME)
    suite = Element("testsuite", name=plain(review.title, _NAME) or path)
    properties = SubElement(suite, "properties")
    for name, value in _properties(review).items():
        SubElement(properties, "property", name=name, value=value)
    by_rule: dict[str, list[Finding]] = {}
    for finding in review.findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    for outcome in review.rules:
        name = plain(f"{outcome.rule} {outcome.name}", _NAME)
        case = SubElement(suite, "testcase", classname=path, name=name)
        _end(case, outcome, by_rule.get(outcome.rule, []), main_path(review))
    return suite


def _properties(review: Review) -> Mapping[str, str]:
    """What identifies the files, and what came out."""
    known = {"verdict": str(review.verdict)}
    for role, facts in review.subject.items():
        for name in ("path", "sha256", "format"):
            if facts.get(name):
                known[plain(f"{role}.{name}", _NAME)] = plain(str(facts[name]), _NAME)
    return known


def _end(case: Element, outcome: RuleOutcome, findings: Sequence[Finding], main: str) -> None:
    """Says in the case how the rule ended."""
    from xml.etree.ElementTree import SubElement

    reason = plain(outcome.reason or "no reason given", _MESSAGE)
    if outcome.verdict is Verdict.NOT_ASSESSED:
        SubElement(case, "skipped", message=f"not assessed: {reason}")
    elif outcome.verdict is Verdict.NOT_APPLICABLE:
        SubElement(case, "system-out").text = f"not applicable: {reason}"
    elif outcome.verdict is Verdict.FAIL:
        opened = [finding for finding in findings if finding.is_open]
        worst = max(opened, key=lambda finding: finding.severity, default=None)
        message = plain(worst.message, _MESSAGE) if worst else "the rule failed"
        if len(opened) > 1:
            message += f" (and {count(len(opened) - 1, 'more finding')})"
        kind = str(worst.severity) if worst else "error"
        SubElement(case, "failure", type=kind, message=message).text = _told(findings, main)
    elif findings:
        SubElement(case, "system-out").text = _told(findings, main)


def _told(findings: Sequence[Finding], main: str) -> str:
    """The findings of one rule in lines of text, worst first."""
    ordered = sorted(findings, key=lambda finding: (not finding.is_open, -finding.severity))
    paragraphs = [_paragraph(finding, main) for finding in ordered[:_FINDINGS]]
    if more := len(ordered) - len(paragraphs):
        paragraphs.append(f"… and {count(more, 'more finding')}")
    return "\n\n".join(paragraphs)


def _paragraph(finding: Finding, main: str) -> str:
    state = str(finding.severity)
    if (waiver := finding.waived) is not None:
        words = f"{waiver.reason} ({waiver.owner}, until {waiver.expires})"
        state += f", waived: {plain(words, _MESSAGE)}"
    elif finding.known:
        state += ", in the baseline"
    lines = [
        f"{plain(finding.message, _MESSAGE)} ({state})",
        f"where: {everywhere(finding, main, _ALSO)}",
        f"seen: {plain(show(finding.observed), _VALUES)}",
        f"expected: {plain(show(finding.expected), _VALUES)}",
        f"do: {plain(' '.join(finding.remedy.split()), _PARAGRAPH)}",
    ]
    return "\n".join(lines)


def _unreadable(path: str, reason: str) -> Element:
    from xml.etree.ElementTree import Element, SubElement

    name = plain(path, _NAME)
    suite = Element("testsuite", name=name)
    case = SubElement(suite, "testcase", classname=name, name="can be reviewed")
    SubElement(case, "error", type="unreadable", message=plain(reason, _MESSAGE))
    return suite
