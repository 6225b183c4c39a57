"""What the Trainer of transformers leaves beside the weights in a checkpoint's folder: optimizer, settings, progress.

Files: transformers/trainer.py, `_save_checkpoint`; accelerate's `save_state` calls the optimizer's `optimizer.bin`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from avreview.artifact import Artifact
from avreview.checkpoint import Checkpoint
from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.digest import note_file
from avreview.load.layouts.metadata import metadata, plain
from avreview.load.layouts.optimizer_state import holds_optimizers, read_optimizers, with_clean_names
from avreview.load.layouts.values import Budget
from avreview.load.pytorch.file import read_torch
from avreview.load.source import open_beside

_OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
_STATE = "trainer_state.json"
_SETTINGS = "training_args.bin"
_ROOM = 16  # bytes that a byte of JSON may take once it is read
_AGAIN = "write the checkpoint again"


def add_training_files(folder: str, artifact: Artifact, context: OpenContext) -> None:
    """Adds to a folder's artifact the optimizer's state (`optimizer.pt`) and what the Trainer wrote of its run.

    Files that are not there are left out. Raises ArtifactError for one that cannot be read.
    """
    if artifact.checkpoint is None:
        return
    found = training_files(folder)
    for name in found:
        if name == _STATE:
            _add_state(folder, artifact, context)
        else:
            _add_pickle(folder, name, artifact, context)
    if found:
        artifact.checkpoint = artifact.checkpoint._replace(layout="transformers")


def training_files(folder: str) -> list[str]:
    """The files of this kind that stand in a folder."""
    return [name for name in (*_OPTIMIZERS, _SETTINGS, _STATE) if _is_there(folder, name)]


def _is_there(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))


def _add_pickle(folder: str, name: str, artifact: Artifact, context: OpenContext) -> None:
    checkpoint = artifact.checkpoint or Checkpoint()
    source = open_beside(os.path.join(folder, name), name, "training state")
    if not source.size:
        raise ArtifactError(source.path, "is empty", _AGAIN)
    content = read_torch(source, context)
    budget = Budget(source.path)
    if name == _SETTINGS:
        settings = plain(content.value, budget)
        checkpoint = checkpoint._replace(metadata={**checkpoint.metadata, "training_args": settings})
    elif holds_optimizers(content.value):
        raw = checkpoint.sets.get("model") or next(iter(checkpoint.sets.values()))
        found = [with_clean_names(one, raw.prefix) for one in read_optimizers(content.value, name, budget)]
        checkpoint = checkpoint._replace(optimizers=(*checkpoint.optimizers, *found))
    else:
        artifact.limitations.append(f"{name} holds no optimizer's state")
    artifact.checkpoint = checkpoint._replace(
        code=(*checkpoint.code, *_of_file(content.code, name)), oddities=(*checkpoint.oddities, *content.oddities)
    )
    artifact.limitations.extend(content.limitations)
    note_file(artifact, source)


def _of_file(code: Sequence[Any], name: str) -> list[Any]:
    """The names of code with the file that they are in: `optimizer.pt/data.pkl`."""
    return [one._replace(file=f"{name}/{one.file}" if one.file else name) for one in code]


def _add_state(folder: str, artifact: Artifact, context: OpenContext) -> None:
    """The Trainer's progress. Its losses may be NaN, which JSON has not and Python reads and writes."""
    checkpoint = artifact.checkpoint or Checkpoint()
    source = open_beside(os.path.join(folder, _STATE), _STATE, "training state")
    if source.size > context.memory // _ROOM:
        raise ArtifactError(source.path, f"has {source.size:,} bytes, more than any such file", _AGAIN)
    try:
        state = json.loads(source.read(0, source.size))
    except (ValueError, RecursionError):
        raise ArtifactError(source.path, "is not JSON, or nests too deep", _AGAIN) from None
    note_file(artifact, source)
    said = metadata(state, Budget(source.path)) if isinstance(state, dict) else {}
    artifact.checkpoint = checkpoint._replace(metadata={**checkpoint.metadata, **said})
