"""A written report as plain data: YAML or JSON, read as warily as a configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avreview.config.document import ConfigError, Document, Mark, Place, parse_document
from avreview.load.source import open_source
from avreview.load.wording import one_line, quoted

MOST_JSON = 128 << 20  # bytes
MOST_YAML = 48 << 20  # bytes: its parser is ten times slower


def read_report_file(
    path: str | os.PathLike[str],
    *,
    keep: Callable[[Place], bool],
    scalar: Callable[[str], Any],
    large_yaml: str,
) -> tuple[bytes, Document]:
    """The bytes and the document of a report. `keep` and `scalar` are `parse_document`'s, for YAML.

    `large_yaml` says what to do with YAML that is too large. Raises ConfigError, with line and column where there is
    one, and ArtifactError for what is no file.
    """
    name = os.fspath(path)
    source = open_source(name)
    if source.size > MOST_JSON:
        raise ConfigError(name, None, f"is larger than {MOST_JSON >> 20} MB, which no report is")
    raw = bytes(source.read(0, source.size))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(name, Mark(raw.count(b"\n", 0, error.start) + 1, 1), "is not UTF-8") from None
    if text.lstrip()[:1] == "{":
        return raw, Document(Path(name), _json(name, text), {})
    if len(raw) > MOST_YAML:
        raise ConfigError(name, None, f"is larger than {MOST_YAML >> 20} MB; {large_yaml}")
    return raw, parse_document(name, text, keep=keep, scalar=scalar)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ConfigError(name, Mark(error.lineno, error.colno), f"is no JSON ({error.msg})") from None
    except RecursionError:
        raise ConfigError(name, None, "is nested too deep") from None
    except ValueError as error:
        raise ConfigError(name, None, f"is no JSON ({one_line(str(error), 200)})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {quoted(key)} stands twice in one place")
            seen.add(key)
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")
