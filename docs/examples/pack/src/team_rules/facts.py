"""What our rules want to know of a model and avreview does not tell by itself."""

from __future__ import annotations

from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import NotApplicable, fact
from avreview.facts.graphs import the_graph


class StandardOpset(NamedTuple):
    """The version of the standard's operators that an export declares, and the export's path."""

    artifact: str
    version: int


@fact
def standard_opset(artifact: Artifact) -> StandardOpset:
    """Raises NotAvailable for what is no export, NotApplicable for one without operators of the standard."""
    version = the_graph(artifact).opsets.get("")
    if version is None:
        raise NotApplicable("no operators of the ONNX standard")
    return StandardOpset(artifact.provenance.path, version)
