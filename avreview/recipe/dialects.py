"""The dialects that recipes are written in, in the order in which they are tried.

A dialect is a module of this package with two functions:

- `recognises(candidate) -> bool` says from a glance whether a file is written in it;
- `read(candidate, files) -> Recipe` reads it, taking further files (bases, parents) through `files`. It raises
  RecipeError (or ArtifactError) for what cannot be read at all, and lists in `Recipe.unread` what it left out.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from avreview.recipe.files import RecipeError, RecipeFiles, plain_document
from avreview.recipe.model import Recipe

TEXTS = ("plain", "albumentations", "huggingface", "ultralytics", "openpcdet", "bevfusion")  # YAML or JSON
CODE = ("mmengine", "torchvision")  # Python, which is read and never run
BINARY = ("huggingface",)  # training_args.bin


class Candidate:
    """A file that may be a recipe: its bytes, its text, and for YAML and JSON its data."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.content = content

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.path)[1].lower()

    @property
    def is_binary(self) -> bool:
        return b"\0" in self.content[:4096]

    @cached_property
    def text(self) -> str:
        return RecipeFiles.decode(self.path, self.content)

    @cached_property
    def document(self) -> Any:
        """The YAML or JSON document (`config.document.Document`): `.data` and `.marks`. Raises RecipeError."""
        return plain_document(self.path, self.text)

    @property
    def data(self) -> Any:
        return self.document.data


def open_recipe(path: str) -> Recipe:
    """The recipe in a file, in whatever dialect. Runs nothing of it. Raises ArtifactError."""
    files = RecipeFiles()
    candidate = Candidate(path, files.content(path))
    if not candidate.content.strip():
        raise RecipeError(path, None, "is empty", "pass the file with the training settings")
    tried: Sequence[str] = BINARY if candidate.is_binary else CODE if candidate.suffix == ".py" else TEXTS
    for name in tried:
        dialect = importlib.import_module(f"avreview.recipe.{name}")
        if dialect.recognises(candidate):
            recipe: Recipe = dialect.read(candidate, files)
            return recipe
    raise RecipeError(
        path, None, "is written as no recipe that is known here",
        "see docs/recipes.md for those that are, and for avreview's own plain form",
    )  # fmt: skip
