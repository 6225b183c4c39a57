"""A YAML file as plain data, with the place of every key and value, and without what makes YAML dangerous."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.errors import AvreviewError
from avreview.load.wording import one_line, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_BYTES = 1 << 20
DEEPEST = 50

Place = tuple[str | int, ...]  # the keys and places that lead to a value
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*)?\.?[0-9]+([eE][-+]?[0-9]+)?")
_READ: dict[str, str] = {}  # the sha256 of each file by the path under which it was read
_WORDS: Mapping[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


class Mark(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


class ConfigError(AvreviewError):
    """A file of the configuration is wrong: names the file, the line, the column, and what to do."""

    def __init__(self, path: str | os.PathLike[str], mark: Mark | None, wrong: str) -> None:
        place = f":{mark.line}:{mark.column}" if mark is not None else ""
        super().__init__(f"{os.fspath(path)}{place}: {wrong}")
        self.mark = mark
        self.wrong = wrong


class Document(NamedTuple):
    """The data of a file. `marks` holds where each value begins, and for a key of a mapping the key."""

    path: Path
    data: Any
    marks: Mapping[Place, Mark]

    def error(self, place: Place, wrong: str) -> ConfigError:
        """An error at a value; at what holds it where the file does not tell."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.marks:
                return ConfigError(self.path, self.marks[place[:end]], wrong)
        return ConfigError(self.path, None, wrong)


def read_document(path: str | os.PathLike[str]) -> Document:
    """The YAML document in a file. Raises ConfigError for whatever is not plain, bounded data."""
    return parse_document(path, read_text(path))


def parse_document(
    path: str | os.PathLike[str],
    text: str,
    *,
    keep: Callable[[Place], bool] | None = None,
    scalar: Callable[[str], Any] | None = None,
) -> Document:
    """The YAML document in `text`, which came from a file. Raises ConfigError as `read_document` does.

    Of a large file, values for whose place `keep` is false are None: they are checked and not built. `scalar` says
    what a scalar without quotes is.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(Path(path), keep, scalar or _scalar)
    try:
        builder.take(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at is not None else None
        raise ConfigError(path, mark, f"is no YAML ({one_line(str(error.problem or error.context), 200)})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(path, None, f"is no YAML ({one_line(str(error), 200)})") from None
    return Document(Path(path), builder.data, builder.marks)


def read_text(path: str | os.PathLike[str]) -> str:
    """A regular file's text, UTF-8, at most `MOST_BYTES` long. Raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with open(descriptor, "rb") as file:
            if not os.path.isfile(path):
                raise ConfigError(path, None, "is not a regular file")
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(path, None, f"cannot be read ({error.strerror})") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(path, None, f"is larger than {MOST_BYTES >> 20} MB, which no configuration is")
    _READ[os.fspath(path)] = hashlib.sha256(content).hexdigest()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, Mark(line, 1), "is not UTF-8; save it as UTF-8") from None


def sha256_of(path: str | os.PathLike[str]) -> str | None:
    """The sha256 of a file's bytes as `read_text` last found them; None for a file that it has not read."""
    return _READ.get(os.fspath(path))


class _Builder:
    """Builds data from the parser's events; recursion is bounded by `DEEPEST`."""

    def __init__(self, path: Path, keep: Callable[[Place], bool] | None, scalar: Callable[[str], Any]) -> None:
        self._path = path
        self._keep = keep
        self._scalar = scalar
        self.marks: dict[Place, Mark] = {}
        self.data: Any = None

    def take(self, events: Iterator[Any]) -> None:
        documents = 0
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    raise self._wrong(event, "begins a second document; one file holds one")
                self.data = self._value(next(events), events, ())

    def _value(self, event: Any, events: Iterator[Any], place: Place) -> Any:
        kind = type(event).__name__
        if self._keep is not None and not self._keep(place):
            return self._skip(event, events, len(place))
        self._refuse(event)
        self.marks.setdefault(place, _mark(event))
        if len(place) > DEEPEST:
            raise self._wrong(event, f"is nested more than {DEEPEST} deep")
        if kind == "ScalarEvent":
            return event.value if event.style else self._scalar(event.value)
        if kind == "SequenceStartEvent":
            return self._sequence(events, place)
        return self._mapping(events, place)

    def _refuse(self, event: Any) -> None:
        """Raises ConfigError for an alias, an anchor or a tag."""
        if type(event).__name__ == "AliasEvent":
            raise self._wrong(event, "uses an alias (`*name`), which is not allowed; write the value out")
        if event.anchor is not None:
            raise self._wrong(event, "sets an anchor (`&name`), which is not allowed; write the value out")
        if event.tag is not None and event.tag != "!":
            raise self._wrong(event, f"has the tag {quoted(event.tag)}; tags are not allowed")

    def _skip(self, event: Any, events: Iterator[Any], depth: int) -> None:
        """Passes over a value."""
        ends = depth
        while True:
            kind = type(event).__name__
            if kind == "ScalarEvent":
                if event.anchor is not None or event.tag is not None:
                    self._refuse(event)
            elif kind in ("SequenceEndEvent", "MappingEndEvent"):
                depth -= 1
            else:
                self._refuse(event)
                depth += 1
                if depth > DEEPEST:
                    raise self._wrong(event, f"is nested more than {DEEPEST} deep")
            if depth == ends:
                return
            event = next(events)

    def _sequence(self, events: Iterator[Any], place: Place) -> list[Any]:
        items: list[Any] = []
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            items.append(self._value(event, events, (*place, len(items))))
        return items

    def _mapping(self, events: Iterator[Any], place: Place) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            if type(event).__name__ != "ScalarEvent" or event.tag not in (None, "!") or event.anchor is not None:
                raise self._wrong(event, "is not a plain key")
            key = str(event.value)
            if key == "<<":
                raise self._wrong(event, "merges another mapping (`<<`), which a configuration may not")
            if key in entries:
                raise self._wrong(event, f"the key {quoted(key)} stands here a second time")
            own = (*place, key)
            self.marks[own] = _mark(event)
            entries[key] = self._value(next(events), events, own)
        return entries

    def _wrong(self, event: Any, wrong: str) -> ConfigError:
        return ConfigError(self._path, _mark(event), wrong)


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _scalar(text: str) -> Any:
    """A plain scalar by YAML 1.2's core schema, without its special floats: dates stay text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) <= 40 and _INTEGER.fullmatch(text):
        return int(text)
    if len(text) <= 40 and _FLOAT.fullmatch(text):
        return float(text)
    return text
