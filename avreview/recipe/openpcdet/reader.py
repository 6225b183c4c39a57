"""OpenPCDet's YAML: `_BASE_CONFIG_` merged as OpenPCDet merges it, DATA_CONFIG, MODEL, OPTIMIZATION and HOOK."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from avreview.load.wording import quoted
from avreview.recipe.files import RecipeError, RecipeFiles, plain_document
from avreview.recipe.model import Recipe
from avreview.recipe.openpcdet import settings
from avreview.recipe.openpcdet.steps import StepReader
from avreview.recipe.placed import Notes, Placed, placed

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate

BASE = "_BASE_CONFIG_"
_OF_A_MODEL = {"DATA_CONFIG", "OPTIMIZATION", "CLASS_NAMES"}
_OF_A_DATASET = {"DATA_AUGMENTOR", "DATA_PROCESSOR", "POINT_FEATURE_ENCODING", "POINT_CLOUD_RANGE"}
_FOLDERS_UP = 12
_MOST_BASES = 10


def recognises(candidate: Candidate) -> bool:
    """A configuration of a model, or one of a data set alone."""
    data = candidate.data
    if not isinstance(data, dict):
        return False
    return len(_OF_A_MODEL & data.keys()) >= 2 or len(_OF_A_DATASET & data.keys()) >= 2 or BASE in data


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    """Reads the recipe and its bases. Raises RecipeError for a base that is missing or leads back to itself."""
    notes = Notes()
    root = _Merger(candidate.path, files, notes).merged(placed(candidate.document))
    data = root.get("DATA_CONFIG") or root
    for name, node in (("DATA_CONFIG", data), ("MODEL", root.get("MODEL")), ("OPTIMIZATION", root.get("OPTIMIZATION"))):
        if node is not None and not node.is_mapping:
            raise RecipeError(node.at.file, node.at.line, f"{name} is no mapping", "write its settings below it")
    for key, node in root.entries().items():
        if key.startswith("DATA_CONFIG_") and node.is_mapping:
            notes.add(key, "is a further data set, which is not read", node.at)
    pipelines = StepReader(root, data, notes).pipelines()
    sensors = settings.sensors(root, data, notes)
    return Recipe(
        path=candidate.path,
        dialect="openpcdet",
        files=files.digests,
        pipelines=pipelines,
        sensors=sensors,
        labels=settings.labels(root, data, notes),
        classes=notes.texts(root.get("CLASS_NAMES")),
        classes_at=None if root.get("CLASS_NAMES") is None else root.value["CLASS_NAMES"].at,
        velocity=settings.velocity(root, data, notes),
        sweeps=settings.sweeps(data, notes),
        time_channel=settings.time_channel(data, notes),
        normalization=settings.normalization(data, notes),
        optimizer=settings.optimizer(root, notes),
        schedule=settings.schedule(root),
        epochs=notes.setting(root.get("OPTIMIZATION", "NUM_EPOCHS"), "whole"),
        batch_size=notes.setting(root.get("OPTIMIZATION", "BATCH_SIZE_PER_GPU"), "whole"),
        precision=settings.precision(root, notes),
        pretrained=settings.pretrained(root),
        dropouts=settings.dropouts(root, notes),
        splits=settings.splits(data, notes),
        unread=notes.unread,
    )


class _Merger:
    """Puts files together as merge_new_config in pcdet/config.py does.

    A `_BASE_CONFIG_` may stand at the root or in a mapping; the base's own keys are taken as they are (a base of a
    base is not read), and the mapping's are laid over them: mappings key by key, everything else whole.
    """

    def __init__(self, path: str, files: RecipeFiles, notes: Notes) -> None:
        self._path = path
        self._files = files
        self._notes = notes
        self._known: dict[str, Placed] = {}
        self._count = 0

    def merged(self, new: Placed) -> Placed:
        return self._over({}, new)

    def _over(self, below: dict[str, Placed], new: Placed) -> Placed:
        found = dict(below)
        base = new.get(BASE)
        if base is not None:
            found.update(self._base(base).value)
        for key, entry in new.entries().items():
            if key == BASE:
                continue
            under = found.get(key)
            if not entry.is_mapping:
                found[key] = entry
            elif under is not None and not under.is_mapping and under.value is not None:
                raise entry.error("is a mapping here and none in its base", "give both the same form")
            else:
                found[key] = self._over(dict(under.entries()) if under is not None else {}, entry)
        return Placed(found, new.at, new.name)

    def _base(self, node: Placed) -> Placed:
        self._count += 1
        if self._count > _MOST_BASES:
            raise node.error(f"is one base more than the {_MOST_BASES} a recipe may have", "merge some of them")
        if not isinstance(node.value, str):
            raise node.error("names no file", "give the path of the base, relative to OpenPCDet's tools folder")
        path = self._find(node, node.value)
        if path is None:
            raise node.error(
                f"{quoted(node.value)} is in none of the folders above the recipe",
                "put it where OpenPCDet finds it, relative to the tools folder",
            )
        if path not in self._known:
            document = plain_document(path, self._files.read(path))
            tree = placed(document)
            if not tree.is_mapping:
                raise RecipeError(path, 1, "is no mapping, and the base of a recipe", "write its settings as one")
            self._check_own_base(tree)
            self._known[path] = tree
        return self._known[path]

    def _find(self, node: Placed, name: str) -> str | None:
        """The file a base names: OpenPCDet runs in its tools folder, which is above the recipe or beside what is.

        The latter holds for the copy that training leaves in the folder of its outputs.
        """
        is_plain = name.endswith((".yaml", ".yml")) and not os.path.isabs(name) and "\0" not in name
        folder = os.path.dirname(node.at.file)
        for _ in range(_FOLDERS_UP if is_plain else 0):
            for tools in (folder, os.path.join(folder, "tools")):
                path = os.path.normpath(os.path.join(tools, name))
                if not os.path.isfile(path):
                    continue
                if os.path.realpath(path) == os.path.realpath(self._path):
                    raise node.error(f"{quoted(name)} leads back to the recipe itself", "name the base that is meant")
                return path
            if os.path.realpath(folder) == os.path.realpath(os.path.join(folder, os.pardir)):
                break
            folder = os.path.join(folder, os.pardir)
        return None

    def _check_own_base(self, tree: Placed) -> None:
        """A base may not lead back to the recipe; another base of its own is told and, as by OpenPCDet, not read."""
        for _, key, node in tree.walk():
            if key == BASE and isinstance(node.value, str):
                self._find(node, node.value)
                self._notes.add(node.name, "is the base of a base, which OpenPCDet does not read", node.at)
