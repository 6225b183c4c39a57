from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recipe_pipelines import (
    SCENE,
    here,
    judged,
    pipeline,
    place,
    share,
    span,
    step,
    turned,
    with_steps,
    written,
)
from recipe_reviews import at, recipe, reviewed, said

from avreview.engine.review import Severity, Verdict
from avreview.recipe import open_recipe
from avreview.recipe.model import Does, Recipe, Step, Unread, Upon

IMAGE = (Upon.IMAGE,)
LOAD = step("LoadImage", 10, Does.LOAD, IMAGE, is_random=False)


# AV802


def flipped(*upon: Upon, line: int = 12, **fields: Any) -> Step:
    amounts = fields.pop("amounts", {"flip_horizontal": share(0.5)})
    return step("ImageFlip", line, Does.FLIP, (Upon.IMAGE, *upon), amounts=amounts, is_random=True, **fields)


def labelled(*kinds: str) -> dict[str, Any]:
    return {"labels": {kind: said(True, 5) for kind in kinds}}


@pytest.mark.parametrize(
    ("label", "kind", "words"),
    [
        ("boxes-2d", Upon.BOXES_2D, "2-D boxes"),
        ("masks", Upon.MASKS, "masks"),
        ("keypoints", Upon.KEYPOINTS, "keypoints"),
        ("calibration", Upon.CALIBRATION, "camera matrices"),
    ],
)
def test_av802_an_image_that_moves_without_its_labels(label: str, kind: Upon, words: str) -> None:
    finding = judged(with_steps(LOAD, flipped(), dialect="plain", **labelled(label)), "AV802").only
    assert finding.severity is Severity.ERROR
    assert place(finding) == here(12, "train.pipeline.ImageFlip")
    assert finding.message == f"'ImageFlip' moves the image and leaves its {words} as they were."
    assert judged(with_steps(LOAD, flipped(kind), **labelled(label)), "AV802").passed


def test_av802_keypoints_of_mmengine_are_not_judged() -> None:
    """mmyolo's `RandomFlip` mirrors keypoints, mmdetection's does not."""
    assert judged(with_steps(LOAD, flipped(), **labelled("keypoints")), "AV802").passed


def test_av802_labels_that_a_loading_step_reads() -> None:
    loading = step("LoadAnnotations", 11, Does.LOAD, (Upon.MASKS,), is_random=False)
    assert judged(with_steps(loading, flipped()), "AV802").only.observed["leaves"] == "masks"


def test_av802_a_key_that_is_collected_and_loaded_by_nothing() -> None:
    labels = {"boxes-2d": said(True, 40), "boxes-3d": said(True, 11)}
    mystery = step("LoadMine", 11, (), is_known=False)
    assert judged(with_steps(LOAD, flipped(), collecting("gt_bboxes"), labels=labels), "AV802").passed
    assert judged(with_steps(LOAD, mystery, flipped(), collecting("gt_bboxes"), labels=labels), "AV802").findings


@pytest.mark.parametrize(
    "fine",
    [
        flipped(amounts={"flip_horizontal": share(0.0)}),
        flipped(amounts={"probability": share(0.0)}),
        step("Rotate", 12, Does.ROTATE, IMAGE, amounts={"rotation": span(0, 0, "degree")}),
        step("Jitter", 12, Does.PHOTOMETRIC, IMAGE, is_random=True),
        step("MyFlip", 12, (), (), is_known=False),
    ],
)
def test_av802_what_never_moves_an_image(fine: Step) -> None:
    assert judged(with_steps(LOAD, fine, **labelled("boxes-2d")), "AV802").verdict is Verdict.NOT_APPLICABLE


def test_av802_matrices_may_stay_behind_a_resize_or_a_scene_that_is_mirrored_whole() -> None:
    resize = step("Resize", 12, Does.RESIZE, IMAGE, is_random=True)
    assert judged(with_steps(LOAD, resize, **labelled("calibration", "boxes-3d")), "AV802").passed
    assert judged(with_steps(LOAD, flipped(Upon.BOXES_3D), **labelled("calibration")), "AV802").passed
    crop = step("Crop", 12, Does.CROP, IMAGE, is_random=True)
    assert judged(with_steps(LOAD, crop, **labelled("calibration")), "AV802").only.observed["leaves"]


def test_av802_labels_alone_are_a_note_unless_a_matrix_tells() -> None:
    alone = turned(14, "GlobalRotScaleTransImage", upon=(Upon.BOXES_3D,), only_labels=True)
    finding = judged(with_steps(LOAD, alone, **labelled("boxes-3d")), "AV802").only
    assert finding.severity is Severity.NOTE
    assert place(finding) == here(14, "train.pipeline.GlobalRotScaleTransImage")
    told = turned(14, "BEVAug", upon=(Upon.BOXES_3D, Upon.CALIBRATION), only_labels=True)
    assert judged(with_steps(LOAD, told, **labelled("boxes-3d")), "AV802").passed


def test_av802_labels_that_are_not_told_are_not_assessed() -> None:
    silent = with_steps(step("Crop", 12, Does.CROP, IMAGE, is_random=True))
    assessed = judged(silent, "AV802")
    assert assessed.verdict is Verdict.NOT_ASSESSED
    assert (assessed.reason or "").startswith("needs to know which labels belong to the images")


def test_av802_caddn(tmp_path: Path) -> None:
    """The flip of OpenPCDet that its issue 780 is about."""
    text = """\
CLASS_NAMES: ['Car', 'Pedestrian', 'Cyclist']
DATA_CONFIG:
    GET_ITEM_LIST: ["images", "depth_maps", "calib_matricies", "gt_boxes2d"]
    POINT_CLOUD_RANGE: [2, -30.08, -3.0, 46.8, 30.08, 1.0]
    DATA_AUGMENTOR:
        DISABLE_AUG_LIST: ['placeholder']
        AUG_CONFIG_LIST:
            - NAME: random_image_flip
              ALONG_AXIS_LIST: ['horizontal']
MODEL:
    NAME: CaDDN
"""
    path = written(tmp_path, "CaDDN.yaml", text)
    finding = judged(open_recipe(str(path)), "AV802").only
    assert (finding.location.line, finding.location.module) == (8, "train.pipeline.random_image_flip")
    assert finding.observed["leaves"] == "2-D boxes"
    path.write_text(text.replace(', "gt_boxes2d"', ""))
    assert judged(open_recipe(str(path)), "AV802").passed


# AV803


SIDED = ["turn_left", "turn_right", "stop"]


def classes(*names: str) -> dict[str, Any]:
    return {"classes": names, "classes_at": at(3)}


def test_av803_a_mirror_and_classes_that_tell_left_from_right() -> None:
    finding = judged(with_steps(LOAD, flipped(), **classes(*SIDED)), "AV803").only
    assert finding.severity is Severity.ERROR
    assert place(finding) == here(12, "train.pipeline.ImageFlip")
    assert [(entry.line, entry.module) for entry in finding.also] == [(3, "classes")]
    assert finding.observed == {"probability": 0.5, "classes": ["turn_left", "turn_right"], "pairs": 1}


@pytest.mark.parametrize(
    "fine",
    [
        flipped(swaps_classes=True),
        flipped(amounts={"flip_horizontal": share(0.0)}),
        flipped(amounts={"flip_horizontal": share(0.0), "flip_vertical": share(0.5)}),
        flipped(amounts={"flip_vertical": share(0.5)}),
        flipped(amounts={"probability": share(0.0)}),
    ],
)
def test_av803_a_mirror_that_swaps_or_never_happens(fine: Step) -> None:
    assert judged(with_steps(LOAD, fine, **classes(*SIDED)), "AV803").verdict in (
        Verdict.PASS,
        Verdict.NOT_APPLICABLE,
    )


@pytest.mark.parametrize("name", ["bright", "left_over", "right_of_way", "car", "upright", "left_or_right"])
def test_av803_names_that_a_mirror_leaves_right(name: str) -> None:
    assert judged(with_steps(LOAD, flipped(), **classes(name, "stop")), "AV803").passed


def test_av803_a_mirrored_scene() -> None:
    mirror = step("RandomFlip3D", 13, Does.FLIP, SCENE, amounts={"flip_x": share(0), "flip_y": share(0.5)})
    finding = judged(with_steps(mirror, **classes("arrow_left", "car")), "AV803").only
    assert "mirrors scenes" in finding.message


def test_av803_classes_that_are_not_named() -> None:
    assert judged(with_steps(LOAD, flipped()), "AV803").verdict is Verdict.NOT_ASSESSED


def test_av803_ultralytics(tmp_path: Path) -> None:
    written(tmp_path, "signs.yaml", "train: images/train\nval: images/val\nnames: [turn_left, turn_right, stop]\n")
    args = "task: detect\nmode: train\nmodel: yolov8n.pt\ndata: signs.yaml\nepochs: 10\nfliplr: 0.5\nmosaic: 1.0\n"
    args += "flipud: 0.0\ndegrees: 0.0\nhsv_h: 0.015\nhsv_s: 0.7\nlr0: 0.01\nlrf: 0.01\nimgsz: 640\n"
    path = written(tmp_path, "args.yaml", args)
    finding = judged(open_recipe(str(path)), "AV803").only
    assert finding.location.line == 6
    assert finding.observed["classes"] == ["turn_left", "turn_right"]
    path.write_text(args.replace("fliplr: 0.5", "fliplr: 0.0"))
    assert not judged(open_recipe(str(path)), "AV803").findings


# AV804


def pasted(*upon: Upon, line: int = 15, **amounts: Any) -> Step:
    return step("ObjectPaste", line, Does.PASTE, (Upon.POINTS, Upon.BOXES_3D, *upon), amounts=amounts, is_random=True)


CAMERA = {"sensors": {"camera": said("SwinTransformer", 60), "lidar": said("SparseEncoder", 70)}}


@pytest.mark.parametrize("stop", [None, 1, 15])
def test_av804_objects_that_no_camera_shows(stop: float | None) -> None:
    amounts: dict[str, Any] = {} if stop is None else {"stop_epoch": span(stop, stop, "epoch")}
    finding = judged(with_steps(LOAD, pasted(**amounts), **CAMERA), "AV804").only
    assert finding.severity is Severity.ERROR
    assert place(finding) == here(15, "train.pipeline.ObjectPaste")
    assert [entry.line for entry in finding.also] == [60]


def test_av804_a_paste_into_images_too_or_without_a_camera() -> None:
    assert judged(with_steps(LOAD, pasted(Upon.IMAGE), **CAMERA), "AV804").passed
    lidar = {"camera": said(False, 60), "lidar": said("SparseEncoder", 70)}
    assert judged(with_steps(LOAD, pasted(), sensors=lidar), "AV804").passed


def test_av804_a_paste_that_is_switched_off() -> None:
    off = pasted(stop_epoch=span(0, 0, "epoch"))
    assert judged(with_steps(LOAD, off, **CAMERA), "AV804").verdict is Verdict.NOT_APPLICABLE
    assert judged(with_steps(LOAD, pasted(stop_epoch=span(-1, -1, "epoch")), **CAMERA), "AV804").passed


def test_av804_images_of_which_no_encoder_is_told() -> None:
    assert judged(with_steps(LOAD, pasted()), "AV804").verdict is Verdict.NOT_ASSESSED
    assert judged(with_steps(pasted()), "AV804").passed


# AV805


def bounded(line: int, *upon: Upon) -> Step:
    upon = upon or (Upon.BOXES_3D,)
    return step("ObjectRangeFilter", line, Does.RANGE_FILTER, upon, amounts={"range": span(-50, 50, "m")})


def test_av805_a_filter_before_what_moves_labels() -> None:
    finding = judged(with_steps(bounded(20), turned(21)), "AV805").only
    assert finding.severity is Severity.WARNING
    assert place(finding) == here(20, "train.pipeline.ObjectRangeFilter")
    assert [entry.line for entry in finding.also] == [21]
    # 2 · 50 · sin(0.3925 / 2) + 50 · 0.05
    assert finding.observed["moves_at_the_edge_m"] == pytest.approx(22.0, abs=0.01)


@pytest.mark.parametrize(
    "steps",
    [
        [turned(19), bounded(20)],
        [bounded(19), turned(20), bounded(21)],
        [bounded(20), turned(21, amounts={"rotation": span(0, 0, "rad"), "scale": span(1, 1)})],
        [bounded(20), step("RandomFlip3D", 21, Does.FLIP, SCENE, amounts={"flip_y": share(0.5)}, is_random=True)],
        [bounded(20), turned(21, upon=IMAGE)],
    ],
)
def test_av805_a_filter_behind_geometry_or_before_what_moves_no_label(steps: list[Step]) -> None:
    assert judged(with_steps(*steps), "AV805").passed


def test_av805_a_filter_of_points_alone_is_not_judged() -> None:
    assert judged(with_steps(bounded(20, Upon.POINTS), turned(21)), "AV805").verdict is Verdict.NOT_APPLICABLE


def test_av805_a_paste_behind_the_filter() -> None:
    assert judged(with_steps(bounded(20), pasted(line=22)), "AV805").only.also[0].line == 22


# AV806


def at_test(*steps: Step) -> Recipe:
    return recipe(pipelines=[pipeline(turned(3)), pipeline(*steps, role="test")])


@pytest.mark.parametrize(
    "random",
    [
        turned(33),
        step("RandomFlip3D", 33, Does.FLIP, SCENE, amounts={"flip_y": share(0.5)}, is_random=True),
        step("ColorJitter", 33, Does.PHOTOMETRIC, IMAGE, is_random=True),
        step("RandomCrop", 33, Does.CROP, IMAGE, is_random=True),
    ],
)
def test_av806_a_random_step_at_test(random: Step) -> None:
    finding = judged(at_test(random), "AV806").only
    assert finding.severity is Severity.ERROR
    assert place(finding) == here(33, f"test.pipeline.{random.name}")


@pytest.mark.parametrize(
    "fine",
    [
        turned(33, amounts={"rotation": span(0, 0, "rad"), "scale": span(1, 1)}),
        step("RandomFlip3D", 33, Does.FLIP, SCENE, amounts={"flip_y": share(0)}, is_random=True),
        step("GridMask", 33, Does.DROP, IMAGE, amounts={"probability": share(0)}, is_random=True),
        step("Resize", 33, (Does.RESIZE, Does.CROP), IMAGE, is_random=False),
        step("RandomResize3D", 33, Does.RESIZE, IMAGE, amounts={"scale": span(1, 1)}, is_random=True),
        step("Custom", 33, Does.FLIP, IMAGE, is_random=None),
        step("PointSample", 33, Does.DROP, (Upon.POINTS,), is_random=True),
        step("PointShuffle", 33, Does.SHUFFLE, (Upon.POINTS,), is_random=True),
    ],
)
def test_av806_empty_ranges_and_fixed_sizes_are_fine(fine: Step) -> None:
    assert judged(at_test(fine), "AV806").passed


def test_av806_a_test_time_wrapper_decides_its_mirrors_and_nothing_else() -> None:
    wrapper = step("MultiScaleFlipAug3D", 30, Does.TEST_TIME, is_random=False)
    inside = ("MultiScaleFlipAug3D",)
    mirror = step("RandomFlip3D", 33, Does.FLIP, SCENE, is_random=True, inside=inside)
    assert judged(at_test(wrapper, mirror), "AV806").passed
    finding = judged(at_test(wrapper, mirror, turned(34, inside=inside)), "AV806").only
    assert place(finding) == here(34, "test.pipeline.MultiScaleFlipAug3D.GlobalRotScaleTrans")


def test_av806_one_pipeline_for_validation_and_test_is_one_finding() -> None:
    both = recipe(pipelines=[pipeline(turned(33), role=role) for role in ("val", "test")])
    finding = judged(both, "AV806").only
    assert finding.location.module == "val.pipeline.GlobalRotScaleTrans"
    assert [entry.module for entry in finding.also] == ["test.pipeline.GlobalRotScaleTrans"]


def test_av806_without_a_test_pipeline() -> None:
    assert judged(with_steps(turned(3)), "AV806").verdict is Verdict.NOT_ASSESSED


# AV807


def test_av807_a_paste_into_a_moved_scene() -> None:
    finding = judged(with_steps(turned(14), pasted(line=15)), "AV807").only
    assert finding.severity is Severity.WARNING
    assert place(finding) == here(15, "train.pipeline.ObjectPaste")
    assert [entry.line for entry in finding.also] == [14]
    assert judged(with_steps(pasted(line=14), turned(15)), "AV807").passed


def jitter(line: int, name: str = "PhotoMetricDistortionMultiViewImage") -> Step:
    return step(name, line, Does.PHOTOMETRIC, IMAGE, is_random=True)


def normalized(line: int) -> Step:
    return step("NormalizeMultiviewImage", line, Does.NORMALIZE, IMAGE, is_random=False)


def test_av807_colours_changed_behind_normalization() -> None:
    finding = judged(with_steps(LOAD, normalized(16), jitter(17)), "AV807").only
    assert place(finding) == here(17, "train.pipeline.PhotoMetricDistortionMultiViewImage")
    assert [entry.line for entry in finding.also] == [16]
    assert judged(with_steps(LOAD, jitter(16), normalized(17)), "AV807").passed
    assert judged(with_steps(LOAD, normalized(16), jitter(17, "GaussNoise")), "AV807").passed


def collecting(*keys: str, meta: tuple[str, ...] | None = ()) -> Step:
    options = {"keys": ["img"], **({} if meta is None else {"meta_keys": list(meta)})}
    return step("Collect3D", 40, Does.COLLECT, is_random=False, options=options, collects=frozenset(keys))


def test_av807_a_matrix_that_is_not_handed_on() -> None:
    aug = step("ImageAug3D", 18, (Does.RESIZE, Does.CROP), (Upon.IMAGE, Upon.CALIBRATION), is_random=True)
    finding = judged(with_steps(LOAD, aug, collecting("img"), **CAMERA), "AV807").only
    assert place(finding) == here(40, "train.pipeline.Collect3D.img_aug_matrix")
    assert [entry.line for entry in finding.also] == [18]
    lidar2img = step("ResizeCropFlipImage", 18, Does.CROP, (Upon.IMAGE, Upon.CALIBRATION), is_random=True)
    assert judged(with_steps(LOAD, lidar2img, collecting("img"), **CAMERA), "AV807").findings
    assert judged(with_steps(LOAD, lidar2img, collecting("projection_mat"), **CAMERA), "AV807").passed
    for fine in (collecting("img_aug_matrix"), collecting(meta=("img_aug_matrix",)), collecting("img", meta=None)):
        assert judged(with_steps(LOAD, aug, fine, **CAMERA), "AV807").passed
    lidar = {"sensors": {"lidar": said("SparseEncoder", 70)}}
    assert judged(with_steps(LOAD, aug, collecting("img"), **lidar), "AV807").passed


def test_av807_steps_of_which_one_is_chosen() -> None:
    first = turned(14, choice=1)
    assert judged(with_steps(first, step("Paste", 15, Does.PASTE, SCENE, choice=1)), "AV807").passed


# AV808


def rotated(low: float, high: float, unit: str, *upon: Upon) -> Step:
    return step("Rotation", 22, Does.ROTATE, upon or SCENE, amounts={"rotation": span(low, high, unit)})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (rotated(-22.5, 22.5, "rad"), "looks like degrees: rotation ±22.5 rad"),
        (rotated(-0.3925, 0.3925, "degree"), "looks like radians: rotation ±0.3925°"),
        (rotated(-0.785, 0.785, "degree", Upon.IMAGE), "looks like radians"),
        (rotated(-90, 90, "degree", Upon.IMAGE), "tilts camera images"),
        (rotated(-2250, 2250, "degree"), "turns further than a full turn: rotation ±2250°"),
    ],
)
def test_av808_a_rotation_in_the_wrong_unit(wrong: Step, words: str) -> None:
    finding = judged(with_steps(wrong), "AV808").only
    assert finding.severity is Severity.WARNING
    assert place(finding) == here(22, "train.pipeline.Rotation.rotation")
    assert words in finding.message


@pytest.mark.parametrize(
    "fine",
    [
        rotated(-22.5, 22.5, "degree"),
        rotated(-0.3925, 0.3925, "rad"),
        rotated(-3.1416, 3.1416, "rad"),
        rotated(-360, 360, "degree"),
        rotated(-5.4, 5.4, "degree", Upon.IMAGE),
        rotated(-0.373, 0.373, "degree", Upon.IMAGE),  # what a search over hyperparameters of yolov5 found
    ],
)
def test_av808_rotations_in_their_unit(fine: Step) -> None:
    assert judged(with_steps(fine), "AV808").passed


def test_av808_sizes_that_do_not_exist() -> None:
    wide = step("Scaling", 23, Does.SCALE, SCENE, amounts={"scale": span(0.1, 1.9)})
    assert place(judged(with_steps(wide), "AV808").only) == here(23, "train.pipeline.Scaling.scale")
    image = step("Scaling", 23, Does.SCALE, IMAGE, amounts={"scale": span(0.1, 1.9)})
    assert judged(with_steps(image), "AV808").verdict is Verdict.NOT_APPLICABLE
    usual = step("Scaling", 23, Does.SCALE, SCENE, amounts={"scale": span(0.9, 1.1)})
    assert judged(with_steps(usual), "AV808").passed


# The answer, and what could not be read


def test_the_answer_lists_every_step() -> None:
    given = recipe(
        pipelines=[pipeline(LOAD, turned(11), step("Mystery", 12, (), is_known=False)), pipeline(LOAD, role="test")],
        unread=[Unread("model.head", "is computed by a call", at(44))],
    )
    result = reviewed(given, select=["8"])
    answer = next(answer for answer in result.checklist if answer.item == 8)
    assert answer.answer == (
        "Training: 3 steps, 1 of them not known, 1 of which changes data at random (rotate, scale). "
        "Validation and test: 1 step, none known to change data at random. 1 setting of the recipe could not be read."
    )
    assert list(answer.table)[1] == {
        "split": "train",
        "step": "GlobalRotScaleTrans",
        "does": "rotate, scale",
        "upon": "points, boxes-3d, velocities",
        "how much": "random; rotation ±0.3925 rad, scale 0.95 to 1.05",
        "at": "configs/petr.py:11",
    }
    assert [row["step"] for row in answer.table] == ["LoadImage", "GlobalRotScaleTrans", "Mystery", "LoadImage"]
    unread, unknown = (words for words in result.limitations if "of the recipe" in words)
    assert "model.head (configs/petr.py:44): is computed by a call." in unread
    assert "Mystery" in unknown
    assert "was not judged" in unknown


def test_what_could_not_be_read_stands_before_its_reason() -> None:
    missing = [Unread(f"base {number}", "is not there", at(number)) for number in range(1, 6)]
    others = [Unread(name, f"is {name}", at(9)) for name in ("a", "b", "c", "d")]
    said = next(words for words in reviewed(recipe(unread=[*others, *missing]), select=["8"]).limitations)
    assert said == (
        "9 settings of the recipe could not be read. base 1 (configs/petr.py:1), base 2 (configs/petr.py:2), "
        "base 3 (configs/petr.py:3), and 2 more: is not there; a (configs/petr.py:9): is a; b (configs/petr.py:9): "
        "is b; c (configs/petr.py:9): is c; and 1 more for other reasons."
    )


def test_a_recipe_without_a_pipeline_is_not_assessed() -> None:
    for rule in ("AV802", "AV803", "AV804", "AV805", "AV807", "AV808"):
        assessed = judged(recipe(), rule)
        assert assessed.verdict is Verdict.NOT_ASSESSED
        assert (assessed.reason or "").startswith("needs a recipe with the steps of its training pipeline; pass")


def test_hostile_names_are_escaped() -> None:
    name = "Flip\x1b[31m\u202e\n" + "x" * 5000
    given = with_steps(LOAD, step(name, 12, Does.FLIP, IMAGE), **labelled("masks"), **classes("left\x07turn"))
    for rule in ("AV802", "AV803"):
        message = judged(given, rule).only.message
        assert message.isprintable()
        assert len(message) < 400
    answer = next(answer for answer in reviewed(given, select=["8"]).checklist if answer.item == 8)
    assert all(str(value).isprintable() for row in answer.table for value in row.values())


# As configurations are written

PETR = """\
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
class_names = ['car', 'truck', 'bus']
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
model = dict(
    type='Petr3D',
    img_backbone=dict(type='ResNet', depth=50),
    pts_bbox_head=dict(type='PETRHead', num_classes=3, code_weights=[1.0] * 10))
ida_aug_conf = dict(resize_lim=(0.38, 0.55), final_dim=(256, 704), bot_pct_lim=(0.0, 0.0), rot_lim=(0.0, 0.0),
                    H=900, W=1600, rand_flip=True)
train_pipeline = [
    dict(type='LoadMultiViewImageFromFiles', to_float32=True),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ResizeCropFlipImage', data_aug_conf=ida_aug_conf, training=True),
    dict(type='GlobalRotScaleTransImage', rot_range=[-0.3925, 0.3925], translation_std=[0, 0, 0],
         scale_ratio_range=[0.95, 1.05], reverse_angle=True, training=True),
    dict(type='NormalizeMultiviewImage', **img_norm_cfg),
    dict(type='Collect3D', keys=['gt_bboxes_3d', 'gt_labels_3d', 'img']),
]
test_pipeline = [
    dict(type='LoadMultiViewImageFromFiles', to_float32=True),
    dict(type='ResizeCropFlipImage', data_aug_conf=ida_aug_conf, training=False),
    dict(type='NormalizeMultiviewImage', **img_norm_cfg),
    dict(type='Collect3D', keys=['img']),
]
data = dict(
    samples_per_gpu=1,
    train=dict(type='CustomNuScenesDataset', pipeline=train_pipeline, classes=class_names),
    val=dict(type='CustomNuScenesDataset', pipeline=test_pipeline, classes=class_names),
    test=dict(type='CustomNuScenesDataset', pipeline=test_pipeline, classes=class_names))
"""


def test_a_configuration_like_petrs(tmp_path: Path) -> None:
    path = written(tmp_path, "petr.py", PETR)
    finding = judged(open_recipe(str(path)), "AV805").only
    assert (finding.location.line, finding.location.module) == (13, "train.pipeline.ObjectRangeFilter")
    assert [place.line for place in finding.also] == [15]
    for rule in ("AV802", "AV803", "AV806", "AV807", "AV808", "AV904"):
        assert not judged(open_recipe(str(path)), rule).findings


@pytest.mark.parametrize(
    ("rule", "old", "new", "line"),
    [
        ("AV806", "ida_aug_conf, training=False", "ida_aug_conf, training=True", 22),
        ("AV808", "rot_range=[-0.3925, 0.3925]", "rot_range=[-22.5, 22.5]", 15),
        ("AV803", "'truck', 'bus'", "'arrow_left', 'arrow_right'", 14),
    ],
)
def test_a_configuration_like_petrs_with_a_fault(tmp_path: Path, rule: str, old: str, new: str, line: int) -> None:
    assert old in PETR
    found = judged(open_recipe(str(written(tmp_path, "petr.py", PETR.replace(old, new)))), rule)
    assert [finding.location.line for finding in found.findings] == [line]


def test_a_pipeline_without_end_is_judged_to_a_bound() -> None:
    steps = [turned(1, amounts={"rotation": span(0, 0, "rad"), "scale": span(1, 1)})] * 3_000
    result = reviewed(with_steps(*steps, turned(2, amounts={"rotation": span(-90, 90, "rad")})), select=["8"])
    assert not result.findings
    assert any("more than 1,000 steps" in words for words in result.limitations)
    assert len(next(answer for answer in result.checklist if answer.item == 8).table) == 400


PLAIN = """\
schema: avreview/recipe/1
sensors: [camera, lidar]
velocity: true
classes: [car, pedestrian]
labels: [boxes-3d, boxes-2d, velocities, calibration]
splits:
- {split: train, file: sets/train.txt}
- {split: val, file: sets/val.txt}
pipelines:
- split: train
  steps:
  - {name: load_images, does: [load], upon: [image, calibration]}
  - {name: paste_objects, does: [paste], upon: [points, boxes-3d, image, boxes-2d], random: true}
  - {name: flip_images, does: [flip], upon: [image, boxes-2d, calibration], flip_horizontal: 0.5}
  - name: turn_scene
    does: [rotate]
    upon: [points, boxes-3d, velocities, calibration]
    rotation: {low: -22.5, high: 22.5, unit: degree}
  - {name: keep_range, does: [range-filter], upon: [points, boxes-3d], range: {low: -54, high: 54}}
  - {name: color_jitter, does: [photometric], upon: [image], random: true}
- split: val
  steps:
  - {name: load_images, does: [load], upon: [image, calibration]}
  - {name: resize, does: [resize, crop], upon: [image, calibration], random: false}
"""
PLAIN_RULES = ("AV802", "AV803", "AV804", "AV805", "AV806", "AV807", "AV808", "AV809", "AV904", "AV907")


@pytest.mark.parametrize(
    ("rule", "old", "new", "line"),
    [
        ("AV802", "upon: [image, boxes-2d, calibration]", "upon: [image, calibration]", 14),
        ("AV803", "[car, pedestrian]", "[arrow_left, pedestrian]", 14),
        ("AV804", "boxes-3d, image, boxes-2d]", "boxes-3d]", 13),
        ("AV806", "random: false", "random: true", 24),
        ("AV808", "unit: degree", "unit: rad", 15),
        ("AV809", "sets/val.txt", "sets/train.txt", 1),
        ("AV904", "does: [photometric]", "does: [move-objects]", 20),
        ("AV907", "does: [photometric]", "does: [drop-frames]", 20),
    ],
)
def test_a_recipe_in_avreviews_own_form(tmp_path: Path, rule: str, old: str, new: str, line: int) -> None:
    written(tmp_path, "sets/train.txt", "scene-0001\n")
    written(tmp_path, "sets/val.txt", "scene-0002\n")
    right = open_recipe(str(written(tmp_path, "right.yaml", PLAIN)))
    assert {entry: judged(right, entry).findings for entry in PLAIN_RULES} == {entry: [] for entry in PLAIN_RULES}
    assert old in PLAIN
    wrong = open_recipe(str(written(tmp_path, "wrong.yaml", PLAIN.replace(old, new))))
    assert judged(wrong, rule).only.location.line == line
