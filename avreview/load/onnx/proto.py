"""The messages of an ONNX file, decoded from the wire.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. A thin reader of our own instead
of `onnx` or `onnx_ir`: importing either takes longer than a whole review may, and both copy the weights; here a
tensor stays a place in the file. As in every protobuf reader a field of another wire type than its own is ignored.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from avreview.artifact import ValueInfo
from avreview.errors import ArtifactError
from avreview.load.dtypes import ONNX_TYPES
from avreview.load.onnx.messages import (
    AttributeReference,
    DataField,
    LazyMapping,
    RawFunction,
    RawGraph,
    RawModel,
    RawNode,
    RawSparseTensor,
    RawTensor,
)
from avreview.load.source import Source
from avreview.load.wire import (
    BYTES,
    FIXED32,
    FIXED64,
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
_SHORT = 48  # bytes of an attribute that is worth remembering: the same few fill a graph
_REMEMBERED = 10_000
_AS_TUPLE = 4_096  # numbers of an attribute; a longer list stays an array, eight bytes a number

# What a structure may consist of, so that a file of empty messages cannot fill the memory: Python needs about a
# hundred bytes for each piece where the file may need two. It is enough for half a million nodes; ONNX Runtime
# stalls before that.
MAX_PIECES = 8_000_000
_NODE, _TENSOR, _VALUE, _ENTRY, _GRAPH = 8, 16, 8, 2, 32  # what each weighs, in such pieces

# AttributeProto: the field that holds the value of an attribute of each type, and the value of one left out.
_FIELD_OF_TYPE = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 10, 10: 11, 11: 22, 12: 23}
_DEFAULTS: dict[int, Any] = {2: 0.0, 3: 0, 4: "", 7: (), 8: (), 9: (), 10: (), 11: (), 23: ()}
_RAW = (RawTensor, RawGraph, RawSparseTensor, AttributeReference)
_NO_ATTRIBUTES: dict[str, Any] = {}
# TensorProto: the fields that hold elements, and the wire type of one element alone.
_DATA_FIELDS = {4: FIXED32, 5: VARINT, 6: BYTES, 7: VARINT, 9: BYTES, 10: FIXED64, 11: VARINT}


class ModelReader:
    """Decodes the model in a file. Everything it raises is an ArtifactError that names the file."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._buffer = source.map()
        self._attributes: dict[bytes, tuple[str, Any]] = {}  # decoded before, by their bytes
        self._left = MAX_PIECES

    def model(self) -> RawModel:
        """The ModelProto."""
        with self._whole():
            return self._model()

    def values(self, graph: RawGraph) -> dict[str, ValueInfo]:
        """The declared types of a graph's intermediate values, its inputs and its outputs."""
        declared = {}
        with self._whole():
            for start, end in graph.spans:
                for number, kind, a, b in fields(self._buffer, start, end):
                    if number in (11, 12, 13) and kind == BYTES:
                        info = self._value_info(self._buffer, a, b)
                        declared[info.name] = info
        return declared

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except WireError as error:
            remedy = "check that it is an ONNX file and copied completely"
            raise ArtifactError(self._path, f"is not a whole ONNX model ({error})", remedy) from None

    def _spend(self, pieces: int) -> None:
        self._left -= pieces
        if self._left < 0:
            what = f"has more than {MAX_PIECES:,} nodes, names and attributes together"
            raise ArtifactError(self._path, what, "export the model in parts")

    def _model(self) -> RawModel:
        buffer = self._buffer
        model = RawModel()
        for number, kind, a, b in fields(buffer, 0, len(buffer)):
            if kind == VARINT and number == 1:
                model.ir_version = signed(a)
            elif kind != BYTES:
                continue
            elif number == 7:  # a second one adds to the first, as in every protobuf reader
                model.graph = self._graph(model.graph or RawGraph(), buffer, a, b, 0, 2)
            elif number == 2:
                model.producer = text(buffer, a, b)
            elif number == 3:
                model.producer_version = text(buffer, a, b)
            elif number == 8:
                self._opset(model.opsets, buffer, a, b)
            elif number == 14:
                model.metadata.update([self._entry(buffer, a, b)])
            elif number == 25:
                model.functions.append(self._function(buffer, a, b, 2))
        return model

    def _opset(self, into: dict[str, int], buffer: Buffer, start: int, end: int) -> None:
        domain, version = "", 0
        for number, kind, a, b in fields(buffer, start, end):
            if number == 1 and kind == BYTES:
                domain = text(buffer, a, b)
            elif number == 2 and kind == VARINT:
                version = signed(a)
        into[_domain(domain)] = version
        self._spend(_ENTRY)

    def _entry(self, buffer: Buffer, start: int, end: int) -> tuple[str, str]:
        key = value = ""
        for number, kind, a, b in fields(buffer, start, end):
            if kind == BYTES and number == 1:
                key = text(buffer, a, b)
            elif kind == BYTES and number == 2:
                value = text(buffer, a, b)
        self._spend(_ENTRY)
        return key, value

    def _entries(self, entries: Sequence[bytes]) -> dict[str, str]:
        with self._whole():
            return dict(self._entry(entry, 0, len(entry)) for entry in entries)

    def _graph(self, graph: RawGraph, buffer: Buffer, start: int, end: int, base: int, depth: int) -> RawGraph:
        """Adds the GraphProto in `buffer[start:end]`; `base` is where `buffer` begins in the file."""
        if depth > MAX_DEPTH:
            raise WireError(f"messages nested more than {MAX_DEPTH} deep")
        self._spend(_GRAPH)
        graph.spans.append((start + base, end + base))
        nodes, node = graph.nodes, self._node
        for number, kind, a, b in fields(buffer, start, end):
            if kind != BYTES:
                continue
            if number == 1:
                nodes.append(node(buffer, a, b, base, depth + 1))
            elif number == 5:
                graph.initializers.append(self._tensor(buffer, a, b, base))
            elif number == 11:
                graph.inputs.append(self._value_info(buffer, a, b))
            elif number == 12:
                graph.outputs.append(self._value_info(buffer, a, b))
            elif number == 15:
                graph.sparse_initializers.append(self._sparse(buffer, a, b, base))
            elif number == 16:
                graph.metadata.update([self._entry(buffer, a, b)])
        return graph

    def _function(self, buffer: Buffer, start: int, end: int, depth: int) -> RawFunction:
        function = RawFunction()
        left = self._left
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
                function.nodes.append(self._node(buffer, a, b, 0, depth + 1))
            elif number == 9:
                self._opset(function.opsets, buffer, a, b)
            elif number == 10:
                function.domain = _domain(text(buffer, a, b))
            elif number == 11:
                function.defaults.update([self._attribute(buffer, a, b, 0, depth + 1)])
            elif number == 13:
                function.overload = text(buffer, a, b)
        self._spend(_GRAPH + len(function.inputs) + len(function.outputs) + 2 * len(function.defaults))
        function.pieces = left - self._left
        return function

    def _node(self, buffer: Buffer, start: int, end: int, base: int, depth: int) -> RawNode:
        if end - start <= _SMALL:
            buffer, base, start, end = buffer[start:end], base + start, 0, end - start
        else:
            self._spend(sum(1 for _ in fields(buffer, start, end)))  # before they are kept
        op = domain = name = overload = ""
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: dict[str, Any] = {}
        unresolved: list[str] = []
        entries: list[bytes] = []
        remembered = self._attributes
        for number, kind, a, b in fields(buffer, start, end):
            if kind != BYTES:
                continue
            if number == 1:
                inputs.append(text(buffer, a, b))
            elif number == 2:
                outputs.append(text(buffer, a, b))
            elif number == 5:
                known = remembered.get(buffer[a:b]) if b - a <= _SHORT else None
                key, value = known or self._attribute(buffer, a, b, base, depth + 1)
                if value is not None:
                    attributes[key] = value
                if known is None and _is_raw(value):
                    unresolved.append(key)
                elif known is None and b - a <= _SHORT and len(remembered) < _REMEMBERED:
                    remembered[buffer[a:b]] = key, value
            elif number == 3:
                name = text(buffer, a, b)
            elif number == 4:
                op = text(buffer, a, b)
            elif number == 7:
                domain = text(buffer, a, b)
            elif number == 8:
                overload = text(buffer, a, b)
            elif number == 9:
                entries.append(buffer[a:b])
        if not op:
            raise WireError(f"the node at byte {base + start} has no operator")
        self._spend(_NODE + len(inputs) + len(outputs) + 2 * len(attributes) + len(entries))
        return RawNode(
            op, _domain(domain), name, overload, tuple(inputs), tuple(outputs), attributes or _NO_ATTRIBUTES,
            tuple(unresolved), LazyMapping(partial(self._entries, entries)) if entries else None,
        )  # fmt: skip

    def _attribute(self, buffer: Buffer, start: int, end: int, base: int, depth: int) -> tuple[str, Any]:
        """An attribute's name and value. `base` is where `buffer` begins in the file."""
        name = reference = ""
        type_of = 0
        found: dict[int, Any] = {}
        floats, integers = array("f"), array("q")
        for number, kind, a, b in fields(buffer, start, end):
            if kind == BYTES:
                if number == 1:
                    name = text(buffer, a, b)
                elif number == 4:
                    found[4] = text(buffer, a, b)
                elif number == 7:
                    floats.extend(packed_floats(buffer, a, b))
                elif number == 8:
                    integers.extend(packed_varints(buffer, a, b))
                elif number == 21:
                    reference = text(buffer, a, b)
                elif number in _MESSAGES:
                    self._add_message(found, number, buffer, a, b, base, depth + 1)
            elif kind == VARINT:
                if number == 3:
                    found[3] = signed(a)
                elif number == 8:
                    integers.append(signed(a))
                elif number == 20:
                    type_of = a
            elif kind == FIXED32 and number == 7:
                floats.extend(packed_floats(buffer, a, b))
            elif kind == FIXED32 and number == 2:
                found[2] = struct.unpack("<f", buffer[a:b])[0]
        if reference:
            return name, AttributeReference(reference)
        if floats:
            found[7] = floats
        if integers:
            found[8] = integers
        return name, _value(type_of, found)

    def _add_message(
        self, found: dict[int, Any], number: int, buffer: Buffer, a: int, b: int, base: int, depth: int
    ) -> None:
        value: Any
        if number in (5, 10):
            value = self._tensor(buffer, a, b, base)
        elif number in (6, 11):
            value = self._graph(RawGraph(), buffer, a, b, base, depth)
        elif number == 9:
            value = text(buffer, a, b)
            self._spend(_ENTRY)
        else:
            value = self._sparse(buffer, a, b, base)
        if number in (9, 10, 11, 23):
            found.setdefault(number, []).append(value)
        elif number in found:
            raise WireError(f"an attribute with two values at byte {base + a}")
        else:
            found[number] = value

    def _tensor(self, buffer: Buffer, start: int, end: int, base: int) -> RawTensor:
        tensor = RawTensor((start + base, end + base))
        dims: list[int] = []
        data = tensor.data
        for number, kind, a, b in fields(buffer, start, end):
            if number in _DATA_FIELDS:
                if kind not in (BYTES, _DATA_FIELDS[number]):
                    continue
                before = data.get(number)
                data[number] = DataField(before.occurrences + 1 if before else 1, kind, a + base, b + base)
            elif kind == BYTES:
                if number == 8:
                    tensor.name = text(buffer, a, b)
                elif number == 1:
                    dims.extend(packed_varints(buffer, a, b))
                elif number == 13:
                    tensor.external = tensor.external or {}
                    tensor.external.update([self._entry(buffer, a, b)])
            elif kind == VARINT:
                if number == 1:
                    dims.append(signed(a))
                elif number == 2:
                    tensor.data_type = a
                elif number == 14:
                    tensor.is_external = a == 1
        tensor.dims = tuple(dims)
        self._spend(_TENSOR)
        return tensor

    def _sparse(self, buffer: Buffer, start: int, end: int, base: int) -> RawSparseTensor:
        dims: list[int] = []
        parts: dict[int, RawTensor] = {}
        for number, kind, a, b in fields(buffer, start, end):
            if number in (1, 2) and kind == BYTES:
                if number in parts:
                    raise WireError(f"a sparse tensor with a part twice at byte {base + a}")
                parts[number] = self._tensor(buffer, a, b, base)
            elif number == 3 and kind == VARINT:
                dims.append(signed(a))
            elif number == 3 and kind == BYTES:
                dims.extend(packed_varints(buffer, a, b))
        nothing = RawTensor((0, 0))
        return RawSparseTensor(parts.get(1, nothing), parts.get(2, nothing), tuple(dims))

    def _value_info(self, buffer: Buffer, start: int, end: int) -> ValueInfo:
        """A ValueInfoProto: the name, and for a tensor its element type and dimensions."""
        name, dtype, dims = "", None, None
        for number, kind, a, b in fields(buffer, start, end):
            if number == 1 and kind == BYTES:
                name = text(buffer, a, b)
            elif number == 2 and kind == BYTES:
                for case, case_kind, c, d in fields(buffer, a, b):
                    if case in (1, 8) and case_kind == BYTES:  # a dense or a sparse tensor
                        dtype, dims = _tensor_type(buffer, c, d)
        self._spend(_VALUE)
        return ValueInfo(name, dtype, dims)


_MESSAGES = frozenset((5, 6, 9, 10, 11, 22, 23))  # of an AttributeProto, strings among them


def _domain(name: str) -> str:
    """A domain; the ONNX standard's own goes by two names."""
    return "" if name == "ai.onnx" else name


def _value(type_of: int, found: dict[int, Any]) -> Any:
    """An attribute's value: what lies in its type's field, whatever else lies beside it."""
    number = _FIELD_OF_TYPE.get(type_of, 0) or next(iter(found), 7)
    value = found.get(number, _DEFAULTS.get(number))
    if isinstance(value, list) or (isinstance(value, array) and len(value) <= _AS_TUPLE):
        return tuple(value)
    return value


def _is_raw(value: Any) -> bool:
    return isinstance(value[0] if type(value) is tuple and value else value, _RAW)


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
