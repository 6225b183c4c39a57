"""The two artifacts of a comparison, and what is known of each."""

from __future__ import annotations

from typing import Any, TypeVar

from avreview.artifact import Artifact, Graph
from avreview.engine.resolve import NotApplicable, NotAvailable, Resolver
from avreview.facts.drawing import NAMES, Drawing
from avreview.facts.layers import Layers
from avreview.facts.modality import StatedModality
from avreview.facts.norms import NormLayers
from avreview.facts.randomness import Randomness
from avreview.facts.subject import Companions
from avreview.facts.weights import Constants

T = TypeVar("T")


class Side:
    """One artifact with its facts, each computed when it is first asked for."""

    def __init__(self, artifact: Artifact) -> None:
        given: dict[type, Any] = {
            Artifact: artifact, Companions: Companions(), StatedModality: StatedModality(None),
        }  # fmt: skip
        self.artifact = artifact
        self.resolver = Resolver(given)

    @property
    def is_onnx(self) -> bool:
        return self.artifact.provenance.format == "onnx"

    @property
    def graph(self) -> Graph | None:
        """The model's own graph: not one drawn from a module tree."""
        return self.artifact.graph

    @property
    def drawing(self) -> Drawing:
        return self.resolver.get(Drawing)

    @property
    def constants(self) -> Constants:
        return self.resolver.get(Constants)

    @property
    def layers(self) -> Layers:
        return self.resolver.get(Layers)

    @property
    def norms(self) -> NormLayers:
        return self.resolver.get(NormLayers)

    @property
    def randomness(self) -> Randomness:
        return self.resolver.get(Randomness)

    @property
    def only_names(self) -> bool:
        """Whether names and numbers are all there is: a state dict."""
        drawing = self.had(Drawing)
        return drawing is None or drawing.shows == NAMES

    def had(self, kind: type[T]) -> T | None:
        """A fact, or None where it cannot be had."""
        try:
            return self.resolver.get(kind)
        except (NotAvailable, NotApplicable):
            return None
