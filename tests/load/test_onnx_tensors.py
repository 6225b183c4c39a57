"""Where tensors keep their elements, and what is refused because they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from wire_models import message, model, model_bytes, number, sparse, tensor_bytes

from avreview.artifact import Artifact
from avreview.errors import ArtifactError
from avreview.load import open_artifact

FLOAT, INT32, STRING, FLOAT16, UINT64, COMPLEX64 = 1, 6, 8, 10, 13, 14


def load(folder: Path, content: bytes) -> Artifact:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return open_artifact(path)


def numbers(field: int, values: list[int]) -> bytes:
    return b"".join(number(field, value) for value in values)


def packed(field: int, values: list[int]) -> bytes:
    return message(field, b"".join(number(0, value)[1:] for value in values))


def test_numbers_packed_and_one_by_one_may_be_mixed(tmp_path: Path) -> None:
    data = numbers(5, [1, -2]) + packed(5, [300, -70_000]) + numbers(5, [5])
    tensor = load(tmp_path, model_bytes(tensor_bytes([5], INT32, data))).tensors["w"]
    assert tensor.read().tolist() == [1, -2, 300, -70_000, 5]
    assert [part.tolist() for part in tensor.chunks(2)] == [[1, -2], [300, -70_000], [5]]


def test_many_packed_numbers_of_every_length(tmp_path: Path) -> None:
    values = [(1 << (i % 64)) + i for i in range(40_000)]
    tensor = load(tmp_path, model_bytes(tensor_bytes([40_000], UINT64, packed(11, values)))).tensors["w"]
    assert tensor.read().tolist() == [value % (1 << 64) for value in values]
    assert np.concatenate([part.copy() for part in tensor.chunks(1000)]).tobytes() == tensor.read().tobytes()


def test_floats_one_by_one(tmp_path: Path) -> None:
    values = np.arange(100_000, dtype="<f4") / 7
    loose = b"".join(b"\x25" + value.tobytes() for value in values)
    tensor = load(tmp_path, model_bytes(tensor_bytes([100_000], FLOAT, loose))).tensors["w"]
    assert tensor.read().tobytes() == values.tobytes()


def test_complex_numbers_one_float_at_a_time(tmp_path: Path) -> None:
    parts = np.array([1, 2, 3, 4], "<f4")
    loose = b"".join(b"\x25" + part.tobytes() for part in parts)
    tensor = load(tmp_path, model_bytes(tensor_bytes([2], COMPLEX64, loose))).tensors["w"]
    assert tensor.read().tolist() == [1 + 2j, 3 + 4j]


def test_an_empty_field_beside_the_elements_is_none(tmp_path: Path) -> None:
    data = message(9, b"") + message(4, np.ones(2, "<f4").tobytes())
    assert load(tmp_path, model_bytes(tensor_bytes([2], FLOAT, data))).tensors["w"].read().tolist() == [1, 1]


@pytest.mark.parametrize("dims", [[0], [3, 0], [0, 1 << 40]])
def test_a_tensor_without_elements(tmp_path: Path, dims: list[int]) -> None:
    tensor = load(tmp_path, model_bytes(tensor_bytes(dims, FLOAT, b""))).tensors["w"]
    assert tensor.read().shape == tuple(dims)
    assert list(tensor.chunks()) == []
    assert len(tensor.part(0, 3)) == 0


def test_strings_that_are_not_utf8_stay_distinct(tmp_path: Path) -> None:
    data = message(6, b"\xff") + message(6, b"\xfe") + message(6, "ü".encode())
    assert load(tmp_path, model_bytes(tensor_bytes([3], STRING, data))).tensors["w"].read().tolist() == [
        "\udcff", "\udcfe", "ü"
    ]  # fmt: skip


RAW = message(9, bytes(8))
WRONG = {
    "no elements": ([2], FLOAT, b""),
    "too few bytes": ([3], FLOAT, RAW),
    "too many bytes": ([1], FLOAT, RAW),
    "too few floats": ([3], FLOAT, message(4, bytes(8))),
    "bytes that are no floats": ([2], FLOAT, message(4, bytes(9))),
    "too many numbers": ([1], INT32, packed(5, [1, 2])),
    "a number cut off": ([1], INT32, message(5, b"\x80")),
    "a number of eleven bytes": ([1], INT32, message(5, b"\xff" * 10 + b"\x01")),
    "the wrong field": ([2], FLOAT, packed(5, [1, 2])),
    "two fields": ([2], FLOAT, RAW + message(4, bytes(8))),
    "raw bytes twice": ([2], FLOAT, RAW + RAW),
    "half a complex number": ([1], COMPLEX64, message(4, bytes(4)) + message(4, bytes(4))),
    "too few strings": ([2], STRING, message(6, b"a")),
    "strings as bytes": ([2], STRING, RAW),
    "a negative dimension": ([-1], FLOAT, RAW),
    "dimensions that overflow": ([1 << 33, 1 << 33], FLOAT, RAW),
    "dimensions that overflow to 2": ([1 << 32, 1 << 32, 2], FLOAT, RAW),
    "no elements, impossibly": ([0, 1 << 62], FLOAT, b""),
    "65 dimensions": ([1] * 65 + [2], FLOAT, RAW),
    "no element type": ([2], 0, RAW),
    "an unknown element type": ([2], 99, RAW),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_tensor_that_does_not_fit_its_shape_stops_the_review(tmp_path: Path, case: str) -> None:
    dims, data_type, data = WRONG[case]
    with pytest.raises(ArtifactError, match="tensor 'w'"):
        load(tmp_path, model_bytes(tensor_bytes(dims, data_type, data)))


def test_an_initializer_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no name"):
        load(tmp_path, model_bytes(tensor_bytes([2], FLOAT, RAW, name=b"")))


def test_sparse_tensors_are_dense_when_read(tmp_path: Path) -> None:
    artifact = load(tmp_path, sparse().SerializeToString())
    assert artifact.tensors["flat"].read().tolist() == [[0, 1, 0], [0, 0, 2]]
    assert artifact.tensors["by_axis"].read().tolist() == [[0, 0, 1], [0, 2, 0]]
    assert [part.tolist() for part in artifact.tensors["by_axis"].chunks(4)] == [[0, 0, 1, 0], [2, 0]]
    assert artifact.tensors["flat"].part(1, 3).tolist() == [1, 0, 0]


def test_sparse_elements_need_not_be_in_order(tmp_path: Path) -> None:
    held, places = (helper.make_tensor(n, k, [2], v) for n, k, v in (("w", 1, [1.0, 2.0]), ("i", 7, [5, 1])))
    made = model([], sparse=[helper.make_sparse_tensor(held, places, [6])])
    tensor = load(tmp_path, made.SerializeToString()).tensors["w"]
    assert tensor.read().tolist() == [0, 2, 0, 0, 0, 1]
    assert [part.tolist() for part in tensor.chunks(3)] == [[0, 2, 0], [0, 0, 1]]


def one_sparse(values: int, indices: list[int], index_dims: list[int], dims: list[int]) -> bytes:
    held = helper.make_tensor("w", TensorProto.FLOAT, [values], [1.0] * values)
    places = helper.make_tensor("i", TensorProto.INT64, index_dims, indices)
    made = helper.make_sparse_tensor(held, places, dims)
    return bytes(model([helper.make_node("Add", ["x", "w"], ["y"])], sparse=[made]).SerializeToString())


@pytest.mark.parametrize(
    ("values", "indices", "index_dims", "dims"),
    [(1, [1, 2], [2], [4]), (1, [1, 2, 3], [1, 3], [4, 4]), (1, [0], [1], []), (1, [0], [1], [-4]),
     (1, [0], [1], [1 << 40])],
)  # fmt: skip
def test_a_sparse_tensor_of_parts_that_do_not_fit_is_refused(
    tmp_path: Path, values: int, indices: list[int], index_dims: list[int], dims: list[int]
) -> None:
    with pytest.raises(ArtifactError, match="tensor 'w'"):
        load(tmp_path, one_sparse(values, indices, index_dims, dims))


@pytest.mark.parametrize("place", [-1, 4, 1 << 62])
def test_an_element_outside_a_sparse_tensor_stops_the_reading(tmp_path: Path, place: int) -> None:
    artifact = load(tmp_path, one_sparse(1, [place], [1], [4]))
    with pytest.raises(ArtifactError, match="outside its shape"):
        artifact.tensors["w"].read()


def test_a_model_of_more_than_two_gigabytes_in_one_file(tmp_path: Path) -> None:
    elements = 3 << 28  # of float32: 3 GB, as a hole in a sparse file
    head = number(1, elements) + number(2, FLOAT) + message(8, b"w")
    tail = model_bytes()[len(number(1, 9)) :]  # a second part of the graph, which adds to the first

    def prefixed(field: int, length: int) -> bytes:
        return message(field, b"")[:-1] + number(0, length)[1:]

    raw = prefixed(9, 4 * elements)
    tensor = prefixed(5, len(head) + len(raw) + 4 * elements) + head + raw
    graph = prefixed(7, len(tensor) + 4 * elements) + tensor
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(number(1, 9) + graph)
        file.seek(4 * elements, 1)
        file.write(tail)
    try:
        artifact = open_artifact(path)
        found = artifact.tensors["w"]
        assert found.shape == (elements,)
        assert found.part(elements - 2, 2).tolist() == [0, 0]
        assert artifact.graph is not None
        assert [node.op for node in artifact.graph.nodes] == ["Relu"]
    finally:
        path.unlink()
