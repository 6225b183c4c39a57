"""The mode a model was in when it was exported, as the exporter recorded it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Node
from avreview.engine.resolve import NotApplicable, fact
from avreview.facts.graphs import the_graph

_SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"
_FX_NODE = "pkg.torch.onnx.fx_node"
# "… target='neck.bn.running_mean' … BUFFER_MUTATION target='neck.bn.running_mean'"
_MUTATION = re.compile(r"BUFFER_MUTATION\s+target='([^']{1,400})'")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_TRAINING_OP = re.compile(r"\baten\._native_batch_norm_legit_functional\b")


class ExportMode(NamedTuple):
    """Traces of training mode in the exporter's record: mutated norm buffers, and nodes of training operators."""

    mutated: Sequence[str]
    nodes: Sequence[Node]

    @property
    def modules(self) -> list[str]:
        """The modules whose buffers the exported program updates."""
        return list(dict.fromkeys(name.rsplit(".", 1)[0] for name in self.mutated))


@fact
def export_mode(artifact: Artifact) -> ExportMode:
    """Reads the PyTorch 2 exporter's metadata. NotApplicable for a file that carries none."""
    graph = the_graph(artifact)
    signature = graph.metadata.get(_SIGNATURE)
    recorded = [node for node in graph.nodes if _FX_NODE in node.metadata]
    if signature is None and not recorded:
        raise NotApplicable("the exporter left no record of the mode (only PyTorch's dynamo exporter does)")
    mutated = [name for name in _MUTATION.findall(signature or "") if name.rsplit(".", 1)[-1] in _STATISTICS]
    nodes = [node for node in recorded if _TRAINING_OP.search(node.metadata[_FX_NODE])]
    return ExportMode(mutated, nodes)
