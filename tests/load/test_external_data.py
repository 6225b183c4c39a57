"""External data: only plain files inside the model's own folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from wire_models import model

from avreview.artifact import Artifact
from avreview.errors import ArtifactError
from avreview.load import open_artifact

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model's folder, with weights in it, and a secret outside."""
    (tmp_path / "secret").write_bytes(np.arange(2, dtype="<f4").tobytes())
    inside = tmp_path / "models"
    (inside / "sub").mkdir(parents=True)
    for place in ("w.bin", "sub/w.bin"):
        (inside / place).write_bytes(np.array([1, 2, 3, 4], "<f4").tobytes())
    return inside


def load(folder: Path, location: str | bytes, size: int = 2, **entries: str) -> Artifact:
    """A model whose weight lies at `location`, in bytes that protobuf's own writer might not take."""
    wanted = location if isinstance(location, bytes) else location.encode()
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "~" * len(wanted), **entries}.items():
        weight.external_data.add(key=key, value=value)
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [weight]).SerializeToString()
    path = folder / "model.onnx"
    path.write_bytes(made.replace(b"~" * len(wanted), wanted) if wanted else made)
    return open_artifact(path)


@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w.bin", "sub//./w.bin"])
def test_a_file_in_the_models_folder_is_read(folder: Path, location: str) -> None:
    artifact = load(folder, location, offset="4", length="8")
    tensor = artifact.tensors["w"]
    assert tensor.read().tolist() == tensor.part(0, 2).tolist() == [2, 3]
    assert [part.tolist() for part in tensor.chunks(1 << 16)] == [[2, 3]]
    assert [os.path.normpath(file) for file in artifact.provenance.files] == [os.path.normpath(folder / location)]
    assert artifact.provenance.bytes == (folder / "model.onnx").stat().st_size + 16


def test_the_working_folder_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, "w.bin")
    monkeypatch.chdir(folder)
    assert open_artifact("model.onnx").tensors["w"].read().tolist() == [1, 2]


def test_more_files_than_a_process_may_open(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    names = [f"w{i}" for i in range(300)]
    tensors = []
    for name in names:
        (folder / name).write_bytes(bytes(8))
        tensor = TensorProto(name=name, data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=name)
        tensors.append(tensor)
    path = folder / "model.onnx"
    path.write_bytes(model([helper.make_node("Relu", ["x"], ["y"])], tensors).SerializeToString())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = len(os.listdir("/dev/fd"))  # by this process, other tests' files among them
    resource.setrlimit(resource.RLIMIT_NOFILE, (held + 100, before[1]))
    try:
        artifact = open_artifact(path)
        assert all(tensor.read().tolist() == [0, 0] for tensor in artifact.tensors.values())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    "location",
    ["", "..", "../secret", "sub/../../secret", "sub/../w.bin", "/etc/hostname", "//host/share/w.bin", "\\\\host\\w",
     "C:\\w.bin", "C:w.bin", "/dev/zero", "/dev/stdin", "/proc/self/environ", "w.bin\0", "\0", ".", "./", "sub",
     "file:///etc/hostname", "http://example.org/w.bin", "missing.bin", "*/_ORT_MEM_ADDR_/*", "w.bin/", "w.bin/x",
     "a/" * 5_000 + "w", "n" * 10_000, "\x1b[31mred", "\u202egpj"],
)  # fmt: skip
def test_nothing_else_is_opened(folder: Path, location: str) -> None:
    if location == "w.bin/":
        assert load(folder, location).tensors["w"].read().tolist() == [1, 2]
        return
    with pytest.raises(ArtifactError, match="external data") as caught:
        load(folder, location)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 500 + len(os.fspath(folder))


def test_a_location_that_is_not_utf8(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'\\udcff\.bin' is missing"):
        load(folder, b"\xff.bin")


@posix
def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inner").symlink_to("w.bin")
    (folder / "out").symlink_to(tmp_path)
    (tmp_path / "linked").write_bytes(bytes(8))
    os.link(tmp_path / "linked", folder / "hard")
    for location in ("link", "inner", "out/secret", "hard"):
        with pytest.raises(ArtifactError, match="link"):
            load(folder, location)


@posix
def test_pipes_and_devices_are_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(ArtifactError, match="is not a regular file"):
        load(folder, "pipe")


@posix
def test_a_model_behind_a_link_is_the_persons_choice(folder: Path, tmp_path: Path) -> None:
    load(folder, "w.bin")
    (tmp_path / "chosen.onnx").symlink_to(folder / "model.onnx")
    (tmp_path / "w.bin").write_bytes(bytes(8))
    assert open_artifact(tmp_path / "chosen.onnx").tensors["w"].read().tolist() == [0, 0]


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-4"}, {"offset": "12"}, {"offset": "9223372036854775807"}, {"offset": "1" * 5_000},
        {"offset": "18446744073709551612"}, {"offset": "0x4"}, {"offset": " 4"}, {"offset": "1_0"}, {"offset": "٤"},
        {"length": "4"}, {"length": "-1"}, {"length": "16"}, {"length": "9999999999999999999999"}, {"length": "x"},
    ],
)  # fmt: skip
def test_offsets_and_lengths_that_lie(folder: Path, entries: dict[str, str]) -> None:
    with pytest.raises(ArtifactError, match="tensor 'w'"):
        load(folder, "w.bin", 2, **entries)


def test_more_elements_than_the_file_holds(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"ends at byte 20 of 'w\.bin', which has 16"):
        load(folder, "w.bin", size=5)


def test_elements_inside_and_outside(folder: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    path = folder / "model.onnx"
    path.write_bytes(model([helper.make_node("Add", ["x", "w"], ["y"])], [weight]).SerializeToString())
    with pytest.raises(ArtifactError, match="both in the file and outside"):
        open_artifact(path)


def test_a_file_that_changes_after_the_model_was_read(folder: Path) -> None:
    tensor = load(folder, "w.bin").tensors["w"]
    (folder / "w.bin").write_bytes(bytes(4))
    with pytest.raises(ArtifactError, match="changed while it was read"):
        tensor.part(0, 2)
    (folder / "w.bin").unlink()
    with pytest.raises(ArtifactError, match="changed while it was read"):
        next(iter(tensor.chunks()))


def test_every_file_has_its_digest(folder: Path) -> None:
    import hashlib

    artifact = load(folder, "w.bin")
    assert {path: digest.hexdigest() for path, digest in artifact.digests.items()} == {
        os.fspath(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "model.onnx", folder / "w.bin")
    }
