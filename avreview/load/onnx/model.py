"""An ONNX export as an Artifact."""

from __future__ import annotations

from avreview.artifact import Artifact, Provenance
from avreview.errors import ArtifactError
from avreview.load.collection import no_collection
from avreview.load.digest import Digest
from avreview.load.onnx.graph import Flattener
from avreview.load.onnx.messages import RawModel
from avreview.load.onnx.proto import ModelReader
from avreview.load.onnx.tensors import TensorReader
from avreview.load.source import Source


def open_onnx(source: Source) -> Artifact:
    """The artifact of an ONNX ModelProto. Raises ArtifactError when it is none or cannot be trusted."""
    with no_collection():
        return _open(source)


def _open(source: Source) -> Artifact:
    reader = ModelReader(source)
    model = reader.model()
    if model.graph is None or not (model.graph.nodes or model.graph.outputs):
        raise ArtifactError(source.path, "holds no ONNX graph", "check that it is an ONNX file and copied completely")
    tensors = TensorReader(source)
    graph = Flattener(source.path, model, reader, tensors).graph(model.graph)
    return Artifact(
        _provenance(source, model, tensors),
        {tensor.name: tensor for tensor in graph.constants.values()},
        graph,
        digests={file.path: Digest(file) for file in (source, *tensors.files)},
    )


def _provenance(source: Source, model: RawModel, tensors: TensorReader) -> Provenance:
    producer = f"{model.producer} {model.producer_version}".strip() or None
    return Provenance(
        path=source.path,
        format="onnx",
        bytes=source.size + sum(file.size for file in tensors.files),
        producer=producer,
        details={
            "ir_version": model.ir_version,
            "opset": model.opsets.get(""),
            "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
            "nodes": len(model.graph.nodes) if model.graph else 0,
            "functions": len(model.functions),
        },
        files=tuple(file.path for file in tensors.files),
    )
