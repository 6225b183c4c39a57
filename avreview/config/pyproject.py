"""The table [tool.avreview] of a pyproject.toml."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from avreview.config.document import ConfigError, Document, Mark, Place, read_text

_HEADER = re.compile(r"^\s*\[tool\.avreview[\].]", re.MULTILINE)
_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")


def read_pyproject(path: Path) -> Document | None:
    """What the table says; None for a file without it. Raises ConfigError for a file that is no TOML.

    The parser tells no places: errors name the line where the table begins, or where a key of theirs stands alone.
    """
    text = read_text(path)
    header = _HEADER.search(text)
    if header is None and "avreview" not in text:
        return None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        mark = Mark(int(place[1]), int(place[2])) if place else None
        raise ConfigError(path, mark, f"is no TOML ({_PLACE.sub('', str(error)).strip()})") from None
    tool = data.get("tool", {})
    found = tool.get("avreview") if isinstance(tool, dict) else None
    if found is None:
        return None
    begins = header.start() if header else 0
    return Document(path, found, _marks(found, text, begins))


def _marks(data: Any, text: str, begins: int) -> dict[Place, Mark]:
    """Places of keys, as far as the text tells: the first line behind the header that begins with the key."""
    marks: dict[Place, Mark] = {(): _mark(text, begins)}

    def add(value: Any, place: Place) -> None:
        if isinstance(value, dict):
            for key, entry in value.items():
                own = (*place, key)
                found = re.compile(rf"^\s*\"?{re.escape(str(key))}\"?\s*=", re.MULTILINE).search(text, begins)
                if found:
                    marks[own] = _mark(text, found.end() - len(found[0].lstrip()))
                add(entry, own)
        elif isinstance(value, list):
            for number, entry in enumerate(value):
                add(entry, (*place, number))

    add(data, ())
    return marks


def _mark(text: str, position: int) -> Mark:
    return Mark(text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))
