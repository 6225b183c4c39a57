"""The `args.yaml` of ultralytics, the `hyp.yaml` of YOLOv5, and the data set's file beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from yaml_recipes import opened, step, written

from avreview.errors import ArtifactError
from avreview.recipe.dialects import open_recipe
from avreview.recipe.model import Amount, Does, Recipe, Setting, Upon

ARGS = """\
task: detect
mode: train
model: yolo11n.pt
data: /home/me/data/traffic.yaml
epochs: 100
batch: 32
imgsz: 640
device: '0,1'
pretrained: true
optimizer: SGD
single_cls: false
rect: false
cos_lr: false
close_mosaic: 10
amp: true
freeze: null
multi_scale: 0.0
dropout: 0.0
lr0: 0.01
lrf: 0.01
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
nbs: 64
hsv_h: 0.015
hsv_s: 0.7
hsv_v: 0.4
degrees: 10.0
translate: 0.1
scale: 0.5
shear: 2.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
bgr: 0.0
mosaic: 1.0
mixup: 0.15
cutmix: 0.0
copy_paste: 0.0
copy_paste_mode: flip
auto_augment: randaugment
erasing: 0.4
"""
HYP = """\
lr0: 0.01
lrf: 0.1
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
box: 0.05
obj: 0.7
anchor_t: 4.0
fl_gamma: 0.0
hsv_h: 0.015
degrees: 0.0
translate: 0.1
scale: 0.9
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 1.0
mixup: 0.1
"""


def args(folder: Path, *changes: tuple[str, str], **files: str) -> Recipe:
    """The recipe in settings of which some lines are replaced."""
    text = ARGS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return opened(folder, {**{name.replace("_yaml", ".yaml"): held for name, held in files.items()}, "args.yaml": text})


def value(setting: Setting | None) -> Any:
    assert setting is not None
    return setting.value


def test_steps_in_the_order_of_the_trainer(tmp_path: Path) -> None:
    (train,) = args(tmp_path).training
    names = ["Mosaic", "CopyPaste", "MixUp", "CutMix", "RandomPerspective", "RandomHSV", "RandomFlip", "RandomFlip"]
    assert [one.name for one in train.steps] == [*names, "Format"]
    assert [one.name for one in train.steps if one.is_random] == [
        "Mosaic", "MixUp", "RandomPerspective", "RandomHSV", "RandomFlip",
    ]  # fmt: skip
    assert [one.at.line for one in train.steps[:2]] == [38, 41]


def test_geometry_with_its_units(tmp_path: Path) -> None:
    moved = step(args(tmp_path), "RandomPerspective")
    assert moved.amounts == {
        "rotation": Amount(-10, 10, "degree"),
        "translation": Amount(-0.1, 0.1, "share"),
        "shear": Amount(-2, 2, "degree"),
        "scale": Amount(0.5, 1.5, "ratio"),
    }
    assert moved.does == {Does.ROTATE, Does.TRANSLATE, Does.SHEAR, Does.SCALE}
    assert {Upon.IMAGE, Upon.BOXES_2D, Upon.MASKS, Upon.KEYPOINTS} == moved.upon


def test_a_scale_may_be_a_pair_and_perspective_a_warp(tmp_path: Path) -> None:
    recipe = args(tmp_path, ("scale: 0.5", "scale: [0.8, 1.6]"), ("perspective: 0.0", "perspective: 0.001"))
    moved = step(recipe, "RandomPerspective")
    assert moved.amounts["scale"] == Amount(0.8, 1.6, "ratio")
    assert Does.WARP in moved.does


def test_mosaic_ends_before_the_last_epochs(tmp_path: Path) -> None:
    assert step(args(tmp_path), "Mosaic").amounts["stop_epoch"] == Amount(90, 90, "epoch")
    assert not step(args(tmp_path, ("epochs: 100", "epochs: 8")), "Mosaic").is_active
    assert "stop_epoch" not in step(args(tmp_path, ("close_mosaic: 10", "close_mosaic: 0")), "Mosaic").amounts
    assert not step(args(tmp_path, ("rect: false", "rect: true")), "Mosaic").is_active


def test_mirrors_leave_class_names_as_they_are(tmp_path: Path) -> None:
    vertical, horizontal = [one for one in args(tmp_path).training[0].steps if one.name == "RandomFlip"]
    assert not vertical.is_active
    assert not vertical.does
    assert horizontal.amounts["flip_horizontal"] == Amount(0.5, 0.5, "share")
    assert horizontal.swaps_classes is False


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("detect", {"boxes-2d"}), ("obb", {"boxes-2d"}), ("segment", {"boxes-2d", "masks"}),
        ("pose", {"boxes-2d", "keypoints"}), ("classify", set()), ("semantic", {"masks"}),
    ],
)  # fmt: skip
def test_the_task_tells_the_labels(tmp_path: Path, task: str, labels: set[str]) -> None:
    assert set(args(tmp_path, ("task: detect", f"task: {task}")).labels) == labels


def test_networks_of_single_images_predict_no_velocity(tmp_path: Path) -> None:
    recipe = args(tmp_path)
    assert value(recipe.velocity) is False
    assert value(recipe.tracking) is False
    assert args(tmp_path, ("task: detect", "task: occupancy")).velocity is None


def test_classification_has_a_pipeline_of_its_own(tmp_path: Path) -> None:
    recipe = args(tmp_path, ("task: detect", "task: classify"), ("dropout: 0.0", "dropout: 0.2"))
    names = ["RandomResizedCrop", "RandomFlip", "RandomFlip", "randaugment", "RandomErasing"]
    assert [one.name for one in recipe.training[0].steps] == names
    assert [(one.rate, one.at.line) for one in recipe.dropouts] == [(0.2, 18)]
    assert not args(tmp_path, ("dropout: 0.0", "dropout: 0.2")).dropouts  # of a classifier's head alone


def test_the_optimizer_and_what_it_decays(tmp_path: Path) -> None:
    recipe = args(tmp_path)
    found = recipe.optimizer
    assert found is not None
    assert found.name == "SGD"
    assert found.rate is not None
    assert (found.rate.value, found.rate.at.line) == (0.01, 19)
    assert value(found.decay) == 0.0005
    assert value(found.momentum) == 0.937
    assert dict(found.decays) == {"bias": False, "norm": False, "embedding": None}
    assert value(recipe.schedule) == "linear"


def test_an_optimizer_that_the_trainer_chooses_has_no_rate(tmp_path: Path) -> None:
    recipe = args(tmp_path, ("optimizer: SGD", "optimizer: auto"))
    assert recipe.optimizer is not None
    assert recipe.optimizer.name == "auto"
    assert recipe.optimizer.rate is None
    assert recipe.optimizer.decay is not None  # stays as it is written
    assert [one.at.line for one in recipe.unread if one.what == "optimizer"] == [10]


def test_batch_devices_and_accumulation(tmp_path: Path) -> None:
    recipe = args(tmp_path)
    assert value(recipe.devices) == 2
    assert value(recipe.batch_size) == 16  # of 32 in all
    assert value(recipe.accumulation) == 2
    assert value(recipe.sync_norm) is False
    assert value(recipe.ema) is True
    assert value(recipe.precision) == "amp"
    assert value(recipe.pretrained) == "yolo11n.pt"


@pytest.mark.parametrize(
    ("written_as", "count"),
    [("cpu", 1), ("0", 1), ("null", 1), ("[0, 1, 2]", 3), ("'cuda:0,1'", 2), ("'-1,-1'", 2), ("''", 1)],
)
def test_ways_to_name_devices(tmp_path: Path, written_as: str, count: int) -> None:
    recipe = args(tmp_path, ("device: '0,1'", f"device: {written_as}"))
    assert value(recipe.devices) == count


def test_a_batch_that_is_found_out_is_unread(tmp_path: Path) -> None:
    recipe = args(tmp_path, ("batch: 32", "batch: -1"))
    assert recipe.batch_size is None
    assert "batch" in [one.what for one in recipe.unread]


@pytest.mark.parametrize(
    ("freeze", "prefixes"),
    [
        ("2", ["model.0", "model.1"]),
        ("[0, 3]", ["model.0", "model.3"]),
        ("['23.cv2']", ["model.23.cv2"]),
        ("null", []),
        ("true", []),
    ],
)
def test_frozen_layers(tmp_path: Path, freeze: str, prefixes: list[str]) -> None:
    assert [one.value for one in args(tmp_path, ("freeze: null", f"freeze: {freeze}")).frozen] == prefixes


def test_images_are_scaled_and_nothing_is_subtracted(tmp_path: Path) -> None:
    (found,) = args(tmp_path).normalization
    assert (found.mean, found.std, found.order, found.size) == ((0, 0, 0), (1, 1, 1), "rgb", (640, 640))
    assert found.scale == pytest.approx(1 / 255)
    assert args(tmp_path, ("imgsz: 640", "imgsz: [384, 640]")).normalization[0].size == (384, 640)
    assert args(tmp_path, ("bgr: 0.0", "bgr: 0.5")).normalization[0].order is None


def test_the_data_set_beside_gives_classes_and_lists(tmp_path: Path) -> None:
    data = "path: ../traffic\ntrain: train.txt\nval: [val.txt, images/more]\nnames: {0: left arrow, 1: right arrow}\n"
    recipe = args(tmp_path, traffic_yaml=data)
    assert recipe.classes == ["left arrow", "right arrow"]
    assert recipe.classes_at is not None
    assert (Path(recipe.classes_at.file).name, recipe.classes_at.line) == ("traffic.yaml", 4)
    assert [(one.role, one.file) for one in recipe.splits] == [
        ("train", "../traffic/train.txt"),
        ("val", "../traffic/val.txt"),
    ]
    assert [Path(path).name for path in recipe.files] == ["args.yaml", "traffic.yaml"]
    assert args(tmp_path, ("single_cls: false", "single_cls: true"), traffic_yaml=data).classes is None


def test_a_data_set_elsewhere_or_behind_a_link_is_not_read(tmp_path: Path) -> None:
    recipe = args(tmp_path)
    assert recipe.classes is None
    assert [(one.what, one.at.line) for one in recipe.unread] == [("data", 4)]
    outside = written(tmp_path, {"outside/data.yaml": "names: [secret]\n"})
    run = tmp_path / "run"
    run.mkdir()
    os.symlink(outside, run / "traffic.yaml")
    assert args(run).classes is None


@pytest.mark.parametrize(("flip_idx", "mirrors"), [("flip_idx: [1, 0]\n", 2), ("", 0)])
def test_pose_is_mirrored_only_where_keypoints_can_be_swapped(tmp_path: Path, flip_idx: str, mirrors: int) -> None:
    data = f"names: [person]\nkpt_shape: [2, 3]\n{flip_idx}"
    recipe = args(tmp_path, ("task: detect", "task: pose"), traffic_yaml=data)
    assert len([one for one in recipe.training[0].steps if one.name == "RandomFlip"]) == mirrors


def test_pose_without_its_data_set_says_what_is_not_known(tmp_path: Path) -> None:
    recipe = args(tmp_path, ("task: detect", "task: pose"))
    assert "fliplr" in [one.what for one in recipe.unread]
    assert len([one for one in recipe.training[0].steps if one.name == "RandomFlip"]) == 2


def test_yolov5_states_less(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {"hyp.yaml": HYP})
    assert set(recipe.labels) == {"boxes-2d"}
    assert step(recipe, "RandomPerspective").amounts["scale"] == Amount(0.09999999999999998, 1.9, "ratio")
    assert recipe.sync_norm is None
    assert recipe.batch_size is recipe.devices is recipe.epochs is None
    assert recipe.optimizer is not None
    assert recipe.optimizer.rate is None


def test_defaults_that_are_not_in_the_file_are_not_made_up(tmp_path: Path) -> None:
    recipe = args(tmp_path, ("mosaic: 1.0\n", ""), ("fliplr: 0.5\n", ""))
    assert "Mosaic" not in [one.name for one in recipe.training[0].steps]
    assert "mosaic, fliplr" in [one.what for one in recipe.unread]


@pytest.mark.parametrize(
    "change",
    [
        ("fliplr: 0.5", "fliplr: left"), ("scale: 0.5", "scale: [1]"), ("epochs: 100", "epochs: many"),
        ("batch: 32", "batch: {a: 1}"), ("imgsz: 640", "imgsz: [a, b, c]"), ("freeze: null", "freeze: {}"),
        ("device: '0,1'", "device: {}"), ("optimizer: SGD", "optimizer: [1]"), ("mosaic: 1.0", "mosaic: 1e400"),
        ("task: detect", "task: [x]"), ("model: yolo11n.pt", "model: 5"), ("lr0: 0.01", "lr0: []"),
        ("data: /home/me/data/traffic.yaml", "data: ..yaml"), ("freeze: null", "freeze: 999999999"),
        ("close_mosaic: 10", "close_mosaic: -5"), ("nbs: 64", "nbs: 0"), ("amp: true", "amp: {}"),
    ],
)  # fmt: skip
def test_nonsense_is_noted_or_left_out(tmp_path: Path, change: tuple[str, str]) -> None:
    recipe = args(tmp_path, change)
    assert recipe.dialect == "ultralytics"
    assert len(recipe.frozen) <= 1_000


def test_a_setting_of_the_wrong_kind_is_noted_with_its_line(tmp_path: Path) -> None:
    recipe = args(tmp_path, ("fliplr: 0.5", "fliplr: left"))
    (note,) = [one for one in recipe.unread if one.what == "fliplr"]
    assert (note.why, note.at.line) == ("is 'left' and not a number", 36)


def test_a_damaged_data_set_is_noted_and_the_rest_read(tmp_path: Path) -> None:
    recipe = args(tmp_path, traffic_yaml="names: [a\n")
    assert recipe.classes is None
    assert any("cannot be read" in one.why for one in recipe.unread)
    assert recipe.epochs is not None


def test_another_yaml_is_no_recipe(tmp_path: Path) -> None:
    path = written(tmp_path, {"other.yaml": "lr0: 0.1\nepochs: 3\n"})
    with pytest.raises(ArtifactError, match="no recipe that is known"):
        open_recipe(str(path))
