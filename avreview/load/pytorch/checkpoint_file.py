"""A checkpoint as an Artifact, whatever container it comes in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from avreview.artifact import Artifact, Provenance
from avreview.errors import ArtifactError
from avreview.load.collection import no_collection
from avreview.load.context import OpenContext
from avreview.load.digest import Digest, note_file
from avreview.load.pytorch.file import read_weights
from avreview.load.pytorch.reader import TorchFile
from avreview.load.sniff import is_zip
from avreview.load.source import Source, open_beside
from avreview.load.wording import quoted
from avreview.load.zip_archive import ZipArchive

_CHECKPOINTS = "name a checkpoint, or the .onnx file itself"


def open_checkpoint(source: Source, context: OpenContext) -> Artifact:
    """The artifact of a file that `sniff.is_checkpoint` recognises. Raises ArtifactError when it cannot be read."""
    with no_collection():
        if is_zip(source.read(0, 4)):
            return _open_zip(source, context)
        return artifact(source.path, read_weights(source, context), [source], context)


def open_json(source: Source, context: OpenContext) -> Artifact:
    """The artifact of an index file and its shards. Raises ArtifactError for any other JSON file."""
    from avreview.load.pytorch.huggingface import is_index, read_index

    if not is_index(source):
        raise ArtifactError(source.path, "is a text file, not a model", _CHECKPOINTS)
    with no_collection():
        found = read_index(source, context)
        return artifact(source.path, found.content, found.files, context)


def open_folder(path: str, context: OpenContext) -> Artifact:
    """The artifact of a Hugging Face or a DCP folder. Raises ArtifactError for any other folder."""
    if os.path.isfile(os.path.join(path, ".metadata")):
        from avreview.load.pytorch.dcp import open_dcp

        return open_dcp(path, context)
    from avreview.load.pytorch.huggingface import weights_file

    name = weights_file(path)
    if name is None:
        wrong = "is a folder without the files of a Hugging Face model or of a distributed checkpoint"
        raise ArtifactError(path, wrong, "name a model file")
    with no_collection():
        return _open_huggingface(path, name, context)


def _open_huggingface(path: str, name: str, context: OpenContext) -> Artifact:
    """The artifact of a folder whose weights, or the index to them, are in the file `name`."""
    from avreview.load.layouts.metadata import plain
    from avreview.load.layouts.values import Budget
    from avreview.load.pytorch.huggingface import config, read_index
    from avreview.load.pytorch.training_files import add_training_files

    source = open_beside(os.path.join(path, name), name, "weights file")
    if name.endswith(".json"):
        content, files = read_index(source, context)
    else:
        content, files = read_weights(source, context), [source]
    details = {"weights": content.format, **content.details}
    found = artifact(path, content._replace(format="huggingface", details=details), files, context)
    settings, file = config(path)
    if file is not None:
        note_file(found, file)
    if settings and found.checkpoint is not None:
        metadata = {**found.checkpoint.metadata, "config": plain(settings, Budget(path))}
        found.checkpoint = found.checkpoint._replace(metadata=metadata)
        found.provenance = found.provenance._replace(producer=_producer(settings))
    add_training_files(path, found, context)
    return found


def _producer(settings: Mapping[str, Any]) -> str | None:
    """The library that wrote a folder's configuration, with its version."""
    for key, library in (("transformers_version", "transformers"), ("_diffusers_version", "diffusers")):
        if isinstance(settings.get(key), str):
            return f"{library} {settings[key]}"
    return None


def _open_zip(source: Source, context: OpenContext) -> Artifact:
    """Which of the programs that write zip archives wrote this one is told by its members."""
    archive = ZipArchive(source)
    names = archive.members.keys()
    inside = {name.removeprefix(archive.top) for name in names}
    if "serialized_exported_program.json" in names | inside or "archive_format" in inside:
        from avreview.load.programs.exported_program import open_exported_program

        return open_exported_program(source, archive, context)
    if "constants.pkl" in inside:
        from avreview.load.programs.torchscript import open_torchscript

        return open_torchscript(source, archive, context)
    if "data.pkl" in inside:
        from avreview.load.pytorch.zip_file import read_torch_zip

        return artifact(source.path, read_torch_zip(source, archive, context), [source], context)
    what, remedy = _other_zip(names)
    raise ArtifactError(source.path, f"is a zip archive{what}, not a checkpoint", remedy)


def _other_zip(names: Sequence[str] | Any) -> tuple[str, str]:
    """What else a zip archive may be, and what to do about it."""
    if names and all(name.endswith(".npy") for name in names):
        return " of numpy arrays", "save the arrays as a state_dict with torch.save, or as safetensors"
    if "model.weights.h5" in names:
        return " that Keras wrote", "export the model to ONNX with tf2onnx"
    if "MAR-INF/MANIFEST.json" in names:
        return " for TorchServe", "unpack it and name the checkpoint in it"
    if any("/.data/extern_modules" in name for name in names):
        return " of torch.package, in which code travels", "save the state_dict with torch.save"
    return " without torch's data.pkl", _CHECKPOINTS


def artifact(path: str, content: TorchFile, files: Sequence[Source], context: OpenContext) -> Artifact:
    """What a file holds, laid out. Raises ArtifactError when there are no weights in it, or no set as asked for."""
    from avreview.load.layouts.layout import lay_out

    try:
        layout = lay_out(content.value, path=path, weights=context.weights)
    except ArtifactError as error:
        raise _warned(error, content) from None
    checkpoint = layout.checkpoint._replace(code=tuple(content.code), oddities=tuple(content.oddities))
    details = {**content.details, "layout": checkpoint.layout, "tensors": len(layout.tensors)}
    return Artifact(
        _provenance(path, content.format, files, details),
        layout.tensors,
        checkpoint=checkpoint,
        limitations=[*content.limitations, *layout.limitations],
        digests={file.path: Digest(file) for file in files},
    )


def _warned(error: ArtifactError, content: TorchFile) -> ArtifactError:
    """The error, with the code that the file would run: without weights no rule will tell of it."""
    from avreview.load.pickles.names import judge

    unsafe = judge(content.code)
    if not unsafe:
        return error
    wrong = f"{error.wrong}, and loading it would call {quoted(unsafe[0].code.name)}"
    return ArtifactError(error.path, wrong, "do not load it")


def _provenance(path: str, form: str, files: Sequence[Source], details: Mapping[str, Any]) -> Provenance:
    return Provenance(
        path,
        form,
        sum(file.size for file in files),
        details=details,
        files=tuple(file.path for file in files if file.path != path),
    )
