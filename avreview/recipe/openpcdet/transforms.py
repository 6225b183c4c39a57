"""What each augmentation and processor of OpenPCDet does: knowledge as data.

Taken from pcdet/datasets/augmentor (data_augmentor.py, augmentor_utils.py) and pcdet/datasets/processor
(data_processor.py) of open-mmlab/OpenPCDet; those under FORKS from PJLab-ADG/3DTrans, darrenjkt/MS3D, hailanyi/VirConv,
Nightmare-n/GD-MAE and Haiyang-W/UniTR, in which the same names do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from avreview.recipe.model import Does, Upon

SCENE = frozenset({Upon.POINTS, Upon.BOXES_3D, Upon.VELOCITIES, Upon.CALIBRATION})
OBJECTS = frozenset({Upon.POINTS, Upon.BOXES_3D})
IMAGES = frozenset({Upon.IMAGE, Upon.CALIBRATION})


class Limits(NamedTuple):
    """A setting that says how much: the amount's name, the option, its unit, and how it is written.

    `form` is `range` (two bounds; one number is both ways as much), or `deviation` (standard deviations of a normal
    distribution, or one, of which the largest is taken both ways).
    """

    amount: str
    option: str
    unit: str
    form: str = "range"


class Flips(NamedTuple):
    """A mirror by chance: the option that lists the axes (a flag where `axes` has one entry under ""), and what
    each axis mirrors. Every mirror comes at one half, unless a fork states a PROBABILITY."""

    option: str
    axes: Mapping[str, str]


class Transform(NamedTuple):
    does: frozenset[Does]
    upon: frozenset[Upon]
    is_random: bool = True
    limits: tuple[Limits, ...] = ()
    flips: Flips | None = None


AUGMENTATIONS: Mapping[str, Transform] = {
    "gt_sampling": Transform(frozenset({Does.PASTE}), OBJECTS),
    # Along x the sign of y changes, and along y that of x. A matrix of it is kept where both axes are listed:
    # dataset.py, set_lidar_aug_matrix, looks for the key of y and then reads that of x.
    "random_world_flip": Transform(
        frozenset({Does.FLIP}), SCENE, flips=Flips("ALONG_AXIS_LIST", {"x": "flip_y", "y": "flip_x"})
    ),
    "random_world_rotation": Transform(
        frozenset({Does.ROTATE}), SCENE, limits=(Limits("rotation", "WORLD_ROT_ANGLE", "rad"),)
    ),
    "random_world_scaling": Transform(
        frozenset({Does.SCALE}), SCENE, limits=(Limits("scale", "WORLD_SCALE_RANGE", "ratio"),)
    ),
    "random_world_translation": Transform(
        frozenset({Does.TRANSLATE}), SCENE, limits=(Limits("translation", "NOISE_TRANSLATE_STD", "m", "deviation"),)
    ),
    # The 3-D boxes go to where the mirrored image shows them; 2-D boxes and points stay as they were (issue 780).
    "random_image_flip": Transform(
        frozenset({Does.FLIP}),
        frozenset({Upon.IMAGE, Upon.BOXES_3D}),
        flips=Flips("ALONG_AXIS_LIST", {"horizontal": "flip_horizontal"}),
    ),
    "random_local_translation": Transform(
        frozenset({Does.MOVE_OBJECTS}), OBJECTS, limits=(Limits("translation", "LOCAL_TRANSLATION_RANGE", "m"),)
    ),
    # It is written to turn velocities as well, by joining arrays of different rank, which fails.
    "random_local_rotation": Transform(
        frozenset({Does.MOVE_OBJECTS}), OBJECTS, limits=(Limits("rotation", "LOCAL_ROT_ANGLE", "rad"),)
    ),
    "random_local_scaling": Transform(
        frozenset({Does.MOVE_OBJECTS}), OBJECTS, limits=(Limits("scale", "LOCAL_SCALE_RANGE", "ratio"),)
    ),
    "random_world_frustum_dropout": Transform(frozenset({Does.DROP}), OBJECTS),
    "random_local_frustum_dropout": Transform(frozenset({Does.DROP}), frozenset({Upon.POINTS})),
    "random_local_pyramid_aug": Transform(frozenset({Does.DROP, Does.OTHER}), frozenset({Upon.POINTS})),
    # The matrix of it is made by the processor image_calibrate.
    "imgaug": Transform(
        frozenset({Does.ROTATE, Does.FLIP}),
        IMAGES,
        limits=(Limits("rotation", "ROT_LIM", "degree"),),
        flips=Flips("RAND_FLIP", {"": "flip_horizontal"}),
    ),
}

FORKS: Mapping[str, Transform] = {
    "da_sampling": Transform(frozenset({Does.PASTE}), OBJECTS),
    "normalize_object_size": Transform(frozenset({Does.MOVE_OBJECTS}), OBJECTS, False),
    "random_object_rotation": Transform(
        frozenset({Does.MOVE_OBJECTS}), OBJECTS, limits=(Limits("rotation", "ROT_UNIFORM_NOISE", "rad"),)
    ),
    "random_object_scaling": Transform(
        frozenset({Does.MOVE_OBJECTS}), OBJECTS, limits=(Limits("scale", "SCALE_UNIFORM_NOISE", "ratio"),)
    ),
    "random_local_noise": Transform(
        frozenset({Does.MOVE_OBJECTS}), OBJECTS, limits=(Limits("rotation", "LOCAL_ROT_RANGE", "rad"),)
    ),
    # In spite of its name it moves the whole scene.
    "random_local_trans": Transform(
        frozenset({Does.TRANSLATE}), SCENE, limits=(Limits("translation", "TRANSLATION_STD", "m", "deviation"),)
    ),
    "random_world_drop": Transform(frozenset({Does.DROP}), frozenset({Upon.POINTS})),
    "random_world_sampling": Transform(frozenset({Does.DROP}), frozenset({Upon.POINTS})),
    "random_downsample": Transform(frozenset({Does.DROP}), frozenset({Upon.POINTS})),
    "random_beam_sampling": Transform(frozenset({Does.DROP}), frozenset({Upon.POINTS})),
    "beam_resampling": Transform(frozenset({Does.DROP}), frozenset({Upon.POINTS})),
}

PROCESSORS: Mapping[str, Transform] = {
    "mask_points_and_boxes_outside_range": Transform(frozenset({Does.RANGE_FILTER}), OBJECTS, False),
    "shuffle_points": Transform(frozenset({Does.SHUFFLE}), frozenset({Upon.POINTS})),
    # They bring every scene to one number of points, in tests as well: no augmentation.
    "sample_points": Transform(frozenset({Does.FORMAT}), frozenset({Upon.POINTS})),
    "sample_points_by_voxels": Transform(frozenset({Does.FORMAT}), frozenset({Upon.POINTS})),
    "load_bev_segmentation": Transform(frozenset({Does.LOAD}), frozenset({Upon.MAPS}), False),
    "transform_points_to_voxels": Transform(frozenset({Does.FORMAT}), frozenset({Upon.POINTS}), False),
    "transform_points_to_voxels_placeholder": Transform(frozenset({Does.OTHER}), frozenset(), False),
    "calculate_grid_size": Transform(frozenset({Does.OTHER}), frozenset(), False),
    "downsample_depth_map": Transform(frozenset({Does.FORMAT}), frozenset({Upon.MAPS}), False),
    "image_normalize": Transform(frozenset({Does.NORMALIZE}), frozenset({Upon.IMAGE}), False),
    "image_calibrate": Transform(frozenset({Does.OTHER}), frozenset({Upon.CALIBRATION}), False),
}

# Trainers: the name that a recipe gives, and what the trainer does with biases, norms and embeddings.
# tools/train_utils/optimization: adam and sgd are given all of model.parameters() in one group; the fastai wrapper
# of the two others is made with true_wd and bn_wd, and multiplies every weight by 1 - rate × decay itself.
ALL_DECAYED = {"bias": True, "norm": True, "embedding": True}
OPTIMIZERS: Mapping[str, tuple[bool, str]] = {  # whether it decays outside the optimizer, and the schedule it has
    "adam": (False, "step"),
    "sgd": (False, "step"),
    "adam_onecycle": (True, "onecycle"),
    "adam_cosineanneal": (True, "cosine"),
}
