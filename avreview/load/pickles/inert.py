"""What a pickle's opcodes build when nothing in them is obeyed: plain values, names, and records of calls not made."""

from __future__ import annotations

from typing import Any, NamedTuple


class Global(NamedTuple):
    """The name of a function or class; never looked up."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}"


class Instance:
    """What a call, had it been made, would have returned.

    `of` is what would have been called (a Global, or another Instance). `how` is `called` (REDUCE, INST, OBJ) or
    `made` (NEWOBJ, NEWOBJ_EX). `state` is what BUILD would have handed to it (several are kept in order, the last
    one last), `items` and `entries` what APPENDS and SETITEMS would have added.
    """

    __slots__ = ("args", "entries", "how", "items", "kwargs", "of", "state", "states")

    def __init__(self, of: Any, args: tuple[Any, ...] = (), how: str = "called") -> None:
        self.of = of
        self.args = args
        self.kwargs: dict[str, Any] = {}
        self.how = how
        self.state: Any = None
        self.states = 0  # how many BUILDs there were
        self.items: list[Any] = []
        self.entries: list[tuple[Any, Any]] = []  # not a dict: a hostile key need not hash

    def __repr__(self) -> str:
        return f"<{self.class_name or '?'} instance>"

    @property
    def class_name(self) -> str:
        """The dotted name of what it is an instance of; "" when that is itself an instance."""
        return self.of.dotted if isinstance(self.of, Global) else ""

    def field(self, name: str, default: Any = None) -> Any:
        """An attribute, had the state been put into `__dict__` (or into `__dict__` and slots)."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        for part in parts:
            if isinstance(part, dict) and name in part:
                return part[name]
        return default
