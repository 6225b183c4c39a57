"""Does the same input give the same output?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avreview.probes.child.compare import arrays, drift, equal
from avreview.probes.child.culprit import first_departure
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.runtime import Runtime


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one batch `runs` times in one session. Two sessions would agree on their first run, random or not."""
    session = runtime.session()
    samples = inputs.samples(job["samples"])
    first = arrays(inputs.settle(session, samples))
    feed = inputs.batch(samples)
    differing: dict[str, float] = {}
    for _ in range(job["runs"] - 1):
        again = arrays(session.run(feed))
        for name, array in first.items():
            other = again.get(name)
            if other is None or not equal(array, other):
                differing[name] = max(differing.get(name, 0.0), 1.0 if other is None else drift(array, other))
    return {
        "outputs": {name: differing.get(name, 0.0) for name in first},
        "differing": list(differing),
        "culprit": _culprit(runtime, feed, differing) if differing else None,
    }


def _culprit(runtime: Runtime, feed: Mapping[str, Any], differing: Mapping[str, float]) -> str | None:
    own = {info.name for info in runtime.graph.outputs}
    start = next((name for name in differing if name in own), None)

    def departs(keys: Sequence[str]) -> set[str]:
        session = runtime.session(taps=keys)
        first, again = arrays(session.run(feed, keys)), arrays(session.run(feed, keys))
        return {key for key in keys if key in first and not equal(first[key], again[key])}

    return first_departure(runtime, start, departs) if start is not None else None
