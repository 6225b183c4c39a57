"""What a report says of what could not be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from avreview.api import review


def said(path: Path, nodes: list[object], weights: dict[str, np.ndarray], inputs: dict[str, list[object]]) -> str:
    """The limitations of a model made of these, joined."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("maker", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    report = review([path], ignore=["AV002"])
    return " ".join(report.reviews[0].limitations)


def trained(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_t(3, shape).astype(np.float32)


CONV = helper.make_node("Conv", ["x", "w"], ["y"], "conv")
IMAGE: dict[str, list[object]] = {"x": ["n", 4, 8, 8]}


def test_nothing_is_said_where_everything_was_seen(tmp_path: Path) -> None:
    assert said(tmp_path / "m.onnx", [CONV], {"w": trained(4, 4, 1, 1)}, IMAGE) == ""


def test_weights_that_the_graph_computes(tmp_path: Path) -> None:
    words = said(tmp_path / "m.onnx", [CONV], {}, {**IMAGE, "w": [4, 4, 1, 1]})
    assert "1 layer of 1 takes weights that the graph computes" in words
    assert "(conv)" in words


def test_quantized_weights(tmp_path: Path) -> None:
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), CONV]
    weights: dict[str, np.ndarray] = {"q": np.ones((4, 4, 1, 1), np.int8), "s": np.array(0.1, np.float32)}
    assert "1 layer of 1 holds quantized weights" in said(tmp_path / "m.onnx", nodes, weights, IMAGE)


def test_weights_that_a_caller_may_replace(tmp_path: Path) -> None:
    words = said(tmp_path / "m.onnx", [CONV], {"w": trained(4, 4, 1, 1)}, {**IMAGE, "w": [4, 4, 1, 1]})
    assert "1 weight is also an input of the graph" in words


@pytest.mark.parametrize(("domain", "named"), [("maker", True), ("com.microsoft", False)])
def test_custom_operators(tmp_path: Path, domain: str, named: bool) -> None:
    nodes = [helper.make_node("Secret", ["x"], ["h"], domain=domain), helper.make_node("Conv", ["h", "w"], ["y"])]
    words = said(tmp_path / "m.onnx", nodes, {"w": trained(4, 4, 1, 1)}, IMAGE)
    assert ("maker::Secret" in words) == named
