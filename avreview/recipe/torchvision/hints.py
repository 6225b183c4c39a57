"""A Python file as far as it is written out: what its names import, its constants, and its literal values.

The file is parsed and never run; what would have to be run to be known is `UNREAD`.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

from avreview.load.wording import one_line
from avreview.recipe.files import RecipeError

UNREAD: Any = object()
MOST_BYTES = 1 << 20
_DEEPEST = 40
_MOST_ITEMS = 1_000
_LARGEST = 1e15
_CHANGES = ("append", "extend", "insert", "pop", "remove", "clear", "reverse", "sort", "update", "setdefault")


def parsed(path: str, text: str) -> ast.Module:
    """The syntax tree of a file. Raises RecipeError for one that is no Python."""
    if len(text) > MOST_BYTES:
        raise RecipeError(path, None, "is larger than any file of settings", "pass the file with the training settings")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the reviewed file's own escapes
            return ast.parse(text)
    except SyntaxError as error:
        wrong = f"is no Python ({one_line(str(error.msg), 120)})"
        raise RecipeError(path, error.lineno, wrong, "mend it there") from None
    except (ValueError, RecursionError, MemoryError):
        raise RecipeError(path, None, "is no Python that can be parsed", "write it flatter") from None


def imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for, dotted: `T` is `torchvision.transforms.v2`."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """The full name of a function or class that an expression names; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < _DEEPEST:
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    return ".".join([names[node.id], *reversed(parts)])


def constants(tree: ast.Module) -> dict[str, Any]:
    """The values of the module's names that are set once, and literally."""
    once = set_once(tree)
    known: dict[str, Any] = {}
    for statement in tree.body:
        for name, value in _assigned(statement):
            found = literal(value, known) if name in once else UNREAD
            if found is not UNREAD and _room(found, _MOST_ITEMS) > 0:
                known[name] = found
    return known


def _room(value: Any, left: int) -> int:
    """How many of `left` entries a value leaves over; lists may share their parts many times over."""
    parts = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    left -= 1
    for part in parts:
        if left <= 0:
            break
        left = _room(part, left)
    return left


def set_once(tree: ast.Module) -> dict[str, ast.expr]:
    """What the names are set to that are set once in the whole file, and never changed by a method or an operator."""
    written: Counter[str] = Counter()
    values: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            written[node.id] += 1
        elif isinstance(node, ast.arg):
            written[node.arg] += 1
        elif isinstance(node, ast.AugAssign | ast.Subscript) and (name := _changed(node)):
            written[name] += 1
        elif isinstance(node, ast.Attribute) and node.attr in _CHANGES and isinstance(node.value, ast.Name):
            written[node.value.id] += 1
        values.update(_assigned(node))
    return {name: value for name, value in values.items() if written[name] == 1}


def _assigned(node: ast.AST) -> list[tuple[str, ast.expr]]:
    """The name and the value of an assignment to one name."""
    target: ast.expr | None = None
    value: ast.expr | None = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign):
        target, value = node.target, node.value
    return [(target.id, value)] if isinstance(target, ast.Name) and value is not None else []


def _changed(node: ast.AugAssign | ast.Subscript) -> str:
    """The name that `name += …` or `name[0] = …` changes."""
    if isinstance(node, ast.Subscript):
        stored = isinstance(node.ctx, ast.Store | ast.Del) and isinstance(node.value, ast.Name)
        return node.value.id if stored and isinstance(node.value, ast.Name) else ""
    return node.target.id if isinstance(node.target, ast.Name) else ""


def literal(node: ast.AST, known: Mapping[str, Any], depth: int = 0) -> Any:
    """The value of an expression of literals, known names and arithmetic of numbers; UNREAD for any other."""
    if depth > _DEEPEST:
        return UNREAD
    if isinstance(node, ast.Constant):
        fine = node.value is None or isinstance(node.value, bool | int | float | str)
        return node.value if fine and _is_small(node.value) else UNREAD
    if isinstance(node, ast.Name):
        return known.get(node.id, UNREAD)
    if isinstance(node, ast.Tuple | ast.List):
        items = [literal(item, known, depth + 1) for item in node.elts[:_MOST_ITEMS]]
        return UNREAD if len(node.elts) > _MOST_ITEMS or any(item is UNREAD for item in items) else items
    if isinstance(node, ast.Dict):
        return _mapping(node, known, depth)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal(node.operand, known, depth + 1)
        return -value if _is_number(value) else UNREAD
    if isinstance(node, ast.BinOp):
        return _calculated(node, known, depth)
    return UNREAD


def _mapping(node: ast.Dict, known: Mapping[str, Any], depth: int) -> Any:
    if len(node.keys) > _MOST_ITEMS:
        return UNREAD
    found: dict[str, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        name = literal(key, known, depth + 1) if key is not None else UNREAD
        held = literal(value, known, depth + 1)
        if not isinstance(name, str) or held is UNREAD:
            return UNREAD
        found[name] = held
    return found


def _calculated(node: ast.BinOp, known: Mapping[str, Any], depth: int) -> Any:
    """A sum, difference, product or quotient of numbers that stay small."""
    left, right = (literal(side, known, depth + 1) for side in (node.left, node.right))
    if not _is_number(left) or not _is_number(right):
        return UNREAD
    value: Any = UNREAD
    if isinstance(node.op, ast.Add):
        value = left + right
    elif isinstance(node.op, ast.Sub):
        value = left - right
    elif isinstance(node.op, ast.Mult):
        value = left * right
    elif isinstance(node.op, ast.Div) and right:
        value = left / right
    elif isinstance(node.op, ast.FloorDiv) and right:
        value = left // right
    return value if value is not UNREAD and _is_small(value) else UNREAD


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_small(value: Any) -> bool:
    return not _is_number(value) or abs(value) < _LARGEST
