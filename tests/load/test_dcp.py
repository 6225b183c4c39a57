"""Folders of torch.distributed.checkpoint: every tensor equals what `dcp.load` gives, pieces joined."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch")

import torch.distributed.checkpoint as dcp  # noqa: E402
from checkpoints import Held  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributed.checkpoint import metadata as dcp_metadata  # noqa: E402
from torch.distributed.checkpoint.filesystem import _StorageInfo  # noqa: E402
from torch.distributed.checkpoint.state_dict import get_state_dict  # noqa: E402
from torch_files import Called, bits, saved  # noqa: E402

from avreview.artifact import Artifact, Tensor  # noqa: E402
from avreview.errors import ArtifactError  # noqa: E402
from avreview.load import open_artifact  # noqa: E402
from avreview.load.pytorch.sharded import Piece, ShardedStorage, tiles  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_model_and_optimizer(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.05)
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    model, state = get_state_dict(network, optimizer)
    dcp.save({"model": model, "optimizer": state, "epoch": 7}, checkpoint_id=tmp_path / "step")
    artifact = open_artifact(tmp_path / "step")
    assert {name: tensor.copy().tobytes() for name, tensor in artifact.tensors.items()} == {
        name: bits(tensor) for name, tensor in network.state_dict().items()
    }
    checkpoint = artifact.checkpoint
    assert checkpoint is not None
    assert (artifact.provenance.format, checkpoint.layout) == ("dcp", "dcp")
    assert (list(checkpoint.code), list(checkpoint.oddities), artifact.limitations) == ([], [], [])
    assert checkpoint.metadata["epoch"] == 7
    (found,) = checkpoint.optimizers
    (group,) = found.groups
    assert (group.options["lr"], group.options["weight_decay"]) == (1e-2, 0.05)
    assert list(found.state) == [name for name, _ in network.named_parameters()]
    for name, parameter in network.named_parameters():
        held = found.state[name]["exp_avg_sq"]
        assert held.copy().tobytes() == bits(optimizer.state[parameter]["exp_avg_sq"])


def test_optimizer_without_state(tmp_path: Path) -> None:
    """Plain SGD keeps nothing, and flattening drops what is empty: its groups are still there."""
    network = nn.Linear(2, 2)
    model, state = get_state_dict(network, torch.optim.SGD(network.parameters(), lr=0.5, weight_decay=0.1))
    dcp.save({"model": model, "optim": state}, checkpoint_id=tmp_path / "step")
    checkpoint = open_artifact(tmp_path / "step").checkpoint
    assert checkpoint is not None
    ((group,),) = (optimizer.groups for optimizer in checkpoint.optimizers)
    assert (group.names, group.options["weight_decay"]) == (("weight", "bias"), 0.1)


def test_every_type(tmp_path: Path) -> None:
    types = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.complex64, torch.float8_e5m2)
    tensors = {str(kind): torch.randn(3, 5).to(kind) for kind in types}
    tensors |= {"view": torch.randn(6, 6)[1:4, ::2], "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 2)}
    dcp.save(tensors, checkpoint_id=tmp_path / "types")
    found = open_artifact(tmp_path / "types").tensors
    assert {name: tensor.copy().tobytes() for name, tensor in found.items()} == {
        name: bits(tensor) for name, tensor in tensors.items()
    }


# Pieces, laid out with torch's own classes, as several processes would


class Folder:
    """A folder of pieces: each in the file that `file` names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.tensors: dict[str, Any] = {}
        self.places: dict[Any, Any] = {}

    def add(self, name: str, whole: Any, cuts: Sequence[tuple[slice, ...]], file: str = "__{}_0.distcp") -> None:
        chunks = []
        for number, cut in enumerate(cuts):
            piece = whole[cut].clone()
            offsets = torch.Size([part.start for part in cut] + [0] * (whole.ndim - len(cut)))
            chunks.append(dcp_metadata.ChunkStorageMetadata(offsets, piece.shape))
            self.place(name, file.format(number), saved(piece), offsets, number)
        properties = dcp_metadata.TensorProperties(dtype=whole.dtype)
        self.tensors[name] = dcp_metadata.TensorStorageMetadata(properties, whole.shape, chunks)

    def place(self, name: str, file: str, content: bytes, offsets: Any = None, number: int | None = None) -> None:
        path = self.path / file
        start = path.stat().st_size if path.exists() else 0
        with path.open("ab") as stream:
            stream.write(content)
        index = dcp_metadata.MetadataIndex(name, offsets, number)
        self.places[index] = _StorageInfo(file, start, len(content))

    def write(self, root: Any = None) -> Path:
        metadata = root or dcp_metadata.Metadata(self.tensors, None, self.places)
        (self.path / ".metadata").write_bytes(pickle.dumps(metadata))
        return self.path


def rows(*bounds: int) -> list[tuple[slice, ...]]:
    return [(slice(start, end),) for start, end in itertools.pairwise(bounds)]


GRID = [(slice(a, b), slice(c, d)) for a, b in ((0, 3), (3, 7)) for c, d in ((0, 2), (2, 5))]


def test_pieces_are_joined(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "sharded")
    wanted = {
        "rows": torch.randn(7, 3, 2), "uneven": torch.randn(5), "grid": torch.randn(7, 5),
        "columns": torch.randn(4, 6), "one": torch.randn(2, 2),
    }  # fmt: skip
    folder.add("rows", wanted["rows"], rows(0, 3, 6, 7))
    folder.add("uneven", wanted["uneven"], rows(0, 4, 5, 5))
    folder.add("grid", wanted["grid"], GRID)
    folder.add("columns", wanted["columns"], [(slice(0, 4), slice(0, 1)), (slice(0, 4), slice(1, 6))])
    folder.add("one", wanted["one"], [(slice(0, 2), slice(0, 2))])
    path = folder.write()
    loaded = {name: torch.zeros_like(tensor) for name, tensor in wanted.items()}
    dcp.load(loaded, checkpoint_id=path)
    artifact = open_artifact(path)
    for name, tensor in loaded.items():
        found = artifact.tensors[name]
        assert found.shape == tuple(tensor.shape)
        assert found.copy().tobytes() == bits(tensor) == bits(wanted[name])
        assert b"".join(chunk.tobytes() for chunk in found.chunks(4)) == bits(tensor)
    assert len(artifact.digests) == 5


@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3), st.data(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_joined_pieces_are_the_array(cuts: list[list[int]], data: st.DataObject) -> None:
    shape = tuple(map(sum, cuts))
    whole = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    starts = [np.cumsum([0, *lengths[:-1]]) for lengths in cuts]
    pieces = []
    for cell in np.ndindex(*map(len, cuts)):
        offsets = tuple(int(starts[axis][place]) for axis, place in enumerate(cell))
        part = whole[tuple(slice(o, o + cuts[axis][cell[axis]]) for axis, o in enumerate(offsets))]
        pieces.append(Piece(offsets, Tensor("", part.shape, "int32", Held(part.reshape(-1)))))
    pieces = data.draw(st.permutations(pieces))
    assert tiles(shape, pieces)
    storage = ShardedStorage(shape, "int32", pieces)
    flat = whole.reshape(-1)
    assert (storage.array() == flat).all()
    start, count = data.draw(st.integers(0, flat.size)), data.draw(st.integers(0, flat.size + 2))
    assert (storage.part(start, count) == flat[start : start + count]).all()
    length = data.draw(st.integers(1, 5))
    assert np.concatenate(list(storage.chunks(length))).tolist() == flat.tolist()
    heads = data.draw(st.integers(1, flat.size // shape[0]))
    assert (storage.heads(shape[0], heads) == whole.reshape(shape[0], -1)[:, :heads]).all()
    if len(pieces) > 1:
        assert not tiles(shape, pieces[1:])
        assert not tiles(shape, [*pieces[1:], pieces[1]])


# What somebody else wrote


def refused(path: Path, words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as failure:
        open_artifact(path)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("place", ["../outside.distcp", "/etc/passwd", "absent.distcp", "", "a\0b"])
def test_files_only_from_inside(tmp_path: Path, place: str) -> None:
    folder = Folder(tmp_path / "folder")
    folder.add("w", torch.randn(2), rows(0, 2))
    (tmp_path / "outside.distcp").write_bytes((folder.path / "__0_0.distcp").read_bytes())
    (index,) = folder.places
    folder.places[index] = _StorageInfo(place, 0, 100)
    refused(folder.write(), "leaves the model's folder|absolute|missing|no file name")


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder")
    folder.add("w", torch.randn(2), rows(0, 2))
    (folder.path / "__0_0.distcp").rename(tmp_path / "outside.distcp")
    os.symlink(tmp_path / "outside.distcp", folder.path / "__0_0.distcp")
    refused(folder.write(), "link")


@pytest.mark.parametrize(
    "cuts",
    [rows(0, 2), [*rows(0, 3), *rows(2, 4)], [*rows(0, 2), *rows(0, 2)], [*rows(0, 1), *rows(2, 4), *rows(3, 4)]],
)
def test_pieces_that_are_not_the_whole(tmp_path: Path, cuts: list[tuple[slice, ...]]) -> None:
    folder = Folder(tmp_path / "folder")
    folder.add("w", torch.randn(4, 2), cuts)
    refused(folder.write(), "do not make up the whole|does not say where")


def test_a_piece_of_another_shape(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder")
    folder.add("w", torch.randn(4), rows(0, 4))
    folder.place("w", "__0_0.distcp", saved(torch.randn(2, 2)), torch.Size([0]), 0)
    refused(folder.write(), "in another shape")


def test_what_is_transformed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder")
    folder.add("w", torch.randn(4), rows(0, 4))
    for info in folder.places.values():
        info.transform_descriptors = ["zstd"]
    refused(folder.write(), "transformed")


@pytest.mark.parametrize(
    "metadata", [b"", b"junk", pickle.dumps([1]), pickle.dumps(dcp_metadata.Metadata({}, None, 5))]
)
def test_an_index_that_is_none(tmp_path: Path, metadata: bytes) -> None:
    (tmp_path / ".metadata").write_bytes(metadata)
    with pytest.raises(ArtifactError):
        open_artifact(tmp_path)


def test_code_is_listed_and_not_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder")
    folder.add("w", torch.randn(4), rows(0, 4))
    buffer = io.BytesIO()
    torch.save(Called(exec, "raise SystemExit"), buffer)
    folder.place("epoch", "__0_0.distcp", buffer.getvalue())
    folder.tensors["epoch"] = dcp_metadata.BytesStorageMetadata()
    metadata = dcp_metadata.Metadata(folder.tensors, Called(eval, "1"), folder.places)
    artifact = open_artifact(folder.write(metadata))
    assert artifact.checkpoint is not None
    names = [code.name.rpartition(".")[2] for code in artifact.checkpoint.code]
    assert sorted(names) == ["eval", "exec"]
    assert artifact.tensors["w"].size == 4


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changed_index_opens_or_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "changed"
    if not path.exists():
        folder = Folder(path)
        folder.add("grid", torch.arange(35.0).reshape(7, 5), GRID)
        (folder.write() / ".metadata").rename(path / "whole")
    content = bytearray((path / "whole").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (path / ".metadata").write_bytes(content)
    try:
        artifact: Artifact = open_artifact(path)
    except ArtifactError as failure:
        assert "\n" not in str(failure)  # noqa: PT017 - both ends are right
    else:
        for tensor in artifact.tensors.values():
            assert tensor.copy().shape == tensor.shape
