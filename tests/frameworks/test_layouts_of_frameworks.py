"""Checkpoints that the frameworks themselves wrote, read without them, against what their own loading gives.

Each `make_….py` runs where its framework is: the interpreter of these tests, or the one that the environment variable
AVREVIEW_FRAMEWORKS_PYTHON names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from avreview.artifact import Artifact, Tensor
from avreview.checkpoint import Checkpoint
from avreview.load import open_artifact
from avreview.load.pickles.names import judge

HERE = Path(__file__).parent
PYTHON = os.environ.get("AVREVIEW_FRAMEWORKS_PYTHON", sys.executable)
NEEDED = {
    "lightning": ("lightning",), "mmengine": ("mmengine",), "ultralytics": ("ultralytics", "cv2"),
    "transformers": ("transformers", "accelerate"), "timm": ("timm",),
}  # fmt: skip
FILES = {
    "lightning": [
        "lightning_right.ckpt", "lightning_wrong.ckpt", "lightning_ema.ckpt", "lightning_swa.ckpt",
        "lightning_stochastic.ckpt", "lightning_adversaries.ckpt", "fabric.ckpt",
    ],
    "mmengine": [
        "mmengine_right/epoch_2.pth", "mmengine_wrong/epoch_2.pth", "mmengine_right_ema/epoch_2.pth",
        "mmengine_wrong_ema/epoch_2.pth", "mmengine_two.pth",
    ],
    "ultralytics": [
        "ultralytics_right/weights/epoch2.pt", "ultralytics_right/weights/last.pt",
        "ultralytics_wrong/weights/epoch2.pt",
    ],
    "transformers": [
        "transformers_bert/checkpoint-4", "transformers_bert_wrong/checkpoint-4", "transformers_resnet/checkpoint-4",
    ],
    "timm": [
        "timm_right/last.pth.tar", "timm_wrong/last.pth.tar", "timm_right_ema/last.pth.tar",
        "timm_wrong_ema/last.pth.tar",
    ],
}  # fmt: skip
EVERY = [(framework, file) for framework, files in FILES.items() for file in files]


class Written(NamedTuple):
    """A checkpoint as it was read, and what the framework says of it."""

    artifact: Artifact
    checkpoint: Checkpoint
    expected: dict[str, Any]
    arrays: Any

    def array(self, *place: str) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self.arrays["|".join("/".join(place).split("/"))]
        return found


@pytest.fixture(scope="session")
def frameworks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder with a framework's checkpoints, made when it is first asked for; or why there is none."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # the workers share what one of them makes

    @cache
    def folder(framework: str) -> Path | str:
        missing = missing_modules(NEEDED[framework])
        if missing:
            return f"{PYTHON} has no {missing}: pip install --group frameworks"
        out = root / f"made-by-{framework}"
        done = root / f"made-by-{framework}.done"
        try:
            out.mkdir()
        except FileExistsError:
            wait_for(done)
        else:
            make(framework, out)
            done.touch()
        return out

    return folder


def missing_modules(modules: tuple[str, ...]) -> str:
    probe = f"import importlib.util as u; print(*(m for m in {modules!r} if u.find_spec(m) is None))"
    return subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=True).stdout.strip()


def make(framework: str, out: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [PYTHON, str(HERE / f"make_{framework}.py"), str(out)]
    made = subprocess.run(command, env=environment, cwd=out, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stderr[-4000:]


def wait_for(done: Path) -> None:
    """Waits while another worker makes the checkpoints."""
    end = time.monotonic() + 300
    while not done.exists():
        assert time.monotonic() < end, f"{done.stem} was not made"
        time.sleep(0.2)


@pytest.fixture(params=EVERY, ids=[file for _, file in EVERY])
def written(request: pytest.FixtureRequest, frameworks: Any) -> Written:
    framework, file = request.param
    folder = frameworks(framework)
    if isinstance(folder, str):
        pytest.skip(folder)
    path = folder / file
    expected = json.loads(path.with_name(path.name + ".json").read_text())
    artifact = open_artifact(path)
    assert artifact.checkpoint is not None
    return Written(artifact, artifact.checkpoint, expected, np.load(path.with_name(path.name + ".npz")))


def same(tensor: Tensor, expected: np.ndarray[Any, Any]) -> None:
    found = tensor.copy()
    if tensor.dtype == "bfloat16":
        found = found.view(np.uint16)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)


def test_every_weight_set_is_what_the_framework_loads(written: Written) -> None:
    """Key for key and value for value, in the order of the file."""
    for name, keys in written.expected["sets"].items():
        found = written.checkpoint.sets[name]
        prefix = written.expected["prefixes"].get(name, "")
        assert found.prefix == prefix
        assert [tensor.name for tensor in found.tensors.values()] == keys
        assert list(found.tensors) == [key[len(prefix) :] for key in keys]
        for key, tensor in zip(keys, found.tensors.values(), strict=True):
            same(tensor, written.array(name, key))


def test_the_primary_set_is_the_one_for_inference(written: Written) -> None:
    assert written.checkpoint.layout == written.expected["layout"]
    assert written.checkpoint.primary == written.expected["primary"]
    assert written.artifact.tensors is written.checkpoint.sets[written.expected["primary"]].tensors


def test_optimizers_keep_every_setting_and_every_state(written: Written) -> None:
    assert [one.where for one in written.checkpoint.optimizers] == [
        one["where"] for one in written.expected["optimizers"]
    ]
    for found, expected in zip(written.checkpoint.optimizers, written.expected["optimizers"], strict=True):
        assert len(found.groups) == len(expected["groups"])
        for group, settings in zip(found.groups, expected["groups"], strict=True):
            assert list(group.slots) == settings.pop("params")
            assert list(group.names) == settings.pop("param_names", [])
            assert dict(group.options) == settings
        assert {str(slot) for slot in found.state} == set(expected["state"])
        for slot, entries in found.state.items():
            for name, kind in expected["state"][str(slot)].items():
                if kind == "tensor":
                    assert entries[name].name == f"{found.where}.state.{slot}.{name}"
                    same(entries[name], written.array(found.where, str(slot), name))
                else:
                    assert entries[name] == kind


def test_the_module_tree_is_the_frameworks(written: Written) -> None:
    expected = written.expected["modules"]
    if expected is None:
        assert written.checkpoint.modules is None
        return
    modules = written.checkpoint.modules
    assert modules is not None
    assert list(modules) == list(expected)
    everything_frozen = all(len(one["frozen"]) == len(one["parameters"]) for one in expected.values())
    for path, one in expected.items():
        found = modules[path]
        assert (found.kind, found.package) == (one["kind"], one["package"])
        assert list(found.children) == one["children"]
        assert list(found.parameters) == one["parameters"]
        assert list(found.buffers) == one["buffers"]
        assert found.frozen == (set() if everything_frozen else set(one["frozen"]))
        for name, value in one["attributes"].items():
            assert found.attributes[name] == (tuple(value) if isinstance(value, list) else value), (path, name)


def test_what_the_checkpoint_says_of_its_making(written: Written) -> None:
    for key, value in written.expected["metadata"].items():
        found = written.checkpoint.metadata[key]
        assert (found | value == found) if isinstance(value, dict) else (found == value), key


def test_nothing_in_a_healthy_checkpoint_is_called_unsafe(written: Written) -> None:
    assert judge(written.checkpoint.code) == []
    assert list(written.checkpoint.oddities) == []


def test_what_cannot_be_seen_is_said_and_nothing_else(written: Written) -> None:
    said = [line for line in written.artifact.limitations if "requires_grad False on every parameter" not in line]
    assert said == []
