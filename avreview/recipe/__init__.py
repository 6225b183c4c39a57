"""Training recipes, read without running them: dialects in, `model.Recipe` out."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`open_recipe`, imported when it is asked for: most reviews have no recipe."""
    if name == "open_recipe":
        from avreview.recipe.dialects import open_recipe

        return open_recipe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
