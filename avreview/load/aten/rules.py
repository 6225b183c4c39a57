"""What the operators of ATen are in ONNX's terms: one function an operator, registered by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from avreview.load.aten.graph import GraphBuilder

# A rule gets the arguments by name and gives the key of the result: a tuple of keys where there are several results,
# and of tuples where a result is a list. None stands for a result that ONNX does not have.
Result = str | tuple[Any, ...] | None
Rule = Callable[[GraphBuilder, Mapping[str, Any]], Result]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers what translates the operators of these names, of all overloads."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


def listed(value: Any, length: int) -> tuple[int, ...]:
    """An argument that may be one number for all axes, as one an axis."""
    if isinstance(value, int):
        return (value,) * length
    if len(value) == 1:
        return tuple(value) * length
    if not all(isinstance(entry, int) for entry in value):
        raise TypeError("not known before run time")
    return tuple(value)
