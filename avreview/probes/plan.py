"""What a model is run on: inputs made from the declared shapes and types, or those that were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from avreview.artifact import Artifact, ValueInfo
from avreview.engine.resolve import NotAvailable, fact
from avreview.facts.graphs import the_graph
from avreview.probes.request import ProbeRequest


class PlannedInput(NamedTuple):
    """One input array.

    `shape` holds the extents of one sample: 1 along a free `batch_axis`, or the fixed batch that the model declares.
    `kind` says what it is made to look like; integers are drawn from `low` (included) to `high` (excluded).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str
    batch_axis: int | None = None
    low: int = 0
    high: int = 2


class InputPlan(NamedTuple):
    """How the inputs of all probes are made.

    `attempts` are alternatives for extents that the file leaves open: the first that the model accepts is used.
    `batch` is the size of a batch that the file fixes; None where it is free. `given` is the file or folder whose
    arrays are used instead.
    """

    attempts: Sequence[Sequence[PlannedInput]]
    batch: int | None
    seed: int
    given: str | None = None

    @property
    def has_batch(self) -> bool:
        """True where some input has an axis that counts samples."""
        return any(entry.batch_axis is not None for entry in self.attempts[0])

    def as_json(self) -> dict[str, Any]:
        """The plan as the child reads it."""
        attempts = [[entry._asdict() for entry in attempt] for attempt in self.attempts]
        return {"attempts": attempts, "batch": self.batch, "seed": self.seed, "given": self.given}


@fact
def input_plan(artifact: Artifact, request: ProbeRequest) -> InputPlan:
    """The inputs of an ONNX export. Raises NotAvailable for one that cannot be made up, with what to supply."""
    graph = the_graph(artifact)
    planned = [_planned(info) for info in graph.inputs]
    fixed = [info.dims[0] for info in graph.inputs if info.dims and isinstance(info.dims[0], int) and info.dims[0] > 0]
    return InputPlan([planned], fixed[0] if fixed else None, request.seed, request.inputs)


def _planned(info: ValueInfo) -> PlannedInput:
    if info.dtype is None or info.dims is None or info.dtype == "string":
        raise NotAvailable(f"the input {info.name!r} cannot be made up; pass --inputs with an array of that name")
    free = [extent if isinstance(extent, int) and extent > 0 else (1 if not place else 64)
            for place, extent in enumerate(info.dims)]  # fmt: skip
    return PlannedInput(info.name, info.dtype, tuple(free), "image" if len(free) == 4 else "features", 0)
