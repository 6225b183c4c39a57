"""Does the export compute what its reference computes, and if not, from which layer on?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.probes.child.bisect import Found, first_departing, from_calls, from_graph
from avreview.probes.child.compare import arrays, equal
from avreview.probes.child.feeds import feeds
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.live import RUNNING
from avreview.probes.child.observed import calls
from avreview.probes.child.outputs import Measured, left_over, matched
from avreview.probes.child.references import LiveReference, OnnxReference, Reference, open_reference
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime, Session
from avreview.probes.child.sensitivity import ulp
from avreview.probes.compared import Limits, is_reduced
from avreview.stages import stage

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs both on the same inputs, with graph optimizations off.

    The job holds `reference`, the export's `precision`, and `limits` by the precision that is judged. The answer's
    outputs are those of `OutputParity`; `first` is the first layer that departs, where an output does.
    """
    graph = runtime.graph
    names = [info.name for info in graph.inputs if info.name not in graph.overridable]
    reference = open_reference(job["reference"], names, [info.name for info in graph.outputs], inputs.fixed)
    limits = Limits(*job["limits"][_judged(job["precision"], reference.precision)])
    session = runtime.session()
    given = feeds(runtime, session, inputs, reference, job)
    found = _Comparison(runtime, session, reference, limits)
    for feed in given.each:
        if found.batches and runtime.is_late:
            found.notes.append(f"only the first {found.batches} batches were compared before half of the time was over")
            break
        found.add(feed)
    found.require_some()
    first = found.first()
    answer = {
        "kind": reference.kind,
        "reference_precision": reference.precision,
        "judged": _judged(job["precision"], reference.precision),
        "batches": found.batches,
        "outputs": [entry.as_json() for entry in found.outputs.values()],
        "notes": list(dict.fromkeys(found.notes)),
        "first": first.as_json() if first is not None else None,
    }
    return answer if given.described is None else {**answer, "inputs": given.described}


def _judged(export: str, reference: str) -> str:
    """By which limits: the export's precision where it is the lower one, else `full` or, of two equal ones, `same`."""
    if is_reduced(export, reference):
        return export
    return "full" if reference == "full" else "same"


class _Comparison:
    """The comparison of one batch after another: of each output the worst is kept."""

    def __init__(self, runtime: Runtime, session: Session, reference: Reference, limits: Limits) -> None:
        self._runtime = runtime
        self._session = session
        self._reference = reference
        self._limits = limits
        self._worst: Feed | None = None
        self._largest = 0.0
        self.outputs: dict[str, Measured] = {}
        self.notes: list[str] = []
        self.batches = 0

    def add(self, feed: Feed) -> None:
        """Runs both on a batch. Raises Refused where their outputs cannot be paired."""
        exported = arrays(self._session.run(feed))
        stage(RUNNING)
        returned = self._reference.run(feed)
        expected = arrays(returned) if isinstance(returned, Mapping) else returned
        moved = arrays(self._moved(feed))
        self.notes += left_over(exported, expected)
        self.batches += 1
        for name, array in matched(exported, expected).items():
            entry = Measured(name, exported[name], array, moved.get(name, exported[name]))
            entry.judge(self._limits)
            if name not in self.outputs or entry.weight > self.outputs[name].weight:
                self.outputs[name] = entry
            if entry.departs and (self._worst is None or entry.measure > self._largest):
                self._worst, self._largest = feed, entry.measure

    def require_some(self) -> None:
        """Raises Refused where no output could be compared."""
        if not any(entry.compared for entry in self.outputs.values()):
            raise Refused(
                next((entry.note for entry in self.outputs.values() if entry.note), "the export has no output")
            )

    def first(self) -> Found | None:
        """The first layer that departs on the worst batch, where an output does and the reference's layers show."""
        feed, reference, runtime = self._worst, self._reference, self._runtime
        if feed is None:
            return None
        _require_repeatable("export", lambda: arrays(self._session.run(feed)))
        if isinstance(reference, LiveReference | OnnxReference):
            stage(RUNNING)
            _require_repeatable("reference", lambda: reference.run(feed))
        if isinstance(reference, LiveReference):
            observations = from_calls(runtime.graph, calls(reference.live, feed, list(feed)))
        elif isinstance(reference, OnnxReference):
            observations = from_graph(runtime, reference.runtime, reference.own(feed))
        else:
            return None
        return first_departing(runtime, feed, observations, self._limits)

    def _moved(self, feed: Feed) -> Mapping[str, Any]:
        """The outputs when rounding differs: by the inputs' last place, or by the runtime's graph optimizations where
        no input is a floating-point number."""
        nudged = ulp(feed)
        if any(nudged[name] is not feed[name] for name in feed):
            return self._session.run(nudged)
        return self._runtime.session(optimized=True).run(feed)


def _require_repeatable(which: str, run: Callable[[], Mapping[str, Array] | Sequence[Array]]) -> None:
    """Raises Refused where one of the two differs from itself: nothing can be compared with it."""
    one, other = (list(found.values()) if isinstance(found, Mapping) else list(found) for found in (run(), run()))
    if len(one) != len(other) or not all(map(equal, one, other)):
        raise Refused(
            f"the {which} gives other outputs each time it is run on the same input; switch off what is random in it"
        )
