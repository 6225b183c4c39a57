"""mit-han-lab bevfusion's YAML: each folder's default.yaml below configs/ merged, `${…}` worked out."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from avreview.errors import ArtifactError
from avreview.recipe.bevfusion import settings
from avreview.recipe.bevfusion.interpolation import interpolated
from avreview.recipe.bevfusion.steps import pipelines
from avreview.recipe.files import RecipeError, RecipeFiles, plain_document
from avreview.recipe.model import Recipe
from avreview.recipe.placed import Notes, Placed, placed

if TYPE_CHECKING:
    from avreview.recipe.dialects import Candidate

DEFAULT = "default.yaml"
TOP = "configs"
_FOLDERS_UP = 12
_OF_A_RECIPE = {"train_pipeline", "augment2d", "augment3d", "gt_paste_stop_epoch", "max_epochs", "dataset_root"}
_OF_A_MODEL = {"encoders", "fuser", "decoder", "heads"}
_OWN_KEY = re.compile(rb"^(?:train_pipeline|augment3d|gt_paste_stop_epoch)[ \t]*:", re.MULTILINE)


def recognises(candidate: Candidate) -> bool:
    """A configuration with keys of bevfusion's own, or one whose defaults have them."""
    data = candidate.data
    if not isinstance(data, dict) or candidate.suffix not in (".yaml", ".yml"):
        return False
    model = data.get("model")
    if len(_OF_A_RECIPE & data.keys()) >= 2 or "train_pipeline" in data or "augment3d" in data:
        return True
    if isinstance(model, dict) and _OF_A_MODEL & model.keys():
        return True
    return any(_OWN_KEY.search(_content(path)) for path in _parents(candidate.path))


def _content(path: str) -> bytes:
    """A default's bytes; none of what cannot be read, which reading tells."""
    try:
        return RecipeFiles().content(path)
    except ArtifactError:
        return b""


def read(candidate: Candidate, files: RecipeFiles) -> Recipe:
    """Reads the recipe and the defaults of the folders above it. Raises RecipeError."""
    notes = Notes()
    root = interpolated(_merged(candidate, files), notes)
    sensors = settings.sensors(root, notes)
    found = pipelines(root, notes)
    velocity = settings.velocity(root)
    return Recipe(
        path=candidate.path,
        dialect="bevfusion",
        files=files.digests,
        pipelines=found,
        sensors=sensors,
        labels=settings.labels(root, velocity),
        classes=settings.classes(root, notes)[0],
        classes_at=settings.classes(root, notes)[1],
        velocity=velocity,
        sweeps=settings.sweeps(found, sensors),
        time_channel=settings.time_channel(found, sensors),
        normalization=settings.normalization(found, notes, root),
        optimizer=settings.optimizer(root, notes),
        schedule=notes.setting(root.get("lr_config", "policy"), "text"),
        epochs=notes.setting(root.get("runner", "max_epochs") or root.get("max_epochs"), "whole"),
        batch_size=notes.setting(root.get("data", "samples_per_gpu"), "whole"),
        accumulation=notes.setting(root.get("optimizer_config", "cumulative_iters"), "whole"),
        precision=settings.precision(root),
        sync_norm=settings.sync_norm(root),
        norms=settings.norms(root, notes),
        frozen=settings.frozen(root, notes),
        pretrained=settings.pretrained(root),
        dropouts=settings.dropouts(root, notes),
        splits=settings.splits(root),
        unread=notes.unread,
    )


def _parents(path: str) -> list[str]:
    """The default.yaml files that are merged below a file: from the folder `configs` above it down to its own.

    bevfusion takes those of every folder on the path it was given, which begins at `configs`. Without such a folder
    there are none: what a run wrote out is whole.
    """
    folder, found = os.path.dirname(os.path.abspath(path)), list[str]()
    folders = []
    for _ in range(_FOLDERS_UP):
        folders.append(folder)
        if os.path.basename(folder) == TOP:
            break
        folder = os.path.dirname(folder)
    else:
        folders = []
    for folder in folders:
        default = os.path.join(folder, DEFAULT)
        if os.path.isfile(default) and not os.path.samefile(default, path):
            found.append(os.path.relpath(default) if not os.path.isabs(path) else default)
    return found[::-1]


def _merged(candidate: Candidate, files: RecipeFiles) -> Placed:
    whole = placed(candidate.document)
    if not whole.is_mapping:
        raise RecipeError(candidate.path, 1, "is no mapping", "write the settings as one")
    below = Placed({}, whole.at)
    for path in _parents(candidate.path):
        parent = placed(plain_document(path, files.read(path)))
        if not parent.is_mapping and parent.value is not None:
            raise RecipeError(path, 1, "is no mapping, and a default of the recipe", "write its settings as one")
        below = _over(below, parent)
    return _over(below, whole)


def _over(below: Placed, above: Placed) -> Placed:
    """Mappings key by key; everything else takes the place of what was there."""
    found = dict(below.entries())
    for key, entry in above.entries().items():
        under = found.get(key)
        found[key] = _over(under, entry) if entry.is_mapping and under is not None and under.is_mapping else entry
    return Placed(found, above.at, above.name)
