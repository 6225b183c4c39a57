"""Where in a recipe something is said: as a finding's location, and in words."""

from __future__ import annotations

import os

from avreview.engine.review import Location
from avreview.load.wording import one_line
from avreview.recipe.model import Place, Recipe

_LONGEST = 60


def location(at: Place, entity: str) -> Location:
    """A place in the recipe. `entity` is a dotted path that stays the same when other lines are edited."""
    return Location(artifact=at.file, module=entity, line=at.line)


def said_at(at: Place, recipe: Recipe) -> str:
    """`line 12` of the recipe itself, `base.py:12` of another file that it takes in, `the recipe` without lines."""
    name = one_line(os.path.basename(at.file), _LONGEST)
    if at.line is None:
        return "the recipe" if at.file == recipe.path else name
    return f"line {at.line}" if at.file == recipe.path else f"{name}:{at.line}"
