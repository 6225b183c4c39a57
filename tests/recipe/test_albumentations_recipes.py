"""Pipelines of albumentations and AlbumentationsX, as `A.save` writes them and as people write them into their YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from yaml_recipes import opened, step

from avreview.errors import ArtifactError
from avreview.recipe.albumentations.transforms import COMPOSITIONS, TRANSFORMS
from avreview.recipe.model import Amount, Does, Recipe, Step, Upon

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
ALL = {Upon.IMAGE, Upon.BOXES_2D, Upon.MASKS, Upon.KEYPOINTS}


def transform(name: str, **options: Any) -> dict[str, Any]:
    return {"__class_fullname__": name, **options}


def compose(*transforms: dict[str, Any], **options: Any) -> dict[str, Any]:
    """A whole pipeline; it moves boxes and keypoints unless it is told otherwise."""
    params = {"bbox_params": {"format": "coco"}, "keypoint_params": {"format": "xy"}, "additional_targets": {}}
    return transform("Compose", **{"p": 1.0, "transforms": list(transforms), **params, **options})


def saved(folder: Path, *transforms: dict[str, Any], name: str = "augment.json", **options: Any) -> Recipe:
    """What is read of the file that `A.save` writes."""
    document = {"__version__": "2.0.8", "transform": compose(*transforms, **options)}
    return opened(folder, {name: json.dumps(document, indent=2)})


def only(folder: Path, one: dict[str, Any]) -> Step:
    (pipeline,) = saved(folder, one).pipelines
    (found,) = pipeline.steps
    return found


def probability(one: Step) -> float:
    assert one.amounts["probability"].low == one.amounts["probability"].high
    return round(one.amounts["probability"].high, 9)


def test_a_saved_file_is_the_training_pipeline_with_lines(tmp_path: Path) -> None:
    recipe = saved(tmp_path, transform("HorizontalFlip", p=0.5), transform("Blur", p=0.1, blur_limit=[3, 7]))
    (pipeline,) = recipe.training
    assert [(one.name, one.at.line) for one in pipeline.steps] == [("HorizontalFlip", 7), ("Blur", 11)]
    assert recipe.dialect == "albumentations"
    assert not recipe.unread
    assert list(recipe.files) == [str(tmp_path / "augment.json")]


@pytest.mark.parametrize(
    ("name", "role"), [("val_transforms.json", "val"), ("test_aug.json", "test"), ("train-val.json", "train")]
)
def test_a_name_that_speaks_of_a_split_tells_the_role(tmp_path: Path, name: str, role: str) -> None:
    (pipeline,) = saved(tmp_path, transform("HorizontalFlip", p=0.5), name=name).pipelines
    assert pipeline.role == role


def test_labels_are_those_that_the_pipeline_is_told_to_move(tmp_path: Path) -> None:
    recipe = saved(tmp_path, transform("HorizontalFlip", p=0.5), additional_targets={"seg": "mask", "right": "image"})
    assert set(recipe.labels) == {"boxes-2d", "keypoints", "masks"}
    assert step(recipe, "HorizontalFlip").upon == ALL


def test_without_bbox_params_boxes_are_left_behind(tmp_path: Path) -> None:
    recipe = saved(tmp_path, transform("HorizontalFlip", p=0.5), bbox_params=None)
    assert step(recipe, "HorizontalFlip").upon == ALL - {Upon.BOXES_2D}
    assert set(recipe.labels) == {"keypoints"}


def test_albumentationsx_names_its_options_otherwise(tmp_path: Path) -> None:
    text = """\
__version__: 2.5.1
transform:
  __class_fullname__: Compose
  transforms:
  - __class_fullname__: ShiftScaleRotate
    p: 0.5
    shift_range_x: [-0.0625, 0.0625]
    shift_range_y: [-0.1, 0.1]
    scale_range: [-0.1, 0.2]
    rotate_range: [-45.0, 45.0]
  - __class_fullname__: Rotate
    p: 1.0
    angle_range: [-90.0, 90.0]
  bbox_params:
    coord_format: pascal_voc
    bbox_type: hbb
  keypoint_params: null
  p: 1.0
"""
    recipe = opened(tmp_path, {"augment.yaml": text})
    moved = step(recipe, "ShiftScaleRotate")
    assert moved.amounts["rotation"] == Amount(-45, 45, "degree")
    assert moved.amounts["scale"] == Amount(0.9, 1.2, "ratio")
    assert moved.amounts["translation"] == Amount(-0.1, 0.1, "share")
    assert moved.does == {Does.ROTATE, Does.SCALE, Does.TRANSLATE}
    assert step(recipe, "Rotate").amounts["rotation"] == Amount(-90, 90, "degree")
    assert Upon.BOXES_2D in moved.upon
    assert Upon.KEYPOINTS not in moved.upon


def test_geometry_that_changes_nothing_is_none(tmp_path: Path) -> None:
    one = only(
        tmp_path,
        transform(
            "Affine", p=0.5, rotate=[-10.0, 10.0], scale={"x": [1.0, 1.0], "y": [1.0, 1.0]}, translate_percent=None,
            translate_px=None, shear={"x": [0.0, 0.0], "y": [0.0, 0.0]},
        ),
    )  # fmt: skip
    assert one.does == {Does.ROTATE}
    assert one.amounts["rotation"] == Amount(-10, 10, "degree")


def test_axes_are_taken_together(tmp_path: Path) -> None:
    one = only(tmp_path, transform("Affine", p=1.0, shear={"x": [-5, 5], "y": [0, 8]}, translate_px=[3, 4]))
    assert one.amounts["shear"] == Amount(-5, 8, "degree")
    assert one.amounts["translation"] == Amount(3, 4, "px")


def test_members_of_a_oneof_share_its_probability_and_exclude_one_another(tmp_path: Path) -> None:
    either = transform("OneOf", p=0.6, transforms=[transform("Rotate", p=1.0), transform("VerticalFlip", p=0.5)])
    rotate, flip = saved(tmp_path, either).training[0].steps
    assert (probability(rotate), probability(flip)) == (0.4, 0.2)
    assert rotate.choice is not None
    assert rotate.choice == flip.choice
    assert rotate.inside == flip.inside == ("OneOf",)
    assert flip.amounts["flip_vertical"] == flip.amounts["probability"]


def test_members_of_a_sequence_do_not_exclude_one_another(tmp_path: Path) -> None:
    both = transform("Sequential", p=0.5, transforms=[transform("Blur", p=1.0), transform("D4", p=0.5)])
    blur, symmetry = saved(tmp_path, transform("OneOf", p=1.0, transforms=[both])).training[0].steps
    assert blur.choice is None
    assert symmetry.choice is None
    assert symmetry.inside == ("OneOf", "Sequential")
    assert (probability(blur), probability(symmetry)) == (1.0, 0.5)  # the OneOf applies its Sequential for sure
    assert symmetry.amounts["flip_horizontal"].high == pytest.approx(3 / 16)


@pytest.mark.parametrize(
    ("composition", "expected"),
    [
        (transform("SomeOf", p=0.5, n=1, replace=False), (0.25 * 0.8, 0.25 * 0.4)),
        (transform("RandomOrder", p=1.0, n=2, replace=False), (0.8, 0.4)),
        (transform("OneOrOther", p=0.25), (0.25, 0.75)),
        (transform("ReplayCompose", p=1.0), (0.8, 0.4)),
    ],
)
def test_how_likely_compositions_make_their_members(
    tmp_path: Path, composition: dict[str, Any], expected: tuple[float, float]
) -> None:
    held = [transform("HorizontalFlip", p=0.8), transform("Blur", p=0.4)]
    flip, blur = saved(tmp_path, {**composition, "transforms": held}).training[0].steps
    assert (probability(flip), probability(blur)) == pytest.approx(expected)


def test_a_oneof_that_never_happens_switches_off_what_it_holds(tmp_path: Path) -> None:
    recipe = saved(tmp_path, transform("OneOf", p=0.0, transforms=[transform("HorizontalFlip", p=1.0)]))
    assert not step(recipe, "HorizontalFlip").is_active
    assert step(recipe, "HorizontalFlip").is_random is False


@pytest.mark.parametrize(
    ("one", "random"),
    [
        (transform("Resize", p=1.0, height=64, width=64), False),
        (transform("HorizontalFlip", p=1.0), False),
        (transform("HorizontalFlip", p=0.5), True),
        (transform("HorizontalFlip", p=0.0), False),
        (transform("RandomCrop", p=1.0, height=64, width=64), True),
        (transform("Rotate", p=1.0, limit=[90, 90]), False),
        (transform("Rotate", p=1.0, limit=[-90, 90]), True),
        (transform("NoOp", p=0.5), False),
        (transform("Normalize", always_apply=True, p=0.5, **IMAGENET), False),
    ],
)
def test_what_is_random(tmp_path: Path, one: dict[str, Any], random: bool) -> None:
    assert only(tmp_path, one).is_random is random


def test_normalization_with_the_size_that_the_network_gets(tmp_path: Path) -> None:
    recipe = saved(
        tmp_path,
        transform("RandomCrop", p=1.0, height=512, width=640),
        transform("Normalize", p=1.0, max_pixel_value=255.0, **IMAGENET),
        transform("ToTensorV2", p=1.0, transpose_mask=False),
    )
    (found,) = recipe.normalization
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)
    assert found.scale == pytest.approx(1 / 255)
    assert found.size == (512, 640)


def test_a_normalization_by_the_image_itself_states_no_mean(tmp_path: Path) -> None:
    assert not saved(tmp_path, transform("Normalize", p=1.0, normalization="image", **IMAGENET)).normalization


def test_pipelines_in_a_larger_file_have_the_role_that_their_keys_tell(tmp_path: Path) -> None:
    text = """\
data:
  init_args:
    batch_size: 4
    train_transforms:
      __version__: 2.0.9
      transform:
        __class_fullname__: Compose
        transforms:
        - __class_fullname__: D4
        - __class_fullname__: Normalize
    val_transforms:
      transform:
        __class_fullname__: albumentations.core.composition.Compose
        transforms:
        - {__class_fullname__: albumentations.augmentations.geometric.resize.Resize, height: 32, width: 32}
    augmentation:
      transform: {__class_fullname__: Compose, transforms: []}
"""
    recipe = opened(tmp_path, {"config.yaml": text})
    assert [(one.role, [step.name for step in one.steps]) for one in recipe.pipelines] == [
        ("train", ["D4", "Normalize"]),
        ("val", ["Resize"]),
    ]
    (unread,) = recipe.unread
    assert (unread.what, unread.at.line) == ("data.init_args.augmentation.transform", 17)
    assert recipe.normalization[0].mean == (0.485, 0.456, 0.406)  # the default, of every version


def test_transforms_of_the_teams_own_are_listed_and_kept_in_their_place(tmp_path: Path) -> None:
    own = transform("team.augment.Rain\x1b[31m", p=0.5)
    recipe = saved(tmp_path, own, transform("Lambda", p=1.0, __type__="Lambda"), transform("Blur", p=0.5))
    first, second, third = recipe.training[0].steps
    assert [first.is_known, second.is_known, third.is_known] == [False, False, True]
    assert not first.does | second.does
    assert [one.why for one in recipe.unread] == ["is no transform that is known here", "runs a function"]
    assert "\x1b" not in recipe.unread[0].what


def test_a_pipeline_without_end_is_cut(tmp_path: Path) -> None:
    recipe = saved(tmp_path, *[transform("Blur", p=0.5)] * 3_000)
    assert len(recipe.training[0].steps) == 1_000
    assert [one.what for one in recipe.unread] == ["the rest of the pipeline"]


@pytest.mark.parametrize(
    "options",
    [
        {"transforms": None}, {"transforms": "x"}, {"transforms": [1, None, []]}, {"p": "x"}, {"p": None},
        {"transforms": [{"__class_fullname__": "Rotate", "limit": ["a", "b"], "p": [1]}]},
        {"transforms": [{"__class_fullname__": "Normalize", "mean": "x", "std": [], "max_pixel_value": 0}]},
        {"transforms": [{"__class_fullname__": "SomeOf", "n": "x", "transforms": [{"__class_fullname__": "D4"}]}]},
        {"transforms": [{"__class_fullname__": "OneOf", "transforms": []}]}, {"bbox_params": []},
        {"transforms": [{"__class_fullname__": "Affine", "scale": {"x": {"y": {}}}, "shear": [1, 2, 3]}]},
        {"additional_targets": ["x"]}, {"additional_targets": {"a": None, "b": ["mask"]}},
    ],
)  # fmt: skip
def test_nonsense_is_no_traceback(tmp_path: Path, options: dict[str, Any]) -> None:
    recipe = saved(tmp_path, **options)
    assert recipe.dialect == "albumentations"


@pytest.mark.parametrize(
    ("transforms", "what", "why"),
    [
        (5, "transform.transforms", "is no list of transforms"),
        ([None, "x"], "transform.transforms.0", "is no transform"),
        (
            [{"__class_fullname__": "OneOf", "transforms": [7]}],
            "transform.transforms.0.transforms.0",
            "is no transform",
        ),
    ],
)
def test_what_stands_where_transforms_belong_is_listed(tmp_path: Path, transforms: Any, what: str, why: str) -> None:
    assert (what, why) in [(entry.what, entry.why) for entry in saved(tmp_path, transforms=transforms).unread]


def test_a_deep_pipeline_is_one_clear_line(tmp_path: Path) -> None:
    deep: dict[str, Any] = transform("Blur")
    for _ in range(60):
        deep = transform("Sequential", transforms=[deep])
    with pytest.raises(ArtifactError, match=r"augment\.json:\d+(:\d+)?: is nested more than 50 deep"):
        saved(tmp_path, deep)


def test_every_transform_of_both_libraries_is_known() -> None:
    """All of albumentations 2.0.8 (116) and AlbumentationsX 2.5.1 (153) but Lambda, and those of older versions."""
    assert len(TRANSFORMS) == 171
    assert {"TextImage", "LetterBox", "ThinPlateSpline", "Affine3D", "WaterRefraction", "Cutout"} <= TRANSFORMS.keys()
    assert not TRANSFORMS.keys() & COMPOSITIONS.keys()
