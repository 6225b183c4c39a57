"""The messages of an ONNX file, decoded from the wire as far as a review needs them.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. A thin reader of our own instead
of `onnx` or `onnx_ir`: importing either takes longer than a whole review may, and both copy the weights; here a
tensor stays a place in the file. Weights are never touched while the structure is read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avreview.artifact import ValueInfo
from avreview.load.dtypes import ONNX_TYPES
from avreview.load.wire import (
    BYTES,
    MAX_DEPTH,
    VARINT,
    Buffer,
    WireError,
    fields,
    packed_floats,
    packed_varints,
    signed,
    text,
)

_SMALL = 1 << 16  # bytes of a node that are copied out of the map once, because bytes are quicker to index
MAX_NODES = 1_000_000  # laid flat; ONNX Runtime stalls at a third of it


@dataclass(slots=True)
class DataField:
    """A field that holds a tensor's elements: how often it occurs, and where its last occurrence is, absolute."""

    occurrences: int
    kind: int
    start: int
    end: int


@dataclass(slots=True)
class RawTensor:
    """A TensorProto: its header, and where its elements are."""

    name: str = ""
    dims: tuple[int, ...] = ()
    data_type: int = 0
    span: tuple[int, int] = (0, 0)  # the message itself, absolute
    data: dict[int, DataField] = field(default_factory=dict)  # by field number
    external: dict[str, str] | None = None
    is_external: bool = False


@dataclass(slots=True)
class RawSparseTensor:
    values: RawTensor
    indices: RawTensor
    dims: tuple[int, ...]


@dataclass(slots=True)
class RawGraph:
    """A GraphProto. `values` are read again from `span` only when somebody asks."""

    name: str = ""
    nodes: list[RawNode] = field(default_factory=list)
    initializers: list[RawTensor] = field(default_factory=list)
    sparse_initializers: list[RawSparseTensor] = field(default_factory=list)
    inputs: list[ValueInfo] = field(default_factory=list)
    outputs: list[ValueInfo] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    span: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class AttributeReference:
    """An attribute of a function's node that takes its value from the call."""

    name: str


@dataclass(slots=True)
class RawNode:
    op: str
    domain: str
    name: str
    overload: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]  # values; RawTensor, RawGraph, lists of them, AttributeReference
    metadata: Mapping[str, str]


@dataclass(slots=True)
class RawFunction:
    name: str = ""
    domain: str = ""
    overload: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[RawNode] = field(default_factory=list)
    opsets: dict[str, int] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RawModel:
    ir_version: int = 0
    producer: str = ""
    producer_version: str = ""
    graph: RawGraph | None = None
    opsets: dict[str, int] = field(default_factory=dict)
    functions: list[RawFunction] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


class LazyMetadata(Mapping[str, str]):
    """A node's metadata_props, decoded when asked for: a stack trace for each node is long."""

    __slots__ = ("_entries", "_spans")

    def __init__(self, spans: list[bytes]) -> None:
        self._spans = spans
        self._entries: dict[str, str] | None = None

    def _read(self) -> dict[str, str]:
        if self._entries is None:
            self._entries = dict(_entry(span, 0, len(span)) for span in self._spans)
        return self._entries

    def __getitem__(self, key: str) -> str:
        return self._read()[key]

    def __iter__(self) -> Any:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._spans)


_NO_METADATA: Mapping[str, str] = {}


def read_model(buffer: Buffer) -> RawModel:
    """A ModelProto. Raises WireError when the bytes are none."""
    model = RawModel()
    for number, kind, a, b in fields(buffer, 0, len(buffer)):
        if number == 7 and kind == BYTES:
            model.graph = _graph(buffer, a, b, 2)
        elif number == 1 and kind == VARINT:
            model.ir_version = signed(a)
        elif number == 2 and kind == BYTES:
            model.producer = text(buffer, a, b)
        elif number == 3 and kind == BYTES:
            model.producer_version = text(buffer, a, b)
        elif number == 8 and kind == BYTES:
            _opset(buffer, a, b, model.opsets)
        elif number == 14 and kind == BYTES:
            model.metadata.update([_entry(buffer, a, b)])
        elif number == 25 and kind == BYTES:
            model.functions.append(_function(buffer, a, b, 2))
    return model


def _opset(buffer: Buffer, start: int, end: int, into: dict[str, int]) -> None:
    domain, version = "", 0
    for number, kind, a, b in fields(buffer, start, end):
        if number == 1 and kind == BYTES:
            domain = text(buffer, a, b)
        elif number == 2 and kind == VARINT:
            version = signed(a)
    into["" if domain == "ai.onnx" else domain] = version


def _entry(buffer: Buffer, start: int, end: int) -> tuple[str, str]:
    key = value = ""
    for number, kind, a, b in fields(buffer, start, end):
        if kind == BYTES and number == 1:
            key = text(buffer, a, b)
        elif kind == BYTES and number == 2:
            value = text(buffer, a, b)
    return key, value


def _graph(buffer: Buffer, start: int, end: int, depth: int, base: int = 0) -> RawGraph:
    """A GraphProto in `buffer[start:end]`; `base` is where `buffer` begins in the file."""
    if depth > MAX_DEPTH:
        raise WireError(f"messages nested more than {MAX_DEPTH} deep")
    graph = RawGraph(span=(start + base, end + base))
    nodes = graph.nodes
    for number, kind, a, b in fields(buffer, start, end):
        if kind != BYTES:
            continue
        if number == 1:
            nodes.append(_node(buffer, a, b, depth + 1, base))
            if len(nodes) > MAX_NODES:
                raise WireError(f"more than {MAX_NODES:,} nodes")
        elif number == 5:
            graph.initializers.append(_tensor(buffer, a, b, base))
        elif number == 11:
            graph.inputs.append(value_info(buffer, a, b))
        elif number == 12:
            graph.outputs.append(value_info(buffer, a, b))
        elif number == 2:
            graph.name = text(buffer, a, b)
        elif number == 15:
            graph.sparse_initializers.append(_sparse(buffer, a, b, base))
        elif number == 16:
            graph.metadata.update([_entry(buffer, a, b)])
    return graph


def graph_values(buffer: Buffer, graph: RawGraph) -> dict[str, ValueInfo]:
    """The declared types of a graph's intermediate values, its inputs and its outputs."""
    start, end = graph.span
    declared = {}
    for number, kind, a, b in fields(buffer, start, end):
        if number in (11, 12, 13) and kind == BYTES:
            info = value_info(buffer, a, b)
            declared[info.name] = info
    return declared


def _function(buffer: Buffer, start: int, end: int, depth: int) -> RawFunction:
    function = RawFunction()
    for number, kind, a, b in fields(buffer, start, end):
        if kind != BYTES:
            continue
        if number == 1:
            function.name = text(buffer, a, b)
        elif number == 4:
            function.inputs.append(text(buffer, a, b))
        elif number == 5:
            function.outputs.append(text(buffer, a, b))
        elif number == 7:
            function.nodes.append(_node(buffer, a, b, depth + 1))
        elif number == 9:
            _opset(buffer, a, b, function.opsets)
        elif number == 10:
            function.domain = text(buffer, a, b)
        elif number == 11:
            function.defaults.update([_attribute(buffer, a, b, 0, depth + 1)])
        elif number == 13:
            function.overload = text(buffer, a, b)
    return function


def _node(buffer: Buffer, start: int, end: int, depth: int, base: int = 0) -> RawNode:
    if end - start <= _SMALL:
        buffer, base, start, end = buffer[start:end], base + start, 0, end - start
    op = domain = name = overload = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, Any] = {}
    metadata: list[bytes] = []
    for number, kind, a, b in fields(buffer, start, end):
        if kind != BYTES:
            continue
        if number == 1:
            inputs.append(text(buffer, a, b))
        elif number == 2:
            outputs.append(text(buffer, a, b))
        elif number == 5:
            attributes.update([_attribute(buffer, a, b, base, depth + 1)])
        elif number == 3:
            name = text(buffer, a, b)
        elif number == 4:
            op = text(buffer, a, b)
        elif number == 7:
            domain = text(buffer, a, b)
        elif number == 8:
            overload = text(buffer, a, b)
        elif number == 9:
            metadata.append(buffer[a:b])
    if not op:
        raise WireError(f"the node at byte {base + start} has no operator")
    if domain == "ai.onnx":
        domain = ""
    props = LazyMetadata(metadata) if metadata else _NO_METADATA
    return RawNode(op, domain, name, overload, inputs, outputs, attributes, props)


def _attribute(buffer: Buffer, start: int, end: int, base: int, depth: int) -> tuple[str, Any]:
    """An attribute's name and value. `base` is where `buffer` begins in the file."""
    name, value = "", None
    floats: list[float] = []
    integers: list[int] = []
    many: list[Any] = []  # strings, tensors or graphs
    for number, kind, a, b in fields(buffer, start, end):
        if number == 1:
            name = text(buffer, a, b)
        elif number == 3:
            value = signed(a)
        elif number == 2:
            value = struct.unpack("<f", buffer[a:b])[0]
        elif number == 4:
            value = text(buffer, a, b)
        elif number == 5:
            value = _tensor(buffer, a, b, base)
        elif number == 6:
            value = _graph(buffer, a, b, depth + 1, base)
        elif number == 7:
            floats.extend(packed_floats(buffer, a, b))
        elif number == 8:
            integers.extend(packed_varints(buffer, kind, a, b))
        elif number == 9:
            many.append(text(buffer, a, b))
        elif number == 10:
            many.append(_tensor(buffer, a, b, base))
        elif number == 11:
            many.append(_graph(buffer, a, b, depth + 1, base))
        elif number == 21:
            value = AttributeReference(text(buffer, a, b))
        elif number == 22:
            value = _sparse(buffer, a, b, base)
    if value is None:
        value = tuple(floats or integers or many)
    return name, value


_DATA_FIELDS = frozenset((4, 5, 6, 7, 9, 10, 11))


def _tensor(buffer: Buffer, start: int, end: int, base: int = 0) -> RawTensor:
    tensor = RawTensor(span=(start + base, end + base))
    dims: list[int] = []
    for number, kind, a, b in fields(buffer, start, end):
        if number == 1:
            dims.extend(packed_varints(buffer, kind, a, b))
        elif number == 2 and kind == VARINT:
            tensor.data_type = a
        elif number == 8 and kind == BYTES:
            tensor.name = text(buffer, a, b)
        elif number in _DATA_FIELDS:
            before = tensor.data.get(number)
            tensor.data[number] = DataField(before.occurrences + 1 if before else 1, kind, a + base, b + base)
        elif number == 13 and kind == BYTES:
            tensor.external = tensor.external or {}
            tensor.external.update([_entry(buffer, a, b)])
        elif number == 14 and kind == VARINT:
            tensor.is_external = a == 1
    tensor.dims = tuple(dims)
    return tensor


def _sparse(buffer: Buffer, start: int, end: int, base: int = 0) -> RawSparseTensor:
    sparse = RawSparseTensor(RawTensor(), RawTensor(), ())
    for number, kind, a, b in fields(buffer, start, end):
        if number == 1 and kind == BYTES:
            sparse.values = _tensor(buffer, a, b, base)
        elif number == 2 and kind == BYTES:
            sparse.indices = _tensor(buffer, a, b, base)
        elif number == 3:
            sparse.dims = (*sparse.dims, *packed_varints(buffer, kind, a, b))
    return sparse


def value_info(buffer: Buffer, start: int, end: int) -> ValueInfo:
    """A ValueInfoProto: the name, and for a tensor its element type and dimensions."""
    name, dtype, dims = "", None, None
    for number, kind, a, b in fields(buffer, start, end):
        if number == 1 and kind == BYTES:
            name = text(buffer, a, b)
        elif number == 2 and kind == BYTES:
            for case, case_kind, c, d in fields(buffer, a, b):
                if case in (1, 8) and case_kind == BYTES:  # a dense or a sparse tensor
                    dtype, dims = _tensor_type(buffer, c, d)
    return ValueInfo(name, dtype, dims)


def _tensor_type(buffer: Buffer, start: int, end: int) -> tuple[str | None, tuple[int | str | None, ...] | None]:
    dtype, dims = None, None
    for number, kind, a, b in fields(buffer, start, end):
        if number == 1 and kind == VARINT:
            dtype = ONNX_TYPES.get(a, (None, 0))[0]
        elif number == 2 and kind == BYTES:
            dims = tuple(_dim(buffer, c, d) for n, k, c, d in fields(buffer, a, b) if n == 1 and k == BYTES)
    return dtype, dims


def _dim(buffer: Buffer, start: int, end: int) -> int | str | None:
    dim: int | str | None = None
    for number, kind, a, b in fields(buffer, start, end):
        if number == 1 and kind == VARINT:
            dim = signed(a)
        elif number == 2 and kind == BYTES:
            dim = text(buffer, a, b) or None
    return dim
