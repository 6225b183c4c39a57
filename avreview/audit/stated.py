"""What a report says that can be looked up again: the files with their digests, the rules, the version.

A report is a file like any other, which anybody may have written: it is read as warily as a configuration. Only what
is needed is kept, so that tens of megabytes take little memory.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from avreview.config.document import ConfigError, Place
from avreview.config.report_files import read_report_file
from avreview.config.validation import validate

_HEX = r"\A[0-9a-f]{64}\Z"
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_KEPT = ("schema", "tool", "date", "configuration", "unreadable")
_FILE = {"path": {"type": "string", "minLength": 1}, "sha256": {"type": ["string", "null"], "pattern": _HEX,
         "description": "a sha256 digest"}, "bytes": {"type": ["integer", "null"], "minimum": 0}}  # fmt: skip
_LISTED = {"type": "array", "items": {"type": "object", "required": ["path", "sha256"], "properties": _FILE}}
_PACK = {"name": {"type": "string"}, "version": {"type": ["string", "null"]}, "digest": {"type": "string"}}
_PACKS = {"type": "array", "items": {"type": "object", "required": list(_PACK), "properties": _PACK}}
# The part of the published schema that is relied on here.
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["schema", "tool", "reviews"],
    "properties": {
        "schema": {"const": "avreview/report/1"},
        "tool": {
            "type": "object",
            "required": ["version", "rules"],
            "properties": {"version": {"type": "string"}, "rules": {"type": "string"}, "packs": _PACKS},
        },
        "date": {"type": "string"},
        "unreadable": {
            "type": "array",
            "items": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}},
        },
        "settings": {
            "type": "object",
            "properties": {"rule_folders": {"type": "array", "items": {"type": "string", "minLength": 1}}},
        },
        "configuration": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["kind", "path", "sha256"],
                "properties": {**_FILE, "kind": {"type": "string"}},
            },
        },
        "reviews": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["subject"],
                "properties": {
                    "subject": {
                        "type": "object",
                        "additionalProperties": {
                            "type": "object", "required": ["path"],
                            "properties": {**_FILE, "files": _LISTED, "format": {"type": ["string", "null"]}},
                        },
                    }
                },
            },
        },
    },
}  # fmt: skip


class StatedFile(NamedTuple):
    """A file as the report knows it. `role` is the part it had: `model`, `checkpoint`, `waivers`, …"""

    role: str
    path: str
    sha256: str
    bytes: int | None = None


class StatedFolder(NamedTuple):
    """A folder that was reviewed as one, and the files in it that were read."""

    role: str
    path: str
    format: str | None
    files: tuple[str, ...]


class Stated(NamedTuple):
    """What a report says. `sha256` is the report's own."""

    path: str
    sha256: str
    date: str
    version: str
    rules: str
    packs: Mapping[str, str]  # digests of rule packs of other distributions, by name
    rule_folders: tuple[str, ...]
    files: tuple[StatedFile, ...]
    folders: tuple[StatedFolder, ...]
    unread: tuple[str, ...]  # what could not be reviewed, and has no digest


def read_report(path: str | os.PathLike[str]) -> Stated:
    """What the report in a YAML or JSON file says. Raises ArtifactError or ConfigError for what is none."""
    name = os.fspath(path)
    raw, document = read_report_file(
        path, keep=_is_kept, scalar=_scalar, large_yaml="a report of that size can be verified in its JSON form"
    )
    if not isinstance(document.data, dict):
        raise ConfigError(name, None, "is no report of avreview's; name its YAML or JSON form")
    validate(document, _SCHEMA)
    data = document.data
    tool = data["tool"]
    return Stated(
        name,
        hashlib.sha256(raw).hexdigest(),
        data.get("date", ""),
        tool["version"],
        tool["rules"],
        {
            pack["name"]: pack["digest"]
            for pack in tool.get("packs", ())
            if pack["version"] is not None and pack["name"] != "avreview"
        },
        tuple(data.get("settings", {}).get("rule_folders", ())),
        tuple(dict.fromkeys(_files(data))),
        tuple(dict.fromkeys(_folders(data))),
        tuple(entry["path"] for entry in data.get("unreadable", ())),
    )


def _is_kept(place: Place) -> bool:
    """Whether a value is needed, or holds one that is."""
    if not place or place[0] in _KEPT:
        return True
    if place[0] == "settings":
        return len(place) == 1 or place[1] == "rule_folders"
    return place[0] == "reviews" and (len(place) < 3 or place[2] == "subject")


def _scalar(text: str) -> Any:
    """A plain scalar: only whole numbers and null are looked for, so that a file called 1e5 keeps its name."""
    if text in ("null", "~", ""):
        return None
    return int(text) if _WHOLE.fullmatch(text) else text


def _files(data: Mapping[str, Any]) -> Iterator[StatedFile]:
    for review in data["reviews"]:
        for role, entry in review["subject"].items():
            others = entry.get("files", ())
            if entry.get("sha256"):  # `bytes` counts all files together
                yield StatedFile(role, entry["path"], entry["sha256"], None if others else entry.get("bytes"))
            for other in others:
                if other["sha256"]:
                    yield StatedFile(role, other["path"], other["sha256"], other.get("bytes"))
    for entry in data.get("configuration", ()):
        if entry["sha256"]:
            yield StatedFile(entry["kind"], entry["path"], entry["sha256"])


def _folders(data: Mapping[str, Any]) -> Iterator[StatedFolder]:
    for review in data["reviews"]:
        for role, entry in review["subject"].items():
            if not entry.get("sha256") and entry.get("files"):
                listed = tuple(other["path"] for other in entry["files"])
                yield StatedFolder(role, entry["path"], entry.get("format"), listed)
