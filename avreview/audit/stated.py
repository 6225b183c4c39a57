"""What a report says that can be looked up again: the files with their digests, the rules, the version.

A report is a file like any other, which anybody may have written: it is read as warily as a configuration. Only what
is needed is kept, so that tens of megabytes take little memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from avreview.config.document import ConfigError, Document, Mark, Place, parse_document
from avreview.config.validation import validate
from avreview.load.source import open_source
from avreview.load.wording import quoted

MOST_JSON = 128 << 20  # bytes
MOST_YAML = 48 << 20  # bytes: its parser is ten times slower
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
    source = open_source(name)
    if source.size > MOST_JSON:
        raise ConfigError(name, None, f"is larger than {MOST_JSON >> 20} MB, which no report is")
    raw = source.read(0, source.size)
    document = _document(name, raw)
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


def _document(name: str, raw: bytes) -> Document:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(name, Mark(raw.count(b"\n", 0, error.start) + 1, 1), "is not UTF-8") from None
    if text.lstrip()[:1] == "{":
        return Document(Path(name), _json(name, text), {})
    if len(raw) > MOST_YAML:
        wrong = f"is larger than {MOST_YAML >> 20} MB; a report of that size can be verified in its JSON form"
        raise ConfigError(name, None, wrong)
    document = parse_document(name, text, keep=_is_kept, scalar=_scalar)
    if not isinstance(document.data, dict):
        raise ConfigError(name, None, "is no report of avreview's; name its YAML or JSON form")
    return document


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ConfigError(name, Mark(error.lineno, error.colno), f"is no JSON ({error.msg})") from None
    except RecursionError:
        raise ConfigError(name, None, "is nested too deep") from None
    except ValueError as error:
        raise ConfigError(name, None, f"is no JSON ({error})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {quoted(twice)} stands twice in one place")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


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
