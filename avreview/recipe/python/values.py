"""The values of a Python configuration: plain ones, with the place of each, and those that are not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avreview.recipe.model import Place, Unread

DEEPEST = 24  # levels of a value that are turned into plain data
MOST_PARTS = 5000  # parts of it


class Unknown:
    """A value that cannot be told without running the file: why, and at which line."""

    __slots__ = ("at", "why")

    def __init__(self, why: str, at: Place) -> None:
        self.why = why
        self.at = at

    def unread(self, what: str) -> Unread:
        return Unread(what, self.why, self.at)


class Undecided(Exception):  # noqa: N818 - it carries an unknown value to where it can be kept
    """What was asked for cannot be told."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__(unknown.why)
        self.unknown = unknown


class Imported:
    """A name that another module defines, by its dotted path: `mmdet3d.datasets.RandomFlip3D`."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Imported) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)


class Row(list[Any]):
    """A list. `rest` is set where it is not wholly known."""

    def __init__(self, items: Any = (), at: Place | None = None, rest: Unknown | None = None) -> None:
        super().__init__(items)
        self.at = at
        self.rest = rest


class Table(dict[Any, Any]):
    """A dict, with the place of each key. `rest` is set where it may hold more than is known.

    `merges` is true of a base's dict, which is mmengine's own: its `update` goes into dicts instead of replacing them.
    """

    def __init__(self, at: Place) -> None:
        super().__init__()
        self.at = at
        self.places: dict[Any, Place] = {}
        self.rest: Unknown | None = None
        self.merges = False

    def put(self, key: Any, value: Any, at: Place) -> None:
        self[key] = value
        self.places[key] = at

    def place(self, key: Any) -> Place:
        return self.places.get(key, self.at)

    def take(self, other: Mapping[Any, Any], at: Place) -> None:
        """Everything of another mapping, with its places where it has some."""
        for key, value in other.items():
            self.put(key, value, other.place(key) if isinstance(other, Table) else at)
        if isinstance(other, Table) and other.rest is not None:
            self.blur(other.rest, set(other))

    def blur(self, unknown: Unknown, spared: set[Any] | None = None) -> None:
        """Any key but those spared may be something else by now."""
        for key in self:
            if key not in (spared or ()):
                self[key] = unknown
        self.rest = unknown

    def copy(self) -> Table:
        made = Table(self.at)
        made.update(self)
        made.places, made.rest, made.merges = dict(self.places), self.rest, self.merges
        return made


def partly(value: Any) -> Unknown | None:
    """Why a value is not wholly known at its own level; None where it is."""
    if isinstance(value, Unknown):
        return value
    return value.rest if isinstance(value, Row | Table) else None


def scope_free(value: Any) -> str | None:
    """The name of a class as a configuration gives it: `RandomFlip` for `mmdet.RandomFlip` and an imported class."""
    if isinstance(value, Imported):
        return value.name
    return value.rpartition(".")[2] if isinstance(value, str) else None


def plain(value: Any) -> Any:
    """A value as Python's own types, bounded in depth and size: what is deeper, more or unknown is `…`."""
    left = [MOST_PARTS]

    def convert(value: Any, deep: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or deep > DEEPEST or isinstance(value, Unknown):
            return "…"
        if isinstance(value, Imported):
            return value.path
        if isinstance(value, dict):
            return {key: convert(item, deep + 1) for key, item in value.items() if key != "_delete_"}
        if isinstance(value, list):
            return [convert(item, deep + 1) for item in value]
        if isinstance(value, tuple):
            return tuple(convert(item, deep + 1) for item in value)
        return value

    return convert(value, 0)


def tables(value: Any, path: str = "") -> Iterator[tuple[str, Table]]:
    """Every dict inside a value with the dotted way to it, outermost first; a bounded number, each object once."""
    waiting, seen = [(path, value)], set[int]()
    while waiting and len(seen) < MOST_PARTS:
        path, value = waiting.pop()
        if id(value) in seen or path.count(".") > DEEPEST:
            continue
        if isinstance(value, Table):
            seen.add(id(value))
            yield path, value
            inner = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            seen.add(id(value))
            inner = [(f"{path}.{place}" if path else str(place), item) for place, item in enumerate(value)]
        else:
            continue
        waiting.extend(reversed(inner))
