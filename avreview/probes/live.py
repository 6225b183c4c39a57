"""The live module that `--reference` names, run by itself: what it does in training, no export can show.

It needs no export, so a checkpoint under review can have it beside it as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import NotAvailable, WrongKind, fact
from avreview.errors import ArtifactError
from avreview.probes.given import open_given
from avreview.probes.plan import InputPlan, PlannedInput
from avreview.probes.probing import Probing
from avreview.probes.request import ProbeRequest

_NOTHING = InputPlan([[]], None, 0)  # leaves the inputs to the factory's example
_GIVEN = "given"


class LiveModel(NamedTuple):
    """Starts probes of the module. `plan` are the inputs that an export or `--inputs` tells, or none."""

    probing: Probing
    plan: InputPlan

    def run(self, probe: str, **options: Any) -> Mapping[str, Any]:
        """What the child's `probe` measured. Raises NotAvailable, with what to supply, where it came to nothing."""
        self.probing.require(probe)
        reference = self.probing.request.reference
        if not reference:
            raise NotAvailable("needs the source model; pass --reference with pkg.module:factory")
        return self.probing.run(
            probe, self.plan, user_code=not os.path.exists(reference), export=False, reference=reference, **options
        )


@fact
def live_model(artifact: Artifact, request: ProbeRequest, probing: Probing | None, plan: InputPlan | None) -> LiveModel:
    """The module beside any artifact; the engine's further views of the same subject have no request of their own."""
    if not request.probes:
        raise WrongKind("needs the model to be run; pass --probe with --reference")
    if plan is None and request.inputs is not None:
        plan = _given(artifact, request)
    plan = plan or _NOTHING._replace(seed=request.seed)
    return LiveModel(probing or Probing(artifact.provenance.path, request), plan)


def _given(artifact: Artifact, request: ProbeRequest) -> InputPlan:
    """The given arrays in the order of their file, which the module takes as they are."""
    assert request.inputs is not None
    if artifact.graph is not None:
        raise NotAvailable("needs other inputs: those given with --inputs are not the export's")
    try:
        arrays = open_given(request.inputs).arrays
    except ArtifactError as error:
        raise NotAvailable(str(error)) from None
    planned = [
        PlannedInput(name, array.header.dtype, array.header.shape, _GIVEN, 0 if array.header.shape else None)
        for name, array in arrays.items()
    ]
    return InputPlan([planned], None, request.seed, request.inputs)
