"""An ONNX export as an Artifact."""

from __future__ import annotations

from avreview.artifact import Artifact, Provenance
from avreview.errors import ArtifactError
from avreview.load.onnx_graph import Flattener
from avreview.load.onnx_proto import RawModel, read_model
from avreview.load.onnx_tensors import TensorReader
from avreview.load.source import Source
from avreview.load.wire import WireError


def open_onnx(source: Source) -> Artifact:
    """The artifact of an ONNX ModelProto. Raises ArtifactError when it is none or cannot be trusted."""
    buffer = source.map()
    try:
        model = read_model(buffer)
    except WireError as error:
        raise ArtifactError(
            source.path, f"is not a whole ONNX model ({error})", "check that it is an ONNX file and copied completely"
        ) from None
    if model.graph is None or not (model.graph.nodes or model.graph.outputs):
        raise ArtifactError(source.path, "holds no ONNX graph", "check that it is an ONNX file and copied completely")
    reader = TensorReader(source)
    graph = Flattener(source.path, model, reader).graph(model.graph, buffer)
    tensors = {tensor.name: tensor for tensor in graph.constants.values()}
    return Artifact(_provenance(source, model, reader), tensors, graph)


def _provenance(source: Source, model: RawModel, reader: TensorReader) -> Provenance:
    producer = f"{model.producer} {model.producer_version}".strip() or None
    return Provenance(
        path=source.path,
        format="onnx",
        bytes=source.size + sum(file.size for file in reader.files),
        producer=producer,
        details={
            "ir_version": model.ir_version,
            "opset": model.opsets.get(""),
            "opsets": dict(model.opsets),
            "nodes": len(model.graph.nodes) if model.graph else 0,
            "functions": len(model.functions),
        },
        files=tuple(file.path for file in reader.files),
    )
