"""How deep a value nests, found without recursion."""

from __future__ import annotations

from typing import Any

from avreview.load.pickles.inert import Global, Instance
from avreview.load.pickles.state import Record

_LEAVES = frozenset({str, int, float, bool, type(None), bytes, bytearray, complex, Global})


def deeper_than(value: Any, limit: int, *, keys: bool = True) -> bool:
    """Whether containers in the value are nested in more than `limit` others; `keys`: in keys of dictionaries, too.

    Every container is walked once. Its height is one more than the greatest of its parts; a part that is still
    being walked is a cycle and adds nothing. So the height is what a recursive walk that cuts cycles would reach.
    """
    heights: dict[int, int] = {}  # 0 while it is being walked
    path: list[tuple[int, list[Any]]] = [(0, [value])]  # containers being walked, and their parts still to be
    below = [0]  # the greatest height of the parts seen, for each container on the path
    while len(path) <= limit + 1:
        own, waiting = path[-1]
        if not waiting:
            path.pop()
            height = below.pop() + 1
            if not path:
                return height > limit + 1  # the list that `value` was put in is none of its own
            heights[own] = height
            if height > below[-1]:
                below[-1] = height
            continue
        part = waiting.pop()
        known = heights.get(id(part))
        if known is None:
            inner = _containers(part, keys)
            if inner:
                heights[id(part)] = 0
                path.append((id(part), inner))
                below.append(0)
                continue
            heights[id(part)] = known = 1
        if known > below[-1]:
            below[-1] = known
    return True


def _containers(part: Any, keys: bool) -> list[Any]:
    """The parts of a value that may hold others."""
    kind = type(part)
    parts: Any
    if kind is dict:
        parts = [*part, *part.values()] if keys else part.values()
    elif kind is Instance:
        parts = [part.of, *part.args, part.state, *part.items, *part.kwargs.values()]
        parts += [piece for entry in part.entries for piece in entry]
    elif isinstance(part, tuple | list | set | frozenset) and kind is not Global:
        parts = part
    elif isinstance(part, Record):
        parts = part.parts()
    else:
        return []
    return [piece for piece in parts if type(piece) not in _LEAVES]
