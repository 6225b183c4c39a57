"""Each rule of the pack fires on a model that has the fault, and is silent on its twin that has not."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from avreview.api import review
from avreview.engine.review import Finding


@pytest.fixture
def exported(tmp_path: Path):
    """Writes an export of one operator, with the opset that is asked for."""

    def write(opset: int) -> Path:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3])
        score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 3])
        graph = helper.make_graph([helper.make_node("Sigmoid", ["image"], ["score"])], "head", [image], [score])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return write


def found(path: Path) -> list[Finding]:
    (reviewed,) = review([path], select=["TEAM401"]).reviews
    return list(reviewed.findings)


def test_an_opset_that_the_runtime_does_not_know_is_reported(exported):
    (finding,) = found(exported(21))
    assert (finding.rule, finding.observed) == ("TEAM401", {"opset": 21})


def test_the_newest_opset_that_it_knows_is_not(exported):
    assert found(exported(20)) == []
