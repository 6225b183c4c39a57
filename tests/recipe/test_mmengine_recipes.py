"""Configurations of the OpenMMLab family as recipes: each style, small, with the lines where things stand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from mm_recipes import OLD, only, opened, step

from avreview.recipe.model import Amount, Does, Upon


def test_an_old_configuration_in_full(tmp_path: Path) -> None:
    recipe = opened(tmp_path, OLD)
    assert recipe.dialect == "mmengine"
    assert not recipe.unread
    pipeline = only(recipe)
    assert [(one.name, one.at.line) for one in pipeline.steps][:3] == [
        ("LoadPointsFromFile", 4),
        ("LoadPointsFromMultiSweeps", 5),
        ("LoadAnnotations3D", 6),
    ]
    assert pipeline.at.line == 30
    assert {name: s.value for name, s in recipe.sweeps.items()} == {"train": 10, "paste": 5, "val": 5, "test": 5}
    assert {name: s.value for name, s in recipe.time_channel.items()} == {"train": True, "val": False, "test": False}
    assert recipe.classes == ["car", "pedestrian"]
    assert recipe.classes_at is not None
    assert recipe.classes_at.line == 30
    assert recipe.velocity is not None
    assert (recipe.velocity.value, recipe.velocity.at.line) == (True, 39)
    assert sorted(recipe.labels) == ["boxes-3d", "velocities"]
    assert [(s.role, s.file, s.at.line) for s in recipe.splits] == [
        ("train", "data/nuscenes/train.pkl", 29),
        ("val", "data/nuscenes/val.pkl", 31),
        ("test", "data/nuscenes/val.pkl", 32),
    ]
    assert {name: s.value for name, s in recipe.sensors.items()} == {"lidar": True}


def test_the_training_of_an_old_configuration(tmp_path: Path) -> None:
    recipe = opened(tmp_path, OLD)
    optimizer = recipe.optimizer
    assert optimizer is not None
    assert (optimizer.name, optimizer.at.line) == ("AdamW", 42)
    assert optimizer.rate is not None
    assert optimizer.rate.value == pytest.approx(1e-3)
    assert optimizer.decay is not None
    assert optimizer.decay.value == 0.01
    assert optimizer.decay.at.line == 43
    assert [(r.kind, r.pattern, r.rate_factor, r.decay_factor, r.at.line) for r in optimizer.rules] == [
        ("name", "pts_backbone", 0.1, 0.0, 46),
        ("bias", "", 2.0, None, 45),
        ("norm", "", None, 0.0, 45),
    ]
    assert optimizer.decays == {"bias": True, "norm": True, "embedding": True}
    assert optimizer.options == {"betas": (0.95, 0.99)}
    stated = {
        name: getattr(recipe, name).value
        for name in ("epochs", "schedule", "batch_size", "devices", "accumulation", "ema", "pretrained", "precision")
    }
    assert stated == {
        "epochs": 20, "schedule": "cyclic", "batch_size": 4, "devices": 8, "accumulation": 2, "ema": 0.999,
        "pretrained": "ckpt/base.pth", "precision": "fp16",
    }  # fmt: skip
    assert recipe.sync_norm is not None
    assert recipe.sync_norm.value is True
    assert [(n.kind, n.module, n.frozen_parameters) for n in recipe.norms] == [
        ("BN", "pts_backbone", None),
        ("SyncBN", "pts_bbox_head", True),
    ]
    assert [(d.rate, d.module, d.name, d.at.line) for d in recipe.dropouts] == [(0.1, "pts_bbox_head", "dropout", 41)]


def test_a_stale_pipeline_beside_a_wrapped_dataset_is_not_read(tmp_path: Path) -> None:
    rotation = step(only(opened(tmp_path, OLD)), "GlobalRotScaleTrans").amounts["rotation"]
    assert rotation == Amount(-0.4, 0.4, "rad")


@pytest.mark.parametrize("order", ["dataset=INNER, pipeline=STALE", "pipeline=STALE, dataset=INNER"])
@pytest.mark.parametrize("wrapper", ["CBGSDataset", "RepeatDataset", "ClassBalancedDataset", "SomebodysDataset"])
def test_no_wrapper_but_one_has_a_pipeline_of_its_own(tmp_path: Path, wrapper: str, order: str) -> None:
    settings = order.replace("INNER", "dict(type='D', pipeline=[dict(type='RandomCrop')])")
    text = f"train_dataloader = dict(dataset=dict(type='{wrapper}', {settings.replace('STALE', stale())}))\n"
    assert [one.name for one in only(opened(tmp_path, text)).steps] == ["RandomCrop"]


def stale() -> str:
    return "[dict(type='Mosaic')]"


def test_a_stale_pipeline_of_a_base_is_not_read_either(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(f"data = dict(train=dict(type='D', pipeline={stale()}))\n")
    text = (
        "_base_ = 'base.py'\ndata = dict(train=dict(type='W', dataset=dict(type='D', pipeline=[dict(type='Pad')])))\n"
    )
    assert [one.name for one in only(opened(tmp_path, text)).steps] == ["Pad"]


def test_a_dataset_of_mixed_images_applies_both(tmp_path: Path) -> None:
    inner = "dict(type='D', pipeline=[dict(type='LoadImageFromFile')])"
    text = f"data = dict(train=dict(type='MultiImageMixDataset', dataset={inner}, pipeline={stale()}))\n"
    assert [one.name for one in only(opened(tmp_path, text)).steps] == ["LoadImageFromFile", "Mosaic"]


def test_joined_datasets_give_each_pipeline_once(tmp_path: Path) -> None:
    text = (
        "p = [dict(type='Pad')]\nq = [dict(type='RandomCrop')]\n"
        "data = dict(train=[dict(pipeline=p), dict(pipeline=q), dict(dataset=dict(pipeline=p))])\n"
    )
    found = opened(tmp_path, text).training
    assert [[one.name for one in pipeline.steps] for pipeline in found] == [["Pad"], ["RandomCrop"]]


DET3D = """\
import itertools
tasks = [dict(class_names=['car']), dict(class_names=['truck', 'bus'])]
class_names = list(itertools.chain(*[t['class_names'] for t in tasks]))
db_sampler = dict(db_info_path='dbinfos_train_10sweeps_withvelo.pkl', rate=1.0)
train_preprocessor = dict(
    mode='train', shuffle_points=True,
    global_rot_noise=[-0.78539816, 0.78539816],
    global_scale_noise=[0.9, 1.1],
    global_translate_std=0.5,
    db_sampler=db_sampler,
    class_names=class_names)
train_pipeline = [dict(type='LoadPointCloudFromFile'), dict(type='Preprocess', cfg=train_preprocessor)]
test_pipeline = [dict(type='Preprocess', cfg=dict(mode='val', shuffle_points=False))]
data = dict(
    train=dict(nsweeps=10, class_names=class_names, pipeline=train_pipeline),
    val=dict(nsweeps=10, pipeline=test_pipeline))
optimizer = dict(type='adam', amsgrad=0.0, wd=0.01, fixed_wd=True)
lr_config = dict(type='one_cycle', lr_max=0.001)
total_epochs = 20
device_ids = range(8)
"""


def test_det3d_preprocess_is_opened_in_the_order_in_which_it_acts(tmp_path: Path) -> None:
    recipe = opened(tmp_path, DET3D)
    steps = only(recipe).steps[1:]
    assert [(one.name, one.at.line) for one in steps] == [
        ("db_sampler", 10), ("random_flip_both", 5), ("global_rotation", 7), ("global_scaling", 8),
        ("global_translate", 9), ("shuffle_points", 6),
    ]  # fmt: skip
    assert {one.inside for one in steps} == {("Preprocess",)}
    assert steps[2].amounts["rotation"].extent == pytest.approx(math.pi / 4)
    assert steps[1].amounts == {"flip_x": Amount(0.5, 0.5, "share"), "flip_y": Amount(0.5, 0.5, "share")}
    assert not only(recipe, "val").steps
    assert {name: s.value for name, s in recipe.sweeps.items()} == {"train": 10, "val": 10, "paste": 10}
    assert recipe.optimizer is not None
    assert recipe.optimizer.decays_outside
    assert recipe.optimizer.rate is not None
    assert recipe.optimizer.rate.value == 0.001
    assert recipe.schedule is not None
    assert recipe.schedule.value == "onecycle"
    assert recipe.classes == ["car", "truck", "bus"]
    assert not recipe.unread


def test_a_new_configuration_with_imported_classes(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        "from mmdet3d.datasets import LoadImageFromFileMono3D, RandomFlip3D\n"
        "flip = dict(type=RandomFlip3D, flip_ratio_bev_horizontal=0.5)\n"
        "train_pipeline = [dict(type=LoadImageFromFileMono3D), flip]\n"
        "train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline, ann_file='t.json'))\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))\n"
    )
    text = """\
from mmengine.config import read_base
with read_base():
    from .base import *
from mmengine.optim import AmpOptimWrapper, CosineAnnealingLR, LinearLR
model = dict(
    data_preprocessor=dict(mean=[1., 2., 3.], std=[4., 5., 6.], bgr_to_rgb=True),
    backbone=dict(type='mmdet.ResNet', frozen_stages=1, norm_eval=True, norm_cfg=dict(type='BN')),
    bbox_head=dict(type='H', pred_velo=False))
optim_wrapper.update(dict(type=AmpOptimWrapper, accumulative_counts=4, paramwise_cfg=dict(bias_decay_mult=0.)))
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1), dict(type=CosineAnnealingLR, eta_min=0.3), dict(type=CosineAnnealingLR)]
train_cfg = dict(by_epoch=True, max_epochs=12)
custom_hooks = [dict(type='EMAHook', momentum=0.0002)]
"""
    recipe = opened(tmp_path, text)
    assert not recipe.unread
    flip = step(only(recipe), "RandomFlip3D")
    assert set(flip.amounts) == {"flip_x", "flip_y", "flip_horizontal"}
    assert flip.upon >= {Upon.IMAGE, Upon.BOXES_3D, Upon.CALIBRATION}
    assert Path(flip.at.file).name == "base.py"
    assert recipe.optimizer is not None
    assert recipe.optimizer.rate is not None
    assert (recipe.optimizer.rate.value, recipe.optimizer.rate.at.line) == (0.3, 11)
    assert recipe.optimizer.decay is None
    assert [rule.kind for rule in recipe.optimizer.rules] == ["bias"]
    (normalization,) = recipe.normalization
    assert (normalization.mean, normalization.order, normalization.inside_network) == ((1.0, 2.0, 3.0), "rgb", True)
    assert [setting.value for setting in recipe.frozen] == ["backbone.conv1", "backbone.bn1", "backbone.layer1"]
    assert recipe.norms[0].frozen_statistics is True
    assert recipe.velocity is not None
    assert recipe.velocity.value is False
    assert recipe.ema is not None
    assert recipe.ema.value == pytest.approx(0.9998)
    assert (recipe.precision is not None and recipe.precision.value) == "amp"
    assert (recipe.accumulation is not None and recipe.accumulation.value) == 4
    assert {name: setting.value for name, setting in recipe.sensors.items()} == {"camera": True}


def test_what_nobody_knows_is_listed_with_its_line(tmp_path: Path) -> None:
    recipe = opened(
        tmp_path, "train_pipeline = [\n    dict(type='Pad'),\n    dict(type='Whatever', x=1),\n    f(),\n    3]\n"
    )
    unknown = step(only(recipe), "Whatever")
    assert (unknown.is_known, unknown.does, unknown.options, unknown.at.line) == (False, frozenset(), {"x": 1}, 3)
    assert [(note.what, note.at.line) for note in recipe.unread] == [
        ("the transform 'Whatever' in train_pipeline", 3),
        ("a transform of train_pipeline", 4),
        ("a transform of train_pipeline", 1),
    ]


def test_an_amount_that_only_a_run_tells_is_left_out_and_listed(tmp_path: Path) -> None:
    recipe = opened(
        tmp_path, "train_pipeline = [\n    dict(type='GlobalRotScaleTrans',\n         rot_range=limits())]\n"
    )
    motion = only(recipe).steps[0]
    assert "rotation" not in motion.amounts
    assert motion.is_random is None
    assert Does.ROTATE in motion.does
    assert [(note.what, note.at.line) for note in recipe.unread] == [
        ("rotation of 'GlobalRotScaleTrans' in train_pipeline", 3)
    ]


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        ("model = dict(type='X')\n", True),
        ("_base_ = ['a.py']\n", True),
        ("with read_base():\n    from .a import *\n", True),
        ("train_pipeline = [\n    dict(type='Pad')]\n", True),
        ("model = Net()\noptimizer = torch.optim.SGD(model.parameters())\n", False),
        ("import torchvision\ntrain = v2.Compose([v2.RandomHorizontalFlip()])\n", False),
    ],
)
def test_which_python_files_are_recognised(text: str, is_ours: bool) -> None:
    from avreview.recipe import mmengine
    from avreview.recipe.dialects import Candidate

    assert mmengine.recognises(Candidate("x.py", text.encode())) is is_ours


STRANGE = ["None", "[]", "{}", "'x'", "3", "-1.5", "float('nan')", "f()", "[[]]", "dict(type=None)", "True", "(1, 'a')",
           "range(3)", "{1, 2}", "dict(type='RandomFlip', prob=f())", "float('inf')"]  # fmt: skip


@pytest.mark.parametrize("value", STRANGE)
def test_strange_values_anywhere_are_no_crash(tmp_path: Path, value: str) -> None:
    import ast

    for text in (OLD, DET3D):
        tree = ast.parse(text)
        for number, node in enumerate(n for n in ast.walk(tree) if isinstance(n, ast.keyword | ast.Assign)):
            if number % 3 == len(value) % 3:  # a third of the places with each value
                kept, node.value = node.value, ast.parse(value, mode="eval").body
                recipe = opened(tmp_path, ast.unparse(tree))
                assert recipe.dialect == "mmengine"
                node.value = kept


@pytest.mark.parametrize(
    "inner",
    ["[a]", "(a,)", "dict(type='RandomChoice', transforms=[a])", "dict(type='D', dataset=a)", "dict(a=a, b=a, c=a)"],
)
def test_settings_nested_beyond_measure_are_bounded(tmp_path: Path, inner: str) -> None:
    text = f"a = dict(type='Pad')\nfor i in range(3000):\n    a = {inner}\n"
    text += "model = dict(x=a)\ntrain_pipeline = [a, a]\ndata = dict(train=a, val=dict(pipeline=a))\noptimizer = a\n"
    recipe = opened(tmp_path, text)
    assert sum(len(pipeline.steps) for pipeline in recipe.pipelines) < 1000


def test_what_a_file_holds_is_escaped_in_words(tmp_path: Path) -> None:
    recipe = opened(tmp_path, "train_pipeline = [dict(type='\\x1b[31mEvil\\n')]\n")
    assert all(note.what.isprintable() and note.why.isprintable() for note in recipe.unread)
    assert recipe.unread


@pytest.mark.parametrize(
    ("whole", "backbone", "frozen"),
    [
        ("type='BEVDet'", "type='ResNet'", True),
        ("type='BEVDet'", "type='mmdet.ResNet'", True),
        ("type='EncoderDecoder'", "type='mmdet.ResNet'", True),
        ("type='BEVDet'", "type='ResNet', norm_eval=False", False),
        ("type='EncoderDecoder'", "type='ResNet'", None),
        ("type='BEVDet'", "type='mmseg.ResNet'", None),
        ("type='BEVDet'", "type='VoVNetCP'", None),
    ],
)
def test_mmdetections_resnets_freeze_their_statistics_where_nothing_is_said(
    tmp_path: Path, whole: str, backbone: str, frozen: bool | None
) -> None:
    text = (
        f"model = dict({whole}, img_backbone=dict({backbone}, norm_cfg=dict(type='BN')))\noptimizer = dict(type='A')\n"
    )
    (norm,) = opened(tmp_path, text).norms
    assert norm.frozen_statistics is frozen
