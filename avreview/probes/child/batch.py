"""Does what the model says of a sample depend on its neighbours, and does it run with other batch sizes?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.probes.child.compare import arrays, drift, equal
from avreview.probes.child.coupling import Form, coupling_culprit
from avreview.probes.child.dynamic_batch import made_dynamic
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.child.runtime import Runtime, Session
from avreview.probes.child.slices import Seat, batch_axis

Array = np.ndarray[Any, Any]
_NODE = re.compile(r"while running \w+ node\. Name:'([^']*)'")


class _Tries(NamedTuple):
    """What running with several batch sizes came to: the outputs by size, or the runtime's words by size."""

    outputs: Mapping[int, Mapping[str, Array]]
    failed: Mapping[int, str]
    node: str | None


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs batches of the job's `sizes`, and one batch with a sample's neighbours exchanged.

    The answer's `sizes` are those that ran, `failed` holds the runtime's words for others, `shapes` the extents of
    the outputs by size. `coupling` is what the exchange showed, or `unjudged` says why nothing can be.
    """
    if not inputs.has_batch:
        raise Refused("no input has an axis that holds samples; there is no batch to try")
    if inputs.fixed == 1:
        return _with_one(runtime, inputs)
    session = runtime.session()
    tries = _tried(session, inputs, [inputs.fixed] if inputs.fixed else job["sizes"])
    answer = {
        "sizes": sorted(tries.outputs),
        "failed": {str(size): words for size, words in tries.failed.items()},
        "node": tries.node,
        "shapes": {
            str(size): {name: list(array.shape) for name, array in outputs.items()}
            for size, outputs in tries.outputs.items()
        },
        "made_dynamic": False,
    }
    return {**answer, **_swapped(Form(runtime, session), inputs, tries.outputs, job["min_batch"])}


def _with_one(runtime: Runtime, inputs: Inputs) -> dict[str, Any]:
    """The same for a model whose batch is fixed at one, in a form of it whose batch is free."""
    session = runtime.session()
    alone = arrays(inputs.settle(session, [0]))
    answer: dict[str, Any] = {"sizes": [1], "failed": {}, "node": None, "shapes": {}, "made_dynamic": True}
    try:
        model = made_dynamic(runtime, inputs)
        free = runtime.session(model=model)
        same = arrays(free.run(inputs.batch([0])))
        if same.keys() != alone.keys() or not all(equal(alone[name], same[name]) for name in alone):
            raise Refused("its outputs change with it")
        outputs = {1: same, 3: arrays(free.run(inputs.batch(Seat.middle(3).usual)))}
        lost = [name for name, array in outputs[3].items() if batch_axis(array.shape, 3, (same[name].shape, 1)) is None]
        if lost:
            raise Refused(f"the output {lost[0]!r} does not follow it")
    except MemoryError:
        raise
    except Exception as error:
        words = str(error) if isinstance(error, Refused) else _words(error)
        return {**answer, "unjudged": f"the batch is fixed at 1 and cannot be made dynamic for the test ({words}); "
                "export with a dynamic batch axis, or with a batch of 2 or more"}  # fmt: skip
    return {**answer, **_swapped(Form(runtime, free, model), inputs, outputs, 2)}


def _tried(session: Session, inputs: Inputs, sizes: Sequence[int]) -> _Tries:
    """Runs a batch of each size, up to two that run. Raises Refused when the model accepts none."""
    outputs: dict[int, Mapping[str, Array]] = {}
    settled = _settled(session, inputs, sizes)
    outputs[settled.size] = settled.outputs
    failed: dict[int, str] = {}
    node: str | None = None
    for size in sizes:
        if size in outputs or (len(outputs) > 1 and not failed):
            continue
        try:
            outputs[size] = arrays(session.run(inputs.batch(Seat.middle(size).usual)))
        except MemoryError:
            raise
        except Exception as error:
            failed[size] = _words(error)
            match = _NODE.search(str(error))
            node = node or (match[1] if match else None)
    return _Tries(outputs, failed, node)


def _words(error: Exception) -> str:
    """What the runtime says. Raises the error where it is not the runtime's."""
    words = reason(error)
    if words is None:
        raise error
    return words.removeprefix("ONNX Runtime refused the model (").removesuffix(")")


class _Settled(NamedTuple):
    size: int
    outputs: Mapping[str, Array]


def _settled(session: Session, inputs: Inputs, sizes: Sequence[int]) -> _Settled:
    """The first size that the model accepts, with its outputs. Raises Refused as for the first when there is none."""
    try:
        return _Settled(sizes[0], arrays(inputs.settle(session, Seat.middle(sizes[0]).usual)))
    except Refused as error:
        if len(sizes) == 1:
            raise
        first = error
    try:
        return _settled(session, inputs, sizes[1:])
    except Refused:
        raise first from None


def _swapped(form: Form, inputs: Inputs, outputs: Mapping[int, Mapping[str, Array]], least: int) -> dict[str, Any]:
    """What exchanging the neighbours of a sample does to its part of the outputs."""
    size, other = max(outputs), min(outputs)
    if size < least:
        return {
            "unjudged": "the model runs with a batch of 1 alone, which leaves no neighbour to exchange; "
            "export it with a dynamic batch axis, and see AV410"
        }
    seat = Seat.middle(size)
    first = outputs[size]
    elsewhere = (outputs[other], other) if other != size else None
    moved, left_out = _moves(form, inputs, seat, first, elsewhere)
    if size == 2 and not any(moved.values()):  # its one neighbour sat before it; now behind
        seat = Seat(0, size)
        first = arrays(form.session.run(inputs.batch(seat.usual)))
        moved, left_out = _moves(form, inputs, seat, first, elsewhere)
    differing = [name for name, value in moved.items() if value]
    found: dict[str, Any] = {"size": size, "moved": moved, "left_out": left_out, "culprit": None}
    if differing:
        again = arrays(form.session.run(inputs.batch(seat.usual)))
        if not all(equal(first[name], again[name]) for name in differing):
            return {"unjudged": "its outputs change from run to run on the same input (AV702)"}
        found["culprit"] = coupling_culprit(form, inputs, differing, seat, other if other != size else None)
    return {"coupling": found}


def _moves(
    form: Form,
    inputs: Inputs,
    seat: Seat,
    first: Mapping[str, Array],
    elsewhere: tuple[Mapping[str, Array], int] | None,
) -> tuple[dict[str, float], dict[str, str]]:
    """How far the sample's part of each output moves, and why other outputs show nothing.

    `elsewhere` are the outputs of another batch, and its size.
    """
    usual = next(int(entry["batch_axis"]) for entry in inputs.entries if entry["batch_axis"] is not None)
    swapped = arrays(form.session.run(inputs.batch(seat.exchanged)))
    moved: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name, array in first.items():
        there = (elsewhere[0][name].shape, elsewhere[1]) if elsewhere is not None and name in elsewhere[0] else None
        axis = batch_axis(array.shape, seat.size, there, usual)
        why = _not_compared(array, swapped.get(name), axis, seat)
        if why is not None or axis is None:
            left_out[name] = why or ""
            continue
        one, exchanged = seat.rows(array, axis), seat.rows(swapped[name], axis)
        moved[name] = 0.0 if equal(one, exchanged) else drift(one, exchanged)
    return moved, left_out


def _not_compared(one: Array, swapped: Array | None, axis: int | None, seat: Seat) -> str | None:
    """Why an output shows nothing of a coupling; None where it does."""
    if axis is None:
        return "no axis of it follows the batch"
    if swapped is None or one.shape != swapped.shape:
        return "its extents depend on the data"
    if one.dtype.kind == "f" and bool(np.isnan(one).all()):
        return "it is NaN throughout"
    parts = [Seat(index, seat.size).rows(array, axis) for array in (one, swapped) for index in range(seat.size)]
    if all(equal(parts[0], part) for part in parts[1:]):
        return "it is the same for every sample"
    return None
