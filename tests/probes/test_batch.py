from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import ModelBuilder

from avreview.probes.child.batch import probe
from avreview.probes.child.dynamic_batch import made_dynamic
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime
from avreview.probes.child.slices import CLEAN, DEPARTS, MERGED, Seat, batch_axis, status

SIZES = (1, 3, 2)


def inputs(shape: tuple[int, ...], *, batch: int | None = None, axis: int | None = 0) -> Inputs:
    entry = {
        "name": "x", "dtype": "float32", "shape": shape, "kind": "features", "batch_axis": axis, "low": 0, "high": 2,
        "value": None,
    }  # fmt: skip
    return Inputs({"attempts": [[entry]], "batch": batch, "seed": 0, "given": None, "note": None})


def measured(path: Path, model: ModelBuilder, **how: Any) -> dict[str, Any]:
    return probe(Runtime(model.save(path / "m.onnx")), inputs(**how), {"sizes": SIZES, "min_batch": 2})


def test_a_sample_sits_among_its_neighbours() -> None:
    assert Seat.middle(2).usual == [1, 0]
    assert Seat.middle(3).usual == [1, 0, 2]
    assert Seat.middle(3).exchanged == [-1, 0, -2]
    assert Seat(0, 2).usual == [0, 1]


def test_the_rows_of_a_sample() -> None:
    array = np.arange(12).reshape(6, 2)
    assert Seat(1, 3).rows(array, 0).tolist() == [[4, 5], [6, 7]]
    assert Seat(1, 3).rows(array, 0, together=False).tolist() == [[2, 3], [8, 9]]
    assert Seat(1, 2).rows(array, 1)[:, 0].tolist() == [1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize(
    ("shape", "there", "axis"),
    [
        ((3, 8), (1, 8), 0),
        ((8, 3), (8, 1), 1),
        ((3, 3), (3, 1), 1),  # classes in front
        ((12, 8), (4, 8), 0),  # four rows a sample
        ((6, 3, 2), (2, 1, 2), 1),  # one row a sample is surer than two
        ((1, 8), (1, 8), None),  # fused
        ((5, 8), (4, 8), None),  # as many as there are
        ((3, 8), (8,), None),
        ((), (), None),
    ],
)
def test_the_axis_that_follows_the_batch(shape: tuple[int, ...], there: tuple[int, ...], axis: int | None) -> None:
    assert batch_axis(shape, 3, (there, 1)) == axis


@pytest.mark.parametrize(
    ("shape", "usual", "axis"), [((4, 2), 0, 0), ((5, 4), 1, 1), ((4, 4), 1, 1), ((5, 4), 0, None), ((1, 8), 0, None)]
)
def test_the_axis_of_a_fixed_batch(shape: tuple[int, ...], usual: int, axis: int | None) -> None:
    assert batch_axis(shape, 4, None, usual) == axis


def test_how_a_value_stands_to_a_swap() -> None:
    one = np.arange(24.0).reshape(3, 8)
    other = one + 1
    other[1] = one[1]
    seat = Seat.middle(3)
    assert status(one, one, seat, None) == CLEAN
    for there in (None, ((1, 8), 1)):
        assert status(one, other, seat, there) == CLEAN
        assert status(one, one + 1, seat, there) == DEPARTS
    assert status(one.T, other.T, seat, ((8, 1), 1)) == CLEAN
    assert status(one.mean(0), other.mean(0), seat, ((8,), 1)) == MERGED
    assert status(one.mean(0), other.mean(0), seat, None) == MERGED
    assert status(one, other[:2], seat, None) == CLEAN  # nothing to lay beside it


def test_two_sizes_suffice_where_both_run(tmp_path: Path) -> None:
    model = ModelBuilder().input("x", ["batch", 8]).linear("fc", 4).output("y")
    answer = measured(tmp_path, model, shape=(1, 8))
    assert (answer["sizes"], answer["failed"]) == ([1, 3], {})
    assert answer["shapes"] == {"1": {"y": [1, 4]}, "3": {"y": [3, 4]}}
    assert answer["coupling"] == {"size": 3, "moved": {"y": 0.0}, "left_out": {}, "culprit": None}


def test_the_runtimes_words_name_the_node(tmp_path: Path) -> None:
    model = ModelBuilder().input("x", ["batch", 8]).linear("fc", 4).reshape(2, 4, module="head").output("y")
    answer = measured(tmp_path, model, shape=(1, 8))
    assert answer["sizes"] == [2]
    assert set(answer["failed"]) == {"1", "3"}
    assert answer["node"] == "/head/Reshape"
    assert "ONNX Runtime refused" not in answer["failed"]["1"]


def test_a_model_that_accepts_no_size(tmp_path: Path) -> None:
    model = ModelBuilder().input("x", ["batch", 8]).reshape(7, 8, module="head").output("y")
    with pytest.raises(Refused, match="none of the inputs that were made up"):
        measured(tmp_path, model, shape=(1, 8))


def test_no_batch(tmp_path: Path) -> None:
    model = ModelBuilder().input("x", [8]).op("Relu").output("y")
    with pytest.raises(Refused, match="no input has an axis that holds samples"):
        measured(tmp_path, model, shape=(8,), axis=None)


@pytest.mark.parametrize(("size", "reverse"), [(2, 0), (2, 1), (3, 0), (3, 1)])
def test_what_flows_along_a_fixed_batch_is_seen_in_both_directions(tmp_path: Path, size: int, reverse: int) -> None:
    model = ModelBuilder().input("x", [size, 8]).linear("fc", 4)
    model.node("CumSum", [model.value, model.tensor("axis", np.array(0))], module="sum", reverse=reverse)
    answer = measured(tmp_path, model.output("y"), shape=(size, 8), batch=size)
    assert answer["coupling"]["culprit"] == "y"
    assert answer["coupling"]["moved"]["y"] > 0.01


def test_a_batch_of_one_made_free(tmp_path: Path) -> None:
    """Targets that say 1 follow the batch; one that says -1 elsewhere copies it; weights are left alone."""
    model = ModelBuilder().input("x", [1, 2, 8]).reshape(1, 16, channels=16).linear("fc", 8).reshape(1, 2, -1)
    model.tensor("kept", np.array([1, 8], np.int64))
    path = model.output("y", [1, 2, 4]).save(tmp_path / "m.onnx")
    proto = onnx.load_from_string(made_dynamic(Runtime(path), inputs((1, 2, 8), batch=1)))
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in proto.graph.initializer}
    targets = [tensors[node.input[1]] for node in proto.graph.node if node.op_type == "Reshape"]
    assert targets == [[-1, 16], [0, 2, -1]]
    assert tensors["kept"] == [1, 8]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert not proto.graph.output[0].type.tensor_type.HasField("shape")
