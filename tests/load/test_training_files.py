"""What the Trainer of transformers leaves beside the weights; `tests/frameworks` has folders that it wrote itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from avreview.errors import ArtifactError
from avreview.load import open_artifact
from avreview.load.pickles.names import judge

torch: Any = pytest.importorskip("torch")

GROUPS = [{"lr": 0.1, "weight_decay": 0.1, "params": [0]}, {"lr": 0.1, "weight_decay": 0.0, "params": [1]}]
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": GROUPS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.save({"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    torch.save(OPTIMIZER, tmp_path / "optimizer.pt")
    (tmp_path / "trainer_state.json").write_text('{"global_step": 4, "log_history": [{"loss": NaN, "step": 4}]}')
    return tmp_path


def test_the_optimizer_and_the_progress_belong_to_the_weights(folder: Path) -> None:
    artifact = open_artifact(folder)
    checkpoint = artifact.checkpoint
    assert checkpoint
    assert checkpoint.layout == "transformers"
    (optimizer,) = checkpoint.optimizers
    assert [(group.slots, group.options["weight_decay"]) for group in optimizer.groups] == [((0,), 0.1), ((1,), 0.0)]
    assert optimizer.state[0]["exp_avg"].name == "optimizer.pt.state.0.exp_avg"
    assert checkpoint.metadata["global_step"] == 4
    assert any(path.endswith("optimizer.pt") for path in artifact.digests)


def test_weights_alone_stay_what_they_are(folder: Path) -> None:
    (folder / "optimizer.pt").unlink()
    (folder / "trainer_state.json").unlink()
    checkpoint = open_artifact(folder).checkpoint
    assert checkpoint
    assert (checkpoint.layout, tuple(checkpoint.optimizers)) == ("state_dict", ())


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\3\4"])
def test_an_optimizer_that_cannot_be_read(folder: Path, content: bytes) -> None:
    (folder / "optimizer.pt").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"optimizer\.pt"):
        open_artifact(folder)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff"])
def test_a_state_that_cannot_be_read(folder: Path, content: bytes) -> None:
    (folder / "trainer_state.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"trainer_state\.json: is not JSON"):
        open_artifact(folder)


def test_a_file_that_holds_something_else(folder: Path) -> None:
    torch.save({"epoch": 3}, folder / "optimizer.pt")
    assert "optimizer.pt holds no optimizer's state" in open_artifact(folder).limitations


def test_code_in_the_settings_is_seen(folder: Path) -> None:
    class Settings:
        def __reduce__(self) -> Any:
            return os.system, ("true",)

    torch.save(Settings(), folder / "training_args.bin")
    checkpoint = open_artifact(folder).checkpoint
    assert checkpoint
    (unsafe,) = judge(checkpoint.code)
    assert unsafe.code.name.endswith(".system")
    assert unsafe.code.file.startswith("training_args.bin/")


def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "optimizer.pt"
    torch.save(OPTIMIZER, elsewhere)
    (folder / "optimizer.pt").unlink()
    (folder / "optimizer.pt").symlink_to(elsewhere)
    with pytest.raises(ArtifactError, match="link"):
        open_artifact(folder)
