"""The recipe that nobody named: the one that a checkpoint holds, or that its trainer wrote beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from avreview.errors import ArtifactError

if TYPE_CHECKING:
    from avreview.artifact import Artifact
    from avreview.recipe.model import Recipe


def found_recipe(artifacts: Sequence[Artifact]) -> tuple[Recipe | None, str | None]:
    """The first recipe in one of the artifacts or beside it; and a sentence about one that could not be read.

    What lies beside a model was not named by anyone: where it cannot be read, the review goes on without it.
    """
    trouble = None
    for artifact in artifacts:
        try:
            recipe = _of(artifact)
        except ArtifactError as error:  # noqa: PERF203 - each artifact by itself
            trouble = trouble or f"A recipe was found with the model and could not be read: {error}."
        else:
            if recipe is not None:
                return recipe, None
    return None, trouble


def _of(artifact: Artifact) -> Recipe | None:
    """The recipe in an artifact, or else the one beside it. Raises ArtifactError."""
    from avreview.recipe.beside import recipe_beside

    if artifact.checkpoint is not None and artifact.checkpoint.metadata:
        from avreview.recipe.inside import recipe_inside

        inside = recipe_inside(artifact)
        if inside is not None:
            return inside
    path = recipe_beside(artifact.provenance.path)
    if path is None:
        return None
    from avreview.recipe.dialects import open_recipe

    return open_recipe(path)
