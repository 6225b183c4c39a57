"""The parameters of the model that a recipe trains, by the names that its rules go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.checkpoint import WeightSet
from avreview.engine.resolve import NotAvailable, fact
from avreview.engine.review import Location
from avreview.facts import optimizer_roles as roles
from avreview.facts.layers import Layers
from avreview.facts.optimizer_candidates import candidates, trained_set
from avreview.facts.subject import Companions


class NamedParameter(NamedTuple):
    """A parameter by its name in the model; `role` is one of `facts.optimizer_roles`."""

    name: str
    module: str
    role: str
    size: int
    at: Location


class NamedParameters(NamedTuple):
    """Parameters that learn. `is_whole` is False where some may have lost their names: in an export."""

    all: Sequence[NamedParameter]
    is_whole: bool

    def of(self, *kinds: str) -> list[NamedParameter]:
        return [parameter for parameter in self.all if parameter.role in kinds]


@fact
def named_parameters(artifact: Artifact, companions: Companions, layers: Layers | None) -> NamedParameters:
    """Those of the checkpoint, also of the one beside an export; without any those that the export still names.

    What the checkpoint's module tree marks as frozen is left out. Of an export so are the biases of layers into which
    a norm was folded: there they are no parameter's.
    """
    source = companions.checkpoint or artifact
    path = source.provenance.path
    checkpoint = source.checkpoint
    folded: set[str | None] = set()
    if checkpoint is not None:
        weights = trained_set(checkpoint) or WeightSet("", "", source.tensors)
        found = candidates(weights, checkpoint.modules)
    else:
        named = {name: tensor for name, tensor in source.tensors.items() if "." in name and "::" not in name}
        found = candidates(WeightSet("", "", named), None)
        folded = {layer.module for layer in layers.all if layer.folded_norm} if layers is not None else set()
    parameters = [
        NamedParameter(
            entry.name, entry.module, entry.role, entry.tensor.size,
            Location(path, module=entry.module or None, tensor=entry.tensor.name),
        )
        for entry in found
        if not entry.is_passive and not (entry.role == roles.BIAS and entry.module in folded)
    ]  # fmt: skip
    if not parameters:
        raise NotAvailable("needs a model that names its parameters; pass the checkpoint with --checkpoint")
    return NamedParameters(parameters, is_whole=checkpoint is not None)
