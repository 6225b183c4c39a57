"""Recipes of torchvision, albumentations and kornia written out in a Python file: hints, read with `ast` alone.

A composition whose variable, keyword, function or class says which split it is of, and whose transforms stand there
literally, is a pipeline; so is `torch.optim.X(model.parameters(), lr=…)` an optimizer. Everything else is unread.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from avreview.recipe.files import RecipeError
from avreview.recipe.model import Does, InputNormalization, Pipeline, Place, Recipe, Setting, Step, Unread, Upon
from avreview.recipe.torchvision.calls import Composed, Reader
from avreview.recipe.torchvision.hints import constants, imports, parsed, set_once
from avreview.recipe.torchvision.optimizer import optimizer, schedule, sync_norm

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate
    from avreview.recipe.files import RecipeFiles

_PACKAGES = ("torchvision", "albumentations", "kornia")
_MOVES = frozenset({Does.FLIP, Does.ROTATE, Does.TRANSLATE, Does.SCALE, Does.SHEAR, Does.CROP, Does.WARP})
_MOST_UNREAD = 200
_NO_ROLE = "is a pipeline whose names do not say whether it trains or tests"


def recognises(candidate: Candidate) -> bool:
    """Whether the file names one of the libraries and composes its transforms, or cannot be parsed to tell."""
    text = candidate.text
    if not any(package in text for package in _PACKAGES):
        return False
    try:
        tree = parsed(candidate.path, text)
    except RecipeError:
        return True  # reading it says why not
    reader = Reader(candidate.path, imports(tree), {}, {})
    return any(True for _ in reader.compositions(tree))


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    """The hints of a file. Raises RecipeError for one that is no Python."""
    tree = parsed(candidate.path, candidate.text)
    names = imports(tree)
    known = constants(tree)
    reader = Reader(candidate.path, names, known, set_once(tree))
    composed = list(reader.compositions(tree))
    pipelines = [Pipeline(one.role, one.steps, one.at, one.name) for one in composed if one.role is not None]
    unread = [note for one in composed for note in one.unread]
    unread += [Unread(one.name or "a composition", _NO_ROLE, one.at) for one in composed if one.role is None]
    found, notes = optimizer(tree, names, known, candidate.path)
    return Recipe(
        candidate.path,
        "torchvision",
        dict(files.digests),
        [*unread, *notes][:_MOST_UNREAD],
        [pipeline for pipeline in pipelines if pipeline.steps],
        sensors={"camera": Setting(True, pipelines[0].at)} if pipelines else {},
        labels=_labels(tree, composed, candidate.path),
        normalization=[found for one in composed if one.role is not None for found in normalizations(one)],
        optimizer=found,
        schedule=schedule(tree, names, candidate.path),
        sync_norm=sync_norm(tree, names, candidate.path),
    )


def _labels(tree: ast.Module, composed: list[Composed], path: str) -> dict[str, Setting]:
    """What labels there are: those that a composition says it moves, and boxes that v1 leaves behind.

    v1 moves no label. That it has any to move is told by the file's own `["boxes"]`, and counts only where a training
    pipeline does more than resize: boxes relative to the image stay right when it is resized.
    """
    labels = {upon.value: Setting(True, one.at) for one in composed for upon in one.labels}
    moves = any(
        one.family == "v1" and one.role == "train" and not _MOVES.isdisjoint(step.does)
        for one in composed
        for step in one.steps
    )
    if moves and Upon.BOXES_2D.value not in labels:
        line = next(
            (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Subscript) and _is_boxes(node)), None
        )
        if line is not None:
            labels[Upon.BOXES_2D.value] = Setting(True, Place(path, line))
    return labels


def _is_boxes(node: ast.Subscript) -> bool:
    """Whether an expression is `target["boxes"]`."""
    return isinstance(node.slice, ast.Constant) and node.slice.value in ("boxes", "bboxes", "gt_boxes")


def normalizations(composed: Composed) -> list[InputNormalization]:
    """What a pipeline's Normalize does after the conversion to 0…1 before it."""
    if composed.family == "albumentations":
        from avreview.recipe.albumentations.reader import normalizations as of_albumentations

        return list(of_albumentations(composed.steps))
    scale: float | None = None
    size: tuple[int, int] | None = None
    found: list[InputNormalization] = []
    for step in composed.steps:
        size = _size(step) or size
        scale = _scale(step) or scale
        if step.name == "Normalize":
            mean, std = (_channels(step.options.get(name)) for name in ("mean", "std"))
            found.append(InputNormalization(mean, std, scale, None, size, step.at, inside_network=False))
    return [one._replace(size=size) for one in found[-1:]]


def _scale(step: Step) -> float | None:
    """ToTensor divides by 255; ToDtype does with `scale=True`; ConvertImageDtype does for images of whole numbers."""
    scales = step.name in ("ToTensor", "ConvertImageDtype", "ToImageTensor")
    return 1 / 255 if scales or (step.name == "ToDtype" and step.options.get("scale") is True) else None


def _size(step: Step) -> tuple[int, int] | None:
    """Height and width; a single size is a square of a crop, and the shorter edge of Resize."""
    size = step.options.get("size")
    if step.name not in ("Resize", "CenterCrop", "RandomCrop", "RandomResizedCrop"):
        return None
    if type(size) is int and step.name != "Resize":
        return size, size
    whole = isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)
    return (size[0], size[1]) if whole and size is not None else None


def _channels(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not value or not all(isinstance(one, int | float) for one in value):
        return None
    return tuple(float(one) for one in value)
