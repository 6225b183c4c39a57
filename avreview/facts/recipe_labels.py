"""The labels that belong to the data a pipeline loads, and what of the model a recipe tells."""

from __future__ import annotations

from avreview.facts.recipe_steps import Walk
from avreview.recipe.model import Does, Place, Recipe, Setting, Upon


def carried(recipe: Recipe, walk: Walk) -> frozenset[Upon]:
    """What the recipe states among its labels, and what the pipeline's own loading steps read.

    A key that a step collects says that the label is handed on if it is there, not that anything loads it: it counts
    only where a step that nobody knows may do so.
    """
    known = all(placed.step.is_known for placed in walk.all)
    collecting = {placed.step.at for placed in walk.that(Does.COLLECT)} if known else set()
    settings = {kind: recipe.labels.get(kind.value) for kind in Upon}
    stated = {kind for kind, setting in settings.items() if _is_stated(setting, collecting)}
    for placed in walk.that(Does.LOAD):
        stated |= placed.step.upon
    return frozenset(stated)


def _is_stated(setting: Setting | None, collecting: set[Place]) -> bool:
    return setting is not None and bool(setting.value) and setting.at not in collecting


def predicts_velocity(recipe: Recipe) -> bool | None:
    """Whether the model predicts velocity; None where the recipe does not tell."""
    return None if recipe.velocity is None else bool(recipe.velocity.value)


def encoded_camera(recipe: Recipe) -> Setting | None:
    """Where the recipe says that the model encodes cameras; None where it has none, or does not tell."""
    camera = recipe.sensors.get("camera")
    return camera if camera is not None and camera.value else None


def loads_images(walk: Walk) -> bool:
    return any(Upon.IMAGE in placed.step.upon for placed in walk.that(Does.LOAD))
