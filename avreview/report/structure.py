"""The report as plain data: one structure, which the YAML and JSON forms share and `schema/report-1.json` describes."""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from avreview.engine.review import Severity, Verdict

if TYPE_CHECKING:
    from avreview.engine.review import Answer, Finding, Location, Report, Review, RuleOutcome, Waiver, WaiverUse

SCHEMA = "avreview/report/1"


def to_dict(report: Report) -> dict[str, Any]:
    """The report in dicts, lists, strings, numbers, booleans and None, and nothing else."""
    structure: dict[str, Any] = simple(
        {
            "schema": SCHEMA,
            "tool": _tool(report),
            **({"date": report.date} if report.date else {}),
            **({"environment": report.environment} if report.environment else {}),
            "reviews": [_review(review) for review in report.reviews],
            "unreadable": [{"path": path, "reason": reason} for path, reason in report.unreadable],
            **({"waivers": [_waiver_use(use) for use in report.waivers]} if report.waivers else {}),
            **({"settings": report.settings} if report.settings else {}),
            **({"configuration": [file._asdict() for file in report.configuration]} if report.configuration else {}),
        }
    )
    return structure


def _tool(report: Report) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": "avreview", "version": report.version, "rules": report.rules_digest}
    return {**tool, "packs": [pack._asdict() for pack in report.packs]} if report.packs else tool


def simple(value: Any) -> Any:
    """`value` in types that JSON knows.

    Numbers without a place in JSON become the strings "nan", "inf" and "-inf"; numpy's scalars and arrays become
    Python's; what is left becomes its text. Text is valid Unicode: a lone surrogate, which stands for a byte that
    was none, becomes its escape.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Severity | Verdict):
        return str(value)
    if isinstance(value, enum.Enum):
        return simple(value.value)
    if isinstance(value, str):
        return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {_key(key): simple(entry) for key, entry in value.items()}
    if isinstance(value, Set):
        return sorted((simple(entry) for entry in value), key=str)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, Sequence):
        return [simple(entry) for entry in value]
    return _foreign(value)


def _foreign(value: Any) -> Any:
    """A value of a type that this module does not import: numpy's by their `tolist`, paths by their name."""
    if hasattr(value, "tolist"):
        listed = value.tolist()
        if type(listed) is not type(value):
            return simple(listed)
    if hasattr(value, "__float__"):  # ml_dtypes' scalars, which stay what they are
        return simple(float(value))
    if isinstance(value, os.PathLike):
        return simple(os.fspath(value))
    return str(value)


def _key(key: Any) -> str:
    return str(simple(key))


def _review(review: Review) -> dict[str, Any]:
    counts: dict[str, Any] = {str(severity): review.tally(severity) for severity in sorted(Severity, reverse=True)}
    titles = {"name": review.title, "role": review.role}
    structure: dict[str, Any] = {
        **{key: title for key, title in titles.items() if title},
        **({"stated": review.stated} if review.stated else {}),
        "subject": review.subject,
        "verdict": str(review.verdict),
        "counts": {**counts, "waived": sum(finding.waived is not None for finding in review.findings)},
        "checklist": [_answer(answer) for answer in review.checklist],
        "rules": [_outcome(outcome) for outcome in review.rules],
        "findings": [_finding(finding) for finding in review.findings],
        "limitations": review.limitations,
    }
    return {**structure, "evidence": _evidence(review.evidence)} if review.evidence else structure


def _evidence(evidence: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data behind a review without the pixels of pictures: a seed and numbers are enough to draw them again."""
    measured = evidence.get("augmentations")
    return {**evidence, "augmentations": _without(measured, "png")} if measured else evidence


def _without(data: Any, key: str) -> Any:
    if isinstance(data, Mapping):
        return {name: _without(value, key) for name, value in data.items() if name != key}
    return [_without(value, key) for value in data] if isinstance(data, list | tuple) else data


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "item": answer.item,
        "question": answer.question,
        "verdict": str(answer.verdict),
        "answer": answer.answer,
        "assessed": {"rules": answer.assessed, "of": answer.rules},
        "table": answer.table,
    }


def _outcome(outcome: RuleOutcome) -> dict[str, Any]:
    entry = {"rule": outcome.rule, "name": outcome.name, "verdict": str(outcome.verdict)}
    return {**entry, "reason": outcome.reason} if outcome.reason else entry


def _finding(finding: Finding) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "rule": finding.rule,
        "name": finding.name,
        "item": finding.item,
        "severity": str(finding.severity),
        "location": _location(finding.location),
        "also": [_location(location) for location in finding.also],
        "message": finding.message,
        "observed": finding.observed,
        "expected": finding.expected,
    }
    if finding.why:
        entry["why"] = finding.why
    waived = _waiver(finding.waived) if finding.waived is not None else None
    known = {"known": True} if finding.known else {}
    return {**entry, "remedy": finding.remedy, "fingerprint": finding.fingerprint, "waived": waived, **known}


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return waiver._asdict()


def _waiver_use(use: WaiverUse) -> dict[str, Any]:
    return {**_waiver(use.waiver), "status": use.status, "findings": use.findings}


def _location(location: Location) -> dict[str, Any]:
    return location._asdict()
