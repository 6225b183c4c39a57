"""safetensors files: what its own reader gives, and what it refuses."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from avreview.artifact import Artifact
from avreview.errors import ArtifactError
from avreview.load import open_artifact

Open = Callable[..., Artifact]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    path = tmp_path / "model.safetensors"

    def open_bytes(content: bytes) -> Artifact:
        path.write_bytes(content)
        started = time.process_time()
        try:
            return open_artifact(path)
        finally:
            assert time.process_time() - started < 4.0

    return open_bytes


def file(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "F16": "float16",
    "BF16": ml_dtypes.bfloat16, "U32": "uint32", "I32": "int32", "F32": "float32", "U64": "uint64", "I64": "int64",
    "F64": "float64", "C64": "complex64", "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}  # fmt: skip


def test_every_element_type(opened: Open) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    wanted: dict[str, Any] = {}
    for name, kind in TYPES.items():
        array = np.arange(6).reshape(2, 3).astype(kind)
        header[name] = entry(name, array.shape, (len(data), len(data) + array.nbytes))
        data += array.tobytes()
        wanted[name] = array
    artifact = opened(file(header, data))
    assert artifact.provenance.format == "safetensors"
    assert artifact.provenance.details["metadata"] == {"format": "pt"}
    assert list(artifact.tensors) == list(wanted)
    for name, array in wanted.items():
        found = artifact.tensors[name].read()
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()


def test_four_bits_to_an_element(opened: Open) -> None:
    found = opened(file({"w": entry("F4", (2, 4), (0, 4)), "v": entry("F32", (1,), (4, 8))}, b"\x10\x32\x54\x76" * 2))
    assert found.tensors["w"].read().astype(float).tolist() == [[0, 0.5, 1, 1.5], [2, 3, 4, 6]]


def test_order_and_emptiness(opened: Open) -> None:
    header = {
        "b": entry(offsets=(8, 16)),
        "a": entry(),
        "none": entry("F32", (0, 7), (8, 8)),
        "one": entry("U8", (), (16, 17)),
    }
    artifact = opened(file(header, struct.pack("<4f", 1, 2, 3, 4) + b"\5"))
    assert list(artifact.tensors) == ["b", "a", "none", "one"]
    assert [tensor.read().tolist() for tensor in artifact.tensors.values()] == [[3, 4], [1, 2], [], 5]
    padded = opened(file(json.dumps({"a": entry()}).encode() + b"   ", bytes(8)))
    assert list(padded.tensors) == ["a"]


DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
REFUSED = {
    "header of 2^63": (file({"a": entry()}, bytes(8), length=1 << 63), "header of 9,223,372,036,854,775,808 bytes"),
    "header longer than the file": (file({"a": entry()}, b"", length=500), "header of 500 bytes in a file of"),
    "header of more than 100 MB": (file({"a": entry()}, bytes(110_000_000), length=100_000_001), "more than the 100,"),
    "cut off": (file({"a": entry()}, bytes(7)), "is cut off"),
    "longer": (file({"a": entry()}, bytes(9)), "goes on behind its last tensor"),
    "hole": (file({"a": entry(), "b": entry(offsets=(9, 17))}, bytes(17)), "'b', which leaves a hole"),
    "hole at the start": (file({"a": entry(offsets=(1, 9))}, bytes(9)), "'a', which leaves a hole"),
    "overlap": (file({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "'b', which overlaps"),
    "the same twice": (file({"a": entry(), "b": entry()}, bytes(8)), "which overlaps"),
    "one name twice": (file(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)), "'a' twice"),
    "one key twice": (file(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "'dtype' twice"),
    "not UTF-8": (file(b'{"\xff":1}'), "not UTF-8"),
    "not JSON": (file(b'{"a":'), "not JSON at character 5"),
    "nested": (file(DEEP), "nested too deep"),
    "not a table": (file(b'{"a":1}'), "'a' its type, shape and place"),
    "more keys": (file({"a": {**entry(), "x": 1}}, bytes(8)), "place alone"),
    "fewer bytes": (file({"a": entry(offsets=(0, 4))}, bytes(4)), "4 bytes for the 2 × float32"),
    "end before start": (file({"a": entry(offsets=(8, 0))}, bytes(8)), "-8 bytes for"),
    "overflowing shape": (file({"a": entry(shape=(1 << 40, 1 << 40))}, bytes(8)), "impossible shape"),
    "overflow behind a 0": (file({"a": entry(shape=(0, 1 << 61), offsets=(0, 0))}), "impossible shape"),
    "negative shape": (file({"a": entry(shape=(-2, -1))}, bytes(8)), "impossible shape"),
    "fractions": (file({"a": entry(shape=(2.0,))}, bytes(8)), "impossible shape"),
    "truth": (file({"a": entry(shape=(True, 2))}, bytes(8)), "impossible shape"),
    "many dimensions": (file({"a": entry(shape=(1,) * 65, offsets=(0, 4))}, bytes(4)), "impossible shape"),
    "no shape": (file({"a": entry(shape=None)}, bytes(8)), "impossible shape"),
    "one offset": (file({"a": entry(offsets=(0,))}, bytes(8)), "without a place"),
    "offsets of text": (file({"a": entry(offsets=("0", "8"))}, bytes(8)), "without a place"),
    "unknown type": (file({"a": entry("F31")}, bytes(8)), "unknown type 'F31'"),
    "type of no name": (file({"a": entry(["F32"])}, bytes(8)), "unknown type of no name"),
    "metadata of numbers": (file({"__metadata__": {"a": 1}, "b": entry()}, bytes(8)), "metadata that are not text"),
    "NaN": (file(b'{"a":NaN}'), "NaN as a number"),
    "long numbers": (file(b'{"a":' + b"9" * 5000 + b"}"), "a number of 5,000 digits"),
    "no tensors": (file({"__metadata__": {}}), "holds no weights"),
    "terminal codes": (file({"\x1b[2J\u202e": entry("F31")}, bytes(8)), r"\\x1b\[2J\\u202e"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "wrong"), REFUSED.values(), ids=REFUSED)
def test_headers_that_do_not_fit(opened: Open, content: bytes, wrong: str) -> None:
    with pytest.raises(ArtifactError, match=wrong) as caught:
        opened(content)
    assert str(caught.value).isprintable()


def test_many_tensors(opened: Open) -> None:
    count = 20_000
    header = {f"layer.{n}.weight": entry("U8", (1,), (n, n + 1)) for n in range(count)}
    header["float"] = entry("F32", (1,), (count, count + 4))
    assert len(opened(file(header, bytes(count + 4))).tensors) == count + 1
