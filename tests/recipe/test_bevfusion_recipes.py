"""bevfusion's YAML: the defaults of the folders merged, `${…}` worked out, and every transform as its code takes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from yaml_recipes import mutated, opened, pipeline, refusal, share, step, where, written

from avreview.errors import ArtifactError
from avreview.recipe.model import Amount, Does, Upon

TOP = """\
load_from: null
fp16: {loss_scale: {growth_interval: 2000}}
max_epochs: 20
runner: {type: CustomEpochBasedRunner, max_epochs: "${max_epochs}"}
"""
NUSCENES = """\
root: data/nuscenes/
gt_paste_stop_epoch: -1
use_dim: 5
point_cloud_range: [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
image_size: [256, 704]
augment2d:
  resize: [[0.38, 0.55], [0.48, 0.48]]
  rotate: [-5.4, 5.4]
  gridmask: {prob: 0.0}
augment3d:
  scale: [0.9, 1.1]
  rotate: [-0.78, 0.78]
  translate: 0.5
object_classes: [car, truck]
map_classes: [lane]
train_pipeline:
  - {type: LoadMultiViewImageFromFiles}
  - {type: LoadPointsFromMultiSweeps, sweeps_num: 9, use_dim: "${use_dim}"}
  - {type: LoadRadarPointsMultiSweeps, sweeps_num: 6}
  - {type: ObjectPaste, stop_epoch: "${gt_paste_stop_epoch}"}
  - type: ImageAug3D
    final_dim: ${image_size}
    resize_lim: ${augment2d.resize[0]}
    rot_lim: ${augment2d.rotate}
    rand_flip: true
    is_train: true
  - type: GlobalRotScaleTrans
    resize_lim: ${augment3d.scale}
    rot_lim: ${augment3d.rotate}
    trans_lim: ${augment3d.translate}
    is_train: true
  - {type: RandomFlip3D}
  - {type: ObjectRangeFilter, point_cloud_range: "${point_cloud_range}"}
  - {type: ImageNormalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
  - {type: GridMask, prob: "${augment2d.gridmask.prob}"}
  - {type: Collect3D, keys: [img, points], meta_keys: [lidar_aug_matrix]}
test_pipeline:
  - {type: LoadPointsFromMultiSweeps, sweeps_num: 9, use_dim: "${use_dim}"}
  - {type: ImageAug3D, resize_lim: "${augment2d.resize[1]}", rot_lim: [0.0, 0.0], rand_flip: false, is_train: false}
  - {type: GlobalRotScaleTrans, resize_lim: [1.0, 1.0], rot_lim: [0.0, 0.0], trans_lim: 0.0, is_train: false}
  - {type: ImageNormalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
data:
  samples_per_gpu: 4
  train:
    type: CBGSDataset
    dataset: {pipeline: "${train_pipeline}", ann_file: "${root + 'infos_train.pkl'}"}
  val: {pipeline: "${test_pipeline}", ann_file: "${root + 'infos_val.pkl'}"}
  test: {pipeline: "${test_pipeline}", ann_file: "${root + 'infos_val.pkl'}"}
"""
FUSION = """\
model:
  encoders:
    camera:
      backbone:
        type: ResNet
        frozen_stages: 1
        norm_eval: true
        norm_cfg: {type: BN2d, requires_grad: false}
        init_cfg: {type: Pretrained, checkpoint: torchvision://resnet50}
      vtransform: {type: LSSTransform}
    lidar: {voxelize: {max_num_points: 10}}
  heads:
    object:
      dropout: 0.1
      common_heads: {center: [2, 2], vel: [2, 2]}
    map: null
augment3d: {rotate: [-0.39, 0.39]}
optimizer:
  type: AdamW
  lr: 2.0e-4
  weight_decay: 0.01
  paramwise_cfg:
    norm_decay_mult: 0
    custom_keys:
      absolute_pos_embed: {decay_mult: 0}
      encoders.camera.backbone: {lr_mult: 0.1}
lr_config: {policy: CosineAnnealing}
sync_bn: true
"""
TOP_AT, NUSCENES_AT = "configs/default.yaml", "configs/nuscenes/default.yaml"
FUSION_AT = "configs/nuscenes/det/fusion.yaml"
FILES = {TOP_AT: TOP, NUSCENES_AT: NUSCENES, FUSION_AT: FUSION}
SCENE = {Upon.POINTS, Upon.BOXES_3D, Upon.VELOCITIES, Upon.CALIBRATION, Upon.MAPS}


def fused(*edits: tuple[str, str]) -> dict[str, str]:
    """The files, with these texts exchanged in the recipe."""
    text = FUSION
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return {**FILES, FUSION_AT: text}


def test_defaults_are_merged_from_the_top_and_every_value_keeps_its_place(tmp_path: Path) -> None:
    recipe = opened(tmp_path, FILES)
    assert (recipe.dialect, recipe.unread) == ("bevfusion", [])
    assert [Path(path).name for path in recipe.files] == ["fusion.yaml", "default.yaml", "default.yaml"]
    turn = step(recipe, "GlobalRotScaleTrans")
    assert turn.amounts == {  # the recipe's own rotation, the rest from below
        "scale": Amount(0.9, 1.1, "ratio"),
        "rotation": Amount(-0.39, 0.39, "rad"),
        "translation": Amount(-0.5, 0.5, "m"),
    }
    assert where(tmp_path, turn) == (NUSCENES_AT, 27)
    assert recipe.epochs is not None
    assert recipe.epochs.value == 20
    assert where(tmp_path, recipe.epochs) == (TOP_AT, 3)  # where the epochs are, not where they are referred to
    assert [(split.role, split.file) for split in recipe.splits] == [
        ("train", "data/nuscenes/infos_train.pkl"), ("val", "data/nuscenes/infos_val.pkl"),
        ("test", "data/nuscenes/infos_val.pkl"),
    ]  # fmt: skip


def test_transforms_of_training(tmp_path: Path) -> None:
    recipe = opened(tmp_path, FILES)
    image = step(recipe, "ImageAug3D")
    assert image.upon == {Upon.IMAGE, Upon.CALIBRATION}
    assert image.amounts == {
        "scale": Amount(0.38, 0.55, "ratio"),
        "rotation": Amount(-5.4, 5.4, "degree"),
        "flip_horizontal": share(0.5),
    }
    assert step(recipe, "GlobalRotScaleTrans").upon == SCENE
    assert step(recipe, "RandomFlip3D").amounts == {"flip_x": share(0.5), "flip_y": share(0.5)}
    assert step(recipe, "ObjectRangeFilter").amounts == {"range": Amount(-51.2, 51.2, "m")}
    assert not step(recipe, "GridMask").is_active
    assert step(recipe, "Collect3D").collects == {"img", "points", "lidar_aug_matrix"}
    assert step(recipe, "LoadPointsFromMultiSweeps").is_random  # sweeps are drawn


def test_transforms_that_stand_still_in_a_test(tmp_path: Path) -> None:
    recipe = opened(tmp_path, FILES)
    for role in ("val", "test"):
        image, scene = step(recipe, "ImageAug3D", role), step(recipe, "GlobalRotScaleTrans", role)
        assert image.does == {Does.RESIZE, Does.CROP}
        assert image.amounts == {"scale": Amount(0.48, 0.48, "ratio")}
        assert scene.does == {Does.OTHER}
        assert (len(scene.upon), len(scene.amounts)) == (0, 0)
        assert (scene.is_random, image.is_random) == (False, False)


@pytest.mark.parametrize(
    ("stop", "is_active", "amount"), [(-1, False, 0.0), (0, False, 0.0), (15, True, 15.0), ("null", True, None)]
)
def test_pasting_stops_at_an_epoch_or_never_begins(
    tmp_path: Path, stop: Any, is_active: bool, amount: float | None
) -> None:
    """ObjectPaste begins with epoch -1, and pastes while the epoch is below the one to stop at."""
    recipe = opened(tmp_path, {**FILES, FUSION_AT: f"{FUSION}gt_paste_stop_epoch: {stop}\n"})
    paste = step(recipe, "ObjectPaste")
    assert paste.is_active is is_active
    assert (paste.amounts["stop_epoch"].high if "stop_epoch" in paste.amounts else None) == amount
    assert paste.upon == {Upon.POINTS, Upon.BOXES_3D}


def test_what_a_recipe_says_beside_its_pipelines(tmp_path: Path) -> None:
    recipe = opened(tmp_path, FILES)
    assert recipe.sensors.keys() == {"camera", "lidar"}
    assert recipe.labels.keys() == {"boxes-3d", "velocities"}
    assert recipe.classes == ["car", "truck"]
    assert recipe.velocity is not None
    assert (recipe.velocity.value, recipe.velocity.at.line) == (True, 15)
    # Nine sweeps beside the key frame.
    assert {role: setting.value for role, setting in recipe.sweeps.items()} == {"train": 10, "val": 10, "test": 10}
    assert {role: setting.value for role, setting in recipe.time_channel.items()} == {
        "train": True, "val": True, "test": True,
    }  # fmt: skip
    (normalization,) = recipe.normalization
    assert (normalization.scale, normalization.size, normalization.inside_network) == (1 / 255, (256, 704), False)
    assert [(norm.kind, norm.module, norm.frozen_statistics, norm.frozen_parameters) for norm in recipe.norms] == [
        ("BN2d", "encoders.camera.backbone", True, True)
    ]
    backbone = "encoders.camera.backbone"
    assert [entry.value for entry in recipe.frozen] == [f"{backbone}.{part}" for part in ("conv1", "bn1", "layer1")]
    assert [(entry.rate, entry.module) for entry in recipe.dropouts] == [(0.1, "heads.object")]
    settings = (recipe.pretrained, recipe.precision, recipe.sync_norm, recipe.schedule, recipe.batch_size)
    assert [setting.value for setting in settings if setting is not None] == [
        "torchvision://resnet50", "fp16", True, "CosineAnnealing", 4,
    ]  # fmt: skip


def test_the_optimizers_rules_are_mmcvs(tmp_path: Path) -> None:
    """A rule by name sets rate and decay, the one that it leaves out to that of all."""
    found = opened(tmp_path, FILES).optimizer
    assert found is not None
    assert (found.name, found.rate and found.rate.value, found.decay and found.decay.value) == ("AdamW", 2e-4, 0.01)
    assert found.decays == {"bias": True, "norm": True, "embedding": True}
    assert [tuple(rule[:4]) for rule in found.rules] == [
        ("name", "absolute_pos_embed", 1.0, 0.0),
        ("name", "encoders.camera.backbone", 0.1, 1.0),
        ("norm", "norm", None, 0.0),
    ]


def test_sensors_and_sweeps_of_other_models(tmp_path: Path) -> None:
    radar = opened(tmp_path / "a", fused(("lidar: {voxelize: {max_num_points: 10}}", "lidar: null\n    radar: {a: 1}")))
    assert radar.sensors.keys() == {"camera", "radar"}
    assert radar.sweeps["train"].value == 6  # radar's, which count the key frame
    assert radar.time_channel == {}
    guided = fused(("lidar: {voxelize: {max_num_points: 10}}", "lidar: null"), ("LSSTransform", "DepthLSSTransform"))
    assert opened(tmp_path / "b", guided).sensors.keys() == {"camera", "lidar"}
    alone = opened(tmp_path / "c", fused(("lidar: {voxelize: {max_num_points: 10}}", "lidar: null")))
    assert alone.sweeps == {}  # points are loaded, and no network is given them


def test_a_map_head_alone(tmp_path: Path) -> None:
    start, end = FUSION.index("    object:"), FUSION.index("augment3d")
    recipe = opened(
        tmp_path, {**FILES, FUSION_AT: FUSION[:start] + "    object: null\n    map: {a: 1}\n" + FUSION[end:]}
    )
    assert recipe.labels.keys() == {"maps"}
    assert recipe.classes == ["lane"]
    assert recipe.velocity is not None
    assert recipe.velocity.value is False


def test_what_a_run_wrote_out_is_read_by_itself(tmp_path: Path) -> None:
    """run_dir/configs.yaml has every value in place, and no defaults above it."""
    dumped = "train_pipeline:\n- {type: RandomFlip3D}\naugment3d: {scale: [0.9, 1.1]}\n"
    recipe = opened(tmp_path, {"run/default.yaml": "max_epochs: 3\n", "run/configs.yaml": dumped})
    assert (recipe.dialect, len(recipe.files), recipe.epochs) == ("bevfusion", 1, None)


def test_a_file_that_says_little_is_known_by_its_defaults(tmp_path: Path) -> None:
    small = opened(tmp_path / "a", {**FILES, FUSION_AT: "image_size: [128, 352]\n"})
    assert (small.dialect, len(small.training[0].steps)) == ("bevfusion", 11)
    others = {"configs/default.yaml": "seed: 1\n", "configs/train.yaml": "trainer: {gpus: 8}\n"}
    with pytest.raises(ArtifactError, match="is written as no recipe that is known here"):
        opened(tmp_path / "b", others)


# Interpolation


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("augment3d.rotate[1]", 0.39),
        ("augment3d['scale'][-1]", 1.1),
        ("point_cloud_range[:2]", [-51.2, -51.2]),
        ("point_cloud_range[3:]", [51.2, 51.2, 3.0]),
        ("[image_size[0] // 16, image_size[1] // 8 - 1]", [16, 87]),
        ("root + 'x' + \"y\"", "data/nuscenes/xy"),
        ("object_classes + map_classes", ["car", "truck", "lane"]),
        ("-use_dim * 2 + 0.5", -9.5),
        ("{a: ${b}}", None),
    ],
)
def test_expressions_are_worked_out(tmp_path: Path, expression: str, value: Any) -> None:
    files = fused(("type: AdamW", "type: AdamW\n  probe: |-\n    ${" + expression + "}"))
    found = opened(tmp_path, files).optimizer
    assert found is not None
    assert found.options["probe"] == value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "open('/etc/passwd').read()", "[x for x in object_classes]", "nothing.here",
        "augment3d.scale[7]", "use_dim / 0", "object_classes * 1000000", "'x' * 10", "use_dim ** 9", "lambda: 1",
        "max_epochs if use_dim else 1", "augment3d[", "object_classes[::0]", "1" * 400, "(" * 150 + ")" * 150,
    ],
)  # fmt: skip
def test_an_expression_that_is_more_is_listed_and_never_run(tmp_path: Path, expression: str) -> None:
    files = fused(("weight_decay: 0.01", "weight_decay: |-\n    ${" + expression + "}"))
    recipe = opened(tmp_path, files)
    assert recipe.optimizer is not None
    assert recipe.optimizer.decay is None
    (entry,) = recipe.unread
    assert (entry.what, entry.at.line) == ("optimizer.weight_decay", 21)
    assert len(entry.why) < 200


CHAIN = "".join(f"k{number}: ${{k{number + 1}}}\n" for number in range(3000)) + "k3000: 1\n"
DOUBLES = "k0: [1, 2]\n" + "".join(f"k{n + 1}:\n- ${{k{n}}}\n- ${{k{n}}}\n" for n in range(30))
SUMS = "s0: [1, 2]\n" + "".join(f"s{n + 1}: ${{s{n} + s{n}}}\n" for n in range(60))


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("a: ${b}\nb: ${c}\nc: ${a}\n", r"fusion.yaml:\d+: [abc]: refers to itself"),
        ("a: {b: '${a}'}\n", r"fusion.yaml:\d+: a: refers to itself"),
        (CHAIN, r"is a value behind 80 others"),
        (DOUBLES, r"grows to more than 200000 values"),
        ("model: !!python/name:os.system x\n", r"has the tag"),
        ("train_pipeline: {a: 1}\n", r"fusion.yaml:29: train_pipeline: is no list of transforms"),
        ("train_pipeline: [{a: 1}]\n", r"fusion.yaml:29: train_pipeline.0: is a transform without a type"),
    ],
)
def test_bad_input_is_one_line_with_file_and_line(tmp_path: Path, more: str, error: str) -> None:
    with pytest.raises(ArtifactError, match=error) as raised:
        opened(tmp_path, {**FILES, FUSION_AT: FUSION + more})
    assert "\n" not in str(raised.value)


def test_sums_are_bounded(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {**FILES, FUSION_AT: FUSION + SUMS})
    assert recipe.unread
    assert all("joins more than" in entry.why or "no number" in entry.why for entry in recipe.unread)


def test_a_default_that_is_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"configs/nuscenes/default.yaml:3:1: is no YAML"):
        opened(tmp_path, {**FILES, NUSCENES_AT: "a: [\nb: 1\n", FUSION_AT: FUSION})
    shutil.rmtree(tmp_path / "configs")
    with pytest.raises(ArtifactError, match=r"configs/default.yaml:1: is no mapping"):
        opened(tmp_path, {**FILES, TOP_AT: "- 1\n", FUSION_AT: FUSION})


def test_transforms_that_nobody_knows_and_values_of_the_wrong_kind_are_listed(tmp_path: Path) -> None:
    more = "train_pipeline:\n- {type: Teleport}\n- {type: ImageAug3D, rot_lim: far, is_train: 3}\n"
    recipe = opened(tmp_path, {**FILES, FUSION_AT: FUSION + more})
    assert [entry.is_known for entry in pipeline(recipe, "train").steps] == [False, True]
    assert [(entry.what.rpartition(".")[2], entry.at.line) for entry in recipe.unread] == [
        ("Teleport", 30), ("is_train", 31), ("rot_lim", 31),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_a_broken_recipe_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    broken = {
        name: mutated(text, seed) if text is (NUSCENES, FUSION)[seed % 2] else text for name, text in FILES.items()
    }
    assert "\n" not in refusal(written(tmp_path, broken))
