"""What the loader reads is what onnx reads, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from wire_models import zoo

from avreview.artifact import Artifact, Tensor
from avreview.load import open_artifact

_PUBLISHED = Path(onnx.__file__).parent / "backend" / "test" / "data"
_LARGEST = 300_000  # bytes of a published model that is worth the time here
_NUMBERS = {1, 2, 6, 7}  # attributes of type FLOAT, INT, FLOATS and INTS

Array = np.ndarray[Any, Any]
Functions = dict[tuple[str, str, str], onnx.FunctionProto]


def published() -> list[Path]:
    return sorted(path for path in _PUBLISHED.rglob("*.onnx") if path.stat().st_size < _LARGEST)


def flat_count(nodes: Sequence[onnx.NodeProto], functions: Functions) -> int:
    """How many nodes a graph has, laid flat: a call is its body, and one Identity for each result."""
    count = 0
    for node in nodes:
        function = functions.get((node.domain, node.op_type, node.overload))
        if function is not None:
            count += flat_count(function.node, functions) + sum(map(bool, node.output))
            continue
        count += not (node.op_type == "Constant" and node.domain in ("", "ai.onnx"))
        for attribute in node.attribute:
            count += sum(flat_count(graph.node, functions) for graph in (attribute.g, *attribute.graphs))
    return count


def assert_same(expected: Array, tensor: Tensor) -> None:
    found = tensor.read()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), tensor.name
    if expected.dtype == object:
        assert found.tolist() == expected.tolist()
        return
    assert found.tobytes() == expected.tobytes(), tensor.name
    for elements in (7, 64, 65_536):
        if expected.size < 1000 * elements:
            parts = [part.copy() for part in tensor.chunks(elements)]
            assert all(0 < len(part) <= elements for part in parts)
            assert b"".join(part.tobytes() for part in parts) == expected.tobytes()
    for start in range(min(20, tensor.size)):
        assert tensor.part(start, 5).tobytes() == expected.reshape(-1)[start : start + 5].tobytes()


def constants(model: onnx.ModelProto, folder: str) -> Iterator[tuple[str, Array]]:
    for tensor in model.graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor, folder)
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            held = helper.get_attribute_value(attribute)
            if attribute.name == "value":
                yield node.output[0], numpy_helper.to_array(held)
            elif attribute.name in ("value_float", "value_floats"):
                yield node.output[0], np.array(held, np.float32)
            elif attribute.name in ("value_int", "value_ints"):
                yield node.output[0], np.array(held, np.int64)


def assert_top_level_same(model: onnx.ModelProto, artifact: Artifact, functions: Functions) -> None:
    assert artifact.graph is not None
    by_outputs = {node.outputs: node for node in artifact.graph.nodes}
    for node in model.graph.node:
        if node.op_type == "Constant" or (node.domain, node.op_type, node.overload) in functions:
            continue
        found = by_outputs[tuple(node.output)]
        assert (found.op, found.name, found.inputs) == (node.op_type, node.name, tuple(node.input))
        assert dict(found.metadata) == {entry.key: entry.value for entry in node.metadata_props}
        for attribute in node.attribute:
            if attribute.type in _NUMBERS:
                expected = helper.get_attribute_value(attribute)
                np.testing.assert_array_equal(found.attributes[attribute.name], expected)
            elif attribute.type == onnx.AttributeProto.STRING:
                assert found.attributes[attribute.name] == attribute.s.decode()


def assert_agrees(path: Path) -> None:
    model, artifact = onnx.load(path), open_artifact(path)
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    assert artifact.graph is not None
    assert len(artifact.graph.nodes) == flat_count(model.graph.node, functions)
    assert [node.index for node in artifact.graph.nodes] == list(range(len(artifact.graph.nodes)))
    for name, expected in constants(model, os.fspath(path.parent)):
        assert artifact.graph.constants[name] is artifact.tensors[name]
        assert_same(expected, artifact.tensors[name])
    assert_top_level_same(model, artifact, functions)
    assert {info.name for info in model.graph.value_info} <= set(artifact.graph.values)


@pytest.mark.parametrize("path", published(), ids=lambda path: str(path.relative_to(_PUBLISHED).with_suffix("")))
def test_published_models_read_as_onnx_reads_them(path: Path) -> None:
    assert_agrees(path)


@pytest.mark.parametrize(("name", "model"), list(zoo()))
@pytest.mark.parametrize("external", [False, True], ids=["embedded", "external"])
def test_made_models_read_as_onnx_reads_them(name: str, model: onnx.ModelProto, external: bool, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.onnx"
    if external:
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    else:
        onnx.save(model, path)
    assert_agrees(path)


def test_the_sample_is_large_enough() -> None:
    assert len(published()) > 100
