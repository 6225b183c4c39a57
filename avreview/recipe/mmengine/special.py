"""Transforms whose options need more than a table: mirrors that depend on the coordinates, names with two meanings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from avreview.recipe.mmengine.amounts import number, numbers, option
from avreview.recipe.model import Amount, Does, Place, Step, Upon
from avreview.recipe.python.values import Row, Table, Unknown

_LABELS = frozenset({Upon.BOXES_3D, Upon.VELOCITIES})
_PETR = frozenset({"ResizeCropFlipImage", "ResizeCropFlipRotImage", "MSResizeCropFlipImage"})
_SWEEPS = re.compile(r"(?<![0-9])([0-9]{1,3})_?sweeps?(?![a-z])")


class Around(NamedTuple):
    """What surrounds the transforms of one pipeline.

    `coordinates` are those of the boxes (`LiDAR`, `Depth`, `Camera`), None where not told; `names` are those of all
    transforms of the pipeline; `stops` the epoch from which a hook leaves a transform out, by its name.
    """

    role: str
    coordinates: str | None
    names: frozenset[str]
    dataset: Table | None
    model: str | None
    stops: Mapping[str, tuple[float, Place]]
    has_images: bool = False


def adapted(step: Step, options: Table, around: Around) -> Step:
    """The step with what its name alone does not tell."""
    special = _SPECIAL.get(step.name)
    return step if special is None else special(step, options, around)


def _bev_flip(step: Step, options: Table, around: Around) -> Step:
    """mmdetection3d's mirror. `horizontal` changes the sign of y in LiDAR coordinates, of x in depth and camera ones.

    With `sync_2d`, the image is mirrored as often. `flip_box3d=False` mirrors it alone; the metadata tell the network.
    """
    amounts = dict(step.amounts)
    horizontal, vertical = amounts.pop("flip_horizontal", None), amounts.pop("flip_vertical", None)
    first, second = ("flip_y", "flip_x") if around.coordinates == "LiDAR" else ("flip_x", "flip_y")
    upon = step.upon
    synchronous = option(options, "sync_2d", True) is True and around.has_images
    if option(options, "flip_box3d", True) is False:
        upon = frozenset({Upon.IMAGE, Upon.BOXES_2D, Upon.CALIBRATION})
    elif around.coordinates is not None:
        amounts.update({key: flip for key, flip in ((first, horizontal), (second, vertical)) if flip is not None})
    if synchronous and horizontal is not None:
        amounts["flip_horizontal"] = horizontal
    if not synchronous:
        upon -= {Upon.IMAGE, Upon.BOXES_2D}
    elif around.coordinates == "Camera":
        upon |= {Upon.CALIBRATION, Upon.KEYPOINTS}
    if option(options, "update_img2lidar") is True:
        upon |= {Upon.CALIBRATION}
    return replace(step, amounts=amounts, upon=upon)


def _global_motion(step: Step, options: Table, around: Around) -> Step:
    return replace(step, upon=step.upon | {Upon.CALIBRATION}) if option(options, "update_img2lidar") is True else step


def _global_motion_of_images(step: Step, options: Table, around: Around) -> Step:
    """The name means degrees, mirrors and no shift in BEVFormer, radians and no mirrors in PETR and StreamPETR."""
    amounts = dict(step.amounts)
    mirrors = {"flip_dx_ratio": "flip_x", "flip_dy_ratio": "flip_y"}
    if any(key in options for key in (*mirrors, "only_gt")) or (around.model or "").startswith("BEVFormer"):
        return _as_bevformer(step, options, mirrors)
    if not around.names & _PETR and not (around.model or "").lower().startswith(("petr", "streampetr")):
        amounts.pop("rotation", None)  # nothing tells whose it is, and so its unit
    return replace(step, amounts=amounts)


def _as_bevformer(step: Step, options: Table, mirrors: Mapping[str, str]) -> Step:
    amounts = {name: amount for name, amount in step.amounts.items() if name != "translation"}
    if "rotation" in amounts:
        amounts["rotation"] = amounts["rotation"]._replace(unit="degree")
    for key, name in mirrors.items():
        share = number(option(options, key, 0.5))
        if share is not None:
            amounts[name] = Amount(share, share, "share")
    only_labels = option(options, "only_gt", False) is True
    does = (step.does | {Does.FLIP}) - {Does.TRANSLATE}
    return replace(step, does=does, amounts=amounts, only_labels=only_labels, upon=step.upon | {Upon.CALIBRATION})


def _deferred(step: Step, options: Table, around: Around) -> Step:
    return replace(step, only_labels=bool(step.does & {Does.FLIP, Does.ROTATE, Does.SCALE, Does.TRANSLATE}))


def _flat_flip(step: Step, options: Table, around: Around) -> Step:
    """mmcv's and mmdetection's mirror of images: one probability or several, one direction or several."""
    share = option(options, "prob", option(options, "flip_ratio"))
    directions = option(options, "direction", "horizontal")
    named = [directions] if isinstance(directions, str) else directions
    shares = numbers(share) if share is not None else [0.0]
    if isinstance(share, Unknown) or shares is None or not isinstance(named, list | tuple) or not named:
        return step
    if len(shares) == 1:
        shares = [shares[0] / len(named)] * len(named)
    total = dict.fromkeys(("horizontal", "vertical"), 0.0)
    for direction, part in zip(named, shares, strict=False):
        for axis in ("horizontal", "vertical") if direction == "diagonal" else (direction,):
            if axis in total:
                total[axis] += part
    flips = {f"flip_{axis}": Amount(part, part, "share") for axis, part in total.items()}
    upon = step.upon | ({Upon.BOXES_3D, Upon.CALIBRATION} if around.coordinates == "Camera" else frozenset())
    return replace(step, amounts={**step.amounts, **flips}, upon=upon)


def _resize(step: Step, options: Table, around: Around) -> Step:
    """mmdetection's Resize: fixed with one size, at random among several or within a range."""
    scale = option(options, "img_scale", option(options, "scale", option(options, "scales")))
    several = isinstance(scale, list) and len(scale) > 1 and all(isinstance(part, list | tuple) for part in scale)
    ratios = numbers(option(options, "ratio_range")) or [1.0]
    return replace(step, is_random=several or min(ratios) < max(ratios))


def _paste(step: Step, options: Table, around: Around) -> Step:
    """Objects of a database; with `sample_2d`, their image patches too. A rate of 0 pastes nothing."""
    amounts, upon = dict(step.amounts), step.upon
    if option(options, "sample_2d", False) is True:
        upon |= {Upon.IMAGE, Upon.BOXES_2D}
    stop = number(option(options, "stop_epoch"))
    if stop is not None:
        amounts["stop_epoch"] = Amount(stop, stop, "epoch")
    if number(option(options, "db_sampler.rate")) == 0:
        amounts["probability"] = Amount(0.0, 0.0, "share")
    amounts.update(pasted_sweeps(option(options, "db_sampler.info_path")))
    return replace(step, amounts=amounts, upon=upon)


def pasted_sweeps(file: Any) -> dict[str, Amount]:
    """How many sweeps a database of objects was cut from, where its name tells: `dbinfos_10sweeps.pkl`."""
    match = _SWEEPS.search(file) if isinstance(file, str) else None
    return {"sweeps": Amount(float(match[1]), float(match[1]), "count")} if match else {}


def _sweeps(step: Step, options: Table, around: Around) -> Step:
    """Earlier sweeps are added to the key frame: `sweeps` counts both."""
    stated = option(options, "sweeps_num", 10)
    count = number(stated)
    if count is None:
        return step
    return replace(step, amounts={**step.amounts, "sweeps": Amount(count + 1, count + 1, "count")})


def _shuffle(step: Step, options: Table, around: Around) -> Step:
    return replace(step, is_random=None)


def _image_by_dataset(step: Step, options: Table, around: Around) -> Step:
    """Sparse4D's ResizeCropFlipImage takes what its dataset drew from `data_aug_conf`; nothing is drawn in a test."""
    if "data_aug_conf" in options or around.dataset is None or "data_aug_conf" not in around.dataset:
        return step
    amounts = {}
    for name, way, unit in (("scale", "resize_lim", "ratio"), ("rotation", "rot_lim", "degree")):
        found = numbers(option(around.dataset, f"data_aug_conf.{way}"))
        if found:
            amounts[name] = Amount(min(found), max(found), unit)
    if isinstance(mirror := option(around.dataset, "data_aug_conf.rand_flip"), bool):
        amounts["flip_horizontal"] = Amount(0.5 * mirror, 0.5 * mirror, "share")
    return _unless_tested(replace(step, amounts=amounts), options, around)


def _unless_tested(step: Step, options: Table, around: Around) -> Step:
    if option(around.dataset, "test_mode") is not True and around.role == "train":
        return step
    return replace(step, amounts={}, does=step.does - {Does.FLIP, Does.ROTATE}, is_random=False)


def _bevdet_images(step: Step, options: Table, around: Around) -> Step:
    """BEVDet's `resize` is added to the ratio of the two widths."""
    if option(options, "is_train", False) is not True:
        return step
    sizes = [numbers(option(options, f"data_config.{name}")) for name in ("input_size", "src_size", "resize")]
    found = [size for size in sizes if size is not None and len(size) == 2]
    if len(found) < 3 or found[1][1] <= 0:
        return step
    ratio = found[0][1] / found[1][1]
    scale = Amount(ratio + found[2][0], ratio + found[2][1], "ratio")
    return replace(step, amounts={**step.amounts, "scale": scale})


def _several(value: Any) -> bool:
    return isinstance(value, Row | tuple) and len(value) > 1


def _crop_by_list(step: Step, options: Table, around: Around) -> Step:
    """BEVFormerV2 draws a size from a list."""
    if _several(option(options, "data_aug_conf.reisze")) and option(options, "training", True) is not False:
        return replace(step, is_random=True)
    return step


_SPECIAL: Mapping[str, Callable[[Step, Table, Around], Step]] = {
    "BBoxRotation": _unless_tested,
    "BEVAug": _deferred,
    "CropResizeFlipImage": _crop_by_list,
    "CustomLoadPointsFromMultiSweeps": _sweeps,
    "CustomRandomFlip3D": _bev_flip,
    "GlobalRotScaleTrans": _global_motion,
    "GlobalRotScaleTransImage": _global_motion_of_images,
    "LoadAnnotationsBEVDepth": _deferred,
    "LoadMultiViewImageFromFiles_BEVDet": _bevdet_images,
    "LoadPointsFromMultiSweeps": _sweeps,
    "ObjectSample": _paste,
    "PointShuffle": _shuffle,
    "PrepareImageInputs": _bevdet_images,
    "RandomFlip": _flat_flip,
    "RandomFlip3D": _bev_flip,
    "RandomResize": _resize,
    "RandomResize3D": _resize,
    "Resize": _resize,
    "ResizeCropFlipImage": _image_by_dataset,
    "UnifiedObjectSample": _paste,
}
