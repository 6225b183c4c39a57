"""The data set's YAML that a recipe of ultralytics names, where it stands beside the recipe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from avreview.recipe.files import RecipeError, RecipeFiles, plain_document
from avreview.recipe.folder import is_plain_file
from avreview.recipe.model import Place
from avreview.recipe.placed import Notes, Placed, placed

_LISTS = (".txt", ".csv", ".json")  # a split that is a folder lists nothing


class DataSet(NamedTuple):
    """What a data set's file says. `swaps_keypoints` tells whether it has a `flip_idx`."""

    is_read: bool = False
    classes: Sequence[str] | None = None
    classes_at: Place | None = None
    swaps_keypoints: bool = False
    lists: Sequence[tuple[str, str, Place]] = ()


def data_set(named: Placed | None, recipe: str, files: RecipeFiles, notes: Notes) -> DataSet:
    """The file that `data` names, if one of that name is in the recipe's own folder; notes why it was not read."""
    if named is None or not isinstance(named.value, str):
        return DataSet()
    folder = os.path.dirname(recipe)
    name = os.path.basename(named.value.replace("\\", "/"))
    if not name.endswith((".yaml", ".yml")):
        notes.add("data", "is not a file beside the recipe: the classes are not known", named.at)
        return DataSet()
    if not is_plain_file(folder, name):
        notes.add("data", "is not beside the recipe: classes and splits are not known", named.at)
        return DataSet()
    path = os.path.join(folder, name)
    try:
        root = placed(plain_document(path, files.read(path)))
    except RecipeError as error:
        notes.add("data", f"cannot be read ({error.wrong})", named.at)
        return DataSet()
    names = root.get("names")
    classes = _classes(names)
    base = root.get("path")
    prefix = base.value if base is not None and isinstance(base.value, str) else ""
    lists = [
        (role, os.path.join(prefix, entry.value), entry.at)
        for role in ("train", "val", "test")
        if (node := root.get(role)) is not None
        for entry in node.items()
        if isinstance(entry.value, str) and entry.value.endswith(_LISTS)
    ]
    at = names.at if names is not None and classes else None
    return DataSet(True, classes, at, bool(_items(root.get("flip_idx"))), lists)


def _classes(names: Placed | None) -> list[str] | None:
    """Class names, as a list or by number."""
    if names is None:
        return None
    values = [entry.value for entry in (names.entries().values() if names.is_mapping else names.items())]
    return [str(value) for value in values] if values else None


def _items(node: Placed | None) -> list[Placed]:
    return [] if node is None else node.items()
