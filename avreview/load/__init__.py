"""Files in, artifacts out. No code from a file is run, and no byte is read outside the model's own folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avreview.artifact import Artifact


MEMORY = 1 << 30  # bytes that loading one file may take, unless a person says otherwise


def open_artifact(path: str | os.PathLike[str], *, weights: str | None = None, memory: int = MEMORY) -> Artifact:
    """The artifact in the file at `path`, recognised by its bytes.

    Raises ArtifactError, whose text is one clear line, when the file cannot be reviewed.
    """
    from avreview.errors import ArtifactError
    from avreview.load.onnx_model import open_onnx
    from avreview.load.sniff import foreign
    from avreview.load.source import open_source

    source = open_source(os.fspath(path))
    if not source.size:
        raise ArtifactError(source.path, "is empty", "export the model again")
    if found := foreign(source.read(0, 512)):
        what, remedy = found
        raise ArtifactError(source.path, f"is {what}, not an ONNX model", remedy)
    return open_onnx(source)
