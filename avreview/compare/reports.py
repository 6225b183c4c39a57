"""Reading reports to compare them: findings and verdicts, and nothing else.

A report is a file that anybody may have written: it is read as warily as a configuration, and only what is compared
is kept.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.config.document import Place
from avreview.config.report_files import read_report_file
from avreview.config.validation import validate
from avreview.engine.review import Answer, Finding, Location, Review, RuleOutcome, Severity, Verdict, Waiver
from avreview.load.source import open_source

_MARK = b"avreview/report/"
_HEAD = 1 << 16  # bytes at either end in which a report names its schema
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_WORDS: Mapping[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_REVIEW = ("name", "subject", "verdict", "checklist", "rules", "findings")
_FINDING = (
    "rule", "name", "item", "severity", "location", "also", "message", "waived", "known", "fingerprint",
)  # fmt: skip
_TEXT = {"type": "string"}
_MAYBE = {"type": ["string", "null"]}
_VERDICT = {"enum": [str(verdict) for verdict in Verdict]}
_LOCATION = {
    "type": "object", "required": ["artifact"],
    "properties": {"artifact": _TEXT, "node": _MAYBE, "module": _MAYBE, "tensor": _MAYBE,
                   "line": {"type": ["integer", "null"]}},
}  # fmt: skip
_WAIVER = {
    "type": ["object", "null"], "required": ["rule", "module", "reason", "owner", "expires", "file", "line"],
    "properties": {**dict.fromkeys(("rule", "module", "reason", "owner", "expires", "file"), _TEXT),
                   "line": {"type": "integer"}},
}  # fmt: skip
_RULE = {"type": "string", "pattern": r"\A[A-Z]+[0-9]{3,}\Z", "description": "a rule's id"}
_ITEM = {"type": "integer", "minimum": 0, "maximum": 9}


def _list(required: Sequence[str], **properties: Any) -> Mapping[str, Any]:
    return {"type": "array", "items": {"type": "object", "required": list(required), "properties": properties}}


# The part of the published schema that is relied on here.
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["schema", "reviews"],
    "properties": {
        "schema": {"const": "avreview/report/1"},
        "tool": {"type": "object", "properties": {"version": _TEXT, "rules": _TEXT}},
        "unreadable": _list(["path", "reason"], path=_TEXT, reason=_TEXT),
        "reviews": _list(
            ["subject", "verdict", "checklist", "rules", "findings"],
            name=_TEXT,
            subject={"type": "object", "additionalProperties": {
                "type": ["object", "null"], "properties": {"path": _TEXT}}},
            verdict=_VERDICT,
            checklist=_list(["item", "question", "verdict"], item=_ITEM, question=_TEXT, verdict=_VERDICT),
            rules=_list(["rule", "verdict"], rule=_RULE, name=_TEXT, verdict=_VERDICT, reason=_TEXT),
            findings=_list(
                ["rule", "name", "item", "severity", "location", "message", "fingerprint"],
                rule=_RULE, name=_TEXT, item=_ITEM, severity={"enum": ["error", "warning", "note"]},
                location=_LOCATION, also={"type": "array", "items": _LOCATION}, message=_TEXT, waived=_WAIVER,
                known={"type": "boolean"}, fingerprint=_TEXT,
            ),
        ),
    },
}  # fmt: skip


class ReadReport(NamedTuple):
    """What a report says of its models."""

    path: str
    sha256: str
    bytes: int
    reviews: Sequence[Review]
    unreadable: Sequence[tuple[str, str]]

    @property
    def subject(self) -> dict[str, Any]:
        return {"path": self.path, "format": "avreview report", "bytes": self.bytes, "sha256": self.sha256}


def is_report(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a report, by its bytes. Raises ArtifactError for what is no file."""
    if os.path.isdir(path):
        return False
    source = open_source(os.fspath(path))
    head = source.read(0, min(_HEAD, source.size))
    if b"\0" in head or head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"", b"<"):
        return False
    tail = source.read(max(source.size - _HEAD, 0), min(_HEAD, source.size))
    return _MARK in head or _MARK in tail


def read_report(path: str | os.PathLike[str]) -> ReadReport:
    """The reviews in a report, YAML or JSON. Raises ConfigError, with line and column where there is one."""
    name = os.fspath(path)
    raw, document = read_report_file(
        path, keep=_is_kept, scalar=_scalar, large_yaml="compare the reports in their JSON form"
    )
    validate(document, _SCHEMA)
    data = document.data
    unreadable = [(entry["path"], entry["reason"]) for entry in data.get("unreadable") or ()]
    reviews = [_review(entry) for entry in data["reviews"]]
    return ReadReport(name, hashlib.sha256(raw).hexdigest(), len(raw), reviews, unreadable)


def _is_kept(place: Place) -> bool:
    """Whether a value is compared, or holds one that is."""
    if not place or place[0] != "reviews":
        return not place or place[0] in ("schema", "tool", "unreadable")
    if len(place) > 2 and place[2] not in _REVIEW:
        return False
    if len(place) > 4 and place[2] == "findings":
        return place[4] in _FINDING
    if len(place) > 4 and place[2] == "checklist":
        return place[4] in ("item", "question", "verdict")
    return not (len(place) > 4 and place[2] == "subject") or place[4] == "path"


def _scalar(text: str) -> Any:
    """A plain scalar as the report's writer means it: what could be taken for another number it puts in quotes."""
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _WHOLE.fullmatch(text) else text


def _review(entry: Mapping[str, Any]) -> Review:
    names = {rule["rule"]: rule.get("name", "") for rule in entry["rules"]}
    return Review(
        subject={role: dict(facts or {}) for role, facts in entry["subject"].items()},
        verdict=Verdict(entry["verdict"]),
        checklist=[
            Answer(each["item"], "", each["question"], Verdict(each["verdict"]), "") for each in entry["checklist"]
        ],
        rules=[
            RuleOutcome(each["rule"], names[each["rule"]], 0, Verdict(each["verdict"]), each.get("reason"))
            for each in entry["rules"]
        ],
        findings=[_finding(each) for each in entry["findings"]],
        title=entry.get("name", ""),
    )


def _finding(entry: Mapping[str, Any]) -> Finding:
    waived = entry.get("waived")
    return Finding(
        rule=entry["rule"],
        name=entry["name"],
        item=entry["item"],
        severity=Severity.parse(entry["severity"]),
        location=_location(entry["location"]),
        message=entry["message"],
        observed={},
        expected={},
        remedy="",
        why="",
        also=[_location(each) for each in entry.get("also") or ()],
        waived=Waiver(**{name: waived[name] for name in Waiver._fields}) if waived else None,
        known=bool(entry.get("known")),
    )


def _location(entry: Mapping[str, Any]) -> Location:
    return Location(**{name: entry.get(name) for name in Location._fields})  # type: ignore[arg-type]
