"""Where in a model the samples of a batch begin to influence one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.probes.child.compare import arrays
from avreview.probes.child.culprit import first_departure, nearest
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.runtime import Runtime, Session
from avreview.probes.child.slices import DEPARTS, MERGED, Seat, status

_LONGEST_WAY = 16  # values that are followed from where the samples part to where they were merged


class Form(NamedTuple):
    """The model in the form that is tried: as it is in its file, or as `model` with a free batch axis."""

    runtime: Runtime
    session: Session
    model: bytes | None = None

    def tapped(self, keys: Sequence[str]) -> Session:
        return self.runtime.session(taps=keys, model=self.model)


def coupling_culprit(form: Form, inputs: Inputs, differing: Sequence[str], seat: Seat, other: int | None) -> str | None:
    """The key of the first value in which the sample's part depends on its neighbours; None for no own output.

    Where that value takes in one that merges the whole batch, a mean for example, it is the first such value.
    `other` is another batch size that the model accepts.
    """
    own = {info.name for info in form.runtime.graph.outputs}
    start = next((name for name in differing if name in own), None)
    if start is None:
        return None

    def departs(keys: Sequence[str]) -> set[str]:
        return {key for key, found in _statuses(form, inputs, keys, seat, other).items() if found == DEPARTS}

    found = first_departure(form.runtime, start, departs)
    for _ in range(_LONGEST_WAY):
        before = sorted(nearest(form.runtime, found))
        if not before or form.runtime.is_late:
            break
        merged = {key for key, how in _statuses(form, inputs, before, seat, other).items() if how == MERGED}
        if not merged:
            break
        found = min(merged, key=lambda key: form.runtime.graph.producer[key].index)
    return found


def _statuses(form: Form, inputs: Inputs, keys: Sequence[str], seat: Seat, other: int | None) -> dict[str, str]:
    """How each value stands to the swap (`slices.status`); those that are no arrays are left out."""
    session = form.tapped(keys)
    one = _run(session, inputs, seat.usual, keys)
    swapped = _run(session, inputs, seat.exchanged, keys)
    small = _run(session, inputs, Seat.middle(other).usual, keys) if other is not None else {}

    def elsewhere(key: str) -> tuple[Sequence[int], int] | None:
        return (small[key].shape, other) if other is not None and key in small else None

    return {
        key: status(array, swapped[key], seat, elsewhere(key))
        for key, array in one.items()
        if key in keys and key in swapped
    }


def _run(session: Session, inputs: Inputs, samples: Sequence[int], keys: Sequence[str]) -> Mapping[str, Any]:
    return arrays(session.run(inputs.batch(samples), keys))
