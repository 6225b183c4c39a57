"""Finding the configuration that holds in a folder. A module of its own: most reviews find none, and read no more."""

from __future__ import annotations

from pathlib import Path

FILE = "avreview.yaml"
PYPROJECT = "pyproject.toml"


def nearest(start: Path) -> Path | None:
    """The nearest configuration at or above a folder, not above the root of its repository."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder / FILE
        if (folder / PYPROJECT).is_file() and _configures(folder / PYPROJECT):
            return folder / PYPROJECT
        if (folder / ".git").exists():
            break
    return None


def _configures(path: Path) -> bool:
    """Whether a pyproject.toml has the table [tool.avreview]."""
    from avreview.config.pyproject import read_pyproject

    return read_pyproject(path) is not None
