"""`preprocessor_config.json` and `training_args.bin` of transformers, alone and together."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
from yaml_recipes import opened, written

from avreview.errors import ArtifactError
from avreview.recipe.dialects import open_recipe
from avreview.recipe.model import Does, InputNormalization, Recipe, Setting, Upon

RT_DETR: dict[str, Any] = {
    "do_convert_annotations": True,
    "do_normalize": True,
    "do_pad": False,
    "do_rescale": True,
    "do_resize": True,
    "format": "coco_detection",
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "RTDetrImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 640, "width": 960},
}
ARGUMENTS: dict[str, Any] = {
    "learning_rate": 5e-05, "weight_decay": 0.05, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-08,
    "num_train_epochs": 3.0, "max_steps": -1, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2,
    "warmup_steps": 100, "optim": "adamw_torch", "lr_scheduler_type": "cosine", "fp16": False, "bf16": True,
    "seed": 42, "local_rank": -1, "_n_gpu": 1,
}  # fmt: skip


def value(setting: Setting | None) -> Any:
    assert setting is not None
    return setting.value


def processor(folder: Path, **changes: Any) -> Recipe:
    """The recipe in a processor's file of which some settings are changed; those set to None are left out."""
    settings = {key: one for key, one in {**RT_DETR, **changes}.items() if one is not None}
    return opened(folder, {"preprocessor_config.json": json.dumps(settings, indent=2)})


def normalization(recipe: Recipe) -> InputNormalization:
    (found,) = recipe.normalization
    return found


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a `training_args.bin` as torch.save does: a pickled object of transformers' class, in a zip archive."""
    module = types.ModuleType("transformers.training_args")
    kinds = {name: type(name, (), {"__module__": module.__name__}) for name in ("TrainingArguments", "PartialState")}
    for name, kind in kinds.items():
        setattr(module, name, kind)

    def write(folder: Path = tmp_path, **changes: Any) -> Path:
        settings = {key: one for key, one in {**ARGUMENTS, **changes}.items() if one is not None}
        for key, one in settings.items():
            if isinstance(one, dict):
                settings[key] = kinds["PartialState"]()
                settings[key].__dict__.update(one)
        held = kinds["TrainingArguments"]()
        held.__dict__.update(settings)
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "transformers", types.ModuleType("transformers"))
            patched.setitem(sys.modules, module.__name__, module)
            pickled = pickle.dumps(held, protocol=2)
        path = folder / "training_args.bin"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("training_args/data.pkl", pickled)
            archive.writestr("training_args/version", "3\n")
        return path

    return write


def test_steps_of_a_processor_with_lines(tmp_path: Path) -> None:
    recipe = processor(tmp_path)
    (pipeline,) = recipe.pipelines
    assert pipeline.role == "test"
    assert [(one.name, one.at.line) for one in pipeline.steps] == [("Resize", 6), ("Rescale", 5), ("Normalize", 3)]
    assert [one.is_random for one in pipeline.steps] == [False, False, False]
    assert pipeline.steps[0].upon == {Upon.IMAGE, Upon.BOXES_2D, Upon.MASKS}
    assert not recipe.unread


def test_a_processor_without_annotations_moves_the_image_alone(tmp_path: Path) -> None:
    (pipeline,) = processor(
        tmp_path, format=None, do_center_crop=True, crop_size={"height": 224, "width": 224}
    ).pipelines
    crop = pipeline.steps[1]
    assert crop.name == "CenterCrop"
    assert crop.does == {Does.CROP}
    assert crop.upon == {Upon.IMAGE}


def test_normalization(tmp_path: Path) -> None:
    found = normalization(processor(tmp_path))
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)
    assert found.scale == pytest.approx(1 / 255)
    assert (found.order, found.size, found.at.line) == ("rgb", (640, 960), 8)


@pytest.mark.parametrize(
    ("changes", "mean", "scale"),
    [
        ({"do_normalize": False}, (0.0, 0.0, 0.0), 1 / 255),
        ({"do_rescale": False}, (0.485, 0.456, 0.406), 1.0),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True}, (1.485, 1.456, 1.406), 1 / 127.5),
        ({"do_rescale": None, "rescale_factor": None}, (0.485, 0.456, 0.406), 1 / 255),  # before transformers 4.25
        (
            {"do_rescale": None, "rescale_factor": None, "image_mean": [123.0, 116.0, 103.0]},
            (123.0, 116.0, 103.0),
            None,
        ),
    ],
)
def test_scales_and_offsets(
    tmp_path: Path, changes: dict[str, Any], mean: tuple[float, ...], scale: float | None
) -> None:
    found = normalization(processor(tmp_path, **changes))
    assert found.mean == pytest.approx(mean)
    assert found.scale == (None if scale is None else pytest.approx(scale))


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, None),
        ({"size": 224}, None),
        ({"size": 224, "image_processor_type": "ViTFeatureExtractor"}, (224, 224)),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, (224, 224)),
        ({"do_resize": False}, None),
    ],
)
def test_only_a_size_that_is_certain_is_stated(tmp_path: Path, changes: dict[str, Any], size: Any) -> None:
    assert normalization(processor(tmp_path, **changes)).size == size


def test_a_processor_that_turns_the_channels_round(tmp_path: Path) -> None:
    assert normalization(processor(tmp_path, do_flip_channel_order=True)).order == "bgr"


def test_a_second_division_is_not_guessed(tmp_path: Path) -> None:
    recipe = processor(tmp_path, include_top=True)
    assert not recipe.normalization
    assert [one.what for one in recipe.unread] == ["include_top"]


def test_a_processor_config_of_transformers_5(tmp_path: Path) -> None:
    text = json.dumps({"image_processor": RT_DETR, "processor_class": "GroundingDinoProcessor"}, indent=2)
    assert normalization(opened(tmp_path, {"processor_config.json": text})).size == (640, 960)


def test_a_processor_of_sound_says_nothing_of_images(tmp_path: Path) -> None:
    text = json.dumps({"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16000})
    recipe = opened(tmp_path, {"preprocessor_config.json": text})
    assert [one.what for one in recipe.unread] == ["WhisperFeatureExtractor"]
    assert not recipe.normalization
    assert not recipe.sensors


def test_training_arguments_without_transformers(arguments: Any) -> None:
    recipe = open_recipe(str(arguments()))
    found = recipe.optimizer
    assert found is not None
    assert (found.name, value(found.rate), value(found.decay)) == ("adamw_torch", 5e-05, 0.05)
    assert dict(found.decays) == {"bias": False, "norm": None, "embedding": True}
    assert {(one.pattern, one.decay_factor) for one in found.rules} >= {("LayerNorm", 0.0), ("rmsnorm", 0.0)}
    assert found.options["warmup_steps"] == 100
    assert (value(recipe.epochs), recipe.steps, value(recipe.schedule)) == (3.0, None, "cosine")
    assert (value(recipe.batch_size), value(recipe.accumulation), value(recipe.precision)) == (8, 2, "bf16")
    assert value(recipe.devices) == 1
    assert not recipe.unread


def test_steps_take_the_place_of_epochs(arguments: Any) -> None:
    recipe = open_recipe(str(arguments(max_steps=500)))
    assert (recipe.epochs, value(recipe.steps)) == (None, 500)


@pytest.mark.parametrize(
    ("changes", "devices"),
    [
        ({"_n_gpu": 4}, 4),
        ({"_n_gpu": 0}, 1),
        ({"local_rank": 0, "_n_gpu": 1, "distributed_state": {"num_processes": 8}}, 8),
        ({"local_rank": 0, "_n_gpu": 1, "distributed_state": {"num_processes": 1}}, 1),
        ({"local_rank": 0, "_n_gpu": 1}, None),
        ({"_n_gpu": None}, None),
    ],
)
def test_how_many_devices(arguments: Any, changes: dict[str, Any], devices: int | None) -> None:
    found = open_recipe(str(arguments(**changes))).devices
    assert (None if found is None else found.value) == devices


def test_old_arguments_have_a_flag_in_the_place_of_a_name(arguments: Any) -> None:
    recipe = open_recipe(str(arguments(optim=None, adafactor=True)))
    assert recipe.optimizer is not None
    assert recipe.optimizer.name == "adafactor"


@pytest.mark.parametrize("first", ["training_args.bin", "preprocessor_config.json"])
def test_both_files_are_one_recipe(tmp_path: Path, arguments: Any, first: str) -> None:
    arguments()
    names = {"0": "left turn", "1": "right turn"}
    config = {"model_type": "rt_detr", "id2label": names, "attention_dropout": 0.1, "hidden_size": 256}
    files = {
        "config.json": json.dumps(config, indent=1),
        "trainer_state.json": json.dumps({"max_steps": 1200, "log_history": [{"loss": float("nan")}]}),
        "preprocessor_config.json": json.dumps(RT_DETR),
    }
    written(tmp_path, files)
    recipe = open_recipe(str(tmp_path / first))
    assert Path(next(iter(recipe.files))).name == first
    assert {Path(path).name for path in recipe.files} == {*files, "training_args.bin"}
    assert recipe.optimizer is not None
    assert len(recipe.normalization) == 1
    assert recipe.classes == ["left turn", "right turn"]
    assert [(one.name, one.rate) for one in recipe.dropouts] == [("attention_dropout", 0.1)]
    assert value(recipe.steps) == 1200


def test_classes_that_nobody_named_are_none(tmp_path: Path, arguments: Any) -> None:
    written(tmp_path, {"config.json": json.dumps({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})})
    assert open_recipe(str(arguments())).classes is None


def test_classes_beyond_the_basic_plane(tmp_path: Path, arguments: Any) -> None:
    written(tmp_path, {"config.json": json.dumps({"id2label": {"0": "\U0001f697", "1": "left"}})})
    assert open_recipe(str(arguments())).classes == ["\U0001f697", "left"]


def test_a_pointer_of_git_lfs_beside_is_noted(tmp_path: Path) -> None:
    written(tmp_path, {"training_args.bin": "version https://git-lfs.github.com/spec/v1\nsize 3567\n"})
    recipe = processor(tmp_path)
    assert [(one.what, one.why) for one in recipe.unread] == [
        ("training_args.bin", "is a pointer of Git LFS, not the file")
    ]
    assert recipe.normalization


def test_a_damaged_file_beside_is_noted(tmp_path: Path, arguments: Any) -> None:
    written(tmp_path, {"preprocessor_config.json": "{", "trainer_state.json": "[" * 100_000})
    recipe = open_recipe(str(arguments()))
    assert [one.what for one in recipe.unread] == ["preprocessor_config.json", "trainer_state.json"]
    assert recipe.optimizer is not None


def test_a_link_beside_is_not_followed(tmp_path: Path, arguments: Any) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    written(outside, {"preprocessor_config.json": json.dumps(RT_DETR)})
    inside = tmp_path / "inside"
    inside.mkdir()
    os.symlink(outside / "preprocessor_config.json", inside / "preprocessor_config.json")
    assert not open_recipe(str(arguments(inside))).normalization


class Exploit:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploited",)


def test_nothing_of_the_arguments_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"per_device_train_batch_size": Exploit(), "optim": "x"}))
        archive.writestr("a/version", "3\n")
    path = tmp_path / "training_args.bin"
    path.write_bytes(held.getvalue())
    recipe = open_recipe(str(path))
    assert not (tmp_path / "exploited").exists()
    assert recipe.batch_size is None


@pytest.mark.parametrize("content", [b"PK\3\4per_device_train_batch_size\0", b"\x80\2\0per_device_train_batch_size"])
def test_a_damaged_archive_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "training_args.bin"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"training_args\.bin"):
        open_recipe(str(path))


@pytest.mark.parametrize(
    "changes",
    [
        {"image_mean": "x"}, {"image_mean": [None]}, {"image_mean": [], "image_std": []}, {"size": []}, {"size": "big"},
        {"size": {"height": "x", "width": 3}}, {"rescale_factor": "x"}, {"do_resize": 1}, {"image_processor": 3},
        {"image_mean": 0.5, "image_std": 0.5}, {"crop_size": None, "do_center_crop": True},
    ],
)  # fmt: skip
def test_nonsense_is_no_traceback(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert processor(tmp_path, **changes).dialect == "huggingface"
