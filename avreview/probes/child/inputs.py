"""The arrays that a model is run on, sample by sample: the same seed and number give the same sample, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from avreview.probes.child.runtime import Session

Array = np.ndarray[Any, Any]


class Inputs:
    """Makes batches from a plan (`avreview.probes.plan.InputPlan.as_json`).

    Samples have numbers. Those from 0 on are the usual ones; negative ones come from another distribution, so that a
    neighbour of another kind can be put beside a sample.
    """

    def __init__(self, plan: Mapping[str, Any], attempt: int = 0) -> None:
        self._attempts: Sequence[Sequence[Mapping[str, Any]]] = plan["attempts"]
        self._seed = int(plan["seed"])
        self.fixed: int | None = plan["batch"]
        self.attempt = min(attempt, len(self._attempts) - 1)
        self._last: dict[str, Array] = {}

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """The plan of each input, in the attempt at hand."""
        return self._attempts[self.attempt]

    @property
    def has_batch(self) -> bool:
        return any(entry["batch_axis"] is not None for entry in self.entries)

    def samples(self, wanted: int) -> list[int]:
        """The numbers of the usual samples of one batch: `wanted` of them, or as many as the model fixes."""
        return list(range(self.fixed or wanted)) if self.has_batch else [0]

    def batch(self, samples: Sequence[int]) -> dict[str, Array]:
        """The inputs of one run, with these samples along the batch axis."""
        self._last = {entry["name"]: self._array(place, entry, samples) for place, entry in enumerate(self.entries)}
        return self._last

    def settle(self, session: Session, samples: Sequence[int]) -> dict[str, Any]:
        """Runs a batch, and turns to the next attempt where the model does not accept one. Gives the outputs.

        Raises what the runtime says to the first attempt when none is accepted.
        """
        first: Exception | None = None
        begun = self.attempt
        for attempt in [begun, *(other for other in range(len(self._attempts)) if other != begun)]:
            self.attempt = attempt
            try:
                return session.run(self.batch(samples))
            except MemoryError:
                raise
            except Exception as error:
                first = first or error
        self.attempt = begun
        assert first is not None
        raise first

    def described(self) -> dict[str, Any]:
        """What the report says of them."""
        kinds = {entry["name"]: entry["kind"] for entry in self.entries}
        arrays = [
            {"name": name, "kind": kinds[name], "dtype": str(array.dtype), "shape": list(array.shape)}
            for name, array in self._last.items()
        ]
        return {"seed": self._seed, "arrays": arrays}

    def _array(self, place: int, entry: Mapping[str, Any], samples: Sequence[int]) -> Array:
        axis, shape = entry["batch_axis"], list(entry["shape"])
        if axis is None:
            return self._sample(place, entry, shape, 0)
        shape[axis] = 1
        return np.concatenate([self._sample(place, entry, shape, number) for number in samples], axis=axis)

    def _sample(self, place: int, entry: Mapping[str, Any], shape: Sequence[int], number: int) -> Array:
        random = np.random.default_rng([self._seed, place, abs(number), int(number < 0)])
        dtype = entry["dtype"]
        if dtype == "bool":
            return np.ones(shape, bool)
        if np.issubdtype(np.dtype(dtype), np.integer):
            return random.integers(entry["low"], max(entry["high"], entry["low"] + 1), shape).astype(dtype)
        values = random.standard_normal(shape) + random.standard_normal()
        return (3 * values + 2 if number < 0 else values).astype(dtype)
