"""`${…}` in bevfusion's YAML, worked out without running it.

bevfusion gives a text that is `${…}` as a whole to Python's eval, with the configuration's keys as names. Here the
expression is parsed, and what such expressions are made of is worked out: names, attributes, items, slices, lists,
constants, arithmetic of numbers, and joining of texts and lists. Anything else is noted, and its value is None.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from avreview.load.wording import one_line
from avreview.recipe.placed import Notes, Placed

_LONGEST = 200  # characters of an expression
_DEEPEST = 80  # values inside or behind one another
_MOST = 200_000  # values of the recipe after all references are put in
_LONGEST_SUM = 10_000  # of a text or a list that is joined
_LARGEST = 1e15
_NUMBERS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


class _NotWorkedOutError(Exception):
    """Why an expression has no value here, in a few words."""


def interpolated(root: Placed, notes: Notes) -> Placed:
    """The tree with values in place of its expressions, each standing where what it refers to stands.

    Raises RecipeError for an expression that refers to itself, and for a tree that grows too large or too deep.
    """
    try:
        return _Interpolator(root, notes).value(root)
    except RecursionError:
        raise root.error("refers too deep", "shorten its chain of ${…}") from None


class _Interpolator:
    def __init__(self, root: Placed, notes: Notes) -> None:
        self._root = root
        self._notes = notes
        self._done: dict[int, Placed] = {}  # values by the identity of the node they take the place of
        self._open: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._kept: list[Placed] = []  # identities hold as long as their nodes do

    def value(self, node: Placed) -> Placed:
        """What takes the place of a node."""
        if id(node) not in self._done:
            if id(node) in self._open:
                raise node.error("refers to itself", "break the circle of ${…}")
            if len(self._open) >= _DEEPEST:
                raise node.error(f"is a value behind {_DEEPEST} others", "shorten the chain of ${…}")
            self._open.add(id(node))
            self._done[id(node)] = self._new(node)
            self._open.remove(id(node))
        return self._done[id(node)]

    def _new(self, node: Placed) -> Placed:
        if isinstance(node.value, dict):
            return self._made({key: self.value(entry) for key, entry in node.value.items()}, node)
        if isinstance(node.value, list):
            return self._made([self.value(entry) for entry in node.value], node)
        return self._expression(node) if _is_expression(node) else node

    def _made(self, value: Any, at: Placed) -> Placed:
        """A new value, if the recipe does not outgrow its bounds by it; what it shares is counted each time."""
        made = Placed(value, at.at, at.name)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        size = 1 + sum(self._sizes.get(id(entry), 1) for entry in inner)
        if size > _MOST:
            raise at.error(f"grows to more than {_MOST} values", "refer to less by ${…}")
        self._sizes[id(made)] = size
        self._kept.append(made)
        return made

    def _expression(self, node: Placed) -> Placed:
        text = node.value[2:-1].strip()
        try:
            if len(text) > _LONGEST:
                raise _NotWorkedOutError(f"is longer than {_LONGEST} characters")
            try:
                tree = ast.parse(text, mode="eval").body
            except (SyntaxError, ValueError, MemoryError):
                raise _NotWorkedOutError("is no expression") from None
            return self.value(self._worked_out(tree, node))
        except _NotWorkedOutError as reason:
            self._notes.add(node.name, f"{one_line(node.value, 80)} {reason}", node.at)
            return self._made(None, node)

    def _worked_out(self, tree: ast.expr, at: Placed) -> Placed:
        """The value of an expression; what it refers to may hold expressions still."""
        if isinstance(tree, ast.Name):
            return self._entry(self._root, tree.id)
        if isinstance(tree, ast.Attribute):
            return self._entry(self._reached(tree.value, at), tree.attr)
        if isinstance(tree, ast.Subscript):
            return self._item(self._reached(tree.value, at), tree.slice, at)
        if isinstance(tree, ast.List | ast.Tuple):
            return self._made([self.value(self._worked_out(entry, at)) for entry in tree.elts], at)
        if isinstance(tree, ast.Constant) and isinstance(tree.value, str | int | float | bool | None):
            return self._made(tree.value, at)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self._made(-_number(self._plain(tree.operand, at)), at)
        if isinstance(tree, ast.BinOp):
            return self._made(self._joined(tree, at), at)
        raise _NotWorkedOutError("is more than avreview works out")

    def _reached(self, tree: ast.expr, at: Placed) -> Placed:
        """A node to go into: itself, or what stands for it where it is an expression."""
        node = self._worked_out(tree, at)
        return self.value(node) if _is_expression(node) else node

    def _plain(self, tree: ast.expr, at: Placed) -> Any:
        return self.value(self._worked_out(tree, at)).value

    def _entry(self, node: Placed, key: str) -> Placed:
        found = node.entries().get(key)
        if found is None:
            raise _NotWorkedOutError(f"refers to {one_line(key, 40)!r}, which is not there")
        return found

    def _item(self, node: Placed, index: ast.expr, at: Placed) -> Placed:
        if isinstance(index, ast.Slice):
            if not node.is_list:
                raise _NotWorkedOutError("takes a part of what is no list")
            ends = [
                None if end is None else _whole(self._plain(end, at)) for end in (index.lower, index.upper, index.step)
            ]
            if ends[2] == 0:
                raise _NotWorkedOutError("takes a part with steps of 0")
            return self._made([self.value(entry) for entry in node.value[slice(*ends)]], node)
        key = self._plain(index, at)
        if isinstance(key, str):
            return self._entry(node, key)
        place = _whole(key)
        if not node.is_list or not -len(node.value) <= place < len(node.value):
            raise _NotWorkedOutError(f"takes item {place}, which is not there")
        found: Placed = node.value[place]
        return found

    def _joined(self, tree: ast.BinOp, at: Placed) -> Any:
        left, right = self._plain(tree.left, at), self._plain(tree.right, at)
        if isinstance(tree.op, ast.Add) and isinstance(left, str | list) and type(left) is type(right):
            if len(left) + len(right) > _LONGEST_SUM:
                raise _NotWorkedOutError(f"joins more than {_LONGEST_SUM} characters or values")
            return operator.add(left, right)
        work = _NUMBERS.get(type(tree.op))
        if work is None:
            raise _NotWorkedOutError("is more than avreview works out")
        try:
            return _number(work(_number(left), _number(right)))
        except (ZeroDivisionError, OverflowError):
            raise _NotWorkedOutError("divides by 0") from None


def _is_expression(node: Placed) -> bool:
    return isinstance(node.value, str) and node.value.startswith("${") and node.value.endswith("}")


def _number(value: Any) -> Any:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _LARGEST:
        raise _NotWorkedOutError("reckons with what is no number of a usual size")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _NotWorkedOutError("takes an item by what is no whole number")
    return value
