"""What a checkpoint says of its own making, as plain values: epochs, settings, versions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from avreview.load.layouts.values import Budget, fields, held, is_module, key_text, mapping_of
from avreview.load.pickles.inert import Global, Instance

_MAX_DEPTH = 16
_LONGEST_TEXT = 1 << 20  # mmengine writes the whole configuration as one text
_MOST_BITS = 256  # of an integer
_MOST_ENTRIES = 100_000  # of one value; a Trainer's log of 10,000 steps has 70,000
_NOTHING = object()


def plain(value: Any, budget: Budget, key: str = "") -> Any:
    """A value as numbers, texts, booleans, None, and dictionaries and lists of them; None for what has no such form.

    Objects become dictionaries of their attributes (Namespace, omegaconf), enum members their values, classes and
    functions their dotted names. Tensors and arrays are left out, and what is too much, which `budget.left_out`
    then has under `key`. Raises ArtifactError through the budget.
    """
    found = _Plain(budget, key).of(value, 0)
    return None if found is _NOTHING else found


def metadata(mapping: Mapping[Any, Any], budget: Budget) -> dict[str, Any]:
    """The plain values of a dictionary's entries; entries that have none are left out."""
    said = {}
    for key, item in mapping.items():
        name = key_text(key)
        if name is None:
            continue
        found = _Plain(budget, name).of(item, 1)
        if found is not _NOTHING and found not in ({}, []):
            said[name] = found
    return said


class _Plain:
    """Makes one value plain."""

    def __init__(self, budget: Budget, key: str) -> None:
        self._budget = budget
        self._key = key
        self._left = _MOST_ENTRIES
        self._inside: set[int] = set()

    def of(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if value.bit_length() <= _MOST_BITS else _NOTHING
        if isinstance(value, str):
            self._budget.take(value)
            return value if len(value) <= _LONGEST_TEXT else self._too_much()
        if isinstance(value, Global):
            return value.dotted
        if held(value) is not None or id(value) in self._inside:
            return _NOTHING
        if depth > _MAX_DEPTH:
            return self._too_much()
        self._inside.add(id(value))
        try:
            return self._container(value, depth)
        finally:
            self._inside.discard(id(value))

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, list | tuple | set | frozenset):
            found = [self.of(item, depth + 1) for item in self._first(value)]
            kept = [item for item in found if item is not _NOTHING]
            return kept if kept or not value else _NOTHING
        mapping = mapping_of(value)
        if mapping is None and isinstance(value, Instance):
            if is_module(value):
                return _NOTHING
            if _is_omegaconf(value):
                return self.of(_omegaconf(value), depth + 1)
            mapping = fields(value)
            if not mapping:  # an enum member: made by calling its class with its value
                single = len(value.args) == 1 and isinstance(value.args[0], str | int | float)
                return self.of(value.args[0], depth) if single else _NOTHING
        return _date(value) if mapping is None else self._entries(mapping, depth)

    def _entries(self, mapping: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found = {}
        for key, item in self._first(mapping.items()):
            entry = self.of(item, depth + 1)
            name = str(key) if isinstance(key, float) else key_text(key)
            if entry is not _NOTHING and name is not None:
                found[name] = entry
        return found

    def _first(self, items: Collection[Any]) -> Iterator[Any]:
        """The items as far as there is room."""
        for item in items:
            if self._left <= 0:
                self._too_much()
                return
            self._left -= 1
            self._budget.take()
            yield item

    def _too_much(self) -> Any:
        if self._key not in self._budget.left_out[-1:]:
            self._budget.left_out.append(self._key)
        return _NOTHING


def _date(value: Any) -> Any:
    """A date or time as text, a span of time in seconds."""
    import datetime

    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, datetime.timedelta) else _NOTHING


def _is_omegaconf(value: Instance) -> bool:
    return value.class_name.startswith("omegaconf.") and isinstance(fields(value).get("_content", value), dict | list)


def _omegaconf(value: Instance) -> Any:
    """The content of a configuration node: `_content` of a container, whose leaves keep theirs as `_val`."""
    content = fields(value)["_content"]
    if isinstance(content, dict):
        return {key: _leaf(item) for key, item in content.items()}
    return [_leaf(item) for item in content]


def _leaf(item: Any) -> Any:
    return item.field("_val") if isinstance(item, Instance) and "_val" in fields(item) else item
