"""A YAML recipe as a tree whose every value knows the file and line it stands in, also after files were merged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from avreview.config.document import Document
from avreview.config.document import Place as Keys
from avreview.load.wording import quoted
from avreview.recipe.files import RecipeError
from avreview.recipe.model import Place, Setting, Unread

_MOST_UNREAD = 200
_WHOLE_WITH_POINT = re.compile(r"[-+]?[0-9]+\.")
_YES = {"yes": True, "on": True, "no": False, "off": False}  # YAML 1.1, which PyYAML reads


class Placed:
    """A value, where it stands, and the keys that lead to it in its file.

    `value` is a scalar, a list of Placed, or a mapping from text to Placed. Trees are shared and never changed.
    """

    __slots__ = ("at", "name", "value")

    def __init__(self, value: Any, at: Place, name: str = "") -> None:
        self.value = value
        self.at = at
        self.name = name

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    def get(self, *keys: str) -> Placed | None:
        """What stands under nested keys; None where one is missing, or leads to no mapping or to nothing."""
        found: Placed | None = self
        for key in keys:
            found = found.value.get(key) if found is not None and isinstance(found.value, dict) else None
        return None if found is None or found.value is None else found

    def entries(self) -> Mapping[str, Placed]:
        """The entries of a mapping; of anything else none."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> list[Placed]:
        """The items of a list; a single scalar is a list of one."""
        return self.value if isinstance(self.value, list) else [] if self.value is None or self.is_mapping else [self]

    def plain(self) -> Any:
        """The data without places."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        return [entry.plain() for entry in self.value] if isinstance(self.value, list) else self.value

    def walk(self, path: str = "") -> Iterator[tuple[str, str, Placed]]:
        """Every entry of every mapping in it: the dotted keys that lead to the mapping, the key, and what it holds."""
        for key, entry in self.entries().items():
            yield path, key, entry
            yield from entry.walk(f"{path}.{key}" if path else key)
        if isinstance(self.value, list):
            for entry in self.value:
                yield from entry.walk(path)

    def error(self, wrong: str, remedy: str) -> RecipeError:
        return RecipeError(self.at.file, self.at.line, f"{self.name}: {wrong}" if self.name else wrong, remedy)


def placed(document: Document) -> Placed:
    """The tree of a document. `config.document` bounds its depth."""
    return _placed(document, document.data, ())


def _placed(document: Document, value: Any, keys: Keys) -> Placed:
    mark = document.marks.get(keys)
    at = Place(str(document.path), mark.line if mark is not None else None)
    name = ".".join(map(str, keys))
    if isinstance(value, dict):
        return Placed({key: _placed(document, entry, (*keys, key)) for key, entry in value.items()}, at, name)
    if isinstance(value, list):
        return Placed([_placed(document, entry, (*keys, number)) for number, entry in enumerate(value)], at, name)
    if isinstance(value, str) and len(value) < 40 and _WHOLE_WITH_POINT.fullmatch(value):
        value = float(value)  # `0.`
    return Placed(value, at, name)


class Notes:
    """Reads values of the kind that is wanted, and notes those that are of another: what is wrong is never guessed.

    Each method takes what `Placed.get` gives, and gives None for what is missing, empty or wrong.
    """

    def __init__(self) -> None:
        self.unread: list[Unread] = []

    def add(self, what: str, why: str, at: Place) -> None:
        entry = Unread(what, why, at)
        if len(self.unread) < _MOST_UNREAD and entry not in self.unread:
            self.unread.append(entry)

    def flag(self, node: Placed | None) -> bool | None:
        if node is None:
            return None
        value = _YES.get(node.value.lower(), node.value) if isinstance(node.value, str) else node.value
        return value if isinstance(value, bool) else self._other(node, "true or false")

    def number(self, node: Placed | None) -> float | None:
        if node is None:
            return None
        return float(node.value) if _is_number(node.value) else self._other(node, "a number")

    def whole(self, node: Placed | None) -> int | None:
        value = self.number(node)
        if node is None or value is None:
            return None
        return int(value) if value.is_integer() else self._other(node, "a whole number")

    def numbers(self, node: Placed | None, count: int | None = None) -> tuple[float, ...] | None:
        """A list of numbers, `count` of them."""
        if node is None:
            return None
        values = [entry.value for entry in node.items()]
        if node.is_list and all(map(_is_number, values)) and count in (None, len(values)):
            return tuple(map(float, values))
        self._other(node, "a list of numbers" if count is None else f"a list of {count} numbers")
        return None

    def text(self, node: Placed | None) -> str | None:
        if node is None:
            return None
        return node.value if isinstance(node.value, str) else self._other(node, "text")

    def texts(self, node: Placed | None) -> list[str] | None:
        """A list of texts; a single one is a list of one."""
        if node is None:
            return None
        values = [entry.value for entry in node.items()]
        if not node.is_mapping and all(isinstance(value, str) for value in values):
            return values
        self._other(node, "a list of names")
        return None

    def setting(self, node: Placed | None, kind: str) -> Setting | None:
        """A value as `kind` (the name of a method above) and where it stands."""
        value = getattr(self, kind)(node)
        return None if node is None or value is None else Setting(value, node.at)

    def _other(self, node: Placed, wanted: str) -> Any:
        """Notes a value of another kind than is wanted, and gives None in its place."""
        shown = quoted(node.value) if isinstance(node.value, str) else _kind(node)
        self.add(node.name or "the file", f"is {shown} and not {wanted}", node.at)
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _kind(node: Placed) -> str:
    return "a mapping" if node.is_mapping else "a list" if node.is_list else str(node.value)[:40]
