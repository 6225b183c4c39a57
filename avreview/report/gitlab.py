"""The report as GitLab's Code Quality JSON: an issue for each open finding, and for each file that cannot be read."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, TextIO

from avreview.engine.review import Severity
from avreview.report.escape import plain
from avreview.report.json_format import dumps
from avreview.report.places import Repository, everywhere, main_path

if TYPE_CHECKING:
    from avreview.engine.review import Finding, Report

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.NOTE: "info"}
_NAME = 300
_MESSAGE = 600


def write(report: Report, stream: TextIO) -> None:
    """Writes a list of issues, worst first. GitLab compares them with the target branch's by their fingerprints."""
    repository = Repository()
    issues = [
        _issue("unreadable", f"could not be reviewed: {reason}", "blocker", repository.path(path), None)
        for path, reason in report.unreadable
    ]
    found = [(finding, main_path(review)) for review in report.reviews for finding in review.findings]
    for finding, main in sorted(found, key=lambda pair: -pair[0].severity):
        if finding.is_open:
            issues.append(_finding(finding, main, repository))
    seen: Counter[str] = Counter()
    for issue in issues:  # GitLab shows one issue of those that share a fingerprint
        seen[issue["fingerprint"]] += 1
        if (occurrence := seen[issue["fingerprint"]]) > 1:
            issue["fingerprint"] = _digest(issue["fingerprint"], str(occurrence))
    stream.write(dumps(issues))


def _finding(finding: Finding, main: str, repository: Repository) -> dict[str, Any]:
    description = f"{plain(finding.message, _MESSAGE)} ({finding.name}, at {everywhere(finding, main)})"
    path = repository.path(finding.location.artifact)
    issue = _issue(finding.rule, description, _SEVERITIES[finding.severity], path, finding.location.line)
    return {**issue, "fingerprint": _digest(finding.fingerprint, path)}


def _issue(check: str, description: str, severity: str, path: str, line: int | None) -> dict[str, Any]:
    """An issue; in a binary, where there are no lines, it is noted on the first."""
    return {
        "description": plain(description, 2 * _MESSAGE),
        "check_name": check,
        "fingerprint": _digest(check, path),
        "severity": severity,
        "location": {"path": plain(path, 4 * _NAME), "lines": {"begin": line if line is not None and line > 0 else 1}},
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
