"""The arrays that a model is run on, sample by sample: the same seed and number give the same sample, always."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from avreview.probes.child.given import GivenSamples
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.child.samples import sample

if TYPE_CHECKING:
    from avreview.probes.child.runtime import Session

Array = np.ndarray[Any, Any]


class Inputs:
    """Makes batches from a plan (`avreview.probes.plan.InputPlan.as_json`).

    Samples have numbers. Those from 0 on are the usual ones: first the given ones, then made-up ones. Negative ones
    are odd, so that a neighbour of another kind can be put beside a sample: given ones counted from the last, as long
    as they are in the far half, and made-up ones of another distribution.
    """

    def __init__(self, plan: Mapping[str, Any], attempt: int = 0) -> None:
        self._attempts: Sequence[Sequence[Mapping[str, Any]]] = plan["attempts"]
        self._seed = int(plan["seed"])
        self._path: str | None = plan["given"]
        self._note: str | None = plan.get("note")
        self.fixed: int | None = plan["batch"]
        self.attempt = min(attempt, len(self._attempts) - 1)
        self._largest: dict[str, Array] = {}  # the largest batch of the attempt that it is of
        self._size = (-1, 0)  # that attempt, and how many samples

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """The plan of each input, in the attempt at hand."""
        return self._attempts[self.attempt]

    @property
    def has_batch(self) -> bool:
        return any(entry["batch_axis"] is not None for entry in self.entries)

    @property
    def count(self) -> int | None:
        """The number of given samples; None where samples are made up. 1 where no axis counts samples."""
        return self._given.count if self._given is not None else None

    def samples(self, wanted: int) -> list[int]:
        """The numbers of the usual samples of one batch: `wanted` of them, or as many as the model fixes."""
        return list(range(self.fixed or wanted)) if self.has_batch else [0]

    def batch(self, samples: Sequence[int]) -> dict[str, Array]:
        """The inputs of one run, with these samples along the batch axis."""
        made = {entry["name"]: self._array(place, entry, samples) for place, entry in enumerate(self.entries)}
        attempt, size = self._size
        if attempt != self.attempt or len(samples) >= size:
            self._largest, self._size = made, (self.attempt, len(samples))
        return made

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        """All given samples in batches of `size`, or of the model's own size; nothing where none are given.

        The last batch holds what is left; in front of a model of a fixed batch what does not fill one is left out.
        """
        if self.count is None:
            return
        step = self.fixed or size
        stop = self.count - self.count % step if self.fixed else self.count
        for start in range(0, stop, step):
            yield self.batch(range(start, min(start + step, stop)))

    def settle(self, session: Session, samples: Sequence[int]) -> dict[str, Any]:
        """Runs a batch, and turns to the next attempt where the model does not accept one. Gives the outputs.

        Raises Refused, with what the runtime says to the first attempt, when none is accepted.
        """
        begun, first = self.attempt, ""
        for attempt in [begun, *(other for other in range(len(self._attempts)) if other != begun)]:
            self.attempt = attempt
            try:
                return session.run(self.batch(samples))
            except MemoryError:
                raise
            except Exception as error:
                why = reason(error)  # a MemoryError of the runtime's own kind is raised on
                if why is None:
                    raise
                first = first or why
        self.attempt = begun
        self.batch(samples)
        raise Refused(self._rejected(first))

    def settle_usual(self, session: Session, wanted: int) -> tuple[list[int], dict[str, Any]]:
        """Settles on one batch of usual samples: `wanted` of them, or one where the model takes no more.

        A batch that the file declares as free may be fixed inside. Gives the samples' numbers and the outputs.
        """
        samples = self.samples(wanted)
        try:
            return samples, self.settle(session, samples)
        except Refused as error:
            if len(samples) == 1 or self.fixed is not None:
                raise
            first = error
        try:
            return samples[:1], self.settle(session, samples[:1])
        except Refused:
            raise first from None

    def _rejected(self, why: str) -> str:
        if self._path is not None:
            return f"the model did not run on the given inputs: {why}"
        return f"the model ran on none of the inputs that were made up: {why}; pass --inputs with real ones"

    def described(self) -> dict[str, Any] | None:
        """What the report says of the largest batch; None where none was made."""
        if not self._largest:
            return None
        kinds = {entry["name"]: entry["kind"] for entry in self.entries}
        arrays = [
            {
                "name": name,
                "kind": "given" if self._path is not None else kinds[name],
                "dtype": str(array.dtype),
                "shape": list(array.shape),
            }
            for name, array in self._largest.items()
        ]
        given = {"given": self._path, "samples": self.count} if self._path is not None else {}
        note = {"note": self._note} if self._note else {}
        return {"seed": self._seed, **given, "arrays": arrays, **note}

    @cached_property
    def _given(self) -> GivenSamples | None:
        return GivenSamples(self._path, self._attempts[0]) if self._path is not None else None

    def _array(self, place: int, entry: Mapping[str, Any], samples: Sequence[int]) -> Array:
        axis = entry["batch_axis"]
        if axis is None:  # where no input counts samples, a run of another sample is the only way to another input
            return self._sample(place, entry, 0 if self.has_batch or not samples else samples[0])
        parts = [self._sample(place, entry, number) for number in samples]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)

    def _sample(self, place: int, entry: Mapping[str, Any], number: int) -> Array:
        """One sample, with an extent of 1 along the batch axis."""
        if self._given is not None:
            known = self._given.find(number, again=entry["kind"] == "given")
            if known is not None:
                return self._given.sample(entry["name"], known)
        shape = list(entry["shape"])
        if entry["batch_axis"] is not None:
            shape[entry["batch_axis"]] = 1
        random = np.random.default_rng([self._seed, place, abs(number), int(number < 0)])
        return sample(entry, shape, random, odd=number < 0)
