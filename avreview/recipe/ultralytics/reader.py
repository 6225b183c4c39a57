"""Recipes of ultralytics: the `args.yaml` of a run, the `train_args` in a checkpoint, and YOLOv5's `hyp.yaml`.

Its trainer scales images to 0…1 and subtracts no mean, decays weights but neither biases nor norms, keeps an average
of the weights, and does not synchronize norms over devices (`engine/trainer.py` of 8.4).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from avreview.config.document import Document
from avreview.recipe.model import InputNormalization, Recipe, RecipeDropout, RecipeOptimizer, Setting, Split
from avreview.recipe.placed import Notes, Placed, placed
from avreview.recipe.ultralytics.augment import LABELS, Settings, pipelines
from avreview.recipe.ultralytics.data import DataSet, data_set

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate
    from avreview.recipe.files import RecipeFiles

_MARKS = frozenset((
    "lr0", "lrf", "mosaic", "mixup", "copy_paste", "hsv_h", "hsv_s", "hsv_v", "fliplr", "flipud", "degrees",
    "close_mosaic", "imgsz", "warmup_epochs", "warmup_bias_lr", "perspective", "nbs",
))  # fmt: skip
_ENOUGH = 5  # of these
_YOLOV5 = frozenset(("anchor_t", "fl_gamma", "obj"))
_LEFT_OUT = ("mosaic", "fliplr", "flipud", "degrees", "translate", "scale", "shear", "mixup", "hsv_h")


def recognises(candidate: Candidate) -> bool:
    data = candidate.data
    return isinstance(data, dict) and len(_MARKS & data.keys()) >= _ENOUGH


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    root = placed(candidate.document)
    notes = Notes()
    data = data_set(root.get("data"), candidate.path, files, notes)
    return _recipe(root, notes, data, candidate.path, dict(files.digests))


def read_settings(settings: dict[str, Any], path: str) -> Recipe:
    """The recipe in the plain settings of a checkpoint, whose place is `path`: `best.pt!train_args`."""
    root = placed(Document(Path(path), settings, {}))
    return _recipe(root, Notes(), DataSet(), path, {})


def _recipe(root: Placed, notes: Notes, data: DataSet, path: str, files: dict[str, str]) -> Recipe:
    settings = Settings(root, notes)
    task = settings.text("task") or ("detect" if _YOLOV5 & root.entries().keys() else None)
    _note_omissions(settings, task)
    epochs = notes.setting(root.get("epochs"), "whole")
    devices = _devices(root)
    mirrors = _pose_mirrors(settings, data) if task == "pose" else None
    name = settings.text("model")
    return Recipe(
        path,
        "ultralytics",
        files,
        notes.unread,
        pipelines(settings, task, epochs, mirrors),
        sensors={"camera": Setting(True, root.at)},
        labels={upon.value: Setting(True, settings.at("task")) for upon in LABELS.get(task or "", ())},
        classes=None if settings.flag("single_cls") else data.classes,
        classes_at=data.classes_at,
        velocity=Setting(False, settings.at("task")) if task in LABELS else None,  # its networks see single images
        tracking=Setting(False, settings.at("task")) if task in LABELS else None,
        normalization=_normalization(settings),
        optimizer=_optimizer(settings, name),
        epochs=epochs,
        schedule=_schedule(settings),
        batch_size=_batch(settings, devices),
        devices=devices,
        accumulation=_accumulation(settings),
        sync_norm=Setting(False, settings.at("device"))
        if root.get("task") is not None
        else None,  # YOLOv5 has a switch
        ema=Setting(True, root.at),
        pretrained=_pretrained(settings, name),
        frozen=_frozen(root),
        dropouts=_dropouts(settings, task),
        splits=[Split(role, file, at) for role, file, at in data.lists],
        precision=_precision(root),
    )


def _note_omissions(settings: Settings, task: str | None) -> None:
    """What the file leaves to defaults, which differ between versions."""
    notes, root = settings.notes, settings.root
    missing = [key for key in _LEFT_OUT if root.get(key) is None]
    if missing and task != "classify":
        notes.add(", ".join(missing), "is not stated: the default of the version in use holds", root.at)
    mode = settings.text("mode")
    if mode not in (None, "train"):
        notes.add("mode", f"is {mode[:20]!r}: these settings are not those of a training", settings.at("mode"))
    if task is not None and task not in LABELS:
        notes.add("task", "is none that is known here", settings.at("task"))
    if root.get("augmentations") is not None:
        notes.add(
            "augmentations", "adds transforms of albumentations, which are not read", settings.at("augmentations")
        )


def _pose_mirrors(settings: Settings, data: DataSet) -> bool | None:
    """Whether mirrors happen: the trainer switches them off for a pose data set without `flip_idx`."""
    if data.is_read:
        return data.swaps_keypoints
    mirrored = [key for key in ("fliplr", "flipud") if settings.number(key)]
    if mirrored:
        why = "is switched off where the data set has no `flip_idx`, and its file is not beside the recipe"
        settings.notes.add(", ".join(mirrored), why, settings.at(*mirrored))
    return None


def _normalization(settings: Settings) -> list[InputNormalization]:
    """Images are divided by 255 and given as RGB; a list of two sizes is height and width."""
    node = settings.root.get("imgsz")
    size = None
    if node is not None:
        sides = [settings.notes.whole(side) for side in node.items()]
        if len(sides) in (1, 2) and (height := sides[0]) is not None and (width := sides[-1]) is not None:
            size = (height, width)
    order = None if settings.number("bgr") else "rgb"
    nothing, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return [InputNormalization(nothing, one, 1 / 255, order, size, settings.at("imgsz"), inside_network=False)]


def _optimizer(settings: Settings, model: str | None) -> RecipeOptimizer | None:
    """`auto` chooses the optimizer, its rate and its momentum by the number of iterations: none of them is told."""
    root, notes = settings.root, settings.notes
    name = settings.text("optimizer")
    rate, decay, momentum = (notes.setting(root.get(key), "number") for key in ("lr0", "weight_decay", "momentum"))
    if name is None and decay is None and rate is None:
        return None
    name = name or "?"
    if name in ("auto", "?"):
        why = "is left to the trainer, which chooses SGD, MuSGD or AdamW, and the rate, by the number of iterations"
        notes.add("optimizer", why if name == "auto" else "is not stated", settings.at("optimizer"))
        rate = momentum = None
    has_embeddings = True if model is not None and "rtdetr" in model.lower() else None  # YOLO has none to decay
    options = {
        key: node.value
        for key in ("lrf", "nbs", "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "cos_lr")
        if (node := root.get(key)) is not None
    }
    return RecipeOptimizer(
        name,
        settings.at("optimizer", "lr0", "weight_decay"),
        rate,
        decay,
        momentum,
        decays={"bias": False, "norm": False, "embedding": has_embeddings},
        options=options,
    )


def _schedule(settings: Settings) -> Setting | None:
    node = settings.root.get("cos_lr")
    return None if node is None else Setting("cosine" if node.value is True else "linear", node.at)


def _devices(root: Placed) -> Setting | None:
    """How many devices: `0,1`, `[0, 1]`, `cuda:0,1`; nothing named is one."""
    if "device" not in root.entries():
        return None
    node = root.entries()["device"]
    if node.is_list:
        return Setting(max(1, len(node.value)), node.at)
    written = str(node.value) if node.value is not None else ""
    return Setting(max(1, len([one for one in written.split(",") if one.strip()])), node.at)


def _batch(settings: Settings, devices: Setting | None) -> Setting | None:
    """Samples on each device: `batch` counts those of all devices together, and is found out where it is below 1."""
    node = settings.root.get("batch")
    total = settings.notes.number(node)
    if node is None or total is None:
        return None
    if total < 1 or not total.is_integer():
        settings.notes.add("batch", "is found out by the trainer (AutoBatch)", node.at)
        return None
    return Setting(max(1, int(total) // devices.value), node.at) if devices is not None else None


def _accumulation(settings: Settings) -> Setting | None:
    """The trainer accumulates gradients up to a nominal batch size."""
    batch, nominal = settings.number("batch"), settings.number("nbs")
    if not batch or not nominal or batch < 1:
        return None
    return Setting(max(round(nominal / batch), 1), settings.at("nbs"))


def _pretrained(settings: Settings, model: str | None) -> Setting | None:
    weights = settings.text("pretrained")
    if weights:
        return Setting(weights, settings.at("pretrained"))
    return Setting(model, settings.at("model")) if model is not None and model.endswith((".pt", ".pth")) else None


def _frozen(root: Placed) -> list[Setting]:
    """`freeze: 10` freezes the layers 0 to 9; a list names layers, or modules below `model`."""
    node = root.get("freeze")
    if node is None:
        return []
    if type(node.value) is int:
        return [Setting(f"model.{layer}", node.at) for layer in range(min(node.value, 1_000))]
    return [Setting(f"model.{one.value}", one.at) for one in node.items()[:1_000] if type(one.value) in (int, str)]


def _dropouts(settings: Settings, task: str | None) -> list[RecipeDropout]:
    """Only the classifier's head has the dropout that `dropout` sets."""
    rate = settings.number("dropout") if task == "classify" else None
    return [RecipeDropout(rate, "model", settings.at("dropout"))] if rate else []


def _precision(root: Placed) -> Setting | None:
    node = root.get("amp")
    if node is None or node.value in (False, "fp32"):
        return None
    return Setting(node.value if node.value in ("fp16", "bf16") else "amp", node.at)
