"""A file of weights by itself, whichever of its forms it has."""

from __future__ import annotations

from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.pytorch.reader import TorchFile
from avreview.load.sniff import is_zip, looks_like_safetensors
from avreview.load.source import Source

_HEAD = 16  # bytes that tell the forms apart


def read_weights(source: Source, context: OpenContext) -> TorchFile:
    """The weights of a file by name, or whatever else torch or pickle wrote there. Raises ArtifactError."""
    if not looks_like_safetensors(source.read(0, _HEAD)):
        return read_torch(source, context)
    from avreview.load.pytorch.safetensors_file import read_safetensors

    found = read_safetensors(source, context)
    return TorchFile(dict(found.tensors), "safetensors", details={"metadata": dict(found.metadata)})


def read_torch(source: Source, context: OpenContext, depth: int = 0) -> TorchFile:
    """What `torch.load` would give. Raises ArtifactError when the file cannot be read, or holds something else."""
    if not source.size:
        raise ArtifactError(source.path, "is empty", "copy the file again")
    if is_zip(source.read(0, _HEAD)):
        from avreview.load.pytorch.zip_file import read_torch_zip
        from avreview.load.zip_archive import ZipArchive

        return read_torch_zip(source, ZipArchive(source), context, depth)
    from avreview.load.pytorch.legacy import read_torch_legacy

    return read_torch_legacy(source, context, depth)
