"""How the signal fares on its way through a model: variance across samples, silence and saturation, layer by layer.

What is measured is reduced inside the graph (`reductions`). Where the batch is free, one run of several samples tells
all, of variances at positions spread over each value. Where it is fixed, samples are told apart by running the model
several times, and variances are added up outside the graph over as many elements of each value as fit a bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.reductions import OLDEST_OPSET, BatchAxis, Reductions, picked
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.child.runtime import Runtime

Array = np.ndarray[Any, Any]

_FEWEST = 4  # samples below which nothing is said of a variance
_KEPT = 1 << 21  # elements of all values together that are kept of one run where variances are added up outside
_AT_ONCE = 1 << 28  # elements of all values together up to which all samples go through the model in one run
# Elements of all values of one sample, from which on the fewest samples will do: what they cost grows with the size,
# and what more of them add is little (of 23 paths the trend moved by at most 9 % from four samples to another four).
_LARGE = 1 << 23
_POSITIONS = 1024  # of a value at which its variance is looked at, a unit and sample: more say nothing new


class Tap(NamedTuple):
    """A value to be measured: `variance`, `silence` or `saturation`, with the axis of its units (of a logistic
    activation, which goes from 0 to 1, `logistic`)."""

    key: str
    measure: str
    units: int = -1
    logistic: bool = False


class _Place(NamedTuple):
    """A value as it came out of the first run; `batch` where its samples can be told."""

    shape: tuple[int, ...]
    batch: BatchAxis | None

    def spread(self, tap: Tap) -> list[int]:
        """The step along each axis that leaves enough positions of a sample."""
        kept = {self.units(tap)} | ({self.batch.axis} if self.batch is not None else set())
        return _steps(self.shape, kept, _POSITIONS)

    def units(self, tap: Tap) -> int:
        return tap.units % len(self.shape)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to measure: no elements, or no axis of units."""
        return not self.shape or not math.prod(self.shape)

    def tells_samples(self, tap: Tap) -> bool:
        """Whether a run of several samples gives a variance for each unit."""
        return self.batch is not None and self.batch.axis != self.units(tap)


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """What each of `job["taps"]` came to, in their order, over `job["samples"]` samples, or fewer of a large model.

    Of a variance the median over the units, of silence the number of units that never fired, of saturation the share
    of elements over `job["level"]`; `left_out` for a value that could not be measured.
    """
    if job["opset"] < OLDEST_OPSET:
        raise Refused(f"ONNX opset {job['opset']} is too old to add measurements to the graph; convert the model")
    taps = [Tap(*entry) for entry in job["taps"]]
    places, is_free = _places(runtime, inputs, taps)
    size = sum(math.prod(place.shape) for place in places.values())
    if size > _LARGE:
        job = {**job, "samples": min(job["samples"], _FEWEST)}
    if is_free and size * job["samples"] <= _AT_ONCE:
        try:
            found = _at_once(runtime, inputs, taps, places, job)
        except MemoryError:
            raise
        except Exception as error:  # a model that takes two samples and not eight is measured one by one
            if reason(error) is None:
                raise
            found = None
        if found is not None:
            return _answer(inputs, found, int(job["samples"]))
    return _many_runs(runtime, inputs, taps, places, job)


def _places(runtime: Runtime, inputs: Inputs, taps: Sequence[Tap]) -> tuple[dict[str, _Place], bool]:
    """Each value's shape for one sample (or for a fixed batch), and whether the batch may be free.

    Where each value has an extent of 1 along the axis that holds the samples of the input, that is taken for its own,
    to be looked at again once there is a run of several samples. Elsewhere two samples are run, and the axis of a value
    that doubles is the one.
    """
    reductions = Reductions(0)
    names = {key: reductions.shape(key) for key in dict.fromkeys(tap.key for tap in reversed(taps))}
    session = runtime.session(addition=reductions.serialized())

    def shapes(outputs: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        return {key: tuple(map(int, outputs[name])) for key, name in names.items()}

    one = shapes(inputs.settle(session, inputs.samples(1)))
    if inputs.fixed is not None or not inputs.has_batch:
        return {key: _Place(shape, None) for key, shape in one.items()}, False
    usual = {entry["batch_axis"] for entry in inputs.entries} - {None}
    axis = usual.pop()
    if not usual and all(len(shape) > axis and shape[axis] == 1 and math.prod(shape) for shape in one.values()):
        return {key: _Place(shape, BatchAxis(axis, 1)) for key, shape in one.items()}, True
    try:
        two = shapes(session.run(inputs.batch(inputs.samples(2)), list(names.values())))
    except MemoryError:
        raise
    except Exception:  # whatever keeps the model from taking two samples, it takes one
        return {key: _Place(shape, None) for key, shape in one.items()}, False
    places = {key: _Place(shape, _batch_axis(shape, two[key], 2)) for key, shape in one.items()}
    return places, _are_of_one_rank(one, two)


def _are_of_one_rank(one: Mapping[str, Sequence[int]], other: Mapping[str, Sequence[int]]) -> bool:
    return all(len(shape) == len(other[key]) for key, shape in one.items())


def _batch_axis(one: Sequence[int], many: Sequence[int], samples: int) -> BatchAxis | None:
    """The axis that grows as the samples do, from one to `samples`, while all others stay."""
    if len(one) != len(many):
        return None
    grown = [axis for axis, (single, several) in enumerate(zip(one, many, strict=True)) if single != several]
    if len(grown) != 1 or many[grown[0]] != samples * one[grown[0]] or not math.prod(one):
        return None
    return BatchAxis(grown[0], one[grown[0]])


def _at_once(
    runtime: Runtime, inputs: Inputs, taps: Sequence[Tap], places: Mapping[str, _Place], job: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    """All samples in one run; in a second one where the first shows that samples lie along other axes.

    None where the values have another rank when there are several samples.
    """
    samples = int(job["samples"])
    one = {key: place.shape for key, place in places.items()}
    found, many = _one_run(runtime, inputs, taps, places, job)
    if not _are_of_one_rank(one, many):
        return None
    seen = {key: _Place(shape, _batch_axis(shape, many[key], samples)) for key, shape in one.items()}
    return found if seen == places else _one_run(runtime, inputs, taps, seen, job)[0]


def _one_run(
    runtime: Runtime, inputs: Inputs, taps: Sequence[Tap], places: Mapping[str, _Place], job: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, tuple[int, ...]]]:
    """What each tap came to in a run of all samples, and each value's shape in it."""
    samples = int(job["samples"])
    reductions = Reductions(job["opset"])
    shapes: dict[str, str] = {}
    added: dict[int, Sequence[str]] = {}
    for number, tap in reversed(list(enumerate(taps))):  # against the data flow: see Runtime.session
        place = places[tap.key]
        if tap.key not in shapes:
            shapes[tap.key] = reductions.shape(tap.key)
        if place.is_empty:
            continue
        if tap.measure != "variance":
            added[number] = [_bounded(reductions, tap, place, job["level"])]
        elif place.batch is not None and place.tells_samples(tap):
            added[number] = reductions.squares(tap.key, place.shape, place.units(tap), place.batch, samples,
                                               place.spread(tap))  # fmt: skip
    wanted = [*shapes.values(), *(name for names in added.values() for name in names)]
    outputs = runtime.session(addition=reductions.serialized()).run(inputs.batch(inputs.samples(samples)), wanted)
    found = [
        _figures(tap, places[tap.key], [outputs[name] for name in added.get(number, ())], samples)
        for number, tap in enumerate(taps)
    ]
    return found, {key: tuple(map(int, outputs[name])) for key, name in shapes.items()}


def _bounded(reductions: Reductions, tap: Tap, place: _Place, level: float) -> str:
    """The measurement of silence or saturation."""
    rank = len(place.shape)
    if tap.measure == "silence":
        return reductions.largest(tap.key, rank, place.units(tap))
    return reductions.beyond(tap.key, rank, level, logistic=tap.logistic)


def _figures(tap: Tap, place: _Place, outputs: Sequence[Array], samples: int) -> dict[str, Any]:
    """What a tap came to, from its outputs of one run."""
    if not outputs:
        return {"left_out": "does not follow the batch"}
    if tap.measure != "variance":
        return _judged(tap, outputs[0])
    assert place.batch is not None
    total, means = (output.astype(np.float64) for output in outputs)
    seen = zip(place.shape, place.spread(tap), strict=True)
    positions = math.prod(picked(*axis) for axis in seen) / place.shape[place.units(tap)]
    with np.errstate(all="ignore"):
        by_unit = (total - samples * means) / ((samples - 1) * positions)
        return _variance(np.where(np.isinf(total), np.inf, by_unit))  # squares that float32 cannot hold


def _judged(tap: Tap, output: Array) -> dict[str, Any]:
    if tap.measure == "saturation":
        return {"share": float(output)}
    return {"silent": int((output <= 0).sum()), "units": int(output.size)}


def _variance(by_unit: Array) -> dict[str, Any]:
    """Of variances of each unit."""
    with np.errstate(all="ignore"):
        return {"variance": max(float(np.median(by_unit)), 0.0), "units": int(by_unit.size)}


def _many_runs(
    runtime: Runtime, inputs: Inputs, taps: Sequence[Tap], places: Mapping[str, _Place], job: Mapping[str, Any]
) -> dict[str, Any]:
    """One run after another, each on samples of its own; fewer than asked for where time runs out."""
    reductions = Reductions(job["opset"])
    measured = [tap for tap in taps if not places[tap.key].is_empty]
    positions = _most_positions(measured, places)
    names = {}
    for tap in reversed(measured):
        place = places[tap.key]
        if tap.measure == "variance":
            names[tap] = reductions.picked(tap.key, place.shape, _steps(place.shape, {place.units(tap)}, positions))
        else:
            names[tap] = _bounded(reductions, tap, place, job["level"])
    session = runtime.session(addition=reductions.serialized())
    sums = {tap: _Sum(tap) for tap in measured}
    runs = 0
    most = 1 if inputs.count is not None and not inputs.has_batch else int(job["samples"])
    while runs < most and (runs < _FEWEST or not runtime.is_late):
        outputs = session.run(inputs.batch(_numbered(inputs, runs)), list(names.values()))
        for tap, name in names.items():
            sums[tap].add(outputs[name])
        runs += 1
    found = [sums[tap].figures(places[tap.key]) if tap in sums else _figures(tap, places[tap.key], (), runs)
             for tap in taps]  # fmt: skip
    return _answer(inputs, found, runs * len(inputs.samples(1)))


def _answer(inputs: Inputs, found: list[dict[str, Any]], samples: int) -> dict[str, Any]:
    given = inputs.count
    return {"taps": found, "samples": samples, "given": 0 if given is None else min(given, samples)}


def _numbered(inputs: Inputs, run: int) -> list[int]:
    """The samples of a run: as many as the batch holds, and none of an earlier run."""
    size = len(inputs.samples(1))
    return list(range(run * size, (run + 1) * size))


def _most_positions(taps: Sequence[Tap], places: Mapping[str, _Place]) -> int:
    """Positions of each unit that are looked at, so that all values together stay within bounds."""
    units = sum(places[tap.key].shape[places[tap.key].units(tap)] for tap in taps if tap.measure == "variance")
    return max(_KEPT // max(units, 1), 4)


def _steps(shape: Sequence[int], kept: Collection[int], most: int) -> list[int]:
    """A step along each axis, 1 along those that are `kept`, with which at most `most` positions of them are left.

    Steps are odd: an even one would see one phase alone of what a stride of 2 interleaves.
    """
    steps = [1] * len(shape)

    def left(axis: int) -> int:
        return picked(shape[axis], steps[axis]) if axis not in kept else 1

    while math.prod(map(left, range(len(shape)))) > most:
        longest = max(range(len(shape)), key=left)
        steps[longest] = max(-(-shape[longest] // (left(longest) - 1)), steps[longest] + 1) | 1
    return steps


class _Sum:
    """One tap over several runs. Variances are of differences to the first run, as in `Reductions.squares`."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._first: Array | None = None
        self._total: Any = 0.0
        self._squares: Any = 0.0
        self._runs = 0
        self._odd = False  # its shape changes from run to run

    def add(self, output: Array) -> None:
        self._runs += 1
        if self._first is None:
            self._first = output
        elif output.shape != self._first.shape:
            self._odd = True
        elif self._tap.measure == "variance":
            difference = output.astype(np.float64) - self._first
            self._total = self._total + difference
            self._squares = self._squares + difference**2
        elif self._tap.measure == "silence":
            self._first = np.maximum(self._first, output)
        else:
            self._total = self._total + output

    def figures(self, place: _Place) -> dict[str, Any]:
        if self._odd or self._first is None:
            return {"left_out": "has another shape in each run"}
        if self._tap.measure == "silence":
            return _judged(self._tap, self._first)
        if self._tap.measure == "saturation":
            return _judged(self._tap, (self._first + self._total) / self._runs)
        if self._runs < 2:
            return {"left_out": "was seen on one sample only"}
        with np.errstate(all="ignore"):
            variance = (self._squares - self._total**2 / self._runs) / (self._runs - 1)
            others = tuple(axis for axis in range(variance.ndim) if axis != place.units(self._tap))
            return _variance(np.mean(variance, axis=others))
