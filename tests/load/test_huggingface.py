"""Hugging Face folders, and weights that an index splits over files: only from inside the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_safetensors import entry, file
from wire_models import zoo

from avreview.errors import ArtifactError
from avreview.load import open_artifact

ONE, TWO = np.array([1, 2], np.float32), np.array([3, 4], np.float32)


def safetensors(**arrays: Any) -> bytes:
    header = {name: entry("F32", (2,), (8 * place, 8 * place + 8)) for place, name in enumerate(arrays)}
    return file(header, b"".join(array.tobytes() for array in arrays.values()))


def index(**files: str) -> str:
    return json.dumps({"metadata": {"total_size": 16}, "weight_map": files})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    return made


def sharded(folder: Path) -> Path:
    (folder / "model-00001-of-00002.safetensors").write_bytes(safetensors(a=ONE))
    (folder / "model-00002-of-00002.safetensors").write_bytes(safetensors(b=TWO))
    path = folder / "model.safetensors.index.json"
    path.write_text(index(a="model-00001-of-00002.safetensors", b="model-00002-of-00002.safetensors"))
    return path


def test_a_folder_with_its_weights_in_one_file(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(safetensors(a=ONE, b=TWO))
    config = {"transformers_version": "4.8.2", "hidden_size": 384, "initializer_range": float("inf")}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("not read")
    artifact = open_artifact(folder)
    assert artifact.provenance.format == "huggingface"
    assert artifact.provenance.producer == "transformers 4.8.2"
    assert artifact.provenance.path == str(folder)
    assert artifact.provenance.files == (str(folder / "model.safetensors"), str(folder / "config.json"))
    assert artifact.provenance.bytes == (folder / "model.safetensors").stat().st_size
    assert list(artifact.digests) == [str(folder / "model.safetensors"), str(folder / "config.json")]
    assert artifact.checkpoint is not None
    assert artifact.checkpoint.metadata["config"]["hidden_size"] == 384
    assert {name: tensor.read().tolist() for name, tensor in artifact.tensors.items()} == {"a": [1, 2], "b": [3, 4]}


@pytest.mark.parametrize("by_folder", [False, True])
def test_weights_in_several_files(folder: Path, by_folder: bool) -> None:
    path = sharded(folder)
    artifact = open_artifact(folder if by_folder else path)
    assert artifact.provenance.format == ("huggingface" if by_folder else "safetensors")
    assert {name: tensor.read().tolist() for name, tensor in artifact.tensors.items()} == {"a": [1, 2], "b": [3, 4]}
    assert len(artifact.digests) == 3
    assert artifact.provenance.details["shards"] == 2


def test_weights_of_torch_in_several_files(folder: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    torch.save({"a": torch.from_numpy(ONE)}, folder / "pytorch_model-1.bin")
    torch.save({"b": torch.from_numpy(TWO)}, folder / "pytorch_model-2.bin", _use_new_zipfile_serialization=False)
    (folder / "pytorch_model.bin.index.json").write_text(index(a="pytorch_model-1.bin", b="pytorch_model-2.bin"))
    artifact = open_artifact(folder)
    assert {name: tensor.read().tolist() for name, tensor in artifact.tensors.items()} == {"a": [1, 2], "b": [3, 4]}


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        (index(a="../secret.safetensors"), "its shard '../secret.safetensors' leaves the model's folder"),
        (index(a="/etc/hostname"), "is an absolute path"),
        (index(a="missing.safetensors"), "its shard 'missing.safetensors' is missing"),
        (index(a="link.safetensors"), "behind a link"),
        (index(a="."), "leaves the model's folder"),
        (index(a="sub"), "is a folder"),
        (index(a="pipe"), "is not a regular file"),
        (index(a="a.safetensors", z="a.safetensors"), "names the weight 'z' that its files do not hold"),
        (index(a="ab.safetensors"), "does not name the weight 'b'"),
        (index(a="a.safetensors", b="ab.safetensors"), "the weight 'a', which another file holds too"),
        (index(), "names 0 files"),
        (json.dumps({"weight_map": {"a": 1}}), "does not say which file"),
        (json.dumps({"weight_map": ["a"]}), "does not say which file"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "'a' twice"),
        ('{"weight_map": {', "not JSON"),
        ('{"weight_map": ' + "[" * 100_000, "nested too deep"),
        (index(**{str(n): f"{n}.bin" for n in range(10_001)}), "names 10,001 files"),
    ],
)
def test_indexes_that_cannot_be_followed(folder: Path, written: str, wrong: str) -> None:
    (folder.parent / "secret.safetensors").write_bytes(safetensors(a=ONE))
    (folder / "link.safetensors").symlink_to("../secret.safetensors")
    (folder / "a.safetensors").write_bytes(safetensors(a=ONE))
    (folder / "ab.safetensors").write_bytes(safetensors(a=ONE, b=TWO))
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    path = folder / "model.safetensors.index.json"
    path.write_text(written)
    for given in (folder, path):
        with pytest.raises(ArtifactError, match=wrong) as caught:
            open_artifact(given)
        assert str(caught.value).isprintable()


def test_folders_that_hold_no_model(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="without the files of a Hugging Face model"):
        open_artifact(folder)
    (folder / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(ArtifactError, match="without the files of a Hugging Face model"):
        open_artifact(folder)
    with pytest.raises(ArtifactError, match="is a text file, not a model"):
        open_artifact(folder / "config.json")
    (folder.parent / "weights").write_bytes(safetensors(a=ONE))
    (folder / "model.safetensors").symlink_to("../weights")
    with pytest.raises(ArtifactError, match=r"its weights file 'model.safetensors' .*behind a link"):
        open_artifact(folder)


@pytest.mark.parametrize(("config", "wrong"), [("{", "not JSON"), (" " * (1 << 21), "more than the 1,048,576")])
def test_a_configuration_that_cannot_be_read(folder: Path, config: str, wrong: str) -> None:
    (folder / "model.safetensors").write_bytes(safetensors(a=ONE))
    (folder / "config.json").write_text(config)
    with pytest.raises(ArtifactError, match=wrong):
        open_artifact(folder)


def test_an_export_has_no_sets_to_choose_from(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(next(iter(zoo()))[1].SerializeToString())
    with pytest.raises(ArtifactError, match="one set of weights"):
        open_artifact(path, weights="ema")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_an_empty_file_of_weights(folder: Path, name: str) -> None:
    (folder / "config.json").write_text("{}")
    (folder / name).write_bytes(b"")
    with pytest.raises(ArtifactError, match="is empty"):
        open_artifact(folder)
