"""What an OpenPCDet recipe says beside its pipelines: inputs, labels, sweeps, optimizer, weights, dropout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from avreview.recipe.model import InputNormalization, RecipeDropout, RecipeOptimizer, Setting, Split, Upon
from avreview.recipe.openpcdet.transforms import ALL_DECAYED, OPTIMIZERS
from avreview.recipe.placed import Notes, Placed

_SWEEPS = re.compile(r"_(\d{1,3})sweeps")
_DROPOUT = re.compile(r"(?:.*_)?(?:dropout|dp_ratio|drop_rate|drop_path_rate|drop_path)", re.IGNORECASE)
_PRETRAINED = re.compile(r"(?:.*_)?pretrain(?:ed)?(?:_path|_model)?", re.IGNORECASE)
_FRAME = 0.1  # s between two frames of Waymo, as its data set counts


def sensors(root: Placed, data: Placed, notes: Notes) -> dict[str, Setting]:
    """What the model is given: images where the data or the model says so, points unless only images are."""
    given = data.get("GET_ITEM_LIST")
    items = notes.texts(given) or []
    camera = data.get("CAMERA_CONFIG")
    images = root.get("MODEL", "IMAGE_BACKBONE")
    encoder = root.get("MODEL", "VFE", "NAME")
    found: dict[str, Setting] = {}
    if camera is not None and notes.flag(camera.get("USE_CAMERA")) is not False:
        found["camera"] = Setting(True, camera.at)
    elif given is not None and "images" in items:
        found["camera"] = Setting(True, given.at)
    elif images is not None:
        found["camera"] = Setting(True, images.at)
    points = data.get("POINT_FEATURE_ENCODING")
    only_images = (given is not None and "points" not in items) or (
        encoder is not None and encoder.value == "ImageVFE" and root.get("MODEL", "BACKBONE_3D") is None
    )
    if points is not None and not only_images:
        found["lidar"] = Setting(True, points.at)
    return found


def labels(root: Placed, data: Placed, notes: Notes) -> dict[str, Setting]:
    names = root.get("CLASS_NAMES") or data.get("DATA_AUGMENTOR")
    found = {} if names is None else {Upon.BOXES_3D.value: Setting(True, names.at)}
    given = data.get("GET_ITEM_LIST")
    if given is not None and "gt_boxes2d" in (notes.texts(given) or ()):
        found[Upon.BOXES_2D.value] = Setting(True, given.at)
    if given is not None and "depth_maps" in (notes.texts(given) or ()):
        found[Upon.MAPS.value] = Setting(True, given.at)
    camera = data.get("CAMERA_CONFIG")
    if given is not None and "calib_matricies" in (notes.texts(given) or ()):
        found[Upon.CALIBRATION.value] = Setting(True, given.at)
    elif camera is not None and notes.flag(camera.get("USE_CAMERA")) is not False:
        found[Upon.CALIBRATION.value] = Setting(True, camera.at)
    for key in ("PRED_VELOCITY", "TRAIN_WITH_SPEED"):
        node = data.get(key)
        if node is not None and notes.flag(node):
            found[Upon.VELOCITIES.value] = Setting(True, node.at)
    return found


def velocity(root: Placed, data: Placed, notes: Notes) -> Setting | None:
    """Whether the head predicts velocity: as the head says, and where it says nothing, as the data set does."""
    head = root.get("MODEL", "DENSE_HEAD")
    if head is not None:
        branches = head.get("SEPARATE_HEAD_CFG", "HEAD_DICT")
        if branches is not None:
            return Setting("vel" in branches.entries(), (branches.get("vel") or branches).at)
        listed = head.get("SEPARATE_REG_CONFIG", "REG_LIST")
        if listed is not None:
            return Setting(any(name.startswith("vel") for name in notes.texts(listed) or ()), listed.at)
        size = head.get("TARGET_ASSIGNER_CONFIG", "BOX_CODER_CONFIG", "code_size")
        if size is not None and notes.whole(size) is not None:
            return Setting((notes.whole(size) or 0) >= 9, size.at)  # x y z dx dy dz heading, and vx vy
    return notes.setting(data.get("PRED_VELOCITY"), "flag")


def sweeps(data: Placed, notes: Notes) -> dict[str, Setting]:
    """How many sweeps (or Waymo frames), the key frame among them, make a scene and a pasted object."""
    found: dict[str, Setting] = {}
    scene = notes.setting(data.get("MAX_SWEEPS"), "whole") or _sequence(data, notes)
    if scene is not None:
        found = {"train": scene, "test": scene}
    for node in (data.get("DATA_AUGMENTOR", "AUG_CONFIG_LIST") or Placed([], data.at)).items():
        name = node.get("NAME")
        if name is not None and name.value == "gt_sampling":
            pasted = _pasted(node, notes)
            if pasted is not None:
                found["paste"] = pasted
    return found


def _sequence(data: Placed, notes: Notes) -> Setting | None:
    sequence = data.get("SEQUENCE_CONFIG")
    if sequence is None or not notes.flag(sequence.get("ENABLED")):
        return None
    offset = sequence.get("SAMPLE_OFFSET")
    bounds = notes.numbers(offset, 2)
    return None if offset is None or bounds is None else Setting(int(bounds[1] - bounds[0]) + 1, offset.at)


def _pasted(node: Placed, notes: Notes) -> Setting | None:
    """The sweeps of a data base: those its name tells, or those that its time range lets through."""
    times = notes.numbers(node.get("TIME_RANGE"), 2)
    if times is not None and notes.flag(node.get("FILTER_OBJ_POINTS_BY_TIMESTAMP")):
        return Setting(round(abs(times[0] - times[1]) / _FRAME) + 1, (node.get("TIME_RANGE") or node).at)
    listed = node.get("DB_INFO_PATH")
    for entry in listed.items() if listed is not None else ():
        told = _SWEEPS.search(entry.value) if isinstance(entry.value, str) else None
        if told:
            return Setting(int(told[1]), entry.at)
    return None


def time_channel(data: Placed, notes: Notes) -> dict[str, Setting]:
    """Whether the points that the network is given have their lag: the column `timestamp`, or one column a frame."""
    node = data.get("POINT_FEATURE_ENCODING", "used_feature_list")
    columns = notes.texts(node)
    if node is None or columns is None:
        return {}
    has = any(column.startswith(("timestamp", "time")) for column in columns)
    return dict.fromkeys(("train", "test"), Setting(has, node.at))


def normalization(data: Placed, notes: Notes) -> list[InputNormalization]:
    size = notes.numbers(data.get("CAMERA_CONFIG", "IMAGE", "FINAL_DIM"), 2)
    found = []
    for node in (data.get("DATA_PROCESSOR") or Placed([], data.at)).items():
        name = node.get("NAME")
        if name is not None and name.value == "image_normalize":
            mean, std = notes.numbers(node.get("mean")), notes.numbers(node.get("std"))
            pixels = None if size is None else (int(size[0]), int(size[1]))
            found.append(InputNormalization(mean, std, 1 / 255, "rgb", pixels, node.at, inside_network=False))
    return found


def optimizer(root: Placed, notes: Notes) -> RecipeOptimizer | None:
    node = root.get("OPTIMIZATION", "OPTIMIZER")
    name = notes.text(node)
    if node is None or name is None:
        return None
    given = root.value["OPTIMIZATION"]
    known = OPTIMIZERS.get(name)
    if known is None:
        notes.add(node.name, f"OpenPCDet knows no optimizer {name!r}", node.at)
    return RecipeOptimizer(
        name,
        node.at,
        rate=notes.setting(given.get("LR"), "number"),
        decay=notes.setting(given.get("WEIGHT_DECAY"), "number"),
        momentum=notes.setting(given.get("MOMENTUM"), "number") if name == "sgd" else None,
        decays=ALL_DECAYED if known is not None else {},
        decays_outside=known is not None and known[0],
        options={key: entry.plain() for key, entry in given.entries().items()},
    )


def schedule(root: Placed) -> Setting | None:
    node = root.get("OPTIMIZATION", "OPTIMIZER")
    known = OPTIMIZERS.get(node.value) if node is not None and isinstance(node.value, str) else None
    return None if node is None or known is None else Setting(known[1], node.at)


def precision(root: Placed, notes: Notes) -> Setting | None:
    node = root.get("OPTIMIZATION", "USE_AMP")
    return Setting("amp", node.at) if node is not None and notes.flag(node) else None


def pretrained(root: Placed) -> Setting | None:
    """The first weights that a part of the model starts from."""
    model = root.get("MODEL")
    for path, key, node in model.walk() if model is not None else ():
        names_weights = _PRETRAINED.fullmatch(key) or (key == "checkpoint" and path.endswith("INIT_CFG"))
        if names_weights and isinstance(node.value, str) and node.value:
            return Setting(node.value, node.at)
    return None


def dropouts(root: Placed, notes: Notes) -> Sequence[RecipeDropout]:
    model = root.get("MODEL")
    found = []
    for path, key, node in model.walk() if model is not None else ():
        if _DROPOUT.fullmatch(key) and not node.is_mapping and not node.is_list and node.value is not None:
            rate = notes.number(node)
            if rate is not None:
                found.append(RecipeDropout(rate, path, node.at, key))
    return found


def splits(data: Placed, notes: Notes) -> Sequence[Split]:
    """The files that list the samples: INFO_PATH, or the list of scenes that DATA_SPLIT names."""
    root = data.get("DATA_PATH")
    folder = f"{root.value.rstrip('/')}/" if root is not None and isinstance(root.value, str) else ""
    listed: Mapping[str, Placed] = (data.get("INFO_PATH") or Placed({}, data.at)).entries()
    found = [
        Split(role, f"{folder}{entry.value}", entry.at)
        for role, node in listed.items()
        for entry in node.items()
        if role in ("train", "val", "test") and isinstance(entry.value, str)
    ]
    if found:
        return found
    named: Mapping[str, Placed] = (data.get("DATA_SPLIT") or Placed({}, data.at)).entries()
    return [
        Split(role, f"{folder}ImageSets/{node.value}.txt", node.at)
        for role, node in named.items()
        if role in ("train", "val", "test") and isinstance(node.value, str)
    ]
