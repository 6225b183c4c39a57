"""The precision that a graph computes in."""

from __future__ import annotations

from typing import NamedTuple

from avreview.artifact import Artifact, Graph
from avreview.engine.resolve import fact
from avreview.facts.graphs import the_graph
from avreview.probes.compared import FULL, HALF, QUANTIZED

_HALVES = frozenset({"float16", "bfloat16"})
_CAST_TO_HALF = frozenset({10, 16})  # TensorProto.FLOAT16, BFLOAT16
_QUANTIZED = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul",
    "QLinearConv", "MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DynamicQuantizeLSTM",
    "MatMulBnb4", "GatherBlockQuantized",
})  # fmt: skip


class Precision(NamedTuple):
    """`full`, `half` (fp16, bf16) or `quantized` (eight bits and fewer); `words` say by what."""

    kind: str
    words: str


@fact
def precision(artifact: Artifact) -> Precision:
    """The export's."""
    return precision_of(the_graph(artifact))


def precision_of(graph: Graph) -> Precision:
    """The lowest precision that weights are stored, or values computed, in."""
    operators = {node.op for node in graph.nodes} & _QUANTIZED
    if operators:
        return Precision(QUANTIZED, ", ".join(sorted(operators)[:2]))
    stored = {tensor.dtype for tensor in graph.constants.values()}
    if any(dtype.startswith("float8") for dtype in stored):
        return Precision(QUANTIZED, "float8")
    half = stored & _HALVES
    half |= {info.dtype for info in graph.inputs if info.dtype in _HALVES}
    if half:
        return Precision(HALF, ", ".join(sorted(filter(None, half))))
    if any(node.op == "Cast" and node.attributes.get("to") in _CAST_TO_HALF for node in graph.nodes):
        return Precision(HALF, "float16")
    return Precision(FULL, "float32")
