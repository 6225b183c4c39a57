"""An ONNX graph laid flat: subgraphs and local functions become part of one list in data-flow order.

Every value gets a key that is unique over all scopes; at the top level it is the value's own name. A rule then
follows data without caring whether a framework wrote a layer as an operator, a function or a branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avreview.artifact import Graph, Node, Tensor, ValueInfo
from avreview.errors import ArtifactError
from avreview.load.onnx_proto import (
    MAX_NODES,
    AttributeReference,
    RawFunction,
    RawGraph,
    RawModel,
    RawNode,
    RawSparseTensor,
    RawTensor,
    graph_values,
)
from avreview.load.onnx_tensors import TensorReader
from avreview.load.storage import TextStorage, ValueStorage
from avreview.load.wire import Buffer

_MAX_CALLS = 50  # of functions inside one another
_INNER = "\x1f"  # separates a scope from a name in the key of an inner value: no framework writes it


class _Scope:
    """The names that are visible at one place, and the keys they stand for."""

    def __init__(self, path: str, parent: _Scope | None, opsets: Mapping[str, int], key: str = "") -> None:
        self.path = path  # as a person reads it
        self.parent = parent
        self.opsets = opsets
        self.key = key  # "" at the top level
        self.names: dict[str, str] = {}
        self.attributes: Mapping[str, Any] = {}  # of the call, inside a function

    def define(self, name: str) -> str:
        if not name or not self.key:
            return name
        key = self.names[name] = f"{self.key}{_INNER}{name}"
        return key

    def resolve(self, name: str) -> str:
        scope: _Scope | None = self
        while scope is not None and scope.key:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return name if scope is not None else self.define(name)


class Flattener:
    """Builds the flat graph of a model."""

    def __init__(self, path: str, model: RawModel, tensors: TensorReader) -> None:
        self._path = path
        self._model = model
        self._tensors = tensors
        self._functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self._calls: list[tuple[str, str, str]] = []
        self._scopes = 0
        self._nodes: list[Node] = []
        self._constants: dict[str, Tensor] = {}

    def graph(self, raw: RawGraph, buffer: Buffer) -> Graph:
        """The flat graph. Raises ArtifactError for one in which data runs in a circle."""
        self._add_graph(raw, _Scope("", None, self._model.opsets))
        inputs = {info.name for info in raw.inputs}
        return Graph(
            nodes=_in_order(self._path, self._nodes),
            inputs=[info for info in raw.inputs if info.name not in self._constants],
            outputs=raw.outputs,
            constants=self._constants,
            overridable=frozenset(inputs & self._constants.keys()),
            opsets=dict(self._model.opsets),
            values=_LazyValues(buffer, raw),
            metadata={**self._model.metadata, **raw.metadata},
            producer={key: node for node in self._nodes for key in node.outputs if key},
            consumers=_consumers(self._nodes),
        )

    def _add_graph(self, raw: RawGraph, scope: _Scope) -> None:
        for tensor in raw.initializers:
            self._constants[scope.define(tensor.name)] = self._tensors.tensor(tensor)
        for sparse in raw.sparse_initializers:
            self._constants[scope.define(sparse.values.name)] = self._tensors.sparse(sparse)
        for info in raw.inputs if scope.key else ():
            if info.name not in scope.names:
                scope.define(info.name)
        self._add_nodes(raw.nodes, scope)

    def _add_nodes(self, nodes: list[RawNode], scope: _Scope) -> None:
        for raw in nodes:
            if scope.key:  # defined first, so that a name in a subgraph hides the one outside
                for name in raw.outputs:
                    scope.define(name)
        for raw in nodes:
            function = self._functions.get((raw.domain, raw.op, raw.overload))
            if function is not None:
                self._add_call(raw, function, scope)
            elif raw.op == "Constant" and not raw.domain:
                self._add_constant(raw, scope)
            else:
                self._add_node(raw, scope)

    def _add_node(self, raw: RawNode, scope: _Scope) -> None:
        inputs = tuple(map(scope.resolve, raw.inputs)) if scope.key else tuple(raw.inputs)
        outputs = tuple(map(scope.resolve, raw.outputs)) if scope.key else tuple(raw.outputs)
        attributes = {key: self._attribute(value, scope) for key, value in raw.attributes.items()}
        branches = list(_subgraphs(attributes))
        node = Node(
            raw.op, raw.domain, raw.name, inputs, outputs, attributes,
            version=scope.opsets.get(raw.domain, 0), scope=scope.path, metadata=raw.metadata,
        )  # fmt: skip
        results: list[str] = []
        for name, subgraph in branches:
            inner = self._inner(scope, f"{node.label}/{name}", scope, scope.opsets)
            inner.attributes = scope.attributes
            self._add_graph(subgraph, inner)
            results += [inner.resolve(info.name) for info in subgraph.outputs]
            attributes.pop(name, None)
        node.branch_results = tuple(results)
        self._nodes.append(node)
        if len(self._nodes) > MAX_NODES:
            raise self._wrong(f"its local functions unfold to more than {MAX_NODES:,} nodes")

    def _inner(self, scope: _Scope, path: str, parent: _Scope | None, opsets: Mapping[str, int]) -> _Scope:
        self._scopes += 1
        return _Scope(path, parent, opsets, key=f"{_INNER}{self._scopes}")

    def _add_call(self, raw: RawNode, function: RawFunction, scope: _Scope) -> None:
        identity = (function.domain, function.name, function.overload)
        if identity in self._calls or len(self._calls) >= _MAX_CALLS:
            raise self._wrong(f"its local function {function.name!r} calls itself, or calls run too deep")
        label = raw.name or raw.op
        inner = self._inner(scope, f"{scope.path}/{label}" if scope.path else label, None, function.opsets)
        given = [scope.resolve(name) if name else "" for name in raw.inputs]
        inner.names.update(zip(function.inputs, [*given, *[""] * len(function.inputs)], strict=False))
        inner.attributes = {
            **function.defaults, **{key: self._attribute(value, scope) for key, value in raw.attributes.items()}
        }  # fmt: skip
        self._calls.append(identity)
        self._add_nodes(function.nodes, inner)
        self._calls.pop()
        self._join_results(raw, function, inner, scope)

    def _join_results(self, raw: RawNode, function: RawFunction, inner: _Scope, scope: _Scope) -> None:
        """Joins a call's outputs to what the body computed, as an Identity would."""
        for formal, actual in zip(function.outputs, raw.outputs, strict=False):
            if not actual:
                continue
            inside, outside = inner.resolve(formal), scope.resolve(actual)
            if inside in self._constants:
                self._constants[outside] = self._constants[inside]
            self._nodes.append(
                Node("Identity", "", "", (inside,), (outside,), {}, version=1, scope=inner.path, metadata=raw.metadata)
            )

    def _add_constant(self, raw: RawNode, scope: _Scope) -> None:
        if not raw.outputs or not raw.attributes:
            raise self._wrong(f"its Constant node {raw.name!r} holds no value")
        key = scope.resolve(raw.outputs[0])
        kind, value = next(iter(raw.attributes.items()))
        value = self._attribute(value, scope)
        self._constants[key] = self._constant_tensor(kind, value, raw.outputs[0])

    def _constant_tensor(self, kind: str, value: Any, name: str) -> Tensor:
        if isinstance(value, Tensor):
            return Tensor(name, value.shape, value.dtype, value.storage)
        many = isinstance(value, tuple)
        shape = (len(value),) if many else ()
        if "string" in kind:
            return Tensor(name, shape, "string", TextStorage())
        dtype = "float32" if "float" in kind else "int64"
        return Tensor(name, shape, dtype, ValueStorage(value if many else (value,), dtype))

    def _attribute(self, value: Any, scope: _Scope) -> Any:
        if isinstance(value, AttributeReference):
            return self._attribute(scope.attributes.get(value.name), scope)
        if isinstance(value, RawTensor):
            return self._tensors.tensor(value)
        if isinstance(value, RawSparseTensor):
            return self._tensors.sparse(value)
        if isinstance(value, tuple) and value and isinstance(value[0], RawTensor):
            return tuple(map(self._tensors.tensor, value))
        return value

    def _wrong(self, what: str) -> ArtifactError:
        return ArtifactError(self._path, what, "export the model again")


def _subgraphs(attributes: Mapping[str, Any]) -> Iterator[tuple[str, RawGraph]]:
    for name, value in attributes.items():
        if isinstance(value, RawGraph):
            yield name, value


class _LazyValues(Mapping[str, ValueInfo]):
    """Declared types of the top level's values, read when the first one is asked for."""

    def __init__(self, buffer: Buffer, raw: RawGraph) -> None:
        self._buffer = buffer
        self._raw = raw
        self._values: dict[str, ValueInfo] | None = None

    def _read(self) -> dict[str, ValueInfo]:
        if self._values is None:
            self._values = graph_values(self._buffer, self._raw)
        return self._values

    def __getitem__(self, key: str) -> ValueInfo:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def _consumers(nodes: list[Node]) -> dict[str, list[Node]]:
    consumers: dict[str, list[Node]] = {}
    for node in nodes:
        for key in dict.fromkeys((*node.inputs, *node.branch_results)):
            if key:
                consumers.setdefault(key, []).append(node)
    return consumers


def _in_order(path: str, nodes: list[Node]) -> list[Node]:
    """The nodes so that each comes behind what it reads; in the file's own order where that already holds."""
    producer = {key: node for node in nodes for key in node.outputs if key}
    waiting: dict[int, int] = {}
    dependents: dict[int, list[Node]] = {}
    seen: set[int] = set()
    sorted_already = True
    for node in nodes:
        sources = {id(producer[key]) for key in (*node.inputs, *node.branch_results) if key in producer}
        sorted_already = sorted_already and sources <= seen
        seen.add(id(node))
        waiting[id(node)] = len(sources)
        for source in sources:
            dependents.setdefault(source, []).append(node)
    ordered = nodes if sorted_already else _topological(nodes, waiting, dependents)
    if len(ordered) < len(nodes):
        stuck = next(node for node in nodes if waiting[id(node)] > 0)
        raise ArtifactError(path, f"data runs in a circle through the node {stuck.label!r}", "export the model again")
    for index, node in enumerate(ordered):
        node.index = index
    return ordered


def _topological(nodes: list[Node], waiting: dict[int, int], dependents: dict[int, list[Node]]) -> list[Node]:
    ready = [node for node in nodes if not waiting[id(node)]]
    for node in ready:
        for dependent in dependents.get(id(node), ()):
            waiting[id(dependent)] -= 1
            if not waiting[id(dependent)]:
                ready.append(dependent)
    return ready
