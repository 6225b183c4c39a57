"""The recipe that a trainer writes beside its checkpoints, by its conventions.

Only what is unambiguous is taken, and only plain files: no links, nothing of another folder but the run's own.
"""

from __future__ import annotations

import os
import re

from avreview.recipe.folder import is_plain_file, plain_files

_MM_CHECKPOINT = re.compile(r"(epoch_|iter_|best_)[^/\\]*\.pth|latest\.pth")
_MM_CONFIG = re.compile(rb"(?m)^(optim_wrapper|optimizer|model|train_pipeline|train_dataloader|data) *=")
_HEAD = 1 << 20  # bytes of a configuration that are looked at


def recipe_beside(path: str) -> str | None:
    """The path of the one recipe that belongs to a model or checkpoint, or None."""
    for convention in (_ultralytics, _huggingface, _mmengine):
        found = convention(path)
        if found is not None:
            return found
    return None


def _ultralytics(path: str) -> str | None:
    """`runs/detect/train/args.yaml` of `runs/detect/train/weights/best.pt`, or of an export (`best.onnx`) beside it."""
    folder = os.path.dirname(path) or os.curdir
    if os.path.basename(os.path.abspath(folder)) != "weights" or os.path.islink(folder):
        return None
    run = os.path.normpath(os.path.join(folder, os.pardir))
    return os.path.join(run, "args.yaml") if is_plain_file(run, "args.yaml") else None


def _huggingface(path: str) -> str | None:
    """`preprocessor_config.json` or `training_args.bin` in the folder of the weights, or in the folder that is given.

    A folder without a `config.json` is none of transformers.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    if not is_plain_file(folder, "config.json"):
        return None
    if not os.path.isdir(path) and not path.endswith((".safetensors", ".bin", ".onnx", ".json", ".pt")):
        return None
    for name in ("preprocessor_config.json", "processor_config.json", "training_args.bin"):  # each is read with others
        if is_plain_file(folder, name):
            return os.path.join(folder, name)
    return None


def _mmengine(path: str) -> str | None:
    """The one configuration that mmengine or mmcv dumped into the folder of `epoch_12.pth`."""
    if _MM_CHECKPOINT.fullmatch(os.path.basename(path)) is None:
        return None
    folder = os.path.dirname(path)
    dumped = [name for name in plain_files(folder) if name.endswith(".py")]
    if len(dumped) != 1:
        return None
    found = os.path.join(folder, dumped[0])
    try:
        with open(found, "rb") as file:
            is_config = _MM_CONFIG.search(file.read(_HEAD)) is not None
    except OSError:
        return None
    return found if is_config else None
