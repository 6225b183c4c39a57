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
    from collections.abc import Callable, Iterable, Iterator

MOST_BYTES = 1 << 20
DEEPEST = 50
MOST_VALUES = 100_000  # of a file that is read leniently, and as many that its aliases stand for

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
    lenient: bool = False,
) -> Document:
    """The YAML document in `text`, which came from a file. Raises ConfigError as `read_document` does.

    Of a large file, values for whose place `keep` is false are None: they are checked and not built. `scalar` says
    what a scalar without quotes is. `lenient` takes what other programs' files hold: aliases and merged mappings,
    within bounds, and of a key that stands twice in a mapping the last.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(Path(path), keep, scalar or _scalar, lenient)
    try:
        builder.take(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at is not None else None
        raise ConfigError(path, mark, f"is no YAML ({one_line(str(error.problem or error.context), 200)})") from None
    except (yaml.YAMLError, ValueError) as error:
        odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
        mark = None if odd is None else _mark_of(text, odd.start())
        raise ConfigError(path, mark, f"is no YAML ({one_line(str(error), 200)})") from None
    return Document(Path(path), builder.data, builder.marks)


def _mark_of(text: str, place: int) -> Mark:
    return Mark(text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place))


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

    def __init__(
        self, path: Path, keep: Callable[[Place], bool] | None, scalar: Callable[[str], Any], lenient: bool
    ) -> None:
        self._path = path
        self._keep = keep
        self._scalar = scalar
        self._lenient = lenient
        self._anchored: dict[str, tuple[Any, Place]] = {}  # values by their anchor, and where each stands
        self._aliased = self._count = 0
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
        self._count += 1
        if len(place) > DEEPEST:
            raise self._wrong(event, f"is nested more than {DEEPEST} deep")
        if self._lenient and self._count > MOST_VALUES:
            raise self._wrong(event, f"is one value more than the {MOST_VALUES} that a file may hold")
        if kind == "AliasEvent":
            return self._alias(event, place)
        if kind == "ScalarEvent":
            value = event.value if event.style else self._scalar(event.value)
        elif kind == "SequenceStartEvent":
            value = self._sequence(events, place)
        else:
            value = self._mapping(events, place)
        if event.anchor is not None:
            self._anchored[event.anchor] = value, place
        return value

    def _alias(self, event: Any, place: Place) -> Any:
        """A copy of what an alias stands for, each value in it keeping its own place in the file."""
        if event.anchor not in self._anchored:
            raise self._wrong(event, f"stands for {quoted(event.anchor)}, and no value before it is called so")
        return self._copied(*self._anchored[event.anchor], place, event)

    def _copied(self, value: Any, source: Place, place: Place, event: Any) -> Any:
        self._aliased += 1
        if self._aliased > MOST_VALUES or len(place) > DEEPEST:
            raise self._wrong(event, f"stands, with other aliases, for more than {MOST_VALUES} values or too deep")
        self.marks.setdefault(place, self.marks.get(source, _mark(event)))
        if isinstance(value, dict):
            return {key: self._copied(entry, (*source, key), (*place, key), event) for key, entry in value.items()}
        if isinstance(value, list):
            return [
                self._copied(entry, (*source, number), (*place, number), event) for number, entry in enumerate(value)
            ]
        return value

    def _refuse(self, event: Any) -> None:
        """Raises ConfigError for a tag, and unless lenient for an alias or an anchor."""
        is_alias = type(event).__name__ == "AliasEvent"
        if is_alias and not self._lenient:
            raise self._wrong(event, "uses an alias (`*name`), which is not allowed; write the value out")
        if event.anchor is not None and not self._lenient:
            raise self._wrong(event, "sets an anchor (`&name`), which is not allowed; write the value out")
        if not is_alias and event.tag is not None and event.tag != "!":
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
        merged: Any = None
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            if type(event).__name__ != "ScalarEvent" or event.tag not in (None, "!") or event.anchor is not None:
                raise self._wrong(event, "is not a plain key")
            key = str(event.value)
            own = (*place, key)
            if key == "<<":
                if not self._lenient:
                    raise self._wrong(event, "merges another mapping (`<<`), which a configuration may not")
                merged = self._value(next(events), events, own)
                continue
            if key in entries:
                if not self._lenient:
                    raise self._wrong(event, f"the key {quoted(key)} stands here a second time")
                self._forget(entries[key], own)
            self.marks[own] = _mark(event)
            entries[key] = self._value(next(events), events, own)
        if merged is not None:
            self._merge(merged, entries, place)
        return entries

    def _merge(self, merged: Any, entries: dict[str, Any], place: Place) -> None:
        """Adds what stands under `<<`, a mapping or several, where the mapping itself says nothing."""
        source = (*place, "<<")
        several = list(enumerate(merged)) if isinstance(merged, list) else [(None, merged)]
        for number, mapping in several:
            if not isinstance(mapping, dict):
                raise ConfigError(self._path, self.marks.get(source), "`<<` merges what is no mapping")
            inner = source if number is None else (*source, number)
            for key, entry in mapping.items():
                if key not in entries:
                    entries[key] = entry
                    self._move(entry, (*inner, key), (*place, key))

    def _move(self, value: Any, source: Place, place: Place) -> None:
        """Gives a value that is merged the marks that it had under `<<`."""
        if source in self.marks:
            self.marks[place] = self.marks[source]
        for key, entry in _inner(value):
            self._move(entry, (*source, key), (*place, key))

    def _forget(self, value: Any, place: Place) -> None:
        """Takes away the marks of a value that another takes the place of."""
        self.marks.pop(place, None)
        for key, entry in _inner(value):
            self._forget(entry, (*place, key))

    def _wrong(self, event: Any, wrong: str) -> ConfigError:
        return ConfigError(self._path, _mark(event), wrong)


def _inner(value: Any) -> Iterable[tuple[str | int, Any]]:
    """The keys and values of a mapping, the places and values of a list; of anything else none."""
    return value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()


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
