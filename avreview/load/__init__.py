"""Files in, artifacts out. No code from a file is run, and no byte is read outside the model's own folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from avreview.load.context import MEMORY

if TYPE_CHECKING:
    from avreview.artifact import Artifact


def open_artifact(path: str | os.PathLike[str], *, weights: str | None = None, memory: int = MEMORY) -> Artifact:
    """The artifact in the file or folder at `path`, recognised by its bytes.

    `weights` names the weight set of a checkpoint that is wanted, in the place of its primary one; `memory` is how
    many bytes a checkpoint's structure may take while it is read. Raises ArtifactError, whose text is one clear
    line, when the artifact cannot be reviewed.
    """
    from avreview.errors import ArtifactError
    from avreview.load.context import OpenContext
    from avreview.load.sniff import foreign, is_checkpoint, looks_like_json
    from avreview.load.source import open_source

    context = OpenContext(weights, memory)
    if os.path.isdir(path):
        from avreview.load.pytorch.checkpoint_file import open_folder

        return open_folder(os.fspath(path), context)
    source = open_source(os.fspath(path))
    if not source.size:
        raise ArtifactError(source.path, "is empty", "export the model again")
    head = source.read(0, 512)
    if found := foreign(head):
        what, remedy = found
        raise ArtifactError(source.path, f"is {what}, not a model", remedy)
    if is_checkpoint(head) or looks_like_json(head):
        from avreview.load.pytorch import checkpoint_file

        opener = checkpoint_file.open_checkpoint if is_checkpoint(head) else checkpoint_file.open_json
        return opener(source, context)
    from avreview.load.onnx.model import open_onnx

    if weights is not None:
        raise ArtifactError(source.path, "is an ONNX export, which has one set of weights", "leave --weights out")
    return open_onnx(source)
