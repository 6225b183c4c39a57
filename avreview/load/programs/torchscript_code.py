"""The code of a TorchScript archive as text: its classes with their constants, its functions. Nothing of it is run.

TorchScript prints a program as Python (torch/csrc/jit/serialization/python_print.cpp), so Python's own parser reads
it. A hostile text could overflow that parser's stack: nesting and length are bounded before it sees the text.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_DEEPEST = 90  # brackets inside one another
_LONGEST = 2_000  # operators and dots in one logical line, of which a chain of so many levels can be made
_MOST_TEXT = 1 << 25  # characters of all code together
_STRING = r"""\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"""
_PIECES = re.compile(_STRING + r"|[\[\](){}]|\n|[-+*/%@&|^~.<>=]|\b(?:not|and|or|if|else|elif|lambda)\b")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_MANGLED = re.compile(r"\.?___torch_mangle_\d+")
_ROOT = "__torch__"


class ClassCode(NamedTuple):
    """A class: `bases` as written, its `Final` constants, the names of parameters and buffers, its methods.

    `parameters` and `buffers` are None where the class does not list them.
    """

    name: str
    bases: tuple[str, ...]
    constants: Mapping[str, Any]
    parameters: tuple[str, ...] | None
    buffers: tuple[str, ...] | None
    methods: Mapping[str, ast.FunctionDef]

    @property
    def is_module(self) -> bool:
        return "Module" in self.bases


class Library(NamedTuple):
    """All classes and functions by qualified name; `unread` are the files that could not be parsed, and why."""

    classes: Mapping[str, ClassCode]
    functions: Mapping[str, ast.FunctionDef]
    unread: Sequence[str]


def read_code(files: Mapping[str, bytes]) -> Library:
    """What the files hold, which go by their qualified module names: `__torch__.torch.nn.modules.conv`."""
    classes: dict[str, ClassCode] = {}
    functions: dict[str, ast.FunctionDef] = {}
    unread: list[str] = []
    room = _MOST_TEXT
    for module, raw in files.items():
        room -= len(raw)
        tree = _parsed(raw) if room >= 0 else None
        if tree is None:
            unread.append(module)
            continue
        for statement in tree.body:
            if isinstance(statement, ast.ClassDef):
                name = f"{module}.{statement.name}"
                classes[name] = _class(name, statement)
            elif isinstance(statement, ast.FunctionDef):
                functions[f"{module}.{statement.name}"] = statement
    return Library(classes, functions, unread)


def readable_name(qualified: str) -> tuple[str, str]:
    """(package, class) of `__torch__.torch.nn.modules.conv.___torch_mangle_0.Conv2d`."""
    package, _, kind = _MANGLED.sub("", qualified).rpartition(".")
    return package.removeprefix(_ROOT).lstrip("."), kind


def _parsed(raw: bytes) -> ast.Module | None:
    """The syntax tree; None for a text that is not TorchScript's or nests too deep to be parsed safely."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text or "\\\n" in text or '"""' in text or "'''" in text or not _is_shallow(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, about how the text is written
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_shallow(text: str) -> bool:
    depth = operators = 0
    for match in _PIECES.finditer(text):
        piece = match.group()
        if piece in _OPENING:
            depth += 1
        elif piece in _CLOSING:
            depth -= 1
        elif piece == "\n":
            operators = operators if depth > 0 else 0
        elif piece == "elif":
            return False  # a chain of them nests, and TorchScript does not print them
        elif piece[0] not in "\"'":
            operators += 1
        if depth > _DEEPEST or operators > _LONGEST:
            return False
    return True


def _class(name: str, statement: ast.ClassDef) -> ClassCode:
    constants: dict[str, Any] = {}
    listed: dict[str, tuple[str, ...]] = {}
    methods: dict[str, ast.FunctionDef] = {}
    for part in statement.body:
        if isinstance(part, ast.FunctionDef):
            methods[part.name] = part
        elif isinstance(part, ast.AnnAssign) and part.value is not None and isinstance(part.target, ast.Name):
            try:
                constants[part.target.id] = _plain(literal(part.value))
            except ValueError:
                continue  # a constant that is a tensor or an object
        elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
            names = part.value.elts if isinstance(part.value, (ast.List, ast.Tuple)) else []
            listed[part.targets[0].id] = tuple(
                entry.value for entry in names if isinstance(entry, ast.Constant) and isinstance(entry.value, str)
            )
    bases = tuple(base.id for base in statement.bases if isinstance(base, ast.Name))
    parameters, buffers = listed.get("__parameters__"), listed.get("__buffers__")
    return ClassCode(name, bases, constants, parameters, buffers, methods)


def literal(node: ast.expr, depth: int = 0) -> Any:
    """The value of a literal: numbers, strings, None, booleans, `inf`, tuples and lists. Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError("nests too deep")
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal(node.operand, depth + 1)
        if isinstance(value, (int, float)):
            return -value
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(literal(entry, depth + 1) for entry in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "annotate" and node.args:
        return literal(node.args[-1], depth + 1)
    raise ValueError("is no literal")


def _plain(value: Any) -> Any:
    """A number, a string, a boolean, None, or a flat tuple of such."""
    if isinstance(value, tuple) and any(isinstance(entry, tuple) for entry in value):
        raise ValueError("is no flat tuple")
    return value
