"""Checkpoints that want to be read wrong, to crash, to hang or to fill the memory: one clear line each, and cheap."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from torch_files import (  # noqa: E402
    Called,
    Stored,
    legacy_checkpoint,
    pickled,
    saved,
    view,
    zip_bytes,
    zip_checkpoint,
)

from avreview.artifact import Artifact  # noqa: E402
from avreview.errors import ArtifactError  # noqa: E402
from avreview.load import open_artifact  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about quantized and sparse tensors

Open = Callable[..., Artifact]
ONE = Stored("0", 6)
RAW = bytes(24)


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    path = tmp_path / "checkpoint"

    def open_bytes(content: bytes, **options: Any) -> Artifact:
        path.write_bytes(content)
        started = time.process_time()
        try:
            return open_artifact(path, **options)
        finally:
            assert time.process_time() - started < 2.0

    return open_bytes


def assert_refused(opened: Open, content: bytes, wrong: str) -> None:
    with pytest.raises(ArtifactError, match=wrong) as caught:
        opened(content)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 500


def quantized(parameters: Any, size: Any = (2, 3), stride: Any = (3, 1)) -> Called:
    kept = Stored("0", 6, torch.QInt8Storage)
    return Called(torch._utils._rebuild_qtensor, kept, 0, size, stride, parameters, False, {})


def sparse(layout: Any, *parts: Any) -> Called:
    return Called(torch._utils._rebuild_sparse_tensor, layout, parts)


LONGS = Stored("l", 4, torch.LongStorage)
COO = torch.sparse_coo

VIEWS = {
    "past the storage": (view(ONE, 1, (6,), (1,)), "reaches to byte 28 of a storage of 24"),
    "strides past it": (view(ONE, 0, (2, 3), (4, 1)), "reaches to byte 28"),
    "offset past it": (view(ONE, 1 << 61, (1,), (1,)), "reaches to byte"),
    "negative size": (view(ONE, 0, (-1,), (1,)), "not all whole numbers"),
    "negative stride": (view(ONE, 5, (6,), (-1,)), "not all whole numbers"),
    "negative offset": (view(ONE, -1, (6,), (1,)), "not all whole numbers"),
    "overflow": (view(ONE, 0, (1 << 63, 2), (0, 0)), "not all whole numbers"),
    "overflow in all": (view(ONE, 0, (1 << 31, 1 << 31), (0, 0)), "impossible shape"),
    "overflow behind a 0": (view(ONE, 0, (0, 1 << 61), (1, 1)), "impossible shape"),
    "giant without strides": (view(ONE, 0, (17 << 40,), (0,)), "much larger than the file"),
    "fewer strides": (view(ONE, 0, (2, 3), (1,)), "2 dimensions and 1 strides"),
    "many dimensions": (view(ONE, 0, (1,) * 65, (1,) * 65), "without a shape"),
    "size of text": (view(ONE, 0, ("2",), (1,)), "not all whole numbers"),
    "size of fractions": (view(ONE, 0, (2.0,), (1,)), "not all whole numbers"),
    "size that is none": (view(ONE, 0, None, (1,)), "without a shape"),
    "no storage": (Called(torch._utils._rebuild_tensor_v2, "0", 0, (1,), (1,), False, {}), "without a storage"),
    "missing storage": (view(Stored("1", 6), 0, (6,), (1,)), "no member 'archive/data/1'|lacks the storage"),
    "storage elsewhere": (view(Stored("../data.pkl", 1), 0, (1,), (1,)), "no member|lacks the storage"),
    "storage of text": (view(Stored("0", "6"), 0, (6,), (1,)), "not all whole numbers"),
    "storage of no name": (view(Stored(3, 6), 0, (6,), (1,)), "no name of a storage"),
    "storage of no type": (view(Stored("0", 6, "FloatStorage"), 0, (6,), (1,)), "unknown type"),
    "storage of another type": (view(Stored("0", 6, torch.nn.Linear), 0, (6,), (1,)), "unknown type"),
    "storage longer than it is": (view(Stored("0", 7), 0, (7,), (1,)), "24 bytes in the (member|storage) .*need 28"),
    "huge storage": (view(Stored("0", 1 << 61), 0, (1,), (1,)), "24 bytes in the (member|storage)"),
    "two types": ([view(ONE, 0, (6,), (1,)), view(Stored("0", 3, torch.LongStorage), 0, (3,), (1,))],
                  "'0' in two sizes or types"),
    "two sizes": ([view(ONE, 0, (6,), (1,)), view(Stored("0", 5), 0, (5,), (1,))], "'0' in two sizes or types"),
    "unknown properties": (Called(torch._utils._rebuild_tensor_v2, ONE, 0, (6,), (1,), False, {}, "conj"),
                           "unknown properties"),
    "type of no tensor": (Called(torch._utils._rebuild_tensor_v3, ONE, 0, (6,), (1,), False, {}, os.system),
                          "unknown type"),
    "too few arguments": (Called(torch._utils._rebuild_tensor_v2, ONE), "of the wrong parts"),
    "axis": (quantized((torch.per_channel_affine, [1.0], [0], 2)), "an axis that it does not have"),
    "too few scales": (quantized((torch.per_channel_affine, [1.0], [0], 0)), "a scale for each channel"),
    "scales of text": (quantized((torch.per_channel_affine, ["1", "2"], [0, 0], 0)), "no number"),
    "scheme": (quantized((torch.per_tensor_symmetric, 1.0)), "unknown scheme"),
    "no scheme": (quantized(("per_tensor_affine", 1.0, 0)), "without a scheme"),
    "four bits with strides": (view(Stored("0", 24, torch.QUInt4x2Storage), 0, (3, 2), (1, 3)), "not stored in order"),
    "sparse of no tensors": (sparse(COO, 1, 2, (3,)), "not made of tensors"),
    "sparse of another layout": (sparse("dense", 1, 2, (3,)), "unknown layout"),
    "sparse that does not fit": (sparse(COO, view(ONE, 0, (1, 3), (3, 1)), view(ONE, 0, (2,), (1,)), (3,)),
                                 "do not fit one another"),
    "sparse by fractions": (sparse(COO, view(ONE, 0, (1, 3), (3, 1)), view(ONE, 0, (3,), (1,)), (3,)),
                            "indices are no integers"),
    "sparse giant": (sparse(torch.sparse_csr, *[view(ONE, 0, (1, 3), (3, 1))] * 3, (1 << 30, 1 << 30)),
                     "larger than the file|do not fit"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "wrong"), VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_cannot_be(opened: Open, value: Any, wrong: str, legacy: bool) -> None:
    made = {"weight": value}
    content = legacy_checkpoint(made, {"0": (6, RAW)}) if legacy else zip_checkpoint(made, {"0": RAW})
    assert_refused(opened, content, rf"{wrong}|lists the storage" if legacy else wrong)


def test_many_views_of_much_are_refused_and_a_few_are_read(opened: Open) -> None:
    count = 1 << 20
    raw = {"0": bytes(4 * count)}
    few = {f"w{n}": view(Stored("0", count), n, (count - n,), (1,)) for n in range(8)}
    assert len(opened(zip_checkpoint(few, raw)).tensors) == 8
    many = {f"w{n}": view(Stored("0", count), n, (count - n,), (1,)) for n in range(400)}
    assert_refused(opened, zip_checkpoint(many, raw), "together much larger than the file")
    crossed = {"w": view(Stored("0", count * 3 // 2), 0, (1 << 20, 1 << 19), (1, 1))}
    assert_refused(opened, zip_checkpoint(crossed, {"0": bytes(6 * count)}), "elements overlap")


def test_sparse_elements_outside_the_shape(opened: Open) -> None:
    inside = torch.eye(3).to_sparse()
    places = torch.tensor([[0, 1, 7], [0, 1, 2]])
    for value in (
        torch.sparse_coo_tensor(places, torch.ones(3), (3, 3), check_invariants=False),
        torch.sparse_coo_tensor(-places, torch.ones(3), (3, 3), check_invariants=False),
        torch.sparse_csr_tensor([0, 1, 2, 9], [0, 1, 2], torch.ones(3), (3, 3), check_invariants=False),
        torch.sparse_csr_tensor([0, 1, 2, 3], [0, 1, 9], torch.ones(3), (3, 3), check_invariants=False),
    ):
        artifact = opened(saved({"good": inside, "bad": value}))
        assert artifact.tensors["good"].read().sum() == 3
        with pytest.raises(ArtifactError, match="elements outside its shape"):
            artifact.tensors["bad"].read()


GOOD = {"weight": view(ONE, 0, (6,), (1,))}
FILES = {
    "unknown byte order": (zip_checkpoint(GOOD, {"0": RAW}, {"byteorder": b"middle"}), "byte order 'middle'"),
    "compressed storage": (zip_bytes({"data.pkl": pickled(GOOD), "data/0": RAW}, packed=("data/0",)),
                           "compressed member 'archive/data/0'"),
    "no pickle": (zip_bytes({"data/0": RAW}), "without torch's data.pkl"),
    "arrays": (zip_bytes({"a.npy": b"", "b.npy": b""}, top=""), "numpy arrays"),
    "Keras": (zip_bytes({"config.json": b"", "model.weights.h5": b""}, top=""), "Keras"),
    "TorchServe": (zip_bytes({"MAR-INF/MANIFEST.json": b"", "x": b""}, top=""), "TorchServe"),
    "torch.package": (zip_bytes({".data/extern_modules": b"", "x.py": b""}), "in which code travels"),
    "tar": (bytes(257) + b"ustar\0" + bytes(400), "a tar archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(30), "gzip"),
    "unknown version": (legacy_checkpoint(GOOD, {"0": (6, RAW)}, version=1002), "unknown version"),
    "storage not listed": (legacy_checkpoint(GOOD), "lacks the storage '0'"),
    "storage cut off": (legacy_checkpoint(GOOD, {"0": (6, RAW[:-1])}), "cut off in the storage '0'"),
    "storage of another size": (legacy_checkpoint(GOOD, {"0": (5, RAW)}), "20 bytes in the storage '0'"),
    "storage of negative size": (legacy_checkpoint(GOOD, {"0": (-6, RAW)}), "-24 bytes in the storage '0'"),
    "storage nobody has": (legacy_checkpoint(GOOD, {"0": (6, RAW), "1": (6, RAW)}), "'1' that its value does not"),
    "part past its storage": (legacy_checkpoint({"w": view(Stored("0", 6, part=("1", 4, 3)), 0, (1,), (1,))},
                                                {"0": (6, RAW)}), "a part of 28 bytes of a storage of 24"),
    "no part": (legacy_checkpoint({"w": view(Stored("0", 6, part=("1",)), 0, (1,), (1,))}, {"0": (6, RAW)}),
                "no part of a storage"),
    "a reference without a storage": (b"\x80\x02}X\1\0\0\0aX\1\0\0\0bQs.", "its own program"),
    "no weights": (pickle.dumps({"epoch": 3}), "holds no weights"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "wrong"), FILES.values(), ids=FILES)
def test_files_that_cannot_be(opened: Open, content: bytes, wrong: str) -> None:
    assert_refused(opened, content, wrong)


def test_a_legacy_file_cut_off_at_any_byte(opened: Open) -> None:
    content = saved({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, legacy=True)
    for end in range(2, len(content)):
        assert_refused(opened, content[:end], "cut off|pickle|storages|holds no weights")


def odd(artifact: Artifact) -> str:
    assert artifact.checkpoint is not None
    return "; ".join(artifact.checkpoint.oddities)


def test_what_is_suspicious_without_naming_code(opened: Open) -> None:
    assert odd(opened(zip_checkpoint(GOOD, {"0": RAW}))) == ""
    assert "4 bytes in the member 'archive/data/0'" in odd(opened(zip_checkpoint(GOOD, {"0": RAW + b"more"})))
    assert "does not read: 'archive/evil.py'" in odd(opened(zip_checkpoint(GOOD, {"0": RAW}, {"evil.py": b"x"})))
    assert "does not read: 'archive/data/1'" in odd(opened(zip_checkpoint(GOOD, {"0": RAW, "1": RAW})))
    behind = zip_bytes({"data.pkl": pickled(GOOD) + pickle.dumps(1), "data/0": RAW})
    assert "behind the end of the pickle data.pkl" in odd(opened(behind))
    assert "4 bytes behind the end of the zip" in odd(opened(zip_checkpoint(GOOD, {"0": RAW}) + b"more"))
    assert odd(opened(legacy_checkpoint(GOOD, {"0": (6, RAW)}))) == ""
    both = legacy_checkpoint(GOOD, {"0": (6, RAW)}, behind=zip_bytes({"data.pkl": b""}))
    assert "bytes behind the end of the pickled data" in odd(opened(both))
    assert "bytes behind the end" in odd(opened(pickle.dumps({"w": torch.ones(2)}) + pickle.dumps({})))


def code(artifact: Artifact) -> list[tuple[str, str]]:
    assert artifact.checkpoint is not None
    return [(found.name, found.use) for found in artifact.checkpoint.code]


SYSTEM = f"{os.system.__module__}.system"


def test_code_is_found_where_torch_would_run_it(opened: Open, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    call = Called(os.system, f"touch {ran}")
    handed = Called(torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (f"touch {ran}",), {})
    hidden = Called(torch.storage._load_from_bytes, saved({"x": call}, legacy=True))
    zipped = Called(torch.storage._load_from_bytes, saved({"x": call}))
    for value in (call, handed, hidden, zipped):
        made = {**GOOD, "x": value}
        for content in (zip_checkpoint(made, {"0": RAW}), legacy_checkpoint(made, {"0": (6, RAW)})):
            assert (SYSTEM, "called") in code(opened(content))
    assert_refused(opened, pickle.dumps(call), "holds no weights, and loading it would call '.*system'")
    deep = torch.ones(2).storage()
    for _ in range(4):
        deep = Called(torch.storage._load_from_bytes, saved({"x": deep}))
    assert_refused(opened, zip_checkpoint({**GOOD, "x": deep}, {"0": RAW}), "checkpoints inside one another")
    assert not ran.exists()


def test_healthy_checkpoints_name_no_code(opened: Open) -> None:
    attributed = torch.ones(2)
    attributed.note = 1
    value = {
        "w": torch.ones(2), "a": attributed, "g": torch.Generator(), "q": torch.quantize_per_tensor(
            torch.ones(2), 1.0, 0, torch.quint8), "s": torch.eye(2).to_sparse(), "d": torch.device("cpu"),
        "t": torch.float16, "z": torch.Size([2]), "p": torch.nn.Parameter(torch.ones(2)), "l": torch.strided,
        "c": torch.ones(2).storage(),
    }  # fmt: skip
    for legacy in (False, True):
        assert code(opened(saved(value, legacy=legacy))) == []


def test_memory_has_a_limit_that_can_be_set(opened: Open) -> None:
    content = zip_checkpoint({**GOOD, "x": list(range(300_000))}, {"0": RAW})
    assert len(opened(content).tensors) == 1
    with pytest.raises(ArtifactError, match=r"builds more than|more than the 250,000 allowed"):
        opened(content, memory=1_000_000)


def test_a_set_of_weights_that_is_not_there(opened: Open) -> None:
    with pytest.raises(ArtifactError, match="has no weight set 'ema'"):
        opened(zip_checkpoint(GOOD, {"0": RAW}), weights="ema")
