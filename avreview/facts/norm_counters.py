"""How many batches each batch norm says that it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.subject import TrainingState

_COUNTER = "num_batches_tracked"


class NormCounters(NamedTuple):
    """The modules of the primary weight set by the count of their `num_batches_tracked`, ascending."""

    artifact: str
    groups: Mapping[int, Sequence[str]]


@fact
def norm_counters(artifact: Artifact, state: TrainingState) -> NormCounters:
    """Reads the counters. Raises NotApplicable without any, NotAvailable when they were all reset to 0."""
    groups: dict[int, list[str]] = {}
    for name, tensor in artifact.tensors.items():
        path, _, own = name.rpartition(".")
        if own == _COUNTER and tensor.size == 1:
            groups.setdefault(int(tensor.copy().reshape(-1)[0]), []).append(path)
    if not groups:
        raise NotApplicable("no norm counts its batches")
    if set(groups) == {0}:
        raise NotAvailable(
            "needs counted batches; all counters are 0, as averaging and exports leave them; pass raw weights"
        )
    return NormCounters(state.artifact, {number: groups[number] for number in sorted(groups)})
