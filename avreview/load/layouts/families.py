"""Which framework laid out a checkpoint, told by its keys; what its keys mean, where names alone do not say it.

Every table row was read in the framework's source: Lightning 2.6 (`weight_averaging.py`, `checkpoint_connector.py`),
mmengine 0.10 (`ema_hook.py`, `runner.py`), ultralytics 8.4 (`trainer.py`, `torch_utils.py`), YOLOX 0.3
(`trainer.py`), OpenPCDet 0.6 (`train_utils.py`), timm 1.0 (`checkpoint_saver.py`), detectron2
(`detection_checkpoint.py`, fvcore's `checkpoint.py`), torchtune 0.6 (`constants.py`), DeepSpeed (`engine.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from avreview.load.layouts.values import is_module, mapping_of

_RAW_WORDS = frozenset((
    "model", "state", "dict", "states", "net", "network", "weights", "weight", "params", "parameters", "module",
    "student", "online", "raw", "current", "best", "final", "sd", "checkpoint",
))  # fmt: skip
_EMA_WORDS = frozenset(("ema", "teacher", "shadow", "momentum"))
_SWA_WORDS = frozenset(("swa", "averaged", "average", "avg"))


def role(key: str) -> str | None:
    """What a key's name says of the weights under it: `model` (the raw ones), `ema`, `swa`; None when nothing."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", key[:200]).lower())
    if any(word in _EMA_WORDS for word in words):
        return "ema"
    if any(word in _SWA_WORDS for word in words):
        return "swa"
    return "model" if words and all(word in _RAW_WORDS for word in words) else None


def family(value: Mapping[Any, Any]) -> str:
    """The framework whose keys these are; `state_dict` where no framework's are recognised."""
    keys = frozenset(key for key in value if isinstance(key, str))
    meta = mapping_of(value.get("meta")) or {}
    version = value.get("version")
    if "pytorch-lightning_version" in keys:
        return "lightning"
    if "message_hub" in keys or "mmengine_version" in meta or "mmcv_version" in meta:
        return "mmengine"
    if "train_args" in keys or _begins(
        value.get("license"), "AGPL-3.0 (https://ultralytics", "AGPL-3.0 License (https://ultralytics"
    ):
        return "ultralytics"
    if any(_package(value.get(key)).startswith(("ultralytics.", "models.yolo")) for key in ("ema", "model")):
        return "ultralytics"
    if {"model_state", "optimizer_state"} <= keys and ("it" in keys or _begins(version, "pcdet")):
        return "openpcdet"
    if {"start_epoch", "model"} <= keys and {"optimizer", "best_ap", "curr_ap"} & keys:
        return "yolox"
    if "__author__" in keys or "matching_heuristics" in keys or {"model", "iteration", "scheduler"} <= keys:
        return "detectron2"
    if "module" in keys and {"ds_version", "param_shapes", "dp_world_size", "ds_config"} & keys:
        return "deepspeed"
    if {"total_epochs", "max_steps_per_epoch"} & keys and {"epochs_run", "seed"} & keys:
        return "torchtune"
    if "state_dict_ema" in keys or ("arch" in keys and "state_dict" in keys and isinstance(version, int)):
        return "timm"
    return "state_dict"


def roles(layout: str, value: Mapping[Any, Any], keys: list[str]) -> dict[str, str]:
    """What each key with weights holds, where the framework gives it another meaning than the key's name has.

    - Lightning puts the average into `state_dict` and the raw weights into `current_model_state`; which average,
      the callback's name tells (`EMAWeightAveraging`; `WeightAveraging` averages equally unless it is told otherwise).
    - mmengine swaps: with an EMAHook `state_dict` is the average, `ema_state_dict` (`module.*`, `steps`) is raw.
    - ultralytics moves the EMA into `model` when it strips a checkpoint, and leaves `ema: None` behind.
    """
    if layout == "lightning" and "current_model_state" in keys:
        callbacks = " ".join(name[:200] for name in mapping_of(value.get("callbacks")) or {} if isinstance(name, str))
        average = "swa" if "WeightAveraging" in callbacks and "EMA" not in callbacks.upper() else "ema"
        return {"state_dict": average, "current_model_state": "model"}
    if layout == "mmengine" and {"state_dict", "ema_state_dict"} <= set(keys):
        return {"state_dict": "ema", "ema_state_dict": "model"}
    if layout == "ultralytics" and keys == ["model"] and value.get("ema", 0) is None and value.get("epoch") == -1:
        return {"model": "ema"}
    return {}


def primary(layout: str, sets: Mapping[str, str]) -> str:
    """The set that an inference user of the framework loads; `sets` are their places in the file by name.

    Lightning and mmengine load `state_dict` whatever it holds. timm (`use_ema=True`), ultralytics (`ema or model`),
    torchvision's references, BasicSR, DINO and the rest load the average where there is one: it is kept in order
    to be used.
    """
    names: Iterable[str] = sets
    if layout in ("lightning", "mmengine"):
        names = [name for name, where in sets.items() if where == "state_dict"] or names
    return next((name for name in ("ema", "swa", "model") if name in names), next(iter(names)))


def remark(layout: str, sets: Mapping[str, str]) -> str | None:
    """What the layout itself keeps from being seen."""
    if layout == "yolox" and "ema" not in sets:
        return (
            "YOLOX saves the averaged weights (EMA) in the place of the raw ones when averaging is on, which the file "
            "does not tell: the weights here may be either"
        )
    return None


def _begins(value: Any, *starts: str) -> bool:
    return isinstance(value, str) and value.startswith(starts)


def _package(value: Any) -> str:
    if not is_module(value):
        return ""
    return str(value.class_name)
