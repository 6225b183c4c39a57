"""What a bevfusion recipe says beside its pipelines: sensors, labels, sweeps, optimizer, norms, weights, dropout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from avreview.recipe.bevfusion.steps import ROLES, data_set
from avreview.recipe.bevfusion.transforms import LAG_COLUMN, LIDAR_SWEEPS, POINT_GUIDED, RADAR_SWEEPS, SENSORS
from avreview.recipe.model import (
    Does,
    GroupRule,
    InputNormalization,
    NormSetting,
    Pipeline,
    Place,
    RecipeDropout,
    RecipeOptimizer,
    Setting,
    Split,
    Step,
    Upon,
)  # fmt: skip
from avreview.recipe.placed import Notes, Placed

_DROPOUT = re.compile(r"dropout|drop_rate|.*_drop_rate|drop_path_rate|.*_dropout")
_LOADERS = {"lidar": LIDAR_SWEEPS, "radar": RADAR_SWEEPS}
# The mmcv constructor's settings for kinds of parameters: the kind, and the factor of rate and of decay.
_KINDS = (
    ("bias", "bias_lr_mult", "bias_decay_mult"),
    ("norm", "", "norm_decay_mult"),
    ("depthwise", "", "dwconv_decay_mult"),
)


def sensors(root: Placed, notes: Notes) -> dict[str, Setting]:
    """The encoders, and points that guide the depth of images (`use_points`, LiDAR where it is not told)."""
    found: dict[str, Setting] = {}
    for sensor in SENSORS:
        node = root.get("model", "encoders", sensor)
        if node is not None:
            found[sensor] = Setting(True, node.at)
    lift = root.get("model", "encoders", "camera", "vtransform")
    kind = notes.text(lift.get("type")) if lift is not None else None
    if lift is not None and kind in POINT_GUIDED:
        guide = notes.text(lift.get("use_points")) or "lidar"
        if guide in SENSORS and guide not in found:
            found[guide] = Setting(True, lift.at)
    return found


def velocity(root: Placed) -> Setting | None:
    """Whether the head for objects has a branch `vel`; a model with a map head alone predicts none."""
    heads = root.get("model", "heads")
    branches = root.get("model", "heads", "object", "common_heads")
    if branches is not None:
        return Setting("vel" in branches.entries(), (branches.get("vel") or branches).at)
    has_other = heads is not None and any(entry.value is not None for entry in heads.entries().values())
    return Setting(False, heads.at) if heads is not None and has_other and heads.get("object") is None else None


def labels(root: Placed, velocity: Setting | None) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for head, label in (("object", Upon.BOXES_3D), ("map", Upon.MAPS)):
        node = root.get("model", "heads", head)
        if node is not None:
            found[label.value] = Setting(True, node.at)
    if velocity is not None and velocity.value:
        found[Upon.VELOCITIES.value] = velocity
    return found


def classes(root: Placed, notes: Notes) -> tuple[list[str] | None, Place | None]:
    """Those of objects, and for a model with a map head alone those of the map."""
    heads = root.get("model", "heads")
    is_map = heads is not None and heads.get("object") is None and heads.get("map") is not None
    node = root.get("map_classes" if is_map else "object_classes")
    return notes.texts(node), None if node is None else node.at


def sweeps(found: Sequence[Pipeline], sensors: Mapping[str, Setting]) -> dict[str, Setting]:
    """Sweeps, the key frame among them, of the points that the model is given: LiDAR's, or else radar's."""
    result = {}
    for role, step in _loaders(found, sensors):
        amount = step.amounts.get("sweeps")
        if amount is not None:
            result[role] = Setting(int(amount.low), step.at)
    return result


def time_channel(found: Sequence[Pipeline], sensors: Mapping[str, Setting]) -> dict[str, Setting]:
    """Whether LiDAR points carry their lag: the fifth column that is used, where so many are."""
    result = {}
    for role, step in _loaders(found, sensors):
        used = step.options.get("use_dim")
        count = len(used) if isinstance(used, list) else used
        if step.name == LIDAR_SWEEPS and isinstance(count, int) and not isinstance(count, bool):
            result[role] = Setting(count > LAG_COLUMN, step.at)
    return result


def _loaders(found: Sequence[Pipeline], sensors: Mapping[str, Setting]) -> list[tuple[str, Step]]:
    name = next((loader for sensor, loader in _LOADERS.items() if sensor in sensors), None)
    return [(pipeline.role, step) for pipeline in found for step in pipeline.steps if name and step.name == name]


def normalization(found: Sequence[Pipeline], notes: Notes, root: Placed) -> list[InputNormalization]:
    """ToTensor and Normalize of torchvision, on images that PIL loads."""
    size = notes.numbers(root.get("image_size"), 2)
    pixels = None if size is None else (int(size[0]), int(size[1]))
    stated = {}
    for pipeline in found:
        for step in pipeline.steps:
            if step.name == "ImageNormalize" and Does.NORMALIZE in step.does:
                mean, std = _triple(step.options.get("mean")), _triple(step.options.get("std"))
                stated[mean, std] = InputNormalization(mean, std, 1 / 255, "rgb", pixels, step.at, inside_network=False)
    return list(stated.values())


def _triple(value: object) -> tuple[float, ...] | None:
    is_list = isinstance(value, list) and all(isinstance(entry, int | float) for entry in value)
    return tuple(map(float, value)) if is_list and isinstance(value, list) else None


def optimizer(root: Placed, notes: Notes) -> RecipeOptimizer | None:
    """mmcv's optimizer: without a rule of paramwise_cfg, every parameter decays."""
    node = root.get("optimizer")
    name = notes.text(node.get("type")) if node is not None else None
    if node is None or name is None:
        return None
    return RecipeOptimizer(
        name,
        node.at,
        rate=notes.setting(node.get("lr"), "number"),
        decay=notes.setting(node.get("weight_decay"), "number"),
        momentum=notes.setting(node.get("momentum"), "number"),
        rules=_rules(node.get("paramwise_cfg"), notes),
        decays={"bias": True, "norm": True, "embedding": True},
        options={key: entry.plain() for key, entry in node.entries().items() if key != "type"},
    )


def _rules(node: Placed | None, notes: Notes) -> list[GroupRule]:
    if node is None:
        return []
    custom = node.get("custom_keys")
    found = []
    for key, entry in (custom.entries() if custom is not None else {}).items():
        factors = [notes.number(entry.get(name)) for name in ("lr_mult", "decay_mult")]
        rate, decay = (1.0 if factor is None else factor for factor in factors)  # mmcv sets both by such a rule
        found.append(GroupRule("name", key, rate, decay, entry.at))
    for kind, rate_key, decay_key in _KINDS:
        given = [node.get(key) for key in (rate_key, decay_key)]
        stated = next((entry for entry in given if entry is not None), None)
        if stated is not None:
            found.append(GroupRule(kind, kind, notes.number(given[0]), notes.number(given[1]), stated.at))
    return found


def precision(root: Placed) -> Setting | None:
    node = root.get("fp16")
    return None if node is None else Setting("fp16", node.at)


def sync_norm(root: Placed) -> Setting | None:
    """tools/train.py converts norms where `sync_bn` is stated, be it a mapping of what to leave out."""
    node = root.get("sync_bn")
    return None if node is None else Setting(bool(node.value), node.at)


def norms(root: Placed, notes: Notes) -> list[NormSetting]:
    found = []
    for path, key, node in (root.get("model") or Placed({}, root.at)).walk():
        kind = notes.text(node.get("type")) if key == "norm_cfg" and node.is_mapping else None
        if kind is not None:
            learns = notes.flag(node.get("requires_grad"))
            module = root.get("model", *path.split("."))
            still = notes.flag(module.get("norm_eval")) if module is not None else None
            found.append(NormSetting(kind, path, node.at, still, None if learns is None else not learns))
    return found


def frozen(root: Placed, notes: Notes) -> list[Setting]:
    """Prefixes of what `frozen_stages` freezes, for the backbones whose stages are known by name."""
    found = []
    for path, key, node in (root.get("model") or Placed({}, root.at)).walk():
        stages = notes.whole(node) if key == "frozen_stages" and node.value is not None else None
        module = root.get("model", *path.split(".")) if stages is not None and stages >= 0 else None
        if stages is None or module is None:
            continue
        kind = notes.text(module.get("type")) or ""
        if kind.startswith("ResNet"):
            names = ["conv1", "bn1", *(f"layer{number}" for number in range(1, min(stages, 4) + 1))]
        elif kind == "SwinTransformer":
            names = ["patch_embed", *(f"stages.{number}" for number in range(min(stages, 4)))]
        else:
            notes.add(node.name, f"which modules of {kind or 'it'} are frozen is not known here", node.at)
            continue
        found += [Setting(f"{path}.{name}", node.at) for name in names]
    return found


def pretrained(root: Placed) -> Setting | None:
    """What the whole model starts from, and where nothing is stated the first part that starts from something."""
    whole = root.get("load_from")
    if whole is not None and isinstance(whole.value, str):
        return Setting(whole.value, whole.at)
    for path, key, node in (root.get("model") or Placed({}, root.at)).walk():
        if isinstance(node.value, str) and (key == "pretrained" or (key == "checkpoint" and path.endswith("init_cfg"))):
            return Setting(node.value, node.at)
    return None


def dropouts(root: Placed, notes: Notes) -> list[RecipeDropout]:
    found = []
    for path, key, node in (root.get("model") or Placed({}, root.at)).walk():
        if _DROPOUT.fullmatch(key) and not node.is_mapping and not node.is_list and node.value is not None:
            rate = notes.number(node)
            if rate is not None:
                found.append(RecipeDropout(rate, path, node.at, key))
    return found


def splits(root: Placed) -> list[Split]:
    found = []
    for role in ROLES:
        inner = data_set(root.get("data", role))
        node = inner.get("ann_file") if inner is not None else None
        if node is not None and isinstance(node.value, str):
            found.append(Split(role, node.value, node.at))
    return found
