"""What each transform of bevfusion's pipelines does: knowledge as data.

Taken from mmdet3d/datasets/pipelines (transforms_3d.py, loading.py, formating.py) of mit-han-lab/bevfusion, where
several transforms bear a name of mmdetection3d and take other options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from avreview.recipe.model import Does, Upon

SCENE = frozenset({Upon.POINTS, Upon.BOXES_3D, Upon.VELOCITIES, Upon.CALIBRATION, Upon.MAPS})
OBJECTS = frozenset({Upon.POINTS, Upon.BOXES_3D})
POINTS = frozenset({Upon.POINTS})
IMAGE = frozenset({Upon.IMAGE})


class Transform(NamedTuple):
    """`limits` gives for an amount the option and the unit; where the option is a number, it is as much both ways.

    `flips` gives for an amount the option that switches a mirror at one half on; "" stands for always.
    `still` is what remains where the option `is_train` is false.
    """

    does: frozenset[Does]
    upon: frozenset[Upon] = frozenset()
    is_random: bool = False
    limits: Mapping[str, tuple[str, str]] = {}
    flips: Mapping[str, str] = {}
    still: frozenset[Does] | None = None


TRANSFORMS: Mapping[str, Transform] = {
    "LoadMultiViewImageFromFiles": Transform(frozenset({Does.LOAD}), IMAGE),
    "LoadPointsFromFile": Transform(frozenset({Does.LOAD}), POINTS),
    "LoadPointsFromMultiSweeps": Transform(frozenset({Does.LOAD, Does.SWEEPS}), frozenset({Upon.POINTS, Upon.TIMES})),
    "LoadRadarPointsMultiSweeps": Transform(frozenset({Does.LOAD, Does.SWEEPS}), POINTS),
    "LoadAnnotations3D": Transform(frozenset({Does.LOAD})),
    # It makes the map through lidar_aug_matrix, so that a global transform before it is one of the map as well.
    "LoadBEVSegmentation": Transform(frozenset({Does.LOAD}), frozenset({Upon.MAPS})),
    "ObjectPaste": Transform(frozenset({Does.PASTE}), OBJECTS, True),
    "ObjectNoise": Transform(frozenset({Does.MOVE_OBJECTS}), OBJECTS, True, {"rotation": ("rot_range", "rad")}),
    "ImageAug3D": Transform(
        frozenset({Does.RESIZE, Does.CROP, Does.ROTATE, Does.FLIP}),
        frozenset({Upon.IMAGE, Upon.CALIBRATION}),
        True,
        {"scale": ("resize_lim", "ratio"), "rotation": ("rot_lim", "degree")},
        {"flip_horizontal": "rand_flip"},
        still=frozenset({Does.RESIZE, Does.CROP}),
    ),
    "GlobalRotScaleTrans": Transform(
        frozenset({Does.ROTATE, Does.SCALE, Does.TRANSLATE}),
        SCENE,
        True,
        {"scale": ("resize_lim", "ratio"), "rotation": ("rot_lim", "rad"), "translation": ("trans_lim", "m")},
        still=frozenset({Does.OTHER}),
    ),
    "RandomFlip3D": Transform(frozenset({Does.FLIP}), SCENE, True, {}, {"flip_x": "", "flip_y": ""}),
    "PointsRangeFilter": Transform(frozenset({Does.RANGE_FILTER}), POINTS),
    "ObjectRangeFilter": Transform(frozenset({Does.RANGE_FILTER}), frozenset({Upon.BOXES_3D})),
    "ObjectNameFilter": Transform(frozenset({Does.LABEL_FILTER}), frozenset({Upon.BOXES_3D})),
    "BackgroundPointsFilter": Transform(frozenset({Does.DROP}), POINTS),
    "FrameDropout": Transform(frozenset({Does.DROP}), POINTS, True, {"probability": ("prob", "share")}),
    "PointSample": Transform(frozenset({Does.FORMAT}), POINTS, True),  # to one number of points, in tests as well
    "VoxelBasedPointSampler": Transform(frozenset({Does.FORMAT}), POINTS, True),
    "NormalizePointFeatures": Transform(frozenset({Does.NORMALIZE}), POINTS),
    "PointShuffle": Transform(frozenset({Does.SHUFFLE}), POINTS, True),
    "GridMask": Transform(frozenset({Does.DROP}), IMAGE, True, {"probability": ("prob", "share")}),
    "ImageDistort": Transform(frozenset({Does.PHOTOMETRIC}), IMAGE, True),
    "ImageNormalize": Transform(frozenset({Does.NORMALIZE}), IMAGE),
    "ImagePad": Transform(frozenset({Does.PAD}), IMAGE),
    "GTDepth": Transform(frozenset({Does.OTHER}), frozenset({Upon.MAPS})),
    "DefaultFormatBundle": Transform(frozenset({Does.FORMAT})),
    "DefaultFormatBundle3D": Transform(frozenset({Does.FORMAT})),
    "Collect3D": Transform(frozenset({Does.COLLECT})),
}
NUMBERS_ARE_DEVIATIONS = frozenset({"trans_lim"})  # of a normal distribution: as much is taken both ways
SHARES = frozenset({"probability"})  # one number, which is itself both bounds

# Modules that turn images into a BEV map with points as a further input, and the sensor unless `use_points` says it.
POINT_GUIDED = frozenset({"DepthLSSTransform", "AwareDBEVDepth", "DBEVDepth"})
SENSORS = ("camera", "lidar", "radar")
LIDAR_SWEEPS = "LoadPointsFromMultiSweeps"  # whose `sweeps_num` counts those beside the key frame
RADAR_SWEEPS = "LoadRadarPointsMultiSweeps"  # whose `sweeps_num` counts the key frame too
LAG_COLUMN = 4  # LoadPointsFromMultiSweeps writes the lag over the fifth column that is used
