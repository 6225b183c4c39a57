"""Does the same input give the same output?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avreview.probes.child.compare import arrays, drift, equal
from avreview.probes.child.culprit import first_departure
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.runtime import Runtime


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one batch in one session until two runs differ, at most `runs` times.

    Two sessions would agree on their first run, random or not.
    """
    session = runtime.session()
    samples, outputs = inputs.settle_usual(session, job["samples"])
    first, feed = arrays(outputs), inputs.batch(samples)
    differing: dict[str, float] = {}
    ran = 1
    while ran < job["runs"] and not differing:
        ran += 1
        again = arrays(session.run(feed))
        for name, array in first.items():
            other = again.get(name)
            if other is None or not equal(array, other):
                differing[name] = max(differing.get(name, 0.0), 1.0 if other is None else drift(array, other))
    return {
        "runs": ran,
        "outputs": {name: differing.get(name, 0.0) for name in first},
        "differing": list(differing),
        "culprit": _culprit(runtime, feed, differing, job["runs"]) if differing else None,
    }


def _culprit(runtime: Runtime, feed: Mapping[str, Any], differing: Mapping[str, float], runs: int) -> str | None:
    own = {info.name for info in runtime.graph.outputs}
    start = next((name for name in differing if name in own), None)

    def departs(keys: Sequence[str]) -> set[str]:
        session = runtime.session(taps=keys)
        first = arrays(session.run(feed, keys))
        found: set[str] = set()
        for _ in range(runs - 1):  # a mask for each sample is often the same twice
            again = arrays(session.run(feed, keys))
            found |= {key for key in first.keys() - found if not equal(first[key], again[key])}
        return found

    return first_departure(runtime, start, departs) if start is not None else None
