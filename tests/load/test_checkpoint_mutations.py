"""Damaged checkpoints of every container: each is read or refused in one clear line, whatever was done to it."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from torch_files import saved  # noqa: E402

from avreview.errors import ArtifactError  # noqa: E402
from avreview.load import open_artifact  # noqa: E402

MUTATIONS = 400  # in all; 60,000 others were run once
TOKENS = (
    b"\xff" * 4, b"\0" * 8, b"PK\1\2", b"PK\3\4", b"PK\5\6", b"../", b"\x80\x02", b".", b"R", b"Q", b"(", b"tR", b"}",
    b"]", b"\x81", b"b", b"0", b"2", b"h\0", b"j\xff\xff\xff\x7f", b"cos\nsystem\n", b'{"', b"[[", b"9" * 30,
)  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about quantized and sparse tensors


def samples() -> Iterator[bytes]:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(2, 3, 6, 6)).sum().backward()
    optimizer.step()
    scales, base = torch.tensor([0.1, 0.2, 0.3]), torch.randn(3, 4)
    odd = {
        "transposed": base.t(), "expanded": base[:1].expand(5, 4), "sparse": torch.eye(3).to_sparse(),
        "rows": torch.eye(4).to_sparse_csr(), "half": torch.zeros(3, dtype=torch.bfloat16),
        "channels": torch.quantize_per_channel(base.clone(), scales, torch.tensor([1, 2, 3]), 0, torch.qint8),
    }  # fmt: skip
    training = {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    for value in (module, training, odd):
        yield saved(value)
        yield saved(value, legacy=True)
    yield pickle.dumps({"model": {name: weight.numpy() for name, weight in module.state_dict().items()}}, 2)
    yield pickle.dumps(odd, 4)
    header = json.dumps({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
    yield struct.pack("<Q", len(header)) + header.encode() + bytes(8)


def mutated(content: bytes, draw: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        size = len(made)
        place = draw.choice(
            [draw.randrange(size + 1), min(draw.randrange(1500), size), max(size - draw.randrange(1500), 0)]
        )
        match draw.randrange(7):
            case 0 | 1:
                made[place : place + 1] = bytes([draw.randrange(256)])
            case 2:
                del made[place : place + draw.choice([1, 2, 4, 100])]
            case 3:
                made[place:place] = draw.choice(TOKENS)
            case 4:
                token = draw.choice(TOKENS)
                made[place : place + len(token)] = token
            case 5:
                other = draw.randrange(size + 1)
                made[place:place] = made[other : other + draw.choice([4, 16, 64, 300])]
            case _:
                if draw.random() < 0.2:
                    del made[place:]
    return bytes(made)


def mutated_inside(content: bytes, draw: random.Random) -> bytes:
    """A zip archive with a member changed and everything else true of it."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as reader, zipfile.ZipFile(made, "w") as writer:
        names = reader.namelist()
        chosen = (
            next(name for name in names if name.endswith("data.pkl")) if draw.random() < 0.7 else draw.choice(names)
        )
        for name in names:
            data = reader.read(name)
            writer.writestr(name, mutated(data, draw) if name == chosen else data)
    return made.getvalue()


def test_no_mutation_does_more_than_stop_the_loading(tmp_path: Path) -> None:
    draw, originals, path = random.Random(1), list(samples()), tmp_path / "mutated"
    read = 0
    for number in range(MUTATIONS):
        original = originals[number % len(originals)]
        inside = original[:2] == b"PK" and draw.random() < 0.7
        path.write_bytes(mutated_inside(original, draw) if inside else mutated(original, draw))
        started = time.process_time()
        try:
            artifact = open_artifact(path)
            for tensor in artifact.tensors.values():
                assert tensor.read().shape == tensor.shape
                assert sum(len(chunk) for chunk in tensor.chunks()) == tensor.size
            read += 1
        except ArtifactError as error:
            said = str(error)
            assert said.isprintable()
            assert len(said) < 700
        assert time.process_time() - started < 3.0
    assert MUTATIONS // 10 < read < MUTATIONS * 9 // 10  # both ends are reached
