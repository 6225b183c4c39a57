"""The graph behind a review: the export's own, or one drawn from a checkpoint as far as that shows it.

A drawn value that nothing reads is one whose readers are not known. So what is found in a drawing is there, and what
is not found may be; `shows` tells a fact how far it may go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from avreview.artifact import Artifact, Graph
from avreview.checkpoint import Module
from avreview.engine.resolve import NotAvailable, WrongKind, fact

FLOW, MODULES, NAMES = "flow", "modules", "names"


class Drawing(NamedTuple):
    """A graph and how much of the model it shows.

    `flow`: every operator and the way of the data. `modules`: every module with its settings, the way of the data
    in parts. `names`: parameters alone, of which modules were guessed by name and shape.
    """

    graph: Graph
    shows: str
    has_forward: bool = True  # whether it was drawn from recorded forwards
    modules: Mapping[str, Module] = {}  # what it was drawn from, told or guessed

    @property
    def is_whole(self) -> bool:
        return self.shows == FLOW

    def require_flow(self) -> None:
        """Raises WrongKind where the way of the data is not known throughout."""
        if not self.is_whole:
            raise WrongKind("needs the way that data takes through the model; pass an ONNX export")

    def require_forward(self) -> None:
        """Raises WrongKind where no forward is known: who loads a pickled module sets its dropout's mode."""
        if not self.is_whole and not self.has_forward:
            raise WrongKind(
                "needs the model as it is deployed, an ONNX export or TorchScript; "
                "the mode that a whole module was saved in is judged by AV407"
            )

    def require_settings(self) -> None:
        """Raises WrongKind where parameters are all there is."""
        if self.shows == NAMES:
            raise WrongKind(
                "needs the modules' settings, which a state dict does not hold; pass an ONNX export or a whole module"
            )


@fact
def drawing(artifact: Artifact) -> Drawing:
    """The artifact's graph, or one drawn from its module tree, or else from its tensors' names."""
    if artifact.graph is not None:
        return Drawing(artifact.graph, FLOW)
    from avreview.facts.pencil import Pencil
    from avreview.facts.state_names import named_modules

    tree = artifact.checkpoint.modules if artifact.checkpoint is not None else None
    if tree:
        recorded = any(module.calls for module in tree.values())
        return Drawing(Pencil(tree, artifact.tensors).graph(), MODULES, recorded, tree)
    if not artifact.tensors:
        raise NotAvailable("needs a model with weights; pass an ONNX export or a checkpoint")
    guessed = named_modules(artifact.tensors)
    return Drawing(Pencil(guessed, artifact.tensors).graph(), NAMES, has_forward=False, modules=guessed)
