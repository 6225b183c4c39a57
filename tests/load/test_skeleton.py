"""A model without its weights: everything else is as it was, and the weights are never read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from wire_models import message, model, model_bytes, number, tensor_bytes, value, zoo

from avreview.load.onnx.skeleton import skeleton
from avreview.load.wire import WireError


def large(name: str, elements: int = 5_000) -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(elements, np.float32), name)


@pytest.mark.parametrize(("name", "made"), list(zoo()))
def test_a_small_model_stays_as_it_is(name: str, made: onnx.ModelProto) -> None:
    content = made.SerializeToString()
    assert skeleton(content) == content


def test_large_tensors_lose_their_elements_wherever_they_are() -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], value=large("in branch")), helper.make_node("Add", ["x", "k"], ["o"])],
        "then", [], [value("o")], [large("inner")],
    )  # fmt: skip
    constant = helper.make_node("Constant", [], ["c"], value=large("in function"))
    function = helper.make_function("local", "F", [], ["c"], [constant], [helper.make_opsetid("", 17)])
    made = model(
        [helper.make_node("If", ["x"], ["y"], name="if", then_branch=inner, else_branch=inner)],
        [large("outer"), helper.make_tensor("typed", TensorProto.INT64, [5_000], range(5_000)), large("small", 3)],
        functions=[function],
    )
    made.graph.node[0].doc_string = "kept" * 1_000
    left = onnx.load_from_string(skeleton(made.SerializeToString()))
    for tensor in (
        *left.graph.initializer[:2],
        *left.graph.node[0].attribute[0].g.initializer,
        left.graph.node[0].attribute[1].g.node[0].attribute[0].t,
        left.functions[0].node[0].attribute[0].t,
    ):
        assert list(tensor.dims) == [0]
        assert tensor.name
        tensor.CopyFrom(TensorProto(name=tensor.name))
    expected = made
    for tensor in (
        *expected.graph.initializer[:2],
        *expected.graph.node[0].attribute[0].g.initializer,
        *expected.graph.node[0].attribute[1].g.initializer,
    ):
        tensor.CopyFrom(TensorProto(name=tensor.name))
    assert left.graph.initializer == expected.graph.initializer
    assert left.graph.node[0].doc_string == expected.graph.node[0].doc_string
    assert [node.op_type for node in left.graph.node[0].attribute[0].g.node] == ["Constant", "Add"]
    assert len(skeleton(made.SerializeToString())) < 6_000


def test_external_tensors_are_embedded_and_empty() -> None:
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    left = onnx.load_from_string(skeleton(model([], [tensor]).SerializeToString()))
    assert left.graph.initializer[0] == TensorProto(name="w", data_type=1, dims=[0])


def test_long_strings_of_attributes_are_emptied() -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context=b"e" * 100_000)
    left = onnx.load_from_string(skeleton(model([node]).SerializeToString()))
    assert left.graph.node[0].attribute[0].HasField("s")
    assert left.graph.node[0].attribute[0].s == b""


def test_a_message_that_is_cut_off() -> None:
    content = model([helper.make_node("Relu", ["x"], ["y"])], [large("w")]).SerializeToString()
    with pytest.raises(WireError):
        skeleton(content[:-1])


_MEASURE = """
import mmap, sys
sys.path[:0] = {path!r}
from avreview.load.onnx.skeleton import skeleton
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
    size = len(skeleton(buffer))
print(size, next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures by /proc")
def test_four_gigabytes_of_weights_are_not_read(tmp_path: Path) -> None:
    length = 4 << 30
    tensor = tensor_bytes([length // 4], 1, message(9, b""))[2:-1] + number(0, length)[1:]
    head = (
        number(1, 9) + b"\x3a" + number(0, length + len(tensor) + 7)[1:] + b"\x2a" + number(0, length + len(tensor))[1:]
    )
    graph_length = 1 + len(number(0, length + len(tensor))[1:]) + len(tensor) + length
    head = number(1, 9) + b"\x3a" + number(0, graph_length)[1:] + b"\x2a" + number(0, length + len(tensor))[1:]
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(head + tensor)
        file.seek(length, 1)
        file.write(model_bytes())
    try:
        code = _MEASURE.format(path=[entry for entry in sys.path if entry])
        ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        size, peak = map(int, ran.stdout.split())
        assert size < 200
        assert peak < 60
    finally:
        path.unlink()
