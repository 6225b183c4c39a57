"""Names and the values they stand for, where an ONNX graph holds subgraphs and calls of local functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avreview.load.wording import shortened

_INNER = "\x1f"  # separates a scope from a name in the key of an inner value: no framework writes it
_LONGEST_PATH = 200  # of a scope, and of a name that is copied into one: a scope can be entered very often


class Scope:
    """The names that are visible at one place, and the keys they stand for.

    The top level's names are keys themselves; so are names there that nothing defines.
    """

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self.path = ""  # as a person reads it
        self.opsets = opsets
        self.attributes: Mapping[str, Any] = {}  # of the call, inside a function
        self.depth = 0
        self.is_top = True
        self.names: dict[str, str] = {}
        self._parent: Scope | None = None
        self._key = ""

    def inside(self, number: int, label: str) -> Scope:
        """The scope of a subgraph written here: it sees the names of this one. `number` is its own alone."""
        inner = self.called(number, label, self.opsets)
        inner._parent = self
        inner.attributes = self.attributes
        return inner

    def called(self, number: int, label: str, opsets: Mapping[str, int]) -> Scope:
        """The scope of a function called here: it sees nothing of this one."""
        inner = Scope(opsets)
        inner.path = shortened(f"{self.path}/{label}" if self.path else label, _LONGEST_PATH)
        inner.depth = self.depth + 1
        inner.is_top = False
        inner._key = f"{_INNER}{number}{_INNER}"
        return inner

    def define(self, name: str) -> str:
        """The key of a value that is made here."""
        if not name or self.is_top:
            return name
        key = self.names.get(name)
        if key is None:
            own = name if len(name) <= _LONGEST_PATH else f"{shortened(name, _LONGEST_PATH)}{len(self.names)}"
            key = self.names[name] = f"{self._key}{own}"
        return key

    def resolve(self, name: str) -> str:
        """The key of a value that is read here."""
        scope: Scope | None = self
        while scope is not None and not scope.is_top:
            if name in scope.names:
                return scope.names[name]
            scope = scope._parent
        return name if scope is not None else self.define(name)

    def title(self, name: str) -> str:
        """A name as a person reads it, with the place it is written in."""
        return name if self.is_top else f"{self.path}/{shortened(name, _LONGEST_PATH)}"
