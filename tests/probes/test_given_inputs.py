"""Inputs that the person supplies: `--inputs batch.npz`, or a folder of `.npy` files."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EVERY_PROBE, Facts
from models import ModelBuilder
from onnx import TensorProto

from avreview.artifact import Graph
from avreview.engine.resolve import NotAvailable
from avreview.errors import ArtifactError
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused
from avreview.probes.given import check_given, open_given
from avreview.probes.plan import InputPlan
from avreview.probes.probing import Probing
from avreview.probes.repeat import Repeatability

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((5, 3, 8, 8)).astype(np.float32)
IDS = RANDOM.integers(0, 9, (5, 4))


def network(batch: int | str = "batch") -> ModelBuilder:
    model = ModelBuilder().input("image", [batch, 3, 8, 8]).input("ids", [batch, 4], TensorProto.INT64)
    return model.at("image").conv("stem", 4).output("y", [batch, 4, 8, 8])


@pytest.fixture
def graph(opened: Callable[[Any], Any]) -> Graph:
    found = opened(network()).graph
    assert isinstance(found, Graph)
    return found


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "batch.npz"
    np.savez(path, **arrays)
    return path


def given(fact: Facts, model: ModelBuilder, path: Path) -> Inputs:
    plan = fact(model, InputPlan, probes=EVERY_PROBE._replace(inputs=os.fspath(path)))
    return Inputs(plan.as_json())


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_an_npz_is_read(fact: Facts, tmp_path: Path, write: Callable[..., None]) -> None:
    path = tmp_path / "batch.npz"
    write(path, image=IMAGES, ids=IDS)
    made = given(fact, network(), path)
    assert made.count == 5
    batch = made.batch([3, 0])
    assert np.array_equal(batch["image"], IMAGES[[3, 0]])
    assert np.array_equal(batch["ids"], IDS[[3, 0]])
    assert (made.described() or {})["given"].endswith("batch.npz")
    assert (made.described() or {})["arrays"][0]["kind"] == "given"


def test_a_folder_is_read_whatever_the_order_of_bytes_and_axes(fact: Facts, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.asfortranarray(IMAGES.astype(">f4")))
    np.save(tmp_path / "ids.npy", IDS.astype(">i8"))
    (tmp_path / "notes.txt").write_text("left alone")
    batch = given(fact, network(), tmp_path).batch([1, 4])
    assert np.array_equal(batch["image"], IMAGES[[1, 4]])
    assert batch["image"].dtype == np.dtype("<f4")
    assert np.array_equal(batch["ids"], IDS[[1, 4]])


def test_batches_hold_every_sample_once(fact: Facts, tmp_path: Path) -> None:
    made = given(fact, network(), npz(tmp_path, image=IMAGES, ids=IDS))
    batches = [dict(batch) for batch in made.batches(2)]
    assert [len(batch["image"]) for batch in batches] == [2, 2, 1]
    assert np.array_equal(np.concatenate([batch["image"] for batch in batches]), IMAGES)


def test_a_fixed_batch_takes_whole_batches_and_says_what_is_left(fact: Facts, tmp_path: Path) -> None:
    made = given(fact, network(2), npz(tmp_path, image=IMAGES, ids=IDS))
    assert [len(batch["image"]) for batch in made.batches(8)] == [2, 2]
    assert "the last 1 of 5 given samples" in (made.described() or {})["note"]


def test_odd_samples_are_given_ones_from_the_end_and_then_made_up(fact: Facts, tmp_path: Path) -> None:
    made = given(fact, network(), npz(tmp_path, image=IMAGES, ids=IDS))
    assert made.samples(7) == list(range(7))
    batch = made.batch([0, -1, -2, -3, 6])
    assert np.array_equal(batch["image"][:3], IMAGES[[0, 4, 3]])
    assert not any(np.array_equal(sample, known) for sample in batch["image"][3:] for known in IMAGES)
    assert np.array_equal(made.batch([6])["image"][0], batch["image"][4])


def test_types_that_fit_are_converted_and_said(fact: Facts, tmp_path: Path) -> None:
    made = given(fact, network(), npz(tmp_path, image=IMAGES.astype(np.float64), ids=IDS.astype(np.int32)))
    batch = made.batch([0])
    assert (batch["image"].dtype, batch["ids"].dtype) == (np.float32, np.int64)
    assert "image was converted from float64 to float32" in (made.described() or {})["note"]


def test_a_probe_runs_on_given_strings(fact: Facts, tmp_path: Path) -> None:
    model = ModelBuilder().input("word", [3], TensorProto.STRING).op("Identity")
    model.output("y", [3], TensorProto.STRING)
    request = EVERY_PROBE._replace(inputs=os.fspath(npz(tmp_path, word=np.array(["a", "bé", ""]))))
    assert not fact(model, Repeatability, probes=request).differing


def test_a_probe_runs_on_given_arrays(fact: Facts, opened: Any, tmp_path: Path) -> None:
    model, path = opened(network()), npz(tmp_path, image=IMAGES, ids=IDS)
    request = EVERY_PROBE._replace(inputs=os.fspath(path))
    probing = Probing(model.provenance.path, request)
    probing.run("repeat", fact(model, InputPlan, probes=request), runs=2, samples=2)
    described = probing.runs[0].inputs
    assert described is not None
    assert (described["given"], described["samples"]) == (os.fspath(path), 5)


def test_names_that_no_file_can_have(fact: Facts, tmp_path: Path) -> None:
    model = ModelBuilder().input("gpu_0/data:0", ["batch", 3]).op("Identity").output("y", ["batch", 3])
    np.save(tmp_path / "gpu_0_data_0.npy", IMAGES[:, :, 0, 0])
    assert np.array_equal(given(fact, model, tmp_path).batch([2])["gpu_0/data:0"], IMAGES[2:3, :, 0, 0])


def test_recorded_outputs_may_stand_beside(graph: Graph, tmp_path: Path) -> None:
    check_given(open_given(npz(tmp_path, image=IMAGES, ids=IDS, y=IMAGES)), graph)


def test_the_digest_of_each_file(tmp_path: Path) -> None:
    path = npz(tmp_path, image=IMAGES)
    (digest,) = open_given(path).digests().values()
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": IMAGES}, "no array for the input 'ids' (int64 [batch, 4])"),
        ({"image": IMAGES, "ids": IDS, "foo": IDS}, "'foo', which is neither an input nor an output"),
        ({"image": IMAGES[:, 0], "ids": IDS}, "shape [5, 8, 8], and the model takes [batch, 3, 8, 8]"),
        ({"image": IMAGES[:, :, :4], "ids": IDS}, "shape [5, 3, 4, 8]"),
        ({"image": IMAGES, "ids": IDS[:3]}, "5 samples of 'image' and 3 of 'ids'"),
        ({"image": IMAGES[:0], "ids": IDS[:0]}, "shape [0, 3, 8, 8]"),
        ({"image": IMAGES, "ids": IDS.astype(np.float32)}, "holds float32, and the model takes int64"),
        ({"image": (IMAGES > 0), "ids": IDS}, "holds bool, and the model takes float32"),
    ],
)
def test_what_does_not_fit_the_model(graph: Graph, tmp_path: Path, arrays: dict[str, Array], words: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        check_given(open_given(npz(tmp_path, **arrays)), graph)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_too_few_samples_for_a_fixed_batch(fact: Facts, tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="has 5 samples, and the model takes 8 at a time"):
        given(fact, network(8), npz(tmp_path, image=IMAGES, ids=IDS))


def test_one_symbol_with_two_extents(fact: Facts, tmp_path: Path) -> None:
    model = ModelBuilder().input("a", ["batch", "seq"]).input("b", ["batch", "seq"])
    model.op("Identity").output("y", ["batch", "seq"])
    with pytest.raises(NotAvailable, match="has 3 for 'seq' in 'a' and 4 in 'b'"):
        given(fact, model, npz(tmp_path, a=np.zeros((2, 3), np.float32), b=np.zeros((2, 4), np.float32)))


def test_an_integer_that_does_not_fit(fact: Facts, tmp_path: Path) -> None:
    model = ModelBuilder().input("x", ["batch", 2], TensorProto.UINT8).op("Identity")
    model.output("y", ["batch", 2], TensorProto.UINT8)
    request = EVERY_PROBE._replace(inputs=os.fspath(npz(tmp_path, x=np.array([[1, 300]]))))
    with pytest.raises(NotAvailable, match="holds 300, too large for uint8"):
        fact(model, Repeatability, probes=request)


def header(text: str, *, version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + size + text.encode()


def array_bytes(array: Array) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


GOOD = array_bytes(np.zeros(4, np.float32))
LYING = header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }")
BAD_ARRAYS = {
    "pickle": (array_bytes(np.array([{}], object)), "Python objects"),
    "lying": (LYING + bytes(16), "4,000,000,000,000 bytes of elements and holds 16"),
    "negative": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), "a shape that is none"),
    "truncated": (GOOD[:-1], "16 bytes of elements and holds 15"),
    "cut header": (GOOD[:20], "cut off in its header"),
    "no array": (b"hello, this is text", "is no .npy array"),
    "code": (header("__import__('os').abort()"), "header that cannot be read"),
    "deep": (header("(" * 5000), "header that cannot be read"),
    "records": (array_bytes(np.zeros(2, [("a", "f4")])), "records with fields"),
    "dates": (array_bytes(np.zeros(2, "M8[s]")), "which no model takes"),
    "huge header": (header(" " * 4, version=2)[:8] + struct.pack("<I", 1 << 30), "a header of 1,073,741,824 bytes"),
    "empty": (b"", "is no .npy array"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_that_are_none(tmp_path: Path, name: str, packed: bool) -> None:
    content, words = BAD_ARRAYS[name]
    path = tmp_path
    if packed:
        path = tmp_path / "batch.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("image.npy", content)
    else:
        (tmp_path / "image.npy").write_bytes(content)
    with pytest.raises(ArtifactError) as refused:
        open_given(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_inputs(tmp_path: Path) -> None:
    paths: dict[str, Path] = {name: tmp_path / name for name in ("text", "single.npy", "cut.npz", "void", "other.npz")}
    paths["text"].write_text("hello")
    paths["single.npy"].write_bytes(GOOD)
    paths["cut.npz"].write_bytes(npz(tmp_path, image=IMAGES).read_bytes()[:-40])
    paths["void"].write_bytes(b"")
    with zipfile.ZipFile(paths["other.npz"], "w") as archive:
        archive.writestr("readme.txt", "no array")
    (tmp_path / "folder").mkdir()
    for path, words in (
        (paths["text"], "neither an .npz file nor a folder"),
        (paths["single.npy"], "names no input"),
        (paths["cut.npz"], "as a zip archive"),
        (paths["void"], "is empty"),
        (paths["other.npz"], "'readme.txt', which is no .npy array"),
        (tmp_path / "folder", "holds no .npy file"),
        (tmp_path / "missing.npz", "no such file"),
    ):
        with pytest.raises(ArtifactError) as refused:
            open_given(path)
        assert words in str(refused.value)
        assert os.fspath(path) in str(refused.value)


def test_links_and_folders_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    np.save(tmp_path / "outside.npy", IMAGES)
    (tmp_path / "inputs" / "image.npy").symlink_to(tmp_path / "outside.npy")
    with pytest.raises(ArtifactError, match="behind a link"):
        open_given(tmp_path / "inputs")
    (tmp_path / "inputs" / "image.npy").unlink()
    (tmp_path / "inputs" / "image.npy").mkdir()
    with pytest.raises(ArtifactError, match="is a folder"):
        open_given(tmp_path / "inputs")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "batch.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("image.npy", "w") as member:
        member.write(header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 8, 8), }"))
        for _ in range(64):
            member.write(bytes(1 << 20))
    with pytest.raises(ArtifactError, match="1,536 bytes of elements and holds 67,108,864"):
        open_given(path)


def test_a_damaged_array_is_said(fact: Facts, tmp_path: Path) -> None:
    packed = tmp_path / "packed.npz"
    np.savez_compressed(packed, image=IMAGES, ids=IDS)
    content = bytearray(packed.read_bytes())
    content[2000] ^= 0xFF
    packed.write_bytes(content)
    made = given(fact, network(), packed)
    with pytest.raises(Refused, match="'image' is damaged"):
        made.batch([0])
