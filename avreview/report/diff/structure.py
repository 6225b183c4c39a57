"""What `avreview diff` says as plain data, which `schema/diff-1.json` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from avreview.report.json_format import dumps
from avreview.report.structure import simple

if TYPE_CHECKING:
    from avreview.compare.result import Change, Compared, Diff, Findings, Section

SCHEMA = "avreview/diff/1"


def write(diff: Diff, stream: TextIO) -> None:
    """Writes the comparison as JSON."""
    stream.write(dumps(to_dict(diff)))


def to_dict(diff: Diff) -> dict[str, Any]:
    """The comparison in types that JSON knows."""
    structure: dict[str, Any] = simple(
        {
            "schema": SCHEMA,
            "tool": {"name": "avreview", "version": diff.version, "rules": diff.rules_digest},
            "kind": diff.kind,
            "old": diff.old,
            "new": diff.new,
            "identical": diff.identical,
            "fail_on": diff.fail_on,
            "counts": counts(diff),
            "sections": [_section(section) for section in diff.sections],
            "sizes": [size._asdict() for size in diff.sizes],
            "findings": [_findings(findings) for findings in diff.findings],
            "unreadable": [{"path": path, "reason": reason} for path, reason in diff.unreadable],
        }
    )
    return structure


def counts(diff: Diff) -> dict[str, int]:
    """How much changed, and how many findings are of which kind; `failing` of the new ones."""
    kinds = ("new", "gone", "unchanged", "accepted")
    found = {kind: sum(len(getattr(findings, kind)) for findings in diff.findings) for kind in kinds}
    return {"changes": diff.changes, **found, "failing": len(diff.failing)}


def _section(section: Section) -> dict[str, Any]:
    entry = {"name": section.name, "title": section.title, "summary": section.summary}
    return {
        **entry, "unseen": section.unseen, "notes": section.notes,
        "changes": [_change(change) for change in section.changes],
    }  # fmt: skip


def _change(change: Change) -> dict[str, Any]:
    return change._asdict()


def _findings(findings: Findings) -> dict[str, Any]:
    return {
        "model": findings.model,
        "verdicts": {"old": findings.old_verdict, "new": findings.new_verdict},
        **{
            kind: [_compared(entry) for entry in getattr(findings, kind)]
            for kind in ("new", "gone", "unchanged", "accepted")
        },
        "unassessed": [{"rule": rule, "reason": reason} for rule, reason in findings.unassessed.items()],
        "questions": [{"question": q, "old": old, "new": new} for q, old, new in findings.verdicts],
    }


def _compared(entry: Compared) -> dict[str, Any]:
    finding = entry.finding
    return {
        "rule": finding.rule,
        "name": finding.name,
        "severity": finding.severity,
        "location": finding.location._asdict(),
        "places": 1 + len(finding.also),
        "message": finding.message,
        "fingerprint": finding.fingerprint,
        "remark": entry.remark,
    }
