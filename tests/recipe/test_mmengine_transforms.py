"""Transforms of the OpenMMLab family: amounts, units, wrappers and hooks."""

from __future__ import annotations

from pathlib import Path

import pytest
from mm_recipes import OLD, only, opened, step, train

from avreview.recipe.model import Amount, Does, Upon


def test_what_is_fixed_in_a_test_is_neither_random_nor_geometry(tmp_path: Path) -> None:
    pipeline = only(opened(tmp_path, OLD), "test")
    wrapper = step(pipeline, "MultiScaleFlipAug3D")
    assert wrapper.does == {Does.TEST_TIME}
    for name in ("GlobalRotScaleTrans", "RandomFlip3D"):
        inner = step(pipeline, name)
        assert inner.inside == ("MultiScaleFlipAug3D",)
        assert inner.is_random is False
        assert not inner.moves
    assert not any(one.is_random for one in pipeline.steps)


def test_amounts_of_the_scene_transforms(tmp_path: Path) -> None:
    pipeline = only(opened(tmp_path, OLD))
    flip = step(pipeline, "RandomFlip3D")
    assert flip.amounts == {"flip_y": Amount(0.5, 0.5, "share"), "flip_x": Amount(0.0, 0.0, "share")}
    assert Upon.IMAGE not in flip.upon
    motion = step(pipeline, "GlobalRotScaleTrans")
    assert motion.moves == {Does.ROTATE, Does.SCALE}
    noise = step(pipeline, "ObjectNoise")
    assert noise.does == {Does.MOVE_OBJECTS}
    assert noise.amounts["rotation"] == Amount(-0.8, 0.8, "rad")
    assert Upon.VELOCITIES not in noise.upon
    assert step(pipeline, "ObjectSample").amounts["stop_epoch"] == Amount(15.0, 15.0, "epoch")
    assert step(pipeline, "ObjectRangeFilter").amounts["range"] == Amount(-50.0, 50.0, "m")
    assert step(pipeline, "Collect3D").collects == {"points", "gt_bboxes_3d", "pcd_trans"}


@pytest.mark.parametrize(
    ("coordinates", "first", "second"), [("LiDAR", "flip_y", "flip_x"), ("Depth", "flip_x", "flip_y")]
)
def test_a_horizontal_mirror_changes_the_axis_that_the_coordinates_tell(
    tmp_path: Path, coordinates: str, first: str, second: str
) -> None:
    written = "dict(type='RandomFlip3D', sync_2d=False, flip_ratio_bev_horizontal=0.3, flip_ratio_bev_vertical=0.2)"
    amounts = step(train(tmp_path, written, coordinates=coordinates), "RandomFlip3D").amounts
    assert (amounts[first].high, amounts[second].high) == (0.3, 0.2)


def test_a_mirror_of_the_image_alone_leaves_boxes_and_keeps_record(tmp_path: Path) -> None:
    loaded = "dict(type='LoadMultiViewImageFromFiles')"
    flip = step(
        train(tmp_path, loaded, "dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5, flip_box3d=False)"),
        "RandomFlip3D",
    )
    assert flip.upon == {Upon.IMAGE, Upon.BOXES_2D, Upon.CALIBRATION}
    assert set(flip.amounts) == {"flip_horizontal"}
    assert not flip.only_labels


ROTATED = (
    "dict(type='GlobalRotScaleTransImage', rot_range=[-22.5, 22.5], scale_ratio_range=[1, 1], "
    "translation_std=[0, 0, 0]{0})"
)


@pytest.mark.parametrize(
    ("more", "beside", "before", "unit"),
    [
        (", flip_dx_ratio=0.5, only_gt=True", "dict(type='CropResizeFlipImage')", "", "degree"),
        ("", "dict(type='CropResizeFlipImage')", "model = dict(type='BEVFormerV2')", "degree"),
        (", reverse_angle=True", "dict(type='ResizeCropFlipImage')", "model = dict(type='Petr3D')", "rad"),
        ("", "dict(type='ResizeCropFlipRotImage')", "", "rad"),
        ("", "dict(type='Pad')", "", None),
    ],
)
def test_one_name_is_degrees_here_and_radians_there(
    tmp_path: Path, more: str, beside: str, before: str, unit: str | None
) -> None:
    found = step(train(tmp_path, beside, ROTATED.format(more), before=before), "GlobalRotScaleTransImage")
    assert ("rotation" in found.amounts) == (unit is not None)
    assert unit is None or found.amounts["rotation"] == Amount(-22.5, 22.5, unit)
    assert found.only_labels == ("only_gt" in more)
    assert Does.ROTATE in found.does


def test_bevdet_draws_in_degrees_and_leaves_the_scene_to_the_network(tmp_path: Path) -> None:
    sizes = "Ncams=5, input_size=(256, 704), src_size=(900, 1600)"
    conf = f"data_config = dict({sizes}, resize=(-0.06, 0.11), rot=(-5.4, 5.4), flip=True)\n"
    bda = "bda = dict(rot_lim=(-22.5, 22.5), scale_lim=(0.9, 1.1), flip_dx_ratio=0.5, flip_dy_ratio=0.)\n"
    steps = (
        "dict(type='PrepareImageInputs', is_train={0}, data_config=data_config)",
        "dict(type='BEVAug', bda_aug_conf=bda, is_train={0})",
    )
    trained = train(tmp_path, *(s.format(True) for s in steps), before=conf + bda)
    image, scene = trained.steps
    assert image.amounts["rotation"] == Amount(-5.4, 5.4, "degree")
    assert image.amounts["scale"] == pytest.approx((0.38, 0.55, "ratio"))
    assert image.amounts["flip_horizontal"].high == 0.5
    assert scene.only_labels
    assert scene.amounts["rotation"].unit == "degree"
    assert (scene.amounts["flip_x"].high, scene.amounts["flip_y"].high) == (0.5, 0.0)
    fixed = train(tmp_path, *(s.format(False) for s in steps), before=conf + bda)
    assert not any(s.is_random or s.only_labels or s.moves & {Does.FLIP, Does.ROTATE} for s in fixed.steps)
    assert opened(tmp_path, conf + "model = dict(type='BEVDet')").cameras == (5, (str(tmp_path / "config.py"), 1))


def test_sparse4d_takes_its_amounts_from_the_dataset(tmp_path: Path) -> None:
    text = (
        "conf = {'resize_lim': (0.4, 0.5), 'rot_lim': (-5, 5), 'rand_flip': False, 'rot3d_range': [-0.4, 0.4]}\n"
        "p = [dict(type='ResizeCropFlipImage'), dict(type='BBoxRotation')]\n"
        "data = dict(train=dict(pipeline=p, data_aug_conf=conf, test_mode=False),\n"
        "            test=dict(pipeline=p, data_aug_conf=conf, test_mode=True))\n"
    )
    recipe = opened(tmp_path, text)
    image, boxes = only(recipe).steps
    assert image.moves == {Does.RESIZE, Does.CROP, Does.ROTATE}
    assert image.amounts["rotation"] == Amount(-5.0, 5.0, "degree")
    assert boxes.amounts["rotation"] == Amount(-0.4, 0.4, "rad")
    assert not any(one.is_random or one.moves & {Does.FLIP, Does.ROTATE} for one in only(recipe, "test").steps)


def test_choices_and_chances_of_wrappers(tmp_path: Path) -> None:
    pipeline = train(
        tmp_path,
        "dict(type='RandomChoice', transforms=[[dict(type='LaserMix', prob=1)], [dict(type='PolarMix', prob=1)]])",
        "dict(type='RandomApply', prob=0.2, transforms=[dict(type='CutOut'), dict(type='Mosaic', prob=0.5)])",
        "dict(type='Albu', transforms=[dict(type='HorizontalFlip', p=0.5)])",
    )
    lasers, polars, cut, mosaic, flip = pipeline.steps
    assert lasers.choice == polars.choice
    assert lasers.choice is not None
    assert lasers.inside == ("RandomChoice",)
    assert cut.amounts["probability"].high == 0.2
    assert mosaic.amounts["probability"].high == pytest.approx(0.1)
    assert flip.inside[0] == "Albu"
    assert flip.amounts["flip_horizontal"].high == 0.5
    assert Upon.BOXES_2D not in flip.upon  # mmdetection hands no boxes on without bbox_params


def test_hooks_that_end_or_exchange_augmentations(tmp_path: Path) -> None:
    text = """\
data = dict(train=dict(pipeline=[dict(type='ObjectSample'), dict(type='RandomFlip3D'), dict(type='Mosaic')]))
train_cfg = dict(max_epochs=30)
custom_hooks = [
    dict(type='DisableObjectSampleHook', disable_after_epoch=15),
    dict(type='DisableAugHook', disable_after_epoch=11, disable_aug_list=['RandomFlip3D']),
    dict(type='YOLOXModeSwitchHook', num_last_epochs=10),
    dict(type='mmdet.PipelineSwitchHook', switch_epoch=25, switch_pipeline=[dict(type='Pad')])]
"""
    first, second = opened(tmp_path, text).training
    assert [one.amounts["stop_epoch"].high for one in first.steps] == [15, 11, 20]
    assert (second.name, second.at.line) == ("from epoch 25", 7)
    assert [one.name for one in second.steps] == ["Pad"]


def test_mirrors_of_images_share_their_probability(tmp_path: Path) -> None:
    both, none = train(
        tmp_path,
        "dict(type='RandomFlip', flip_ratio=[0.2, 0.3, 0.1], direction=['horizontal', 'vertical', 'diagonal'])",
        "dict(type='RandomFlip', flip_ratio=0.0)",
        coordinates="none",
    ).steps
    assert both.amounts["flip_horizontal"].high == pytest.approx(0.3)
    assert both.amounts["flip_vertical"].high == pytest.approx(0.4)
    assert (none.moves, none.is_random) == (frozenset(), False)
