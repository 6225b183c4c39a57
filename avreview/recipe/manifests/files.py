"""The formats that lists of a split are written in: each gives the ids of every entry, and its line where it has one.

Nothing of a list is run. Its size, its depth and the number of its entries are bounded.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from avreview.errors import ArtifactError
from avreview.load.wording import one_line, quoted
from avreview.recipe.manifests.ids import FIELDS, NESTED, Named, field_name, of_field, of_name

MOST_BYTES = 64 << 20
MOST_ENTRIES = 5_000_000
MOST_YAML = 8 << 20  # YAML takes a hundred times as long as JSON
_DEEPEST = 6  # levels of lists and mappings around an entry
_DEEPEST_RECORD = 3
Entries = Iterator[tuple[Named, int | None]]
ROLES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
# What holds the entries, in a mapping that says more than that.
_CONTAINERS = (
    "infos", "data_list", "samples", "frames", "images", "records", "items", "scenes", "segments", "clips", "sequences",
    "logs", "videos", "results", "scene_tokens", "sample_tokens", "log_names", "scene_names",
)  # fmt: skip
_MEDIA = re.compile(
    r"\.(?:jpe?g|png|bmp|webp|tiff?|bin|pcd|ply|npy|npz|tfrecord|feather|parquet|mp4|txt|xml|json|h5)\b"
)
_KNOWN = "file_name, sample_token, scene_token, scene, segment, sequence, drive, log, route"


def entries(path: str, role: str, content: bytes) -> Entries:
    """Every id in a list, in order. Raises ArtifactError for what cannot be read as one."""
    suffix = os.path.splitext(path)[1].lower()
    start = content[:256].lstrip()
    if content[:1] == b"\x80" or suffix in (".pkl", ".pickle"):
        return _of_data(path, role, _pickle(path, content))
    text = _decoded(path, content)
    if suffix == ".jsonl" or suffix == ".ndjson":
        return _json_lines(path, text)
    if suffix == ".json" or (start[:1] in (b"[", b"{") and suffix not in (".yaml", ".yml")):
        return _of_data(path, role, _json(path, text))
    if suffix in (".yaml", ".yml"):
        return _of_data(path, role, _yaml(path, content, text))
    if suffix in (".csv", ".tsv") or _header(text) is not None:
        return _table(path, text)
    return _plain(text)


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ArtifactError(path, f"line {line} is not UTF-8", "save the list as UTF-8 text") from None


def _json(path: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda word: None)
    except json.JSONDecodeError as error:
        wrong = f"line {error.lineno} is no JSON ({one_line(error.msg, 80)})"
        raise ArtifactError(path, wrong, "save the list as JSON, CSV or one entry a line") from None
    except (RecursionError, ValueError):
        raise ArtifactError(path, "is no JSON that can be read (nested or numbered too far)", "shorten it") from None


def _json_lines(path: str, text: str) -> Entries:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                raise ArtifactError(path, f"line {number} is no JSON", "write one JSON record a line") from None
            for named, _ in _entry(value):
                yield named, number


def _yaml(path: str, content: bytes, text: str) -> Any:
    from avreview.config.document import ConfigError, parse_document

    if len(content) > MOST_YAML:
        raise ArtifactError(path, f"is YAML of more than {MOST_YAML >> 20} MB", "save the list as JSON or text")
    try:
        return parse_document(path, text).data
    except ConfigError as error:
        line = f"line {error.mark.line}: " if error.mark is not None else ""
        raise ArtifactError(path, line + error.wrong, "save the list as plain YAML, JSON or text") from None


def _pickle(path: str, content: bytes) -> Any:
    """The value, read opcode by opcode: no name in it is looked up."""
    from avreview.load.pickles.builders import BUILDERS
    from avreview.load.pickles.machine import PickleError, PickleLimits, unpickle

    try:
        return unpickle(content, file=path, builders=BUILDERS, limits=PickleLimits(seconds=30.0)).value
    except PickleError as error:
        raise ArtifactError(path, str(error), "save the list as JSON, CSV or one entry a line") from None


def _of_data(path: str, role: str, data: Any) -> Entries:
    found = _side(data, role)
    if found is None:
        wrong = f"names splits, and none of them is {role!r}"
        raise ArtifactError(path, wrong, "pass it for the splits it holds")
    yield from _entry(found)


def _side(data: Any, role: str, depth: int = 0) -> Any:
    """The part of a file with several splits that is of `role`; None where it has others only."""
    if not isinstance(data, Mapping) or depth > 3:
        return data
    roles = {ROLES[key.lower()]: value for key, value in data.items() if isinstance(key, str) and key.lower() in ROLES}
    if roles:
        return roles.get(role)
    if len(data) == 1:  # `log_splits: {train: [...]}`
        (inner,) = data.values()
        if isinstance(inner, Mapping):
            return {key: _side(value, role, depth + 1) for key, value in data.items()}
    return data


def _entry(value: Any, depth: int = 0) -> Entries:
    """The ids in a list of entries, in a mapping of entries by their ids, or in one entry."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield from ((named, None) for named in of_name(str(value)))
    elif isinstance(value, list | tuple | set | frozenset):
        for entry in value:
            yield from _entry(entry, depth + 1)
    elif isinstance(value, Mapping):
        containers = [key for key in _CONTAINERS if isinstance(value.get(key), list | tuple | Mapping)]
        if depth <= 1 and containers and not any(isinstance(value.get(key), str | int) for key in FIELDS):
            for key in containers:
                yield from _entry(value[key], depth + 1)
        elif any(isinstance(key, str) and field_name(key) in FIELDS for key in value):
            yield from ((named, None) for named in _record(value))
        else:
            for key, inner in value.items():
                if isinstance(key, str) and any(character.isdigit() for character in key):
                    yield from ((named, None) for named in of_name(key))
                if isinstance(inner, Mapping | list | tuple):
                    yield from _entry(inner, depth + 1)


def _record(record: Mapping[Any, Any], depth: int = 0) -> Iterator[Named]:
    """The ids in the fields of one entry. In a table of scenes, `token` and `name` are the scene's."""
    is_scene = "log_token" in record and "scene_token" not in record
    renamed = {"token": "scene_token", "name": "scene_name"} if is_scene else {}
    for key, value in record.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, Mapping) and depth < _DEEPEST_RECORD:
            if field_name(key) in NESTED or depth:
                yield from _record(value, depth + 1)
        else:
            yield from of_field(renamed.get(field_name(key), key), value)


def _header(text: str) -> str | None:
    """The character between the columns of a table, where its first line names a column that is known."""
    first = text[: text.find("\n")] if "\n" in text else text
    for between in ("\t", ",", ";"):
        names = [name.strip().strip('"') for name in first[:10_000].split(between)]
        if any(field_name(name) in FIELDS for name in names) and (len(names) > 1 or between == ","):
            return between
    return None


def _table(path: str, text: str) -> Entries:
    between = _header(text)
    if between is None:
        first = one_line(text[:200].split("\n")[0], 80)
        raise ArtifactError(path, f"line 1 names no column that is known ({quoted(first)})", f"name one of {_KNOWN}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between)
    try:
        names = [name.strip() for name in next(reader)]
        for row in reader:
            for name, value in zip(names, row, strict=False):
                for named in of_field(name, value):
                    yield named, reader.line_num
    except csv.Error as error:
        wrong = f"line {reader.line_num} is no CSV ({one_line(str(error), 80)})"
        raise ArtifactError(path, wrong, "save the list as CSV or one entry a line") from None


def _plain(text: str) -> Entries:
    """One id or path a line; what stands behind it (a label) and comments are left out."""
    for number, line in enumerate(io.StringIO(text), 1):
        words = line.strip()
        if words and not words.startswith("#"):
            for named in of_name(_first(words)):
                yield named, number


def _first(line: str) -> str:
    media = _MEDIA.search(line)
    if media is not None:
        return line[: media.end()]
    return re.split(r"[\s,;]", line, maxsplit=1)[0]
