"""Recipes that nobody named: in a checkpoint, and by a trainer's convention beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from yaml_recipes import written

from avreview.artifact import Artifact
from avreview.errors import ArtifactError
from avreview.recipe.beside import recipe_beside
from avreview.recipe.inside import recipe_inside
from avreview.recipe.model import Setting

TRAIN_ARGS: dict[str, Any] = {
    "task": "segment", "mode": "train", "model": "yolo11n-seg.pt", "data": "coco.yaml", "epochs": 50, "batch": 16,
    "imgsz": 640, "device": None, "optimizer": "AdamW", "lr0": 0.002, "weight_decay": 0.0005, "momentum": 0.9,
    "mosaic": 1.0, "close_mosaic": 10, "fliplr": 0.5, "flipud": 0.0, "degrees": 0.0, "translate": 0.1, "scale": 0.5,
}  # fmt: skip
CFG = """\
train_pipeline = [dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5)]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.0002, weight_decay=0.01))
train_cfg = dict(by_epoch=True, max_epochs=24)
"""


def saved(path: str = "best.pt", **metadata: Any) -> Artifact:
    return checkpoint({"conv.weight": np.ones((2, 2), np.float32)}, path=path, metadata=metadata)


def value(setting: Setting | None) -> Any:
    assert setting is not None
    return setting.value


def test_train_args_of_ultralytics() -> None:
    recipe = recipe_inside(saved(train_args=TRAIN_ARGS))
    assert recipe is not None
    assert (recipe.dialect, recipe.inside, recipe.path) == ("ultralytics", "best.pt", "best.pt!train_args")
    assert set(recipe.labels) == {"boxes-2d", "masks"}
    assert recipe.optimizer is not None
    assert (recipe.optimizer.name, value(recipe.optimizer.rate)) == ("AdamW", 0.002)
    assert value(recipe.batch_size) == 16
    assert recipe.training[0].steps[0].at == ("best.pt!train_args", None)
    assert not recipe.files


@pytest.mark.parametrize("key", ["cfg", "config"])
def test_configurations_of_mmengine_and_mmcv(key: str) -> None:
    recipe = recipe_inside(saved("epoch_24.pth", meta={key: CFG, "epoch": 24}))
    assert recipe is not None
    assert (recipe.dialect, recipe.inside, recipe.path) == ("mmengine", "epoch_24.pth", f"epoch_24.pth!meta.{key}")
    assert recipe.optimizer is not None
    assert (recipe.optimizer.name, value(recipe.optimizer.decay)) == ("AdamW", 0.01)
    assert value(recipe.epochs) == 24


def test_a_configuration_that_cannot_be_read_is_one_clear_line() -> None:
    with pytest.raises(ArtifactError, match=r"epoch_1\.pth!meta\.cfg"):
        recipe_inside(saved("epoch_1.pth", meta={"cfg": "model = dict("}))


def test_training_arguments_of_a_folder() -> None:
    settings = {"per_device_train_batch_size": 8, "learning_rate": 1e-4, "optim": "adamw_torch", "weight_decay": 0.0}
    recipe = recipe_inside(saved("checkpoint-10", training_args=settings))
    assert recipe is not None
    assert (recipe.dialect, recipe.inside) == ("huggingface", "checkpoint-10")
    assert value(recipe.batch_size) == 8


def test_hyperparameters_of_lightning_tell_little() -> None:
    settings = {"lr": 1e-3, "weight_decay": 0.01, "batch_size": 4, "max_epochs": 9, "backbone": "r50", "flip": True}
    recipe = recipe_inside(saved("last.ckpt", hyper_parameters=settings))
    assert recipe is not None
    assert recipe.dialect == "lightning"
    assert recipe.optimizer is not None
    assert (recipe.optimizer.name, value(recipe.optimizer.rate), dict(recipe.optimizer.decays)) == ("?", 1e-3, {})
    assert (value(recipe.batch_size), value(recipe.epochs)) == (4, 9)
    assert [one.what for one in recipe.unread] == ["backbone", "flip"]


@pytest.mark.parametrize(
    "metadata",
    [
        {}, {"epoch": 3}, {"train_args": None}, {"train_args": {}}, {"meta": "x"}, {"meta": {"cfg": None}},
        {"meta": {"cfg": "  "}}, {"hyper_parameters": {"backbone": "r50"}}, {"hyper_parameters": []},
        {"training_args": {"x": 1}}, {"hyper_parameters": {"lr": True}},
    ],
)  # fmt: skip
def test_most_checkpoints_hold_none(metadata: dict[str, Any]) -> None:
    assert recipe_inside(saved(**metadata)) is None


def test_nonsense_in_train_args_is_no_traceback() -> None:
    odd: list[Any] = [None, [], {}, "x", -1, 1e308, [None], {"a": []}, True]
    for position, key in enumerate(TRAIN_ARGS):
        for wrong in odd[position % 3 :]:
            assert recipe_inside(saved(train_args={**TRAIN_ARGS, key: wrong})) is not None


# Beside


def test_the_settings_of_a_run_of_ultralytics(tmp_path: Path) -> None:
    settings = written(tmp_path, {"runs/train/args.yaml": "task: detect\n"})
    weights = written(tmp_path, {"runs/train/weights/best.pt": "", "runs/train/weights/best.onnx": ""})
    assert recipe_beside(str(weights)) == str(settings)
    assert recipe_beside(str(weights.with_suffix(".pt"))) == str(settings)
    assert recipe_beside(str(written(tmp_path, {"runs/train/best.pt": ""}))) is None


def test_the_way_is_relative_where_the_models_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, {"train/args.yaml": "", "train/weights/best.pt": ""})
    monkeypatch.chdir(tmp_path)
    assert recipe_beside(os.path.join("train", "weights", "best.pt")) == os.path.join("train", "args.yaml")
    monkeypatch.chdir(tmp_path / "train" / "weights")
    assert recipe_beside("best.pt") == os.path.join(os.pardir, "args.yaml")


@pytest.mark.parametrize("name", ["training_args.bin", "preprocessor_config.json", "processor_config.json"])
def test_the_files_of_transformers(tmp_path: Path, name: str) -> None:
    weights = written(tmp_path, {name: "x", "model.safetensors": ""})
    assert recipe_beside(str(weights)) is None  # any folder may hold such a file
    written(tmp_path, {"config.json": "{}"})
    assert recipe_beside(str(weights)) == str(tmp_path / name)
    assert recipe_beside(str(tmp_path)) == str(tmp_path / name)
    assert recipe_beside(str(written(tmp_path, {"notes.txt": ""}))) is None


def test_the_one_configuration_that_mmengine_dumped(tmp_path: Path) -> None:
    weights = written(tmp_path, {"petr.py": "model = dict(type='Petr')\n", "epoch_12.pth": ""})
    assert recipe_beside(str(weights)) == str(tmp_path / "petr.py")
    assert recipe_beside(str(written(tmp_path, {"latest.pth": ""}))) == str(tmp_path / "petr.py")
    assert recipe_beside(str(written(tmp_path, {"resnet50.pth": ""}))) is None
    written(tmp_path, {"second.py": "model = dict()\n"})
    assert recipe_beside(str(weights)) is None  # which of both is not told


def test_a_script_beside_a_checkpoint_is_no_configuration(tmp_path: Path) -> None:
    weights = written(tmp_path, {"convert.py": "import torch\nprint(1)\n", "epoch_12.pth": ""})
    assert recipe_beside(str(weights)) is None


@pytest.mark.parametrize(
    ("model", "link"),
    [
        ("train/weights/best.pt", "train/args.yaml"),
        ("hf/model.safetensors", "hf/training_args.bin"),
        ("mm/epoch_1.pth", "mm/config.py"),
    ],
)
def test_links_are_not_followed(tmp_path: Path, model: str, link: str) -> None:
    outside = written(tmp_path, {"outside/file": "model = dict()\n"})
    weights = written(tmp_path, {"hf/config.json": "{}", model: ""})
    (tmp_path / link).parent.mkdir(exist_ok=True)
    os.symlink(outside, tmp_path / link)
    assert recipe_beside(str(weights)) is None


def test_a_model_that_is_not_there_has_none_beside(tmp_path: Path) -> None:
    assert recipe_beside(str(tmp_path / "gone" / "epoch_1.pth")) is None
