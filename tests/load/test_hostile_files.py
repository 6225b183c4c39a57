"""Files that want to crash, hang or fill the memory: each is an ArtifactError or a loaded model, and cheap."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_models import RELU, message, model_bytes, node, number, tensor_bytes, varint, zoo

from avreview.artifact import Artifact
from avreview.errors import ArtifactError
from avreview.load import open_artifact

SMALL = [made.SerializeToString() for _, made in zoo()]


def load(folder: Path, content: bytes) -> Artifact:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return open_artifact(path)


def use(artifact: Artifact) -> None:
    """Reads all that is read when it is asked for."""
    assert artifact.graph is not None
    len(artifact.graph.values)
    for made in artifact.graph.nodes:
        len(made.metadata)
    for tensor in artifact.tensors.values():
        if tensor.size < 100_000:
            assert tensor.read().shape == tensor.shape
            assert sum(map(len, tensor.chunks(64))) == tensor.size


def assert_handled(folder: Path, content: bytes) -> None:
    started = time.process_time()
    try:
        use(load(folder, content))
    except ArtifactError as error:
        said = str(error)
        assert said.isprintable()
        assert len(said) < 1_000
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("content", SMALL, ids=[name for name, _ in zoo()])
def test_a_model_cut_off_at_any_byte(tmp_path: Path, content: bytes) -> None:
    for end in range(0, len(content), max(len(content) // 400, 1)):
        assert_handled(tmp_path, content[:end])
    with pytest.raises(ArtifactError, match="not a whole ONNX model"):
        load(tmp_path, content[:-1])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), which=st.integers(0, len(SMALL) - 1), changes=st.integers(1, 12))
def test_a_model_with_bytes_changed(tmp_path: Path, seed: int, which: int, changes: int) -> None:
    chance = random.Random(seed)
    content = bytearray(SMALL[which])
    for _ in range(changes):
        place, other = chance.randrange(len(content)), chance.randrange(len(content))
        kind = chance.randrange(5)
        if kind == 0:
            content[place] = chance.randrange(256)
        elif kind == 1:
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del content[place : place + chance.choice((0, 1, 4))]
        elif kind == 3:
            content[place:place] = content[other : other + 24]
        else:
            content[place:place] = b"\xff" * chance.choice((1, 4, 9)) + b"\x01"
    assert_handled(tmp_path, bytes(content))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    assert_handled(tmp_path, content)


def deep(levels: int) -> bytes:
    graph = RELU
    for _ in range(levels):
        inner = message(5, message(1, b"b") + number(20, 5) + message(6, graph))
        graph = RELU + node("If", ["x"], ["z"], inner)
    return model_bytes(graph)


def function(name: str, body: bytes) -> bytes:
    return message(25, message(1, name.encode()) + message(10, b"d") + message(9, number(2, 17)) + body)


def call(name: str, field: int) -> bytes:
    return message(field, message(1, b"a") + message(4, name.encode()) + message(7, b"d"))


REFUSED = {
    "empty": (b"", "is empty"),
    "text": (b"hello, world\n" * 99, "is a text file"),
    "a page": (b"<!DOCTYPE html>\xff", "is a text file"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "pickle": (b"\x80\x04\x95", "pickle"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"a":1}', "safetensors"),
    "ORT": (b"\x20\0\0\0ORTMrest", "ONNX Runtime's own format"),
    "no graph": (number(1, 9) + message(8, number(2, 17)), "holds no ONNX graph"),
    "3 GB claimed": (number(1, 9) + b"\x3a" + varint(3 << 30) + b"\0", "not a whole ONNX model"),
    "2⁶³ claimed": (number(1, 9) + b"\x3a" + varint(1 << 63) + b"\0", "not a whole ONNX model"),
    "a group": (number(1, 9) + b"\x3b", "not a whole ONNX model"),
    "field 0": (number(1, 9) + b"\x00\x00", "not a whole ONNX model"),
    "no operator": (model_bytes(message(1, b"")), "has no operator"),
    "1,000 subgraphs": (deep(1_000), "nested more than"),
    "a function that calls itself": (
        model_bytes(call("f", 1)) + function("f", call("f", 7)), "'f' calls itself"
    ),
    "functions in a circle": (
        model_bytes(call("f", 1)) + function("f", call("g", 7)) + function("g", call("f", 7)), "calls itself"
    ),
    "200 functions deep": (
        model_bytes(call("f0", 1)) + b"".join(function(f"f{i}", call(f"f{i + 1}", 7)) for i in range(200))
        + function("f200", call("Abs", 7)), "deep in one another"
    ),
    "billion laughs": (
        model_bytes(call("f0", 1)) + b"".join(function(f"f{i}", 10 * call(f"f{i + 1}", 7)) for i in range(40)),
        "unfold to more than"
    ),
    "laughs of nothing": (
        model_bytes(call("f0", 1)) + b"".join(function(f"f{i}", 2 * call(f"f{i + 1}", 7)) for i in range(60))
        + function("f60", b""), "unfold to more than"
    ),
    "an attribute with two tensors": (
        model_bytes(node("A", more=message(5, message(1, b"t") + message(5, b"") * 2))), "two values"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    content, reason = REFUSED[case]
    with pytest.raises(ArtifactError, match=reason) as caught:
        load(tmp_path, content)
    assert str(caught.value).isprintable()


def test_thirty_subgraphs_deep_is_no_attack(tmp_path: Path) -> None:
    artifact = load(tmp_path, deep(30))
    assert artifact.graph is not None
    assert sum(made.op == "If" for made in artifact.graph.nodes) == 30


def test_an_attribute_default_that_refers_to_itself(tmp_path: Path) -> None:
    itself = message(11, message(1, b"k") + message(21, b"k"))
    uses = message(7, message(1, b"a") + message(4, b"Abs") + message(5, message(1, b"k") + message(21, b"k")))
    use(load(tmp_path, model_bytes(call("f", 1)) + function("f", itself + uses)))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is a folder"):
        open_artifact(tmp_path)
    with pytest.raises(ArtifactError, match="no such file"):
        open_artifact(tmp_path / "missing.onnx")
    with pytest.raises(ArtifactError, match="cannot be opened"):
        open_artifact(f"{tmp_path}/\0")
    with pytest.raises(ArtifactError, match="cannot be opened"):
        open_artifact(tmp_path / ("n" * 5_000))


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull), Path("/dev/zero")):
        with pytest.raises(ArtifactError, match="is not a regular file"):
            open_artifact(path)


@pytest.mark.parametrize(
    "name", [b"\x1b[2J", b"a\r\n::error::x", "\u202egpj.\u2066".encode(), b"\xff\xfe", b"n" * 9_999]
)
def test_hostile_names_are_escaped_and_shortened(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(ArtifactError) as caught:
        load(tmp_path, model_bytes(tensor_bytes([3], 1, message(9, b"1234"), name)))
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 300 + len(os.fspath(tmp_path))


def test_a_name_of_ten_megabytes(tmp_path: Path) -> None:
    long = "n" * 10_000_000
    artifact = load(tmp_path, model_bytes(node("Abs", ["x"], [long])))
    assert artifact.graph is not None
    assert artifact.graph.nodes[1].outputs == (long,)


# name → (the bytes, MB of memory that loading them may take)
MANY = 250_000
BOMBS = {
    "declared values": (model_bytes(message(13, b"") * MANY), 8),
    "inputs": (model_bytes(message(11, b"") * MANY), 50),
    "metadata": (model_bytes(before=message(14, b"") * MANY), 12),
    "node metadata": (model_bytes(node("A", more=message(9, b"") * MANY)), 24),
    "functions": (model_bytes(before=message(25, b"") * MANY), 250),
    "tensors": (model_bytes(message(5, b"") * MANY), 90),
    "nodes": (model_bytes(node("A") * MANY), 110),
    "attributes": (model_bytes(node("A", more=message(5, b"") * MANY)), 12),
    "graphs of an attribute": (model_bytes(node("A", more=message(5, message(11, b"") * MANY))), 220),
    "tensors of an attribute": (model_bytes(node("A", more=message(5, message(10, b"") * MANY))), 90),
    "strings of an attribute": (model_bytes(node("A", more=message(5, message(9, b"ab") * MANY))), 40),
    "integers of an attribute": (model_bytes(node("A", more=message(5, b"\x40\xff\x7f" * MANY))), 24),
    "packed integers": (model_bytes(node("A", more=message(5, message(8, b"\xff\x7f" * MANY)))), 24),
    "floats of an attribute": (model_bytes(node("A", more=message(5, b"\x3d\0\0\0\1" * MANY))), 24),
    "inputs of a node": (model_bytes(node("A", more=b"".join(message(1, b"%d" % i) for i in range(MANY)))), 100),
    "dimensions": (model_bytes(message(5, b"\x08\x01" * MANY + number(2, 1) + message(8, b"w"))), 24),
    "dimensions of a value": (
        model_bytes(message(13, message(2, message(1, message(2, message(1, b"") * MANY))))), 12
    ),
    "floats of a tensor": (model_bytes(tensor_bytes([MANY], 1, b"\x25\0\0\0\0" * MANY)), 12),
    "strings of a tensor": (model_bytes(tensor_bytes([MANY], 8, message(6, b"") * MANY)), 12),
    "a shape without elements": (model_bytes(tensor_bytes([1 << 40], 1, b"")), 4),
    "laughs": (REFUSED["billion laughs"][0], 150),
    "laughs with a long name": (
        model_bytes(call("f0", 1)) + b"".join(function(f"f{i}", 8 * call(f"f{i + 1}", 7)) for i in range(6))
        + function("f6", message(7, message(2, b"n" * MANY) + message(4, b"Abs"))), 150
    ),
}  # fmt: skip

_MEASURE = """
import sys
sys.path[:0] = {path!r}
from avreview.load import open_artifact
from avreview.errors import ArtifactError

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024

open_artifact(sys.argv[1])
before = peak()
try:
    graph = open_artifact(sys.argv[2]).graph
    len(graph.values), [len(node.metadata) for node in graph.nodes]
except ArtifactError:
    pass
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures by /proc")
@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_stays_in_proportion_to_the_file(tmp_path: Path, bomb: str) -> None:
    """Tiny messages by the hundred thousand: what each needs in Python is bounded; how many are kept, below."""
    content, allowed = BOMBS[bomb]
    (tmp_path / "small.onnx").write_bytes(model_bytes())
    (tmp_path / "bomb.onnx").write_bytes(content)
    code = _MEASURE.format(path=[path for path in sys.path if path])
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "small.onnx", tmp_path / "bomb.onnx"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert int(ran.stdout) <= 1.5 * allowed + 8  # another allocator, another Python
    with contextlib.suppress(OSError):
        (tmp_path / "bomb.onnx").unlink()


@pytest.mark.parametrize("bomb", ["declared values", "inputs", "metadata", "tensors", "nodes", "inputs of a node"])
def test_a_structure_may_only_be_so_large(tmp_path: Path, bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avreview.load.onnx.proto.MAX_PIECES", 100_000)
    with pytest.raises(ArtifactError, match="more than 100,000 nodes, names and attributes"):
        use(load(tmp_path, BOMBS[bomb][0]))
