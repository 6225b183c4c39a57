"""The report as GitHub annotations: a workflow command for each finding, which the runner turns into a note.

A runner obeys what stands in these lines, so all text of the report is escaped as its parser undoes it. GitHub shows
the first ten of each kind of a step; they are written worst first. Plain lines at the end keep the log readable, and
say what was assessed where there is nothing to annotate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from avreview.engine.review import Severity, Verdict
from avreview.report.escape import plain
from avreview.report.page import in_ascii, takes_unicode
from avreview.report.places import Repository, everywhere, main_path
from avreview.report.values import count, show, words

if TYPE_CHECKING:
    from avreview.engine.review import Finding, Report, Review

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_NAME = 300
_MESSAGE = 600
_VALUES = 400
_PARAGRAPH = 1000


def write(report: Report, stream: TextIO) -> None:
    """Writes commands for what could not be read and for every open finding, then one plain line for each review."""
    repository = Repository()
    lines = [
        _command("error", repository.path(path), None, "avreview could not review this file", plain(reason, _MESSAGE))
        for path, reason in report.unreadable
    ]
    found = [(finding, main_path(review)) for review in report.reviews for finding in review.findings]
    for finding, main in sorted(found, key=lambda pair: -pair[0].severity):
        if finding.is_open:
            title = f"{finding.rule} {finding.name}"
            path = repository.path(finding.location.artifact)
            lines.append(
                _command(_COMMANDS[finding.severity], path, finding.location.line, title, _message(finding, main))
            )
    lines += [_closing(review) for review in report.reviews]
    text = "".join(f"{line}\n" for line in lines)
    stream.write(text if takes_unicode(stream) else in_ascii(text))


def _command(command: str, path: str, line: int | None, title: str, message: str) -> str:
    """A workflow command; without a line, as in a binary, GitHub notes it on the file."""
    at = f",line={line}" if line is not None and line > 0 else ""
    return f"::{command} file={_property(path)}{at},title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """A command's text, on one line; `##`, which an older form of command begins with, is gone by `plain`."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A command's property: safe to print, and without what parts properties."""
    return _data(plain(text, 4 * _NAME)).replace(":", "%3A").replace(",", "%2C")


def _message(finding: Finding, main: str) -> str:
    lines = [
        plain(finding.message, _MESSAGE),
        f"Where: {everywhere(finding, main)}",
        f"Seen: {plain(show(finding.observed), _VALUES)}",
        f"Expected: {plain(show(finding.expected), _VALUES)}",
        f"Do: {plain(' '.join(finding.remedy.split()), _PARAGRAPH)}",
    ]
    return "\n".join(lines)


def _closing(review: Review) -> str:
    """`avreview: model.onnx: attention: 1 note; 28 of 89 rules assessed`."""
    tally = ", ".join(count(amount, str(kind)) for kind in reversed(Severity) if (amount := review.tally(kind)))
    undecided = sum(outcome.verdict is Verdict.NOT_ASSESSED for outcome in review.rules)
    rules = len(review.rules)
    assessed = f"{rules - undecided} of {count(rules, 'rule')} assessed"
    path = plain(main_path(review), _NAME)
    return plain(f"avreview: {path}: {words(review.verdict)}: {tally or 'no findings'}; {assessed}")
