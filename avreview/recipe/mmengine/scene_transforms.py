"""Transforms of points, 3-D boxes and many cameras, by class name, with the units that their code takes.

From mmdetection3d (1.x of mmcv and of mmengine), BEVDet, BEVFormer, PETR, StreamPETR, Sparse4D, MapTR and UniAD.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from avreview.recipe.mmengine.known import CHANCE, COIN, INTERVAL, RANGE, SPREAD, Known, Told, known

SCENE = "points boxes-3d velocities"
CAMERAS = "calibration boxes-3d velocities"

_QUARTER = (-math.pi / 4, math.pi / 4)
_SCALES = Told("scale", "scale_ratio_range", "ratio", INTERVAL, (0.95, 1.05))
_SHIFT = Told("translation", "translation_std", "m", SPREAD, (0, 0, 0))
_BEV_FLIPS = (
    Told("flip_horizontal", "flip_ratio_bev_horizontal", "share", CHANCE, 0.0),
    Told("flip_vertical", "flip_ratio_bev_vertical", "share", CHANCE, 0.0),
)
_DEFERRED = (  # BEVDet: boxes are moved, and the network is given the matrix
    Told("rotation", "bda_aug_conf.rot_lim", "degree", RANGE),
    Told("scale", "bda_aug_conf.scale_lim", "ratio", INTERVAL),
    Told("translation", "bda_aug_conf.tran_lim", "m", SPREAD, (0, 0, 0)),
    Told("flip_x", "bda_aug_conf.flip_dx_ratio", "share", CHANCE),
    Told("flip_y", "bda_aug_conf.flip_dy_ratio", "share", CHANCE),
)
_BEVDET_IMAGE = (
    Told("rotation", "data_config.rot", "degree", RANGE),
    Told("flip_horizontal", "data_config.flip", "share", COIN),
)
_LSS_IMAGE = (
    Told("scale", "data_aug_conf.resize_lim", "ratio", INTERVAL),
    Told("rotation", "data_aug_conf.rot_lim", "degree", RANGE),
    Told("flip_horizontal", "data_aug_conf.rand_flip", "share", COIN),
)
_VIEWS = "image calibration"
_BEVDET_LOAD = known(
    "load normalize resize crop flip rotate", _VIEWS, *_BEVDET_IMAGE,
    random=None, training=("is_train", False), only_training="flip rotate",
)  # fmt: skip
_LSS_CROP = known(
    "resize crop flip rotate", _VIEWS, *_LSS_IMAGE,
    random=None, training=("training", True), only_training="flip rotate",
)  # fmt: skip

SCENE_TRANSFORMS: Mapping[str, Known] = {
    # geometry of the whole scene
    "GlobalRotScaleTrans": known(
        "rotate scale translate", SCENE, Told("rotation", "rot_range", "rad", RANGE, _QUARTER), _SCALES, _SHIFT,
        random=None,
    ),
    "BEVFusionGlobalRotScaleTrans": known(
        "rotate scale translate", SCENE + " calibration",
        Told("rotation", "rot_range", "rad", RANGE, _QUARTER), _SCALES, _SHIFT, random=None,
    ),
    "GlobalRotScaleTransImage": known(
        "rotate scale translate", CAMERAS, Told("rotation", "rot_range", "rad", RANGE, (-0.3925, 0.3925)), _SCALES,
        _SHIFT, random=None,
    ),
    "RandomFlip3D": known("flip", SCENE + " image boxes-2d", *_BEV_FLIPS, random=None),
    "BEVFusionRandomFlip3D": known(
        "flip", SCENE + " calibration maps",
        Told("flip_x", "", "share", CHANCE, 0.5), Told("flip_y", "", "share", CHANCE, 0.5), random=True,
    ),
    "GlobalRotScaleTransAll": known(
        "rotate scale translate", SCENE + " calibration",
        Told("rotation", "rot_range", "rad", RANGE, _QUARTER), _SCALES, _SHIFT, random=None,
    ),
    "CustomRandomFlip3D": known("flip", SCENE + " calibration image boxes-2d", *_BEV_FLIPS, random=None),
    "BEVAug": known(
        "flip rotate scale translate", CAMERAS, *_DEFERRED, random=None,
        training=("is_train", True), only_training="flip rotate scale translate",
    ),
    "LoadAnnotationsBEVDepth": known(
        "load flip rotate scale translate", CAMERAS, *_DEFERRED, random=None,
        training=("is_train", True), only_training="flip rotate scale translate",
    ),
    "BBoxRotation": known(
        "rotate", CAMERAS + " poses", Told("rotation", "@data_aug_conf.rot3d_range", "rad", RANGE), random=None
    ),
    "GlobalAlignment": known("rotate translate", "points", random=False),
    "RandomShiftOrigin": known("translate", "boxes-3d calibration", Told("translation", "std", "m", SPREAD),
                               random=True),
    # single objects
    "ObjectSample": known("paste", SCENE, random=True),
    "UnifiedObjectSample": known("paste", SCENE + " image", random=True),
    "ObjectNoise": known(
        "move-objects", "points boxes-3d",
        Told("rotation", "rot_range", "rad", RANGE, (-0.15707963267, 0.15707963267)),
        Told("translation", "translation_std", "m", SPREAD, (0.25, 0.25, 0.25)), random=True,
    ),
    # ranges and labels
    "PointsRangeFilter": known("range-filter", "points", Told("range", "point_cloud_range", "m", "bounds")),
    "PointsRangeFilter3D": known("range-filter", "points", Told("range", "point_cloud_range", "m", "bounds")),
    "CustomPointsRangeFilter": known("range-filter", "points", Told("range", "point_cloud_range", "m", "bounds")),
    "ObjectRangeFilter": known("range-filter", "boxes-3d", Told("range", "point_cloud_range", "m", "bounds")),
    "ObjectRangeFilter3D": known("range-filter", "boxes-3d", Told("range", "point_cloud_range", "m", "bounds")),
    "ObjectRangeFilterTrack": known(
        "range-filter", "boxes-3d tracks", Told("range", "point_cloud_range", "m", "bounds")
    ),
    "CircleObjectRangeFilter": known("range-filter", "boxes-3d", Told("range", "class_dist_thred", "m", "bounds")),
    "ObjectNameFilter": known("label-filter", "boxes-3d"),
    "ObjectNameFilterTrack": known("label-filter", "boxes-3d tracks"),
    "ObjectTrackIDFilter": known("label-filter", "boxes-3d tracks"),
    "InstanceNameFilter": known("label-filter", "boxes-3d"),
    "ObjectValidFilter": known("label-filter", "boxes-3d"),
    "CustomObjectRangeFilter": known("range-filter", "boxes-3d", Told("range", "point_cloud_range", "m", "bounds")),
    "CustomObjectNameFilter": known("label-filter", "boxes-3d"),
    "TrackInstanceRangeFilter": known("range-filter", "boxes-3d tracks"),
    "TrackInstanceNameFilter": known("label-filter", "boxes-3d tracks"),
    "BackgroundPointsFilter": known("drop", "points"),
    # points
    "PointSample": known("drop", "points masks", random=None),
    "TR3DPointSample": known("drop", "points masks", random=None),
    "IndoorPointSample": known("drop", "points masks", random=None),
    "IndoorPatchPointSample": known("drop", "points masks", random=None),
    "VoxelBasedPointSampler": known("drop", "points masks", random=None),
    "RandomDropPointsColor": known("photometric", "points", Told("probability", "drop_ratio", "share", CHANCE, 0.2),
                                   random=None),
    "RandomJitterPoints": known("photometric", "points", random=True),
    "NormalizePointsColor": known("normalize", "points"),
    "PointShuffle": known("shuffle", "points", random=None),
    "LaserMix": known("mosaic", "points masks", Told("probability", "prob", "share", CHANCE, 1.0), random=True),
    "PolarMix": known("mosaic", "points masks", Told("probability", "prob", "share", CHANCE, 1.0), random=True),
    "SemkittiRangeView": known("format", "points masks"),
    "PointSegClassMapping": known("other", "masks"),
    "SegLabelMapping": known("other", "masks"),
    "SegRescale": known("resize", "masks"),
    "PointToMultiViewDepth": known("other"),
    "CustomPointToMultiViewDepth": known("other"),
    "MultiScaleDepthMapGenerator": known("other"),
    "GenerateOccFlowLabels": known("other", "maps"),
    # images of many cameras
    "LoadMultiViewImageFromFiles_BEVDet": _BEVDET_LOAD,
    "PrepareImageInputs": _BEVDET_LOAD,
    "ResizeCropFlipImage": _LSS_CROP,
    "ResizeCropFlipRotImage": _LSS_CROP._replace(upon=known("other", _VIEWS + " boxes-2d keypoints").upon),
    "MSResizeCropFlipImage": _LSS_CROP,
    "CropResizeFlipImage": known(
        "resize crop flip", _VIEWS, Told("flip_horizontal", "data_aug_conf.rand_flip", "share", COIN),
        random=None, training=("training", True), only_training="flip",
    ),
    "ImageAug3D": known(
        "resize crop flip rotate", _VIEWS,
        Told("scale", "resize_lim", "ratio", INTERVAL), Told("rotation", "rot_lim", "degree", RANGE),
        Told("flip_horizontal", "rand_flip", "share", COIN),
        random=None, training=("is_train", False), only_training="flip rotate",
    ),
    "RandomScaleImageMultiViewImage": known("resize", _VIEWS, Told("scale", "scales", "ratio", INTERVAL), random=None),
    "RandomMultiScaleImageMultiViewImage": known("resize", _VIEWS, Told("scale", "scales", "ratio", INTERVAL),
                                                 random=None),
    "CustomCropMultiViewImage": known("crop", _VIEWS),
    "AffineResize": known("resize", "image calibration boxes-2d keypoints"),
    "RandomShiftScale": known("scale translate", "image calibration boxes-2d keypoints",
                              Told("probability", "aug_prob", "share", CHANCE), random=True),
    "NormalizeMultiviewImage": known("normalize", "image"),
    "PadMultiViewImage": known("pad", "image"),
    "PadMultiViewImageDepth": known("pad", "image maps"),
    "PhotoMetricDistortionMultiViewImage": known("photometric", "image", random=True),
    "PhotoMetricDistortion3D": known("photometric", "image", random=True),
    "GridMask": known("drop", "image", Told("probability", "prob", "share", CHANCE, 1.0), random=True,
                      training=("training", True), only_training="drop"),
    "RandomResize3D": known("resize", "image calibration boxes-2d", Told("scale", "ratio_range", "ratio", INTERVAL),
                            random=None),
    "Resize3D": known("resize", "image calibration boxes-2d"),
    "RandomCrop3D": known("crop", "image calibration boxes-2d", random=True),
}  # fmt: skip
