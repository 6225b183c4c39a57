"""The module tree of an exported program: operators remember which modules they were called in, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avreview.checkpoint import Module
from avreview.load.aten.attributes import attributes_of, keeps_attributes
from avreview.load.aten.schema import bound
from avreview.load.aten.translate import CALL_NUMBER, module_stack, operator
from avreview.load.programs.exported_schema import Named, Subgraph, argument, mapping, sequence, text

_LONGEST_PATH = 1_000  # characters of a module's path; real ones have some dozens
_DEEPEST = 50


class _Found:
    """What the operators tell of one module."""

    def __init__(self) -> None:
        self.kind = ""
        self.attributes: dict[str, Any] = {}
        self.children: dict[str, None] = {}
        self.parameters: list[str] = []
        self.buffers: list[str] = []
        self.frozen: list[str] = []


def module_tree(raw: Mapping[str, Any], parameters: Mapping[str, bool], buffers: Sequence[str]) -> dict[str, Module]:
    """The modules by path, parents before children.

    `raw` is the graph module's JSON; `parameters` says of each whether it requires a gradient. A module that no
    operator was called in has no kind. Raises SchemaError.
    """
    found: dict[str, _Found] = {"": _Found()}
    for entry in sequence(raw.get("module_call_graph", []), "the modules"):
        _enter(found, CALL_NUMBER.sub("", text(mapping(entry, "a module").get("fqn"), "a module's path")))
    for node in _nodes(mapping(raw.get("graph"), "the graph"), 0):
        _learn(found, node)
    for name, requires_grad in parameters.items():
        path, _, own = name.rpartition(".")
        if (module := _enter(found, path)) is not None:
            module.parameters.append(own)
            if not requires_grad:
                module.frozen.append(own)
    for name in buffers:
        path, _, own = name.rpartition(".")
        if (module := _enter(found, path)) is not None:
            module.buffers.append(own)
    return {path: _module(path, found[path]) for path in _in_order(found)}


def _enter(found: dict[str, _Found], path: str) -> _Found | None:
    """The module at a path, made with its parents when it is new. None for a path that nobody would write."""
    if len(path) > _LONGEST_PATH or path.count(".") > _DEEPEST:
        return None
    if path not in found:
        parent, _, own = path.rpartition(".")
        above = _enter(found, parent)
        if above is not None:
            above.children[own] = None
        found[path] = _Found()
    return found[path]


def _nodes(graph: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    for entry in sequence(graph.get("nodes"), "the operators"):
        node = mapping(entry, "an operator")
        yield node
        for given in sequence(node.get("inputs", []), "an operator's inputs") if depth < _DEEPEST else ():
            inner = given.get("arg") if isinstance(given, dict) else None
            if isinstance(inner, dict) and "as_graph" in inner and isinstance(value := argument(inner), Subgraph):
                yield from _nodes(value.graph, depth + 1)


def _learn(found: dict[str, _Found], node: Mapping[str, Any]) -> None:
    stack = mapping(node.get("metadata", {}), "the metadata").get("nn_module_stack", "")
    module: _Found | None = None
    for path, kind in module_stack(stack) if isinstance(stack, str) else ():
        module = _enter(found, path)
        if module is not None and not module.kind:
            module.kind = kind
    if module is None or not keeps_attributes(module.kind):
        return
    op, overload = operator(text(node.get("target"), "an operator's name"))
    keywords = {
        str(entry.get("name")): argument(entry.get("arg"))
        for entry in sequence(node.get("inputs"), "the arguments")
        if isinstance(entry, dict)
    }
    given = bound(op.partition("::")[2], overload, (), keywords)
    plain = {name: value for name, value in given.items() if not isinstance(value, (Named, Subgraph))}
    for attribute, value in attributes_of(op, plain):
        module.attributes.setdefault(attribute, value)


def _in_order(found: Mapping[str, _Found]) -> Iterator[str]:
    waiting = [""]
    while waiting:
        path = waiting.pop()
        yield path
        waiting += [f"{path}.{child}" if path else child for child in reversed(found[path].children)]


def _module(path: str, found: _Found) -> Module:
    package, _, kind = found.kind.rpartition(".")
    return Module(
        path, kind, package, found.attributes, tuple(found.children), tuple(found.parameters), tuple(found.buffers),
        frozenset(found.frozen),
    )  # fmt: skip
