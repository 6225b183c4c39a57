"""Recipes of albumentations and AlbumentationsX: what `A.save` writes, as JSON or YAML, also within a larger YAML.

A file of its own is a training pipeline, unless its name speaks of validation or test; within a larger file the keys
around a pipeline tell. Without `bbox_params` boxes are left as they are, without `keypoint_params` keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from avreview.recipe.albumentations.transforms import DEFAULTS, LIBRARY
from avreview.recipe.files import RecipeError
from avreview.recipe.image_steps import Call, Steps
from avreview.recipe.model import InputNormalization, Pipeline, Recipe, Setting, Step, Unread, Upon
from avreview.recipe.placed import Placed, placed
from avreview.recipe.roles import role_of

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate
    from avreview.recipe.files import RecipeFiles

_CLASS = "__class_fullname__"
_PARAMS = {"bbox_params": Upon.BOXES_2D, "keypoint_params": Upon.KEYPOINTS}
_TARGETS = {"mask": Upon.MASKS, "masks": Upon.MASKS, "bboxes": Upon.BOXES_2D, "keypoints": Upon.KEYPOINTS}
_HELD = frozenset((_CLASS, "transforms", "bbox_params", "keypoint_params", "additional_targets"))


def recognises(candidate: Candidate) -> bool:
    """Whether a pipeline is written anywhere in it."""
    return _CLASS in candidate.text and any(_compositions(placed(candidate.document)))


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    """The pipelines of a file. Raises RecipeError for one that holds none."""
    found = _Found()
    for keys, node in _compositions(placed(candidate.document)):
        role = next((role for role in map(role_of, reversed(keys)) if role is not None), None)
        is_whole_file = not [key for key in keys if key != "transform"]
        if role is None and is_whole_file:
            role = role_of(candidate.name) or "train"
        found.take(node, keys, role)
    if not found.pipelines and not found.unread:
        raise RecipeError(candidate.path, None, "holds no pipeline of albumentations", "save one with A.save")
    return Recipe(
        candidate.path,
        "albumentations",
        dict(files.digests),
        found.unread,
        found.pipelines,
        sensors={"camera": Setting(True, found.pipelines[0].at)} if found.pipelines else {},
        labels=found.labels,
        normalization=found.normalization,
    )


@dataclass
class _Found:
    """What the pipelines of a file say."""

    pipelines: list[Pipeline] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    labels: dict[str, Setting] = field(default_factory=dict)
    normalization: list[InputNormalization] = field(default_factory=list)

    def take(self, node: Placed, keys: tuple[str, ...], role: str | None) -> None:
        if role is None:
            self.unread.append(
                Unread(".".join(keys), "is a pipeline whose keys do not say whether it trains or tests", node.at)
            )
            return
        self._labels(node)
        steps = Steps(LIBRARY, frozenset(upon for name, upon in _PARAMS.items() if node.get(name) is None))
        steps.add(call_of(node))
        self.unread += [*steps.unread, *_not_members(node)]
        self.pipelines.append(Pipeline(role, steps.found, node.at))
        self.normalization += normalizations(steps.found)

    def _labels(self, node: Placed) -> None:
        for name, upon in _PARAMS.items():
            if (stated := node.get(name)) is not None:
                self.labels.setdefault(upon.value, Setting(True, stated.at))
        targets = node.get("additional_targets")
        for target in targets.entries().values() if targets is not None else ():
            if isinstance(target.value, str) and target.value in _TARGETS:
                self.labels.setdefault(_TARGETS[target.value].value, Setting(True, target.at))


def _compositions(node: Placed, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Placed]]:
    """The outermost transforms of a file, with the keys that lead to them."""
    name = node.get(_CLASS)
    if name is not None and isinstance(name.value, str):
        yield keys, node
    elif node.is_list:
        for place, entry in enumerate(node.value):
            yield from _compositions(entry, (*keys, str(place)))
    else:
        for key, entry in node.entries().items():
            yield from _compositions(entry, (*keys, key))


def call_of(node: Placed) -> Call:
    """A transform with all that is in it. `config.document` bounds the depth."""
    stated = node.get(_CLASS)
    written = str(stated.value) if stated is not None else "?"
    children = node.get("transforms")
    held = children.value if children is not None and children.is_list else []
    options = {key: entry.plain() for key, entry in node.entries().items() if key not in _HELD}
    name = written.rpartition(".")[2]
    options = {**DEFAULTS.get(name, {}), **options}
    return Call(name, node.at, options, [call_of(child) for child in held if child.is_mapping])


def _not_members(node: Placed) -> Iterator[Unread]:
    """What stands where transforms belong, and is none."""
    children = node.get("transforms")
    if children is None:
        return
    if not children.is_list:
        yield Unread(children.name, "is no list of transforms", children.at)
        return
    for child in children.value:
        if child.is_mapping:
            yield from _not_members(child)
        else:
            yield Unread(child.name, "is no transform", child.at)


def normalizations(steps: list[Step]) -> Iterator[InputNormalization]:
    """What the last Normalize of a pipeline does, with the size that the image has there; ToFloat without one."""
    size: tuple[int, int] | None = None
    found: InputNormalization | None = None
    for step in steps:
        size = _size(step) or size
        if step.name == "Normalize" and step.options.get("normalization", "standard") == "standard":
            found = _normalize(step, size)
        elif step.name == "ToFloat" and _is_positive(step.options.get("max_value")):
            scale = 1 / float(step.options["max_value"])
            found = InputNormalization((0.0,) * 3, (1.0,) * 3, scale, None, size, step.at, inside_network=False)
    if found is not None:
        yield found._replace(size=size)


def _normalize(step: Step, size: tuple[int, int] | None) -> InputNormalization:
    largest = step.options.get("max_pixel_value")
    scale = 1 / float(largest) if largest is not None and _is_positive(largest) else None
    mean, std = (_triple(step.options.get(name)) for name in ("mean", "std"))
    return InputNormalization(mean, std, scale, None, size, step.at, inside_network=False)


def _triple(value: Any) -> tuple[float, ...] | None:
    values = value if isinstance(value, list | tuple) else [value]
    if not 0 < len(values) <= 64 or not all(isinstance(one, int | float) for one in values):
        return None
    return tuple(float(one) for one in values)


def _size(step: Step) -> tuple[int, int] | None:
    """Height and width of what comes out of a step that sets both."""
    options: Mapping[str, Any] = step.options
    pair: Any = options.get("size")
    if step.name in ("Resize", "RandomCrop", "CenterCrop", "RandomSizedCrop", "RandomResizedCrop", "LetterBox"):
        pair = pair if pair is not None else (options.get("height"), options.get("width"))
    whole = isinstance(pair, list | tuple) and len(pair) == 2 and all(type(side) is int for side in pair)
    certain = step.amounts["probability"].low >= 1 if "probability" in step.amounts else False
    return (int(pair[0]), int(pair[1])) if whole and certain else None


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
