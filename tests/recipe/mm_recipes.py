"""What tests of configurations of the OpenMMLab family share: one in full, and short ways to read them."""

from __future__ import annotations

from pathlib import Path

from avreview.recipe.dialects import open_recipe
from avreview.recipe.model import Pipeline, Recipe, Step

OLD = """\
point_cloud_range = [-50, -40, -5, 50, 40, 3]
class_names = ['car', 'pedestrian']
train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='LoadPointsFromMultiSweeps', sweeps_num=9, use_dim=[0, 1, 2, 3, 4]),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectSample', db_sampler=dict(info_path='x/dbinfos_5sweeps.pkl', rate=1.0)),
    dict(type='ObjectNoise', translation_std=[0.5, 0.5, 0], rot_range=[-0.8, 0.8]),
    dict(type='GlobalRotScaleTrans', rot_range=[-0.4, 0.4], scale_ratio_range=[0.95, 1.05]),
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='PointShuffle'),
    dict(type='DefaultFormatBundle3D', class_names=class_names),
    dict(type='Collect3D', keys=['points', 'gt_bboxes_3d'], meta_keys=('pcd_trans',))]
test_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='LoadPointsFromMultiSweeps', sweeps_num=4, use_dim=4),
    dict(type='MultiScaleFlipAug3D', img_scale=(1333, 800), flip=False, transforms=[
        dict(type='GlobalRotScaleTrans', rot_range=[0, 0], scale_ratio_range=[1., 1.]),
        dict(type='RandomFlip3D'),
        dict(type='Collect3D', keys=['points'])])]
data_root = 'data/nuscenes/'
data = dict(
    samples_per_gpu=4,
    train=dict(
        type='CBGSDataset',
        pipeline=[dict(type='GlobalRotScaleTrans', rot_range=[-30, 30])],
        dataset=dict(
            type='NuScenesDataset', ann_file=data_root + 'train.pkl', box_type_3d='LiDAR',
            pipeline=train_pipeline, classes=class_names)),
    val=dict(type='NuScenesDataset', ann_file=data_root + 'val.pkl', pipeline=test_pipeline),
    test=dict(type='NuScenesDataset', ann_file=data_root + 'val.pkl', pipeline=test_pipeline))
model = dict(
    type='CenterPoint',
    pts_voxel_encoder=dict(type='HardSimpleVFE', num_features=5),
    pts_backbone=dict(type='SECOND', norm_cfg=dict(type='BN', eps=1e-3)),
    pts_bbox_head=dict(
        type='CenterHead',
        common_heads=dict(reg=(2, 2), vel=(2, 2)),
        norm_cfg=dict(type='SyncBN', requires_grad=False),
        dropout=0.1))
optimizer = dict(
    type='AdamW', lr=1e-4, weight_decay=0.01, betas=(0.95, 0.99),
    paramwise_cfg=dict(
        norm_decay_mult=0., bias_lr_mult=2.,
        custom_keys={'pts_backbone': dict(lr_mult=0.1, decay_mult=0.)}))
optimizer_config = dict(type='GradientCumulativeFp16OptimizerHook', cumulative_iters=2)
lr_config = dict(policy='cyclic', target_ratio=(10, 1e-4))
total_epochs = 20
gpu_ids = range(0, 8)
load_from = 'ckpt/base.pth'
custom_hooks = [dict(type='MEGVIIEMAHook', decay=0.999), dict(type='FadeOjectSampleHook', num_last_epochs=5)]
"""


def opened(folder: Path, text: str, name: str = "config.py") -> Recipe:
    path = folder / name
    path.write_text(text)
    return open_recipe(str(path))


def only(recipe: Recipe, role: str = "train") -> Pipeline:
    (pipeline,) = recipe.pipeline(role)
    return pipeline


def step(pipeline: Pipeline, name: str) -> Step:
    (found,) = [one for one in pipeline.steps if one.name == name]
    return found


def train(folder: Path, *transforms: str, before: str = "", coordinates: str = "LiDAR") -> Pipeline:
    listed = ",\n    ".join(transforms)
    text = f"{before}\ndata = dict(train=dict(box_type_3d='{coordinates}', pipeline=[\n    {listed}]))\n"
    return only(opened(folder, text))
