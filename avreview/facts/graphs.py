"""The graph of an artifact, or the reason why there is none."""

from __future__ import annotations

from avreview.artifact import Artifact, Graph
from avreview.engine.resolve import WrongKind


def the_graph(artifact: Artifact) -> Graph:
    """The ONNX graph. Raises WrongKind for an artifact without one."""
    if artifact.graph is None:
        raise WrongKind("needs an ONNX export; pass one")
    return artifact.graph
