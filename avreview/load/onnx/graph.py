"""An ONNX graph laid flat: subgraphs and local functions become part of one list in data-flow order.

Every value gets a key that is unique over all scopes; at the top level it is the value's own name. A rule then
follows data without caring whether a framework wrote a layer as an operator, a function or a branch.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Graph, Node, Tensor
from avreview.errors import ArtifactError
from avreview.load.onnx.messages import (
    AttributeReference,
    LazyMapping,
    RawFunction,
    RawGraph,
    RawModel,
    RawNode,
    RawSparseTensor,
    RawTensor,
)
from avreview.load.onnx.order import consumers, in_order, producers
from avreview.load.onnx.proto import ModelReader
from avreview.load.onnx.scope import Scope
from avreview.load.onnx.tensors import TensorReader
from avreview.load.storage import TextStorage, ValueStorage
from avreview.load.wording import quoted

_MAX_DEPTH = 100  # of subgraphs and calls inside one another
_MAX_UNFOLDED = 4_000_000  # nodes, names and attributes of functions, counted anew for each call

# What a Constant node may hold: the type of an element, and whether it is a list.
_CONSTANTS: dict[str, tuple[type, bool]] = {
    "value": (Tensor, False), "sparse_value": (Tensor, False), "value_float": (float, False),
    "value_floats": (float, True), "value_int": (int, False), "value_ints": (int, True),
    "value_string": (str, False), "value_strings": (str, True),
}  # fmt: skip
_DTYPES = {float: "float32", int: "int64"}


class _Branch(NamedTuple):
    """A subgraph, and where it was written: it may be handed to a function that runs it elsewhere."""

    graph: RawGraph
    scope: Scope


class Flattener:
    """Builds the flat graph of a model."""

    def __init__(self, path: str, model: RawModel, reader: ModelReader, tensors: TensorReader) -> None:
        self._path = path
        self._model = model
        self._reader = reader
        self._tensors = tensors
        self._functions = {function.identity: function for function in model.functions}
        self._calls: list[RawFunction] = []
        self._unfolded = 0
        self._scopes = 0
        self._nodes: list[Node] = []
        self._constants: dict[str, Tensor] = {}
        self._named: dict[str, int] = {}  # names of tensors, and how often each was wanted

    def graph(self, raw: RawGraph) -> Graph:
        """The flat graph. Raises ArtifactError for one in which data runs in a circle."""
        self._add_graph(raw, Scope(self._model.opsets))
        producer = producers(self._nodes)
        return Graph(
            nodes=in_order(self._path, self._nodes, producer),
            inputs=[info for info in raw.inputs if info.name not in self._constants],
            outputs=raw.outputs,
            constants=self._constants,
            overridable=frozenset(info.name for info in raw.inputs if info.name in self._constants),
            opsets=dict(self._model.opsets),
            values=LazyMapping(lambda: self._reader.values(raw)),
            metadata={**self._model.metadata, **raw.metadata},
            producer=producer,
            consumers=consumers(self._nodes),
        )

    def _add_graph(self, raw: RawGraph, scope: Scope) -> None:
        for tensor in raw.initializers:
            self._add_initializer(tensor.name, self._tensors.tensor(tensor, self._name(tensor.name, scope)), scope)
        for sparse in raw.sparse_initializers:
            name = sparse.values.name
            self._add_initializer(name, self._tensors.sparse(sparse, self._name(name, scope)), scope)
        for info in raw.inputs if not scope.is_top else ():
            scope.define(info.name)
        self._add_nodes(raw.nodes, scope)

    def _add_initializer(self, name: str, tensor: Tensor, scope: Scope) -> None:
        if not name:
            raise self._wrong("one of its initializers has no name")
        self._constants[scope.define(name)] = tensor

    def _name(self, name: str, scope: Scope) -> str:
        """A name for a tensor that no other has: at the top level its own."""
        title = scope.title(name)
        wanted = self._named[title] = self._named.get(title, 0) + 1
        return title if wanted == 1 else self._name(f"{name} ({wanted})", scope)

    def _add_nodes(self, nodes: list[RawNode], scope: Scope) -> None:
        if not scope.is_top:  # defined first, so that a name in a subgraph hides the one outside
            for raw in nodes:
                for name in raw.outputs:
                    scope.define(name)
        functions = self._functions
        for raw in nodes:
            if functions and (raw.domain, raw.op, raw.overload) in functions:
                self._add_call(raw, functions[raw.domain, raw.op, raw.overload], scope)
            elif raw.op == "Constant" and not raw.domain:
                self._add_constant(raw, scope)
            else:
                self._add_node(raw, scope)

    def _add_node(self, raw: RawNode, scope: Scope) -> None:
        inputs, outputs = raw.inputs, raw.outputs
        if not scope.is_top:
            inputs, outputs = tuple(map(scope.resolve, inputs)), tuple(map(scope.resolve, outputs))
        attributes = raw.attributes
        branches: Sequence[tuple[str, _Branch]] = ()
        if raw.unresolved:
            resolved = self._attributes(raw, scope)
            branches = list(_branches(resolved))
            attributes = {name: value for name, value in resolved.items() if not _is_branch(value)}
        node = Node(
            raw.op, raw.domain, raw.name, inputs, outputs, attributes,
            version=scope.opsets.get(raw.domain, 0), scope=scope.path, metadata=raw.metadata,
        )  # fmt: skip
        if branches:
            node.branch_results = tuple(self._add_branches(node, branches))
        self._nodes.append(node)

    def _add_branches(self, node: Node, branches: Sequence[tuple[str, _Branch]]) -> Iterator[str]:
        """Lays the subgraphs of a node flat. Gives the keys of their results."""
        for name, (graph, scope) in branches:
            inner = scope.inside(self._enter(scope), f"{node.name or node.op}/{name}")
            self._add_graph(graph, inner)
            yield from (inner.resolve(info.name) for info in graph.outputs)

    def _enter(self, scope: Scope) -> int:
        """The number of a scope inside `scope`."""
        if scope.depth >= _MAX_DEPTH:
            raise self._wrong(f"subgraphs and functions lie more than {_MAX_DEPTH} deep in one another")
        self._scopes += 1
        return self._scopes

    def _add_call(self, raw: RawNode, function: RawFunction, scope: Scope) -> None:
        if function in self._calls:
            raise self._wrong(f"its local function {quoted(function.name)} calls itself")
        self._unfolded += function.pieces
        if self._unfolded > _MAX_UNFOLDED:
            raise self._wrong(f"calls of its local functions unfold to more than {_MAX_UNFOLDED:,} nodes and names")
        inner = scope.called(self._enter(scope), raw.name or raw.op, function.opsets)
        given = [scope.resolve(name) if name else "" for name in raw.inputs]
        inner.names.update(zip(function.inputs, [*given, *[""] * len(function.inputs)], strict=False))
        inner.attributes = {
            **{name: self._attribute(value, inner) for name, value in function.defaults.items()},
            **(self._attributes(raw, scope) if raw.unresolved else raw.attributes),
        }
        self._calls.append(function)
        self._add_nodes(function.nodes, inner)
        self._calls.pop()
        self._join_results(raw, function, inner, scope)

    def _join_results(self, raw: RawNode, function: RawFunction, inner: Scope, scope: Scope) -> None:
        """Joins a call's outputs to what the body computed, as an Identity would."""
        for formal, actual in zip(function.outputs, raw.outputs, strict=False):
            if not actual:
                continue
            inside, outside = inner.resolve(formal), scope.resolve(actual)
            if inside in self._constants:
                self._constants[outside] = self._constants[inside]
            identity = Node(
                "Identity", "", "", (inside,), (outside,), {}, version=1, scope=inner.path, metadata=raw.metadata
            )
            self._nodes.append(identity)

    def _add_constant(self, raw: RawNode, scope: Scope) -> None:
        attributes = self._attributes(raw, scope) if raw.unresolved else raw.attributes
        kind, value = next(((name, attributes[name]) for name in _CONSTANTS if name in attributes), ("", None))
        if len(raw.outputs) != 1 or not kind or not _holds(value, *_CONSTANTS[kind]):
            raise self._wrong(f"its Constant node {quoted(raw.name or ', '.join(raw.outputs))} holds no value")
        name = self._name(raw.outputs[0], scope)
        self._constants[scope.resolve(raw.outputs[0])] = _constant(value, *_CONSTANTS[kind], name)

    def _attributes(self, raw: RawNode, scope: Scope) -> dict[str, Any]:
        """A node's attributes with their tensors; one that refers to what a call leaves out is left out itself."""
        resolved = {name: self._attribute(value, scope) for name, value in raw.attributes.items()}
        return {name: value for name, value in resolved.items() if value is not None}

    def _attribute(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, AttributeReference):
            return scope.attributes.get(value.name)
        if isinstance(value, RawTensor):
            return self._tensors.tensor(value)
        if isinstance(value, RawSparseTensor):
            return self._tensors.sparse(value)
        if isinstance(value, RawGraph):
            return _Branch(value, scope)
        if type(value) is tuple and value and isinstance(value[0], (RawTensor, RawSparseTensor, RawGraph)):
            return tuple(self._attribute(inner, scope) for inner in value)
        return value

    def _wrong(self, what: str) -> ArtifactError:
        return ArtifactError(self._path, what, "export the model again")


def _branches(attributes: Mapping[str, Any]) -> Iterator[tuple[str, _Branch]]:
    for name, value in attributes.items():
        if isinstance(value, _Branch):
            yield name, value
        elif _is_branch(value):
            yield from ((f"{name}[{place}]", branch) for place, branch in enumerate(value))


def _is_branch(value: Any) -> bool:
    return isinstance(value, _Branch) or (type(value) is tuple and bool(value) and isinstance(value[0], _Branch))


def _holds(value: Any, kind: type, many: bool) -> bool:
    if not many:
        return isinstance(value, kind)
    if isinstance(value, array):
        return {"f": float, "q": int}[value.typecode] is kind
    return isinstance(value, tuple) and all(isinstance(element, kind) for element in value)


def _constant(value: Any, kind: type, many: bool, name: str) -> Tensor:
    """The tensor of a Constant node."""
    if isinstance(value, Tensor):
        return Tensor(name, value.shape, value.dtype, value.storage)
    elements, shape = (value, (len(value),)) if many else ((value,), ())
    if kind is str:
        return Tensor(name, shape, "string", TextStorage(lambda: elements))
    return Tensor(name, shape, _DTYPES[kind], ValueStorage(elements, _DTYPES[kind]))
