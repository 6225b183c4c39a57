"""OpenPCDet's YAML: merged as OpenPCDet merges it, and every transform, switch and setting as its code takes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from yaml_recipes import mutated, opened, pipeline, refusal, share, step, where, written

from avreview.errors import ArtifactError
from avreview.recipe.model import Amount, Does, Upon

BASE = """\
DATASET: NuScenesDataset
DATA_PATH: ../data/nuscenes
MAX_SWEEPS: 10
PRED_VELOCITY: True
INFO_PATH: {train: [infos_train.pkl], test: [infos_val.pkl]}
POINT_CLOUD_RANGE: [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
DATA_AUGMENTOR:
  DISABLE_AUG_LIST: ['placeholder']
  AUG_CONFIG_LIST:
    - NAME: gt_sampling
      DB_INFO_PATH:
        - nuscenes_dbinfos_10sweeps_withvelo.pkl
      SAMPLE_GROUPS: ['car:2', 'bus:4']
    - NAME: random_world_flip
      ALONG_AXIS_LIST: ['x', 'y']
    - NAME: random_world_rotation
      WORLD_ROT_ANGLE: [-0.3925, 0.3925]
    - NAME: random_world_scaling
      WORLD_SCALE_RANGE: [0.95, 1.05]
POINT_FEATURE_ENCODING: {
  encoding_type: absolute_coordinates_encoding,
  used_feature_list: ['x', 'y', 'z', 'intensity', 'timestamp'],
  src_feature_list: ['x', 'y', 'z', 'intensity', 'timestamp'],
}
DATA_PROCESSOR:
  - NAME: mask_points_and_boxes_outside_range
    REMOVE_OUTSIDE_BOXES: True
  - NAME: shuffle_points
    SHUFFLE_ENABLED: {train: True, test: False}
  - NAME: transform_points_to_voxels
    VOXEL_SIZE: [0.1, 0.1, 0.2]
"""
MODEL = """\
CLASS_NAMES: ['car', 'bus']
DATA_CONFIG:
  _BASE_CONFIG_: cfgs/dataset_configs/nuscenes_dataset.yaml
  POINT_CLOUD_RANGE: [-54.0, -54.0, -5.0, 54.0, 54.0, 3.0]
MODEL:
  NAME: CenterPoint
  VFE: {NAME: MeanVFE}
  DENSE_HEAD:
    NAME: CenterHead
    SEPARATE_HEAD_CFG:
      HEAD_DICT:
        center: {out_channels: 2}
        vel: {out_channels: 2}
  ROI_HEAD:
    DP_RATIO: 0.3
OPTIMIZATION:
  BATCH_SIZE_PER_GPU: 4
  NUM_EPOCHS: 20
  OPTIMIZER: adam_onecycle
  LR: 0.001
  WEIGHT_DECAY: 0.01
  MOMENTUM: 0.9
"""
BASE_AT = "tools/cfgs/dataset_configs/nuscenes_dataset.yaml"
MODEL_AT = "tools/cfgs/nuscenes_models/centerpoint.yaml"
FILES = {BASE_AT: BASE, MODEL_AT: MODEL}
SCENE = {Upon.POINTS, Upon.BOXES_3D, Upon.VELOCITIES, Upon.CALIBRATION}


def augmented(*augmentations: str, data: str = "", more: str = "") -> dict[str, str]:
    """A recipe with these augmentations, each as flow YAML, in place of the base's."""
    entries = "".join(f"      - {{{entry}}}\n" for entry in augmentations)
    text = MODEL.replace(
        "  POINT_CLOUD_RANGE", f"{data}  DATA_AUGMENTOR:\n    AUG_CONFIG_LIST:\n{entries}  POINT_CLOUD_RANGE"
    )
    return {BASE_AT: BASE, MODEL_AT: text + more}


def test_a_base_is_found_in_the_tools_folder_and_every_value_keeps_its_place(tmp_path: Path) -> None:
    recipe = opened(tmp_path, FILES)
    assert recipe.dialect == "openpcdet"
    assert not recipe.unread
    assert [Path(path).name for path in recipe.files] == ["centerpoint.yaml", "nuscenes_dataset.yaml"]
    train = pipeline(recipe, "train").steps
    assert [entry.name for entry in train] == [
        "gt_sampling", "random_world_flip", "random_world_rotation", "random_world_scaling",
        "mask_points_and_boxes_outside_range", "shuffle_points", "transform_points_to_voxels",
    ]  # fmt: skip
    assert [entry.name for entry in pipeline(recipe, "test").steps] == [entry.name for entry in train[4:]]
    assert where(tmp_path, step(recipe, "random_world_rotation")) == (BASE_AT, 16)
    assert recipe.optimizer is not None
    assert where(tmp_path, recipe.optimizer) == (MODEL_AT, 19)
    assert where(tmp_path, recipe.optimizer.rate) == (MODEL_AT, 20)
    # The recipe's own value is laid over the base's.
    assert step(recipe, "mask_points_and_boxes_outside_range").amounts["range"] == Amount(-54.0, 54.0, "m")


def test_the_list_of_augmentations_takes_the_place_of_the_bases(tmp_path: Path) -> None:
    recipe = opened(tmp_path, augmented("NAME: random_world_rotation, WORLD_ROT_ANGLE: [-0.1, 0.1]"))
    assert [entry.name for entry in pipeline(recipe, "train").steps][:1] == ["random_world_rotation"]
    assert step(recipe, "random_world_rotation").amounts == {"rotation": Amount(-0.1, 0.1, "rad")}
    assert recipe.sweeps.keys() == {"train", "test"}  # nothing is pasted any more


def test_what_a_recipe_says_beside_its_pipelines(tmp_path: Path) -> None:
    recipe = opened(tmp_path, FILES)
    assert recipe.classes == ["car", "bus"]
    assert list(recipe.sensors) == ["lidar"]
    assert {label: setting.at.line for label, setting in recipe.labels.items()} == {"boxes-3d": 1, "velocities": 4}
    assert recipe.velocity is not None
    assert (recipe.velocity.value, recipe.velocity.at.line) == (True, 13)
    assert {role: setting.value for role, setting in recipe.sweeps.items()} == {"train": 10, "test": 10, "paste": 10}
    assert where(tmp_path, recipe.sweeps["paste"]) == (BASE_AT, 12)
    assert [setting.value for setting in recipe.time_channel.values()] == [True, True]
    assert [(entry.rate, entry.module, entry.name) for entry in recipe.dropouts] == [(0.3, "ROI_HEAD", "DP_RATIO")]
    assert [(split.role, split.file) for split in recipe.splits] == [
        ("train", "../data/nuscenes/infos_train.pkl"), ("test", "../data/nuscenes/infos_val.pkl"),
    ]  # fmt: skip
    assert recipe.epochs is not None
    assert recipe.batch_size is not None
    assert (recipe.epochs.value, recipe.batch_size.value) == (20, 4)


@pytest.mark.parametrize(
    ("name", "outside", "schedule", "momentum"),
    [
        ("adam_onecycle", True, "onecycle", None),
        ("adam_cosineanneal", True, "cosine", None),
        ("adam", False, "step", None),
        ("sgd", False, "step", 0.9),
    ],
)
def test_optimizers_decay_every_weight_and_some_outside_themselves(
    tmp_path: Path, name: str, outside: bool, schedule: str, momentum: float | None
) -> None:
    recipe = opened(tmp_path, {BASE_AT: BASE, MODEL_AT: MODEL.replace("adam_onecycle", name)})
    found = recipe.optimizer
    assert found is not None
    assert found.decays == {"bias": True, "norm": True, "embedding": True}
    assert found.decays_outside is outside
    assert recipe.schedule is not None
    assert recipe.schedule.value == schedule
    assert (found.momentum.value if found.momentum else None) == momentum


def test_an_optimizer_that_nobody_knows_is_told_and_not_guessed(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {BASE_AT: BASE, MODEL_AT: MODEL.replace("adam_onecycle", "lion")})
    assert recipe.optimizer is not None
    assert recipe.optimizer.decays == {}
    assert recipe.schedule is None
    assert [(entry.what, entry.at.line) for entry in recipe.unread] == [("OPTIMIZATION.OPTIMIZER", 19)]


@pytest.mark.parametrize(
    ("entry", "does", "upon", "amounts"),
    [
        # Along x it is y that changes sign. A matrix is kept only where both axes are listed (set_lidar_aug_matrix).
        ("NAME: random_world_flip, ALONG_AXIS_LIST: [x]", Does.FLIP, SCENE - {Upon.CALIBRATION},
         {"flip_y": share(0.5), "flip_x": share(0.0)}),
        ("NAME: random_world_flip, ALONG_AXIS_LIST: [x, y]", Does.FLIP, SCENE,
         {"flip_y": share(0.5), "flip_x": share(0.5)}),
        ("NAME: random_world_rotation, WORLD_ROT_ANGLE: 0.5", Does.ROTATE, SCENE,
         {"rotation": Amount(-0.5, 0.5, "rad")}),
        ("NAME: random_world_scaling, WORLD_SCALE_RANGE: [0.9, 1.1]", Does.SCALE, SCENE,
         {"scale": Amount(0.9, 1.1, "ratio")}),
        ("NAME: random_world_translation, NOISE_TRANSLATE_STD: [0.5, 0.2, 0]", Does.TRANSLATE, SCENE,
         {"translation": Amount(-0.5, 0.5, "m")}),
        ("NAME: random_world_translation, NOISE_TRANSLATE_STD: 0.5", Does.TRANSLATE, SCENE,
         {"translation": Amount(-0.5, 0.5, "m")}),
        # OpenPCDet #780: 2-D boxes stay where they were.
        ("NAME: random_image_flip, ALONG_AXIS_LIST: [horizontal]", Does.FLIP, {Upon.IMAGE, Upon.BOXES_3D},
         {"flip_horizontal": share(0.5)}),
        ("NAME: random_local_rotation, LOCAL_ROT_ANGLE: [-0.1, 0.2]", Does.MOVE_OBJECTS, {Upon.POINTS, Upon.BOXES_3D},
         {"rotation": Amount(-0.1, 0.2, "rad")}),
        ("NAME: random_local_translation, LOCAL_TRANSLATION_RANGE: [0.9, 1.0]", Does.MOVE_OBJECTS,
         {Upon.POINTS, Upon.BOXES_3D}, {"translation": Amount(0.9, 1.0, "m")}),
        ("NAME: random_world_frustum_dropout, INTENSITY_RANGE: [0, 0.2]", Does.DROP, {Upon.POINTS, Upon.BOXES_3D}, {}),
        ("NAME: random_local_frustum_dropout, INTENSITY_RANGE: [0, 0.2]", Does.DROP, {Upon.POINTS}, {}),
        ("NAME: gt_sampling, SAMPLE_GROUPS: ['car:2']", Does.PASTE, {Upon.POINTS, Upon.BOXES_3D}, {}),
        ("NAME: gt_sampling, IMG_AUG_TYPE: kitti", Does.PASTE,
         {Upon.POINTS, Upon.BOXES_3D, Upon.IMAGE, Upon.BOXES_2D}, {}),
        ("NAME: gt_sampling, SAMPLE_GROUPS: ['car:0', 'bus: 0']", Does.PASTE, {Upon.POINTS, Upon.BOXES_3D},
         {"probability": share(0.0)}),
    ],
)  # fmt: skip
def test_augmentations(tmp_path: Path, entry: str, does: Does, upon: set[Upon], amounts: dict[str, Amount]) -> None:
    recipe = opened(tmp_path, augmented(entry))
    first = pipeline(recipe, "train").steps[0]
    assert does in first.does
    assert first.upon == upon
    assert first.amounts == amounts
    assert first.is_random
    assert not recipe.unread


def test_scaling_beside_predicted_boxes_leaves_velocities(tmp_path: Path) -> None:
    recipe = opened(
        tmp_path, augmented("NAME: random_world_scaling, WORLD_SCALE_RANGE: [0.9, 1.1]", data="  USE_PREDBOX: True\n")
    )
    assert Upon.VELOCITIES not in step(recipe, "random_world_scaling").upon


CAMERA = """\
  CAMERA_CONFIG:
    USE_CAMERA: True
    IMAGE: {FINAL_DIM: [256, 704], RESIZE_LIM_TRAIN: [0.38, 0.55], RESIZE_LIM_TEST: [0.48, 0.48]}
"""
NORMALIZE = "    - {NAME: image_normalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\n"


@pytest.mark.parametrize("calibrates", [True, False])
def test_an_image_branch(tmp_path: Path, calibrates: bool) -> None:
    """The matrix of what was done to an image is made by image_calibrate, and is missing without it."""
    processors = f"  DATA_PROCESSOR:\n{'    - NAME: image_calibrate' if calibrates else ''}\n{NORMALIZE}"
    recipe = opened(
        tmp_path, augmented("NAME: imgaug, ROT_LIM: [-5.4, 5.4], RAND_FLIP: True", data=CAMERA + processors)
    )
    image = step(recipe, "imgaug")
    assert image.amounts == {"rotation": Amount(-5.4, 5.4, "degree"), "flip_horizontal": share(0.5)}
    crop, test_crop = step(recipe, "crop_image"), step(recipe, "crop_image", "test")
    assert (crop.is_random, test_crop.is_random) == (True, False)
    assert crop.amounts["scale"] == Amount(0.38, 0.55, "ratio")
    assert (Upon.CALIBRATION in image.upon, Upon.CALIBRATION in crop.upon) == (calibrates, calibrates)
    assert recipe.sensors.keys() == {"camera", "lidar"}
    assert Upon.CALIBRATION.value in recipe.labels
    (normalization,) = recipe.normalization
    assert normalization.mean == (0.485, 0.456, 0.406)
    assert (normalization.scale, normalization.order, normalization.size) == (1 / 255, "rgb", (256, 704))


def test_a_camera_alone(tmp_path: Path) -> None:
    """CaDDN: LiDAR files are never given to the network."""
    recipe = opened(
        tmp_path,
        augmented(
            "NAME: random_image_flip, ALONG_AXIS_LIST: [horizontal]",
            data="  GET_ITEM_LIST: [images, depth_maps, calib_matricies, gt_boxes2d]\n",
        ),
    )
    assert list(recipe.sensors) == ["camera"]
    assert {"boxes-2d", "boxes-3d", "calibration"} <= recipe.labels.keys()


def test_augmentations_are_switched_off_by_a_list_and_by_the_hook(tmp_path: Path) -> None:
    hook = "HOOK:\n  DisableAugmentationHook:\n    DISABLE_AUG_LIST: [gt_sampling]\n    NUM_LAST_EPOCHS: 5\n"
    base = BASE.replace("['placeholder']", "[random_world_flip, random_world_scaling]")
    recipe = opened(tmp_path, {BASE_AT: base, MODEL_AT: MODEL + hook})
    train = {entry.name: entry for entry in pipeline(recipe, "train").steps}
    assert train["gt_sampling"].amounts == {"stop_epoch": Amount(15.0, 15.0, "epoch")}
    # The hook's list takes the other's place: what that one had switched off comes on.
    assert train["random_world_flip"].amounts["start_epoch"] == Amount(15.0, 15.0, "epoch")
    without = opened(tmp_path / "b", {BASE_AT: base, MODEL_AT: MODEL})
    assert {"random_world_flip", "random_world_scaling"}.isdisjoint(
        entry.name for entry in pipeline(without, "train").steps
    )


def test_processors_differ_between_training_and_test(tmp_path: Path) -> None:
    recipe = opened(tmp_path, FILES)
    assert step(recipe, "mask_points_and_boxes_outside_range").upon == {Upon.POINTS, Upon.BOXES_3D}
    assert step(recipe, "mask_points_and_boxes_outside_range", "test").upon == {Upon.POINTS}
    assert step(recipe, "shuffle_points").is_active
    assert not step(recipe, "shuffle_points", "test").is_active
    assert [entry for entry in pipeline(recipe, "test").steps if entry.is_random] == []


def test_frames_of_a_waymo_sequence_and_of_what_is_pasted(tmp_path: Path) -> None:
    data = "  MAX_SWEEPS: null\n  SEQUENCE_CONFIG: {ENABLED: True, SAMPLE_OFFSET: [-3, 0]}\n"
    paste = "NAME: gt_sampling, FILTER_OBJ_POINTS_BY_TIMESTAMP: True, TIME_RANGE: [0.3, 0.0]"
    recipe = opened(tmp_path, augmented(paste, data=data))
    assert {role: setting.value for role, setting in recipe.sweeps.items()} == {"train": 4, "test": 4, "paste": 4}


@pytest.mark.parametrize(
    ("head", "predicted"),
    [
        ("SEPARATE_HEAD_CFG: {HEAD_DICT: {center: {}}}", False),
        ("SEPARATE_REG_CONFIG: {REG_LIST: ['reg:2', 'velo:2']}", True),
        ("SEPARATE_REG_CONFIG: {REG_LIST: ['reg:2']}", False),
        ("TARGET_ASSIGNER_CONFIG: {BOX_CODER_CONFIG: {code_size: 9}}", True),
        ("TARGET_ASSIGNER_CONFIG: {BOX_CODER_CONFIG: {code_size: 7}}", False),
        ("NAME: AnchorHeadSingle", True),  # the head does not tell, and the data set does
    ],
)
def test_velocity_is_what_the_head_says(tmp_path: Path, head: str, predicted: bool) -> None:
    start, end = MODEL.index("    NAME: CenterHead"), MODEL.index("  ROI_HEAD")
    recipe = opened(tmp_path, {BASE_AT: BASE, MODEL_AT: f"{MODEL[:start]}    {head}\n{MODEL[end:]}"})
    assert recipe.velocity is not None
    assert recipe.velocity.value is predicted


def test_the_copy_in_the_folder_of_outputs_finds_its_base(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {BASE_AT: BASE, "output/nuscenes_models/centerpoint/default/centerpoint.yaml": MODEL})
    assert len(pipeline(recipe, "train").steps) == 7


def test_a_data_sets_configuration_is_read_by_itself(tmp_path: Path) -> None:
    recipe = opened(tmp_path, {BASE_AT: BASE})
    assert len(pipeline(recipe, "train").steps) == 7
    assert recipe.optimizer is None


def test_aliases_and_keys_that_stand_twice_are_taken_as_pyyaml_takes_them(tmp_path: Path) -> None:
    text = MODEL.replace("NUM_EPOCHS: 20", "NUM_EPOCHS: 20\n  NUM_EPOCHS: &epochs 24\n  LAST: *epochs")
    text = text.replace("DP_RATIO: 0.3", "<<: {DP_RATIO: 0.3}")
    recipe = opened(tmp_path, {BASE_AT: BASE, MODEL_AT: text})
    assert recipe.epochs is not None
    assert (recipe.epochs.value, recipe.epochs.at.line) == (24, 19)
    assert recipe.optimizer is not None
    assert recipe.optimizer.options["LAST"] == 24
    assert [(entry.rate, entry.at.line) for entry in recipe.dropouts] == [(0.3, 15)]


# What is not known, or wrong


def test_what_cannot_be_read_is_listed_with_its_line(tmp_path: Path) -> None:
    recipe = opened(
        tmp_path,
        augmented(
            "NAME: random_world_teleport, FAR: 1",
            "NAME: random_world_rotation, WORLD_ROT_ANGLE: [wide, 0.1]",
            more="DATA_CONFIG_TAR: {DATASET: KittiDataset}\n",
        ),
    )
    first = pipeline(recipe, "train").steps[0]
    assert (first.name, first.is_known, first.does, first.options) == (
        "random_world_teleport",
        False,
        frozenset(),
        {"FAR": 1},
    )
    assert step(recipe, "random_world_rotation").amounts == {}
    assert [(entry.what.rpartition(".")[2], entry.at.line) for entry in recipe.unread] == [
        ("DATA_CONFIG_TAR", 27), ("random_world_teleport", 6), ("WORLD_ROT_ANGLE", 7),
    ]  # fmt: skip


LAUGHS = "A: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(66 + level)}: &{chr(98 + level)} [{', '.join([f'*{chr(97 + level)}'] * 10)}]\n" for level in range(8)
)


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (("dataset_configs/nuscenes_dataset", "dataset_configs/none"), r"centerpoint.yaml:3: .*is in none of the"),
        (("cfgs/dataset_configs/nuscenes_dataset.yaml", "/etc/passwd"), r":3: .*'/etc/passwd' is in none"),
        (("cfgs/dataset_configs/nuscenes_dataset.yaml", "[a]"), r":3: .*names no file"),
        (("cfgs/dataset_configs/nuscenes_dataset.yaml", "cfgs/nuscenes_models/centerpoint.yaml"), r":3: .*leads back"),
        (("NAME: CenterPoint", "NAME: !!python/object/apply:os.system [ls]"), r":6:9: has the tag .*not allowed"),
        (("MODEL:\n", LAUGHS + "MODEL:\n"), r"for more than 100000 values"),
        (("MODEL:\n", "B: *b\nMODEL:\n"), r":5:4: stands for 'b', and no value before it is called so"),
        (("MODEL:\n", "MODEL: [\n"), r"is no YAML"),
        (("MODEL:\n", "B: &b [*b]\nMODEL:\n"), r":5:8: stands for 'b', and no value before it is called so"),
        (("  POINT_CLOUD_RANGE", "  DATA_PROCESSOR: 5\n  POINT_CLOUD_RANGE"), r":4: .*is no list of transforms"),
        (("  POINT_CLOUD_RANGE", "  DATA_PROCESSOR: [{A: 1}]\n  POINT_CLOUD_RANGE"), r":4: .*without a NAME"),
        (("  POINT_CLOUD_RANGE", "  DATA_PATH: {a: 1}\n  POINT_CLOUD_RANGE"), r":4: .*is a mapping here and none in"),
        (("MODEL:\n  NAME", "MODEL: 3\nB:\n  NAME"), r":5: MODEL is no mapping"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_with_file_and_line(tmp_path: Path, edit: tuple[str, str], error: str) -> None:
    with pytest.raises(ArtifactError, match=error) as raised:
        opened(tmp_path, {BASE_AT: BASE, MODEL_AT: MODEL.replace(*edit)})
    assert "\n" not in str(raised.value)


def test_bases_in_a_circle_and_a_base_of_a_base(tmp_path: Path) -> None:
    circle = BASE + "_BASE_CONFIG_: cfgs/nuscenes_models/centerpoint.yaml\n"
    with pytest.raises(ArtifactError, match=r"nuscenes_dataset.yaml:32: .*leads back to the recipe itself"):
        opened(tmp_path, {BASE_AT: circle, MODEL_AT: MODEL})
    grand = {"tools/cfgs/grand.yaml": "MAX_SWEEPS: 3\n"}
    nested = BASE.replace("MAX_SWEEPS: 10", "_BASE_CONFIG_: cfgs/grand.yaml")
    recipe = opened(tmp_path / "b", {**grand, BASE_AT: nested, MODEL_AT: MODEL})
    assert "train" not in recipe.sweeps  # OpenPCDet does not read it
    assert [entry.why for entry in recipe.unread] == ["is the base of a base, which OpenPCDet does not read"]


@pytest.mark.parametrize("seed", range(60))
def test_a_broken_recipe_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    which = (BASE, MODEL)[seed % 2]
    broken = mutated(which, seed)
    files = {BASE_AT: broken if which is BASE else BASE, MODEL_AT: broken if which is MODEL else MODEL}
    assert "\n" not in refusal(written(tmp_path, files))
