"""The inputs that an export and its reference are compared on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from avreview.artifact import Graph
from avreview.load.dtypes import numpy_dtype
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.references import LiveReference, Reference
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.child.runtime import Runtime, Session

Array = np.ndarray[Any, Any]


class Feeds(NamedTuple):
    """`each` gives feeds one after another; `described` is what the report says of those that the plan did not make."""

    each: Iterator[dict[str, Array]]
    described: dict[str, Any] | None = None


def feeds(runtime: Runtime, session: Session, inputs: Inputs, reference: Reference, job: Mapping[str, Any]) -> Feeds:
    """What was recorded, what was given, the factory's example, or what the plan makes up: the first that there is."""
    if not isinstance(reference, LiveReference) or job["plan"]["given"] is None:
        own = [_typed(feed, runtime.graph) for feed in reference.feeds()]
        if own and _accepted(session, own[0], sure=not isinstance(reference, LiveReference)):
            described = {"given": job["reference"], "arrays": _described(own[0])}
            typed = (_typed(feed, runtime.graph) for feed in reference.feeds())
            return Feeds(typed, described)
    if inputs.count is not None:
        return Feeds(_given(inputs, int(job["samples"])))
    samples, _ = inputs.settle_usual(session, int(job["samples"]))
    return Feeds(iter([inputs.batch(samples)]))


def _given(inputs: Inputs, size: int) -> Iterator[dict[str, Array]]:
    """All given samples; of fewer than a fixed batch, those with made-up ones beside them."""
    found = False
    for batch in inputs.batches(size):
        found = True
        yield batch
    if not found:
        yield inputs.batch(inputs.samples(size))


def _accepted(session: Session, feed: Mapping[str, Array], *, sure: bool) -> bool:
    """Whether the model runs on a feed. One that it was `sure` to run on must. Raises Refused."""
    try:
        session.run(feed)
    except MemoryError:
        raise
    except Exception as error:
        why = reason(error)
        if why is None:
            raise
        if sure:
            raise Refused(f"the model did not run on the recorded inputs: {why}") from None
        return False
    return True


def _described(feed: Mapping[str, Array]) -> list[dict[str, Any]]:
    return [
        {"name": name, "kind": "given", "dtype": str(array.dtype), "shape": list(array.shape)}
        for name, array in feed.items()
    ]


def _typed(feed: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """A feed in the types that the graph declares: recordings come in float64, or in integers of another width."""
    declared = {info.name: info.dtype for info in graph.inputs}
    found = {}
    for name, array in feed.items():
        dtype = declared.get(name)
        wanted = numpy_dtype(dtype) if dtype is not None and dtype != "string" else array.dtype
        cast = array
        if wanted != array.dtype and array.dtype.kind in "fiu" and _is_float(wanted) == _is_float(array.dtype):
            cast = array.astype(wanted)
        found[name] = cast if _is_float(cast.dtype) or np.array_equal(cast, array) else array
    return found


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"
