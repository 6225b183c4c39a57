"""What a model is run on: inputs made from the declared shapes and types, or those that were given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Artifact, Graph
from avreview.engine.resolve import NotAvailable, fact
from avreview.errors import ArtifactError
from avreview.facts.graphs import the_graph
from avreview.facts.shapes import Shapes
from avreview.facts.weights import Constants
from avreview.load.wording import quoted
from avreview.probes.plan_axes import Batch, batch_of
from avreview.probes.plan_declared import Declared, declared_inputs
from avreview.probes.plan_kinds import Kind, Kinds
from avreview.probes.plan_sizes import sizes_to_try
from avreview.probes.request import ProbeRequest

_MOST_ELEMENTS = 1 << 28  # of all inputs of one sample: 1 GiB of float32


class PlannedInput(NamedTuple):
    """One input array.

    `shape` holds the extents of one sample: 1 along a free `batch_axis`, or the fixed batch that the model declares.
    `kind` says what it is made to look like; integers are drawn from `low` (included) to `high` (excluded); where
    there is a `value` every element is that. Without a `batch_axis` the same array goes into every run.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str
    batch_axis: int | None = None
    low: int = 0
    high: int = 2
    value: float | None = None


class InputPlan(NamedTuple):
    """How the inputs of all probes are made.

    `attempts` are alternatives for extents that the file leaves open: the first that the model accepts is used.
    `batch` is the size of a batch that the file fixes; None where it is free. `given` is the file or folder whose
    arrays are used instead. `note` says what a reader of the results should know of the inputs: an axis that may be
    the batch and was not taken for it, a type that was converted, samples that were left out.
    """

    attempts: Sequence[Sequence[PlannedInput]]
    batch: int | None
    seed: int
    given: str | None = None
    note: str | None = None

    @property
    def has_batch(self) -> bool:
        """True where some input has an axis that counts samples."""
        return any(entry.batch_axis is not None for entry in self.attempts[0])

    def as_json(self) -> dict[str, Any]:
        """The plan as the child reads it."""
        attempts = [[entry._asdict() for entry in attempt] for attempt in self.attempts]
        return {
            "attempts": attempts,
            "batch": self.batch,
            "seed": self.seed,
            "given": self.given,
            "note": self.note,
        }


@fact
def input_plan(artifact: Artifact, request: ProbeRequest, constants: Constants, shapes: Shapes) -> InputPlan:
    """The inputs of an ONNX export.

    Raises NotAvailable for one that cannot be made up, with what to supply, and for given ones that do not fit.
    """
    graph = the_graph(artifact)
    inputs = declared_inputs(graph, constants)
    batch = batch_of(inputs, graph, shapes)
    if request.inputs is not None:
        return _given(request, inputs, batch, graph, constants, shapes)
    for entry in inputs:
        _require_possible(entry)
    kinds = Kinds(inputs, batch, graph, constants, shapes)
    tried = sizes_to_try(inputs, batch, graph, constants, carries_state=kinds.carries_state)
    attempts = [_attempt(inputs, _shapes(inputs, batch, extents), batch, kinds) for extents in tried]
    _require_moderate(attempts[0])
    return InputPlan(attempts, batch.fixed, request.seed, None, batch.note)


def _shapes(inputs: Sequence[Declared], batch: Batch, extents: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape of each input with the open extents filled in."""
    found = {}
    for entry in inputs:
        own = batch.axes.get(entry.name)
        alone = batch.fixed or 1
        found[entry.name] = tuple(
            extent if isinstance(extent, int) else alone if axis == own else extents[extent]
            for axis, extent in enumerate(entry.dims or ())
        )
    return found


def _attempt(
    inputs: Sequence[Declared], shapes: Mapping[str, tuple[int, ...]], batch: Batch, kinds: Kinds
) -> list[PlannedInput]:
    return [_planned(entry, shapes[entry.name], batch, kinds.of(entry, shapes)) for entry in inputs]


def _planned(entry: Declared, shape: tuple[int, ...], batch: Batch, kind: Kind) -> PlannedInput:
    axis = batch.axes.get(entry.name)
    return PlannedInput(entry.name, entry.dtype or "", shape, kind.name, axis, kind.low, kind.high, kind.value)


def _require_possible(entry: Declared) -> None:
    """Raises NotAvailable for an input that nothing can be made up for."""
    if entry.dtype is None:
        wrong = "is no tensor (a sequence, a map or an optional value)"
        raise NotAvailable(f"the input {quoted(entry.name)} {wrong}, which no probe can supply; export it as tensors")
    if entry.dtype == "string" or entry.dims is None or entry.dtype.startswith("complex"):
        raise NotAvailable(
            f"the input {quoted(entry.name)} ({entry.dtype} {entry.shown}) cannot be made up; "
            "pass --inputs with an array of that name"
        )


def _require_moderate(attempt: Sequence[PlannedInput]) -> None:
    largest = max(attempt, key=lambda entry: math.prod(entry.shape), default=None)
    if largest is not None and sum(math.prod(entry.shape) for entry in attempt) > _MOST_ELEMENTS:
        raise NotAvailable(
            f"the input {quoted(largest.name)} has {math.prod(largest.shape):,} elements, too many to be made up; "
            "pass --inputs with an array of that name"
        )


def _given(
    request: ProbeRequest, inputs: Sequence[Declared], batch: Batch, graph: Graph, constants: Constants, shapes: Shapes
) -> InputPlan:
    from avreview.probes.given import open_given
    from avreview.probes.given_fit import fit

    assert request.inputs is not None
    try:
        fitted = fit(open_given(request.inputs), inputs, batch, graph)
    except ArtifactError as error:
        raise NotAvailable(str(error)) from None
    possible = [entry for entry in inputs if entry.dims is not None]
    kinds = Kinds(possible, batch, graph, constants, shapes)
    attempt = [
        _planned(entry, fitted.shapes[entry.name], batch, _made_beside(entry, kinds, fitted.shapes)) for entry in inputs
    ]
    note = "; ".join(filter(None, (batch.note, *fitted.notes))) or None
    return InputPlan([attempt], batch.fixed, request.seed, request.inputs, note)


def _made_beside(entry: Declared, kinds: Kinds, shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    """What further samples of a given input look like; `given` where they can only be the given ones again."""
    if entry.dims is None or entry.dtype is None or entry.dtype == "string" or entry.dtype.startswith("complex"):
        return Kind("given")
    return kinds.of(entry, shapes)
