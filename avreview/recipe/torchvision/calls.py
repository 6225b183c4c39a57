"""The compositions of transforms in a Python file, with the split that the names around each speak of."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avreview.recipe.albumentations.transforms import DEFAULTS, POSITIONS
from avreview.recipe.albumentations.transforms import LIBRARY as ALBUMENTATIONS
from avreview.recipe.image_steps import Call, Library, Steps
from avreview.recipe.model import Place, Step, Unread, Upon
from avreview.recipe.roles import role_of
from avreview.recipe.torchvision.hints import UNREAD, dotted, literal
from avreview.recipe.torchvision.transforms import KORNIA_LIBRARY, TORCHVISION_LIBRARY

_LABELS = frozenset({Upon.BOXES_2D, Upon.MASKS, Upon.KEYPOINTS})
_DEEPEST = 40
_MOST = 200  # compositions of a file
_MOST_PARTS = 20_000  # of them all, names followed: one list may hold another many times over
_KEYS = {
    "mask": Upon.MASKS, "bbox": Upon.BOXES_2D, "bbox_xyxy": Upon.BOXES_2D, "bbox_xywh": Upon.BOXES_2D,
    "keypoints": Upon.KEYPOINTS,
}  # fmt: skip
_WRAPPERS = {"RandomApply": ("transforms", "p"), "RandomChoice": ("transforms", "weights")}
_NEITHER = "?"  # the name that stands for the other branch of a condition: not train, so either of the others
_PARAMS = {"bbox_params": Upon.BOXES_2D, "keypoint_params": Upon.KEYPOINTS}


class Family(NamedTuple):
    library: Library
    prefix: str


FAMILIES: Mapping[str, Family] = {  # the longer prefixes first
    "v2": Family(TORCHVISION_LIBRARY, "torchvision.transforms.v2."),
    "v1": Family(TORCHVISION_LIBRARY, "torchvision.transforms."),
    "albumentations": Family(ALBUMENTATIONS, "albumentations."),
    "kornia": Family(KORNIA_LIBRARY, "kornia.augmentation."),
}


@dataclass
class Composed:
    """A composition: `role` is None where no name tells, `labels` what it is told to move with the image."""

    family: str
    name: str
    role: str | None
    at: Place
    steps: list[Step] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    labels: frozenset[Upon] = frozenset()


class _Names(NamedTuple):
    """The names around an expression: the nearest last."""

    names: tuple[str, ...] = ()

    def with_(self, name: str | None) -> _Names:
        return _Names((*self.names, name)) if name else self

    @property
    def role(self) -> str | None:
        """What the nearest name that speaks of a split says."""
        for name in reversed(self.names):
            if name == _NEITHER or (role := role_of(name)) is not None:
                return None if name == _NEITHER else role
        return None


class Reader:
    """Reads one file's compositions. `imported` tells what its names stand for, `known` its constants.

    `values` holds what its names are set to that are set once: `normalize = T.Normalize(…)` in front of a Compose.
    """

    def __init__(
        self,
        path: str,
        imported: Mapping[str, str],
        known: Mapping[str, Any],
        values: Mapping[str, ast.expr],
    ) -> None:
        self._values = values
        self._left = _MOST_PARTS
        self._path = path
        self._imported = imported
        self._known = known
        self._is_tests = os.path.basename(path).startswith("test_")  # of pytest: its functions are all named so

    def compositions(self, tree: ast.Module) -> Iterator[Composed]:
        """The outermost compositions, in the order of the file."""
        stack: list[tuple[ast.AST, _Names]] = [(tree, _Names())]
        found = 0
        while stack and found < _MOST:
            node, names = stack.pop()
            if isinstance(node, ast.Call) and (family := self._family(node)) is not None:
                found += 1
                yield self._composed(node, family, names)
                continue
            stack.extend(reversed([(child, self._around(node, child, names)) for child in ast.iter_child_nodes(node)]))

    def _around(self, node: ast.AST, child: ast.AST, names: _Names) -> _Names:
        """The names around a child of a node."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return names.with_(_NEITHER if self._is_tests and node.name.lower().startswith("test") else node.name)
        if isinstance(node, ast.Assign):
            return names.with_(_target(node.targets[0])) if child is node.value else names
        if isinstance(node, ast.AnnAssign):
            return names.with_(_target(node.target)) if child is node.value else names
        if isinstance(node, ast.keyword):
            return names.with_(node.arg)
        if isinstance(node, ast.Dict):
            keys = [key for key, value in zip(node.keys, node.values, strict=True) if value is child]
            key = keys[0] if keys else None
            return names.with_(key.value) if isinstance(key, ast.Constant) and isinstance(key.value, str) else names
        if isinstance(node, ast.If | ast.IfExp):
            return _branch(node, child, names)
        return names

    def _family(self, call: ast.Call) -> str | None:
        """The library whose composition a call makes; None for any other call."""
        name = dotted(call.func, self._imported)
        family = _family_of(name)
        last = name.rpartition(".")[2]
        if family is not None and last in FAMILIES[family].library.compositions:
            return family
        if name == "torch.nn.Sequential":
            inner = [_family_of(dotted(one.func, self._imported)) for one in call.args if isinstance(one, ast.Call)]
            return next((one for one in inner if one is not None), None)
        return None

    def _composed(self, node: ast.Call, family: str, names: _Names) -> Composed:
        at = Place(self._path, node.lineno)
        own = names.names[-1] if names.names and names.names[-1] != _NEITHER else ""
        composed = Composed(family, own, names.role, at)
        composed.labels = self._moved(node, family)
        steps = Steps(FAMILIES[family].library, _LABELS - self._changed(family, composed.labels))
        steps.add(self._call(node, composed, 0))
        composed.steps, composed.unread = steps.found, [*composed.unread, *steps.unread]
        return composed

    def _moved(self, node: ast.Call, family: str) -> frozenset[Upon]:
        """What labels a composition is told to move."""
        keywords = {one.arg: one.value for one in node.keywords}
        if family == "albumentations":
            given = {name for name in _PARAMS if name in keywords and literal(keywords[name], {}) is not None}
            return frozenset(_PARAMS[name] for name in given)
        if family == "kornia" and "data_keys" in keywords:
            return _data_keys(keywords["data_keys"])
        return frozenset()

    @staticmethod
    def _changed(family: str, moved: frozenset[Upon]) -> frozenset[Upon]:
        """What labels its transforms change, if there are any."""
        if family == "v2":
            return _LABELS
        return moved | {Upon.MASKS} if family == "albumentations" else moved

    def _call(self, node: ast.Call, composed: Composed, depth: int) -> Call:
        """A transform or composition with what it holds."""
        name = dotted(node.func, self._imported).rpartition(".")[2] or _last_name(node.func)
        library = FAMILIES[composed.family].library
        at = Place(self._path, node.lineno)
        is_composition = name in library.compositions and depth < _DEEPEST
        children: list[Call] = []
        options: dict[str, Any] = {}
        whole = True
        known = library.transforms.get(name)
        of_table = known.positions if known is not None else _WRAPPERS.get(name, ())
        positions = POSITIONS.get(name, ()) if composed.family == "albumentations" else of_table
        given = [(positions[place] if place < len(positions) else None, one) for place, one in enumerate(node.args)]
        given += [(keyword.arg, keyword.value) for keyword in node.keywords]
        for place, (key, argument) in enumerate(given):
            is_held = place < len(node.args) and (place == 0 or isinstance(argument, ast.Call | ast.Starred))
            if is_composition and (is_held or key == "transforms"):
                children += self._children(argument, composed, depth)
                continue
            value = literal(argument, self._known)
            whole = whole and value is not UNREAD
            if key is not None and (value is not UNREAD or key == "p"):
                options[key] = None if value is UNREAD else value
        if composed.family == "albumentations":
            stated = {key for key, _ in given}
            options.update((key, value) for key, value in DEFAULTS.get(name, {}).items() if key not in stated)
        return Call(name, at, options, children, whole)

    def _children(self, node: ast.expr, composed: Composed, depth: int) -> list[Call]:
        """What a composition holds; notes what of it is built by code."""
        at = Place(self._path, getattr(node, "lineno", None))
        self._left -= 1
        if self._left < 0:
            if self._left == -1:
                composed.unread.append(Unread("the rest of the file", "holds more than any pipeline does", at))
            return []
        if isinstance(node, ast.List | ast.Tuple) and depth < _DEEPEST:
            return [call for item in node.elts for call in self._children(item, composed, depth + 1)]
        if isinstance(node, ast.Starred):
            return self._children(node.value, composed, depth + 1)
        if isinstance(node, ast.Name) and node.id in self._values and depth < _DEEPEST:
            return self._children(self._values[node.id], composed, depth + 1)
        if isinstance(node, ast.Call) and depth < _DEEPEST:
            full = dotted(node.func, self._imported)
            if _family_of(full) is not None or full == "torch.nn.Sequential":
                return [self._call(node, composed, depth + 1)]
        composed.unread.append(Unread(composed.name or "a composition", "has a part that code puts together", at))
        return []


def _family_of(name: str) -> str | None:
    return next((family for family, one in FAMILIES.items() if name.startswith(one.prefix)), None)


def _target(node: ast.AST) -> str | None:
    """The name that an assignment gives: `train_tf`, `self.train_tf`, `transforms["train"]`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    return None


def _branch(node: ast.If | ast.IfExp, child: ast.AST, names: _Names) -> _Names:
    """The names around a branch of a condition: where it does not hold, what the data are for is not told."""
    test, holds = node.test, True
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, holds = test.operand, False
    condition = _condition(test)
    if condition is None or role_of(condition) is None or child is node.test:
        return names
    body = node.body if isinstance(node.body, list) else [node.body]
    return names.with_(condition if (child in body) is holds else _NEITHER)


def _condition(node: ast.AST) -> str | None:
    """What a condition says where it holds: `train`, `self.is_train`, `mode == "train"`."""
    if isinstance(node, ast.Name | ast.Attribute):
        return _target(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
        side = node.comparators[0]
        return side.value if isinstance(side, ast.Constant) and isinstance(side.value, str) else None
    return None


def _data_keys(node: ast.expr) -> frozenset[Upon]:
    """What kornia is told to change with the image: `["input", "bbox"]`, `[DataKey.INPUT, DataKey.BBOX]`.

    Keys that code puts together may be any.
    """
    if not isinstance(node, ast.List | ast.Tuple):
        return _LABELS
    written = [one.value if isinstance(one, ast.Constant) else _last_name(one) for one in node.elts]
    return frozenset(_KEYS[key.lower()] for key in written if isinstance(key, str) and key.lower() in _KEYS)


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "?"
