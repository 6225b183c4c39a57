"""ONNX files for the loader's tests: whole models of every kind, and single messages written byte by byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser


def varint(value: int) -> bytes:
    encoded = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """A field of bytes: a string, a message or packed numbers."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def node(op: str, inputs: Sequence[str] = (), outputs: Sequence[str] = (), more: bytes = b"") -> bytes:
    """A node, as a field of a graph."""
    places = b"".join(message(1, name.encode()) for name in inputs)
    places += b"".join(message(2, name.encode()) for name in outputs)
    return message(1, places + message(4, op.encode()) + more)


RELU = node("Relu", ["x"], ["y"]) + message(11, message(1, b"x")) + message(12, message(1, b"y"))


def model_bytes(graph: bytes = b"", before: bytes = b"") -> bytes:
    """A model of one Relu, with more in its graph, and more in front of it."""
    return number(1, 9) + message(8, number(2, 17)) + before + message(7, RELU + graph)


def tensor_bytes(dims: Sequence[int], data_type: int, data: bytes, name: bytes = b"w") -> bytes:
    """An initializer, as a field of a graph."""
    shape = b"".join(number(1, extent) for extent in dims)
    return message(5, shape + number(2, data_type) + message(8, name) + data)


def value(
    name: str, kind: int = TensorProto.FLOAT, shape: Sequence[int | str | None] | None = (2,)
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    *,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    sparse: Sequence[onnx.SparseTensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    opset: int = 17,
    ir_version: int = 10,
) -> onnx.ModelProto:
    """A model from `x` to `y`, importing the domain `local` for its functions."""
    graph = helper.make_graph(
        nodes, "graph", inputs or [value("x")], outputs or [value("y")], initializers, sparse_initializer=sparse
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid("local", 1)] if functions else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=functions)


_ELEMENT_TYPES = [kind for kind in range(1, 29) if kind != TensorProto.STRING]


def every_type() -> onnx.ModelProto:
    """Five elements of each type, once as raw bytes and once in the type's own number field."""
    tensors = [helper.make_tensor("strings", TensorProto.STRING, [2], [b"a", "ü".encode()])]
    for kind in _ELEMENT_TYPES:
        array = np.array([1, 0, 1, 1, 0]).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensors.append(numpy_helper.from_array(array, f"raw{kind}"))
        plain = array.astype(complex if "complex" in array.dtype.name else float).tolist()
        tensors.append(helper.make_tensor(f"typed{kind}", kind, [5], plain))
    return model([helper.make_node("Identity", ["x"], ["y"])], tensors, opset=25, ir_version=13)


def branches() -> onnx.ModelProto:
    """An If whose branches have an initializer and a constant of the same name."""
    then = helper.make_graph(
        [helper.make_node("Add", ["x", "k"], ["o"], name="add")],
        "then", [], [value("o")], [helper.make_tensor("k", 1, [2], [1.0, 2.0])],
    )  # fmt: skip
    constant = helper.make_node("Constant", [], ["k"], value_floats=[3.0, 4.0])
    other = helper.make_graph([constant, helper.make_node("Mul", ["x", "k"], ["o"])], "else", [], [value("o")])
    choose = helper.make_node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=other)
    return model([choose], inputs=[value("x"), value("c", TensorProto.BOOL, ())])


def loop() -> onnx.ModelProto:
    """A Loop around an If."""
    same = helper.make_graph([helper.make_node("Identity", ["v"], ["t"])], "same", [], [value("t")])
    more = helper.make_graph([helper.make_node("Add", ["v", "x"], ["e"])], "more", [], [value("e")])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("If", ["go"], ["w"], then_branch=same, else_branch=more),
        ],
        "body",
        [value("i", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("v")],
        [value("on", TensorProto.BOOL, ()), value("w")],
    )
    repeat = helper.make_node("Loop", ["n", "", "x"], ["y"], name="repeat", body=body)
    return model([repeat], inputs=[value("x"), value("n", TensorProto.INT64, ())])


def calls() -> onnx.ModelProto:
    """A function that calls a function with an attribute, called twice."""
    inner = parser.parse_function(
        '<opset_import: ["" : 13], domain: "local"> Inner <alpha: float = 0.5> (a, b) => (r) '
        "{ t = LeakyRelu <alpha: float = @alpha> (a)  k = Constant <value = float[2] {1, 2}> ()  "
        "u = Mul (t, k)  r = Add (u, b) }"
    )
    given = helper.make_node("Inner", ["a", "a"], ["q"], domain="local", alpha=0.25)
    default = helper.make_node("Inner", ["q", "a"], ["r"], domain="local")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    outer = helper.make_function("local", "Outer", ["a"], ["r"], [given, default], opsets)
    first = helper.make_node("Outer", ["x"], ["z"], domain="local", name="first")
    second = helper.make_node("Outer", ["z"], ["y"], domain="local", name="second")
    return model([first, second], functions=[inner, outer])


def sparse() -> onnx.ModelProto:
    flat = helper.make_sparse_tensor(
        helper.make_tensor("flat", 1, [2], [1.0, 2.0]), helper.make_tensor("i", 7, [2], [1, 5]), [2, 3]
    )
    by_axis = helper.make_sparse_tensor(
        helper.make_tensor("by_axis", 1, [2], [1.0, 2.0]), helper.make_tensor("i", 7, [2, 2], [0, 2, 1, 1]), [2, 3]
    )
    return model([helper.make_node("Add", ["x", "flat"], ["y"])], sparse=[flat, by_axis])


def convolution() -> onnx.ModelProto:
    """A convolution with attributes of every plain kind, metadata and declared inner types."""
    node = helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1], group=1, auto_pad="NOTSET")
    last = helper.make_node("LeakyRelu", ["c"], ["y"], alpha=0.125)
    node.metadata_props.add(key="namespace", value="neck/conv")
    weight = numpy_helper.from_array(np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3), "w")
    image = value("x", shape=["batch", 1, 8, 8])
    made = model([node, last], [weight], inputs=[image], outputs=[value("y", shape=None)])
    made.graph.value_info.append(value("c", shape=["batch", 1, None, 8]))
    return made


def zoo() -> Iterator[tuple[str, onnx.ModelProto]]:
    for maker in (every_type, branches, loop, calls, sparse, convolution):
        yield maker.__name__, maker()


def attribute(name: str, **fields: Any) -> onnx.AttributeProto:
    """An attribute message with exactly these fields."""
    made = onnx.AttributeProto(name=name)
    for field, content in fields.items():
        setattr(made, field, content)
    return made
