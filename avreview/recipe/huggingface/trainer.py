"""`training_args.bin`: the TrainingArguments that the Trainer of transformers pickles beside its weights.

Its classes are never looked up: only the plain values of its attributes are taken. The Trainer decays everything but
biases, LayerNorms and what is named like a norm (`Trainer.get_decay_parameter_names`): a BatchNorm `bn1` is decayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from avreview.recipe.files import RecipeError
from avreview.recipe.model import GroupRule, Place, Recipe, RecipeOptimizer, Setting, Unread

_KEPT_NORMS = ("LayerNorm", "layernorm", "rmsnorm", "RMSNorm", ".norm.", "_norm.")
_OPTIONS = (
    "adam_beta1", "adam_beta2", "adam_epsilon", "warmup_steps", "warmup_ratio", "max_grad_norm", "optim_args", "seed",
    "lr_scheduler_type",
)  # fmt: skip


def training_arguments(path: str, content: bytes) -> dict[str, Any]:
    """The settings in such a file as plain values. Raises ArtifactError for one that holds none."""
    from avreview.load.context import OpenContext
    from avreview.load.layouts.metadata import plain
    from avreview.load.layouts.values import Budget
    from avreview.load.pytorch.file import read_torch
    from avreview.load.source import MemorySource

    if content.startswith(b"version https://git-lfs"):
        raise RecipeError(path, None, "is a pointer of Git LFS, not the file", "run `git lfs pull`")
    found = plain(read_torch(MemorySource(path, content), OpenContext()).value, Budget(path))
    if not isinstance(found, dict) or "per_device_train_batch_size" not in found:
        raise RecipeError(path, None, "holds no TrainingArguments", "name the training_args.bin that the Trainer wrote")
    return found


def training(recipe: Recipe, settings: Mapping[str, Any], at: Place) -> Recipe:
    """The recipe with what the arguments say of the training. `at` is the place of them all."""

    def number(key: str) -> Setting | None:
        value = settings.get(key)
        return Setting(value, at) if isinstance(value, int | float) and not isinstance(value, bool) else None

    steps, epochs = number("max_steps"), number("num_train_epochs")
    has_steps = steps is not None and steps.value > 0  # then epochs do not count
    devices, unread = _devices(settings, at)
    schedule = settings.get("lr_scheduler_type")
    return replace(
        recipe,
        unread=(*recipe.unread, *unread),
        optimizer=_optimizer(settings, number("learning_rate"), number("weight_decay"), at),
        steps=steps if has_steps else None,
        epochs=None if has_steps else epochs,
        schedule=Setting(schedule, at) if isinstance(schedule, str) else None,
        batch_size=number("per_device_train_batch_size"),
        devices=devices,
        accumulation=number("gradient_accumulation_steps"),
        precision=next((Setting(name, at) for name in ("bf16", "fp16") if settings.get(name) is True), None),
    )


def _optimizer(
    settings: Mapping[str, Any], rate: Setting | None, decay: Setting | None, at: Place
) -> RecipeOptimizer | None:
    """`adamw_torch` and its like. Before 4.17 there was no `optim`, but a flag for Adafactor."""
    name = settings.get("optim")
    if not isinstance(name, str):
        if "adafactor" not in settings:
            return None
        name = "adafactor" if settings["adafactor"] is True else "adamw_hf"
    return RecipeOptimizer(
        name,
        at,
        rate,
        decay,
        rules=[GroupRule("name", pattern, None, 0.0, at) for pattern in _KEPT_NORMS],
        decays={"bias": False, "norm": None, "embedding": True},
        options={key: settings[key] for key in _OPTIONS if settings.get(key) is not None},
    )


def _devices(settings: Mapping[str, Any], at: Place) -> tuple[Setting | None, list[Unread]]:
    """How many devices: the processes that accelerate counted, or the GPUs of the one process.

    A run under torchrun that tells neither has as many as it was started with.
    """
    state = settings.get("distributed_state")
    processes = state.get("num_processes") if isinstance(state, Mapping) else None
    gpus = settings.get("_n_gpu")
    if type(processes) is int and processes > 1:
        return Setting(processes, at), []
    if settings.get("local_rank", -1) in (-1, None) or processes == 1:
        if type(gpus) is int and gpus >= 0:
            return Setting(max(1, gpus), at), []
        return (
            (Setting(1, at), []) if settings.get("use_cpu") is True or settings.get("no_cuda") is True else (None, [])
        )
    return None, [Unread("the number of devices", "is told by the launcher alone (torchrun)", at)]
