"""What the tests of the YAML dialects share: files in a folder, and a recipe read from them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avreview.errors import ArtifactError
from avreview.recipe.dialects import open_recipe
from avreview.recipe.model import Amount, Pipeline, Recipe, Step

_VALUES = ("null", "[]", "{}", "x", "-1", "1e400", "[[1]]", "true", "*x", "&x y", "${x}")


def written(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes files by their paths in a folder. Returns the path of the last."""
    path = folder
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path


def opened(folder: Path, files: Mapping[str, str]) -> Recipe:
    """The recipe in the last of some files."""
    return open_recipe(str(written(folder, files)))


def refusal(path: Path) -> str:
    """Why a file is refused; "" where it is read."""
    try:
        open_recipe(str(path))
    except ArtifactError as error:
        return str(error)
    return ""


def pipeline(recipe: Recipe, role: str) -> Pipeline:
    (found,) = recipe.pipeline(role)
    return found


def step(recipe: Recipe, name: str, role: str = "train") -> Step:
    (found,) = [step for step in pipeline(recipe, role).steps if step.name == name]
    return found


def share(value: float) -> Amount:
    return Amount(value, value, "share")


def where(folder: Path, setting: Any) -> tuple[str, int | None]:
    """File (in the folder) and line of anything that has a place."""
    return str(Path(setting.at.file).resolve().relative_to(folder.resolve())), setting.at.line


def mutated(text: str, seed: int) -> str:
    """A text after a few random edits: characters and lines left out, doubled, swapped, moved in or replaced."""
    draw = random.Random(seed)
    lines = text.splitlines()
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(lines))
        line = lines[place]
        cut = draw.randrange(len(line) + 1)
        lines[place] = draw.choice(
            (
                line[:cut] + line[cut + 1 :],
                line[:cut] + draw.choice("[]{}:,-&*!|>'\"%@`#?\t0\u202e") + line[cut:],
                line[: line.find(":") + 1] + " " + draw.choice(_VALUES),
                "  " + line,
                line.lstrip(),
                line + "\n" + lines[draw.randrange(len(lines))],
            )
        )
    return "\n".join(lines)
