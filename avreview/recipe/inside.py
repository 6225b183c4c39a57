"""The recipe that a checkpoint holds: what its framework saved of the training's settings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from avreview.artifact import Artifact
from avreview.recipe.model import Place, Recipe, RecipeOptimizer, Setting, Unread

_RATES = ("lr", "learning_rate")
_LIGHTNING = ("batch_size", "max_epochs", "max_steps")
_MOST_UNREAD = 50


def recipe_inside(artifact: Artifact) -> Recipe | None:
    """The recipe in a checkpoint's metadata, or None. Raises ArtifactError for one that cannot be read.

    Its `inside` is the checkpoint, its `path` the place in there: `best.pt!train_args`.
    """
    checkpoint = artifact.checkpoint
    if checkpoint is None:
        return None
    path = artifact.provenance.path
    for reader in (_ultralytics, _mmengine, _huggingface, _lightning):
        recipe = reader(checkpoint.metadata, path)
        if recipe is not None:
            return replace(recipe, inside=path, files={})
    return None


def _ultralytics(metadata: Mapping[str, Any], path: str) -> Recipe | None:
    """`train_args`, the settings of the run."""
    settings = metadata.get("train_args")
    if not isinstance(settings, dict) or not settings:
        return None
    from avreview.recipe.ultralytics.reader import read_settings

    return read_settings(settings, f"{path}!train_args")


def _mmengine(metadata: Mapping[str, Any], path: str) -> Recipe | None:
    """`meta.cfg` of mmengine or `meta.config` of mmcv: the whole configuration, bases merged, as text."""
    meta = metadata.get("meta")
    for key in ("cfg", "config"):
        text = meta.get(key) if isinstance(meta, Mapping) else None
        if isinstance(text, str) and text.strip():
            from avreview.recipe.dialects import Candidate
            from avreview.recipe.files import RecipeFiles

            candidate = Candidate(f"{path}!meta.{key}", text.encode())
            recipe: Recipe = importlib.import_module("avreview.recipe.mmengine").read(candidate, RecipeFiles())
            return recipe
    return None


def _huggingface(metadata: Mapping[str, Any], path: str) -> Recipe | None:
    """The TrainingArguments in a checkpoint's folder. What else stands there is read with them by `beside`."""
    settings = metadata.get("training_args")
    if not isinstance(settings, dict) or "per_device_train_batch_size" not in settings:
        return None
    import os

    from avreview.recipe.beside import recipe_beside

    if os.path.isdir(path) and recipe_beside(path) is not None:
        return None  # the files themselves say more
    from avreview.recipe.huggingface.reader import read_arguments

    return read_arguments(settings, f"{path}!training_args")


def _lightning(metadata: Mapping[str, Any], path: str) -> Recipe | None:
    """`hyper_parameters`: names of the team's own, of which only those of an optimizer are the same everywhere.

    They do not say which optimizer it is, nor which parameters it decays.
    """
    settings = metadata.get("hyper_parameters")
    if not isinstance(settings, dict):
        return None
    place = f"{path}!hyper_parameters"
    at = Place(place)
    known = {
        key: Setting(value, at)
        for key in (*_RATES, "weight_decay", *_LIGHTNING)
        if isinstance(value := settings.get(key), int | float) and not isinstance(value, bool)
    }
    if not known:
        return None
    rate = next((known[key] for key in _RATES if key in known), None)
    decay = known.get("weight_decay")
    kind = settings.get("optimizer")
    optimizer = None
    if rate is not None or decay is not None:
        optimizer = RecipeOptimizer(kind if isinstance(kind, str) else "?", at, rate, decay)
    others = [str(key) for key in settings if key not in known]
    return Recipe(
        place,
        "lightning",
        {},
        [Unread(key, "is a hyperparameter of the team's own", at) for key in others[:_MOST_UNREAD]],
        optimizer=optimizer,
        epochs=known.get("max_epochs"),
        steps=known.get("max_steps"),
        batch_size=known.get("batch_size"),
    )
