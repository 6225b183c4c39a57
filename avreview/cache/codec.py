"""A review as plain JSON and back. What comes back is written as the same bytes in every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from avreview.engine.review import Answer, Finding, Location, Review, RuleOutcome, Severity, Verdict, Waiver
from avreview.report.structure import simple

T = TypeVar("T")
_TAG = "$"  # of what JSON has no form for


class WrongShape(Exception):  # noqa: N818 - what was kept is no review
    """The data is not what `freeze` makes."""


def freeze(review: Review) -> dict[str, Any]:
    """The review in dicts, lists, strings, finite numbers, booleans and None."""
    return {
        **review._asdict(),
        "subject": _plain(review.subject),
        "verdict": str(review.verdict),
        "checklist": [
            {**entry._asdict(), "verdict": str(entry.verdict), "table": _plain(entry.table)}
            for entry in review.checklist
        ],
        "rules": [{**entry._asdict(), "verdict": str(entry.verdict)} for entry in review.rules],
        "findings": [_finding(entry) for entry in review.findings],
        "limitations": _plain(review.limitations),
        "evidence": _plain(review.evidence),
        "stated": _plain(review.stated),
    }


def thaw(data: Any) -> Review:
    """The review that was frozen. Raises WrongShape for anything else."""
    try:
        return _review(data)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise WrongShape(str(error)) from None


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        **finding._asdict(),
        "severity": str(finding.severity),
        "location": finding.location._asdict(),
        "observed": _plain(finding.observed),
        "expected": _plain(finding.expected),
        "also": [place._asdict() for place in finding.also],
        "waived": None if finding.waived is None else finding.waived._asdict(),
    }


def _plain(value: Any) -> Any:
    """A value in JSON's types. Numbers that are not finite, and keys that are no strings, are marked."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_TAG: "float", "value": str(float(value))}
    if type(value) is int:
        return value
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and _TAG not in value:
            return {key: _plain(entry) for key, entry in value.items()}
        return {_TAG: "map", "value": [[_plain(key), _plain(entry)] for key, entry in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(entry) for entry in value]
    return simple(value)


def _value(data: Any) -> Any:
    if isinstance(data, list):
        return [_value(entry) for entry in data]
    if not isinstance(data, dict):
        return data
    if _TAG not in data:
        return {key: _value(entry) for key, entry in data.items()}
    if data[_TAG] == "float":
        return float(data["value"])
    if data[_TAG] == "map":
        return {_value(key): _value(entry) for key, entry in data["value"]}
    raise WrongShape("unknown mark")


def _review(data: Any) -> Review:
    review = Review(**_of(data, Review))
    return review._replace(
        subject=_mapping(review.subject),
        verdict=Verdict(review.verdict),
        checklist=_each(review.checklist, _answer),
        rules=_each(review.rules, _outcome),
        findings=_each(review.findings, _thawed),
        limitations=_each(review.limitations, _text),
        evidence=_mapping(review.evidence),
        title=_text(review.title),
        role=_text(review.role),
        stated=_mapping(review.stated),
    )


def _answer(data: Any) -> Answer:
    answer = Answer(**_of(data, Answer))
    _is(int, answer.item, answer.assessed, answer.rules)
    _is(str, answer.title, answer.question, answer.answer)
    return answer._replace(verdict=Verdict(answer.verdict), table=_each(answer.table, _mapping))


def _outcome(data: Any) -> RuleOutcome:
    outcome = RuleOutcome(**_of(data, RuleOutcome))
    _is(str, outcome.rule, outcome.name)
    _is(int, outcome.item)
    _is(str | None, outcome.reason)
    return outcome._replace(verdict=Verdict(outcome.verdict))


def _thawed(data: Any) -> Finding:
    finding = Finding(**_of(data, Finding))
    _is(str, finding.rule, finding.name, finding.message, finding.remedy, finding.why)
    _is(int, finding.item)
    _is(bool, finding.known)
    return finding._replace(
        severity=Severity.parse(_text(finding.severity)),
        location=_location(finding.location),
        observed=_mapping(finding.observed),
        expected=_mapping(finding.expected),
        also=_each(finding.also, _location),
        waived=None if finding.waived is None else _waiver(finding.waived),
    )


def _location(data: Any) -> Location:
    location = Location(**_of(data, Location))
    _is(str, location.artifact)
    _is(str | None, location.node, location.module, location.tensor)
    _is(int | None, location.line)
    return location


def _waiver(data: Any) -> Waiver:
    waiver = Waiver(**_of(data, Waiver))
    _is(str, *waiver[:-1])
    _is(int, waiver.line)
    return waiver


def _of(data: Any, kind: Any) -> dict[str, Any]:
    """The fields of a NamedTuple, all of them and no other."""
    if not isinstance(data, dict) or list(data) != list(kind._fields):
        raise WrongShape(f"no {kind.__name__}")
    return data


def _is(kind: Any, *values: Any) -> None:
    if not all(isinstance(value, kind) for value in values):
        raise WrongShape("a value of another type")


def _text(data: Any) -> str:
    _is(str, data)
    return str(data)


def _mapping(data: Any) -> dict[Any, Any]:
    found = _value(data)
    _is(dict, found)
    return dict(found)


def _each(data: Any, read: Callable[[Any], T]) -> list[T]:
    _is(list, data)
    return [read(entry) for entry in data]
