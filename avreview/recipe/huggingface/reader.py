"""Recipes of Hugging Face: `preprocessor_config.json` and `training_args.bin`, one recipe where both stand together.

The file that is named comes first; the other, a `config.json` (classes, dropout rates) and a `trainer_state.json` (the
steps of the whole schedule) are read with it where they stand beside it as plain files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avreview.config.document import Document
from avreview.errors import ArtifactError
from avreview.recipe.files import RecipeError, plain_document
from avreview.recipe.folder import is_plain_file
from avreview.recipe.huggingface.images import IMAGE_KEYS, preprocessing
from avreview.recipe.huggingface.trainer import training, training_arguments
from avreview.recipe.model import Place, Recipe, RecipeDropout, Setting, Unread
from avreview.recipe.placed import Notes, Placed, placed

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate
    from avreview.recipe.files import RecipeFiles

PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
ARGUMENTS = "training_args.bin"
_MARK = b"per_device_train_batch_size"
_DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "activation_dropout",
    "classifier_dropout", "drop_path_rate", "hidden_dropout", "attention_probs_dropout", "decoder_dropout",
)  # fmt: skip


def recognises(candidate: Candidate) -> bool:
    if candidate.is_binary:
        return _MARK in candidate.content
    data = candidate.data
    if not isinstance(data, dict):
        return False
    named = any(isinstance(data.get(key), str) for key in ("image_processor_type", "feature_extractor_type"))
    return named or isinstance(data.get("image_processor"), dict) or len(IMAGE_KEYS & data.keys()) >= 2


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    """The recipe of a file and of what stands beside it. Raises ArtifactError for a file that cannot be read."""
    recipe = Recipe(candidate.path, "huggingface", {})
    folder = os.path.dirname(candidate.path)
    if candidate.is_binary:
        recipe = training(recipe, training_arguments(candidate.path, candidate.content), Place(candidate.path))
        images = next((name for name in PREPROCESSORS if is_plain_file(folder, name)), None)
        if images is not None:
            recipe = _beside(recipe, _with_images, os.path.join(folder, images), files)
    else:
        recipe = _images(recipe, placed(candidate.document))
        if is_plain_file(folder, ARGUMENTS):
            recipe = _beside(recipe, _with_arguments, os.path.join(folder, ARGUMENTS), files)
    for name, adds in (("config.json", _with_config), ("trainer_state.json", _with_state)):
        if is_plain_file(folder, name) and os.path.basename(candidate.path) in (*PREPROCESSORS, ARGUMENTS):
            recipe = _beside(recipe, adds, os.path.join(folder, name), files)
    return replace(recipe, files=dict(files.digests))


def read_arguments(settings: Mapping[str, Any], path: str) -> Recipe:
    """The recipe in the plain training arguments of a checkpoint's folder, whose place is `path`."""
    return training(Recipe(path, "huggingface", {}), settings, Place(path))


def _beside(recipe: Recipe, adds: Any, path: str, files: RecipeFiles) -> Recipe:
    """The recipe with what a file beside it says. Nobody named that file: where it cannot be read, that is noted."""
    try:
        added: Recipe = adds(recipe, path, files)
    except ArtifactError as error:
        return replace(recipe, unread=(*recipe.unread, Unread(os.path.basename(path), error.wrong, Place(path))))
    return added


def _with_images(recipe: Recipe, path: str, files: RecipeFiles) -> Recipe:
    return _images(recipe, _tree(path, files.read(path)))


def _tree(path: str, text: str) -> Placed:
    """A JSON file as a tree: with lines where it is YAML too, which JSON with escaped emoji is not."""
    import json

    try:
        return placed(plain_document(path, text))
    except RecipeError:
        if "\\ud" not in text.lower():
            raise
        try:
            return placed(Document(Path(path), json.loads(text), {}))
        except (ValueError, RecursionError):
            raise RecipeError(path, None, "is not JSON, or nests too deep", "write it again") from None


def _images(recipe: Recipe, root: Placed) -> Recipe:
    notes = Notes()
    pipelines, normalization = preprocessing(root, notes)
    return replace(
        recipe,
        unread=(*recipe.unread, *notes.unread),
        pipelines=pipelines,
        normalization=normalization,
        sensors={"camera": Setting(True, root.at)} if normalization or pipelines else {},
    )


def _with_arguments(recipe: Recipe, path: str, files: RecipeFiles) -> Recipe:
    return training(recipe, training_arguments(path, files.content(path)), Place(path))


def _with_config(recipe: Recipe, path: str, files: RecipeFiles) -> Recipe:
    """The model's own configuration: names of its classes, and dropout rates."""
    root = _tree(path, files.read(path))
    notes = Notes()
    dropouts = [
        RecipeDropout(rate, "", node.at, name)
        for name in _DROPOUTS
        if (node := root.get(name)) is not None and (rate := notes.number(node)) is not None
    ]
    names = root.get("id2label")
    classes = [str(entry.value) for entry in names.entries().values()] if names is not None else []
    if names is None or not classes or all(name.startswith("LABEL_") for name in classes):  # names that nobody gave
        return replace(recipe, dropouts=dropouts)
    return replace(recipe, dropouts=dropouts, classes=classes, classes_at=names.at)


def _with_state(recipe: Recipe, path: str, files: RecipeFiles) -> Recipe:
    """The Trainer's progress knows the steps of the schedule, which the arguments leave open (`max_steps: -1`)."""
    import json

    try:
        state = json.loads(files.read(path))
    except (ValueError, RecursionError):
        raise RecipeError(path, None, "is not JSON, or nests too deep", "write the checkpoint again") from None
    steps = state.get("max_steps") if isinstance(state, dict) else None
    if recipe.optimizer is None or recipe.steps is not None or type(steps) is not int or steps < 1:
        return recipe
    return replace(recipe, steps=Setting(steps, Place(path)))
