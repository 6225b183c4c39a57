"""Mean and variance of each channel at the norms' inputs, over all given samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime

Array = np.ndarray[Any, Any]
_FOLDS = 8
_PARTS = ("mean", "squares", "shape")
_AXES_ARE_INPUTS = 18  # the opset from which reductions take their axes as an input


class Moments:
    """Count, mean and sum of squared deviations of each channel, in float64, over what was added so far."""

    def __init__(self, channels: int) -> None:
        self.count = 0.0
        self.mean = np.zeros(channels)
        self._squares = np.zeros(channels)

    @property
    def variance(self) -> Array:
        """The biased one, as batch norms use it."""
        return self._squares / self.count

    @np.errstate(all="ignore")
    def add(self, mean: Array, squares: Array, each: float) -> None:
        """Adds parts of `each` elements a channel: their means and sums of squared deviations, [parts, channels].

        Parts of one size are combined first, then they with what is known: Chan, Golub and LeVeque, Updating Formulae
        and a Pairwise Algorithm for Computing Sample Variances (1979), eq. 2.1.
        """
        means = mean.astype(np.float64)
        center, added = means.mean(axis=0), each * len(means)
        total = self.count + added
        apart = center - self.mean
        self._squares += squares.astype(np.float64).sum(axis=0) + each * ((means - center) ** 2).sum(axis=0)
        self._squares += apart**2 * (self.count * added / total)
        self.mean += apart * (added / total)
        self.count = total


class Estimate:
    """Moments over all samples, and over several folds of them, which tell how uncertain they are."""

    def __init__(self, channels: int) -> None:
        self._whole = Moments(channels)
        self._folds = [Moments(channels) for _ in range(_FOLDS)]
        self._samples = 0

    def add(self, mean: Array, squares: Array, each: float, samples: int) -> None:
        """Adds a batch; `mean` and `squares` are [parts, channels], as many parts of each of the `samples`."""
        self._whole.add(mean, squares, each)
        own = len(mean) // samples if samples and len(mean) % samples == 0 else len(mean)
        for start in range(0, len(mean), own):
            fold = self._folds[self._samples % _FOLDS]
            fold.add(mean[start : start + own], squares[start : start + own], each)
            self._samples += 1

    @np.errstate(all="ignore")
    def as_json(self) -> dict[str, Any] | None:
        """Mean and variance by channel with their standard errors, None where not finite; None without data."""
        whole, folds = self._whole, [fold for fold in self._folds if fold.count]
        if len(folds) < 2:
            return None
        means = np.stack([fold.mean for fold in folds])
        variances = np.stack([fold.variance + (fold.mean - whole.mean) ** 2 for fold in folds])
        errors = [part.std(axis=0, ddof=1) / len(folds) ** 0.5 for part in (means, variances)]
        return {
            "mean": _numbers(whole.mean),
            "variance": _numbers(whole.variance),
            "mean_error": _numbers(errors[0]),
            "variance_error": _numbers(errors[1]),
        }


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs all given samples, with reductions behind the inputs of `job["norms"]` ({input, channels} each).

    `norms` in the answer holds an entry for each of them, None for one whose input cannot be observed. Batches hold
    `job["samples"]` samples. Raises Refused where fewer than `job["least"]` samples were given.
    """
    _require_samples(inputs, int(job["least"]))
    norms: Sequence[Mapping[str, Any]] = job["norms"]
    seen = [place for place, norm in enumerate(norms) if _observable(runtime, norm["input"])]
    if not seen:
        raise Refused("every batch norm stands inside a subgraph or function, where its input cannot be observed")
    observed = {place: (norms[place]["input"], int(norms[place]["channels"])) for place in seen}
    session = runtime.session(addition=_addition(observed, runtime.graph.opsets.get("", 1)))
    wanted = [_name(place, part) for place in seen for part in _PARTS]
    moments = {place: Estimate(channels) for place, (_, channels) in observed.items()}
    samples = 0
    inputs.settle(session, inputs.samples(job["samples"]))
    for feed in inputs.batches(job["samples"]):
        reduced = session.run(feed, wanted)
        count = _extent(inputs, feed)
        for place, moment in moments.items():
            mean, squares, shape = (reduced[_name(place, part)] for part in _PARTS)
            if shape[0] and shape[2]:
                moment.add(mean, squares, float(shape[2]), count)
        samples += count
    if samples < job["least"]:
        raise Refused(
            f"needs at least {job['least']} samples; of the {inputs.count} in --inputs only {samples} fill batches of "
            f"{inputs.fixed}, the size that the model fixes"
        )
    found = {place: moment.as_json() for place, moment in moments.items()}
    return {"samples": samples, "norms": [found.get(place) for place in range(len(norms))]}


def _require_samples(inputs: Inputs, least: int) -> None:
    given = inputs.count
    if given is None:
        raise Refused("needs inputs that represent what the model is deployed on; pass --inputs")
    if given < least:
        why = "" if inputs.has_batch else ", because no axis of the model's inputs counts samples"
        raise Refused(f"needs at least {least} samples to recompute statistics from; --inputs has {given}{why}")


def _observable(runtime: Runtime, key: str) -> bool:
    graph = runtime.graph
    return "\x1f" not in key and (key in graph.producer or any(info.name == key for info in graph.inputs))


def _name(place: int, part: str) -> str:
    return f"avreview/norm{place}/{part}"


def _addition(observed: Mapping[int, tuple[str, int]], opset: int) -> bytes:
    """A ModelProto with the reductions alone, behind the key and channel count of each observed norm's input.

    The input [samples, channels, …] is seen as [samples, channels, elements] and reduced over the elements. Deviations
    are taken from each sample's own mean, so that nothing cancels where a mean is far from 0.
    """
    from onnx import GraphProto, ModelProto, TensorProto, helper

    nodes, constants, outputs = [], [], []
    axes = "avreview/axes"
    constants.append(helper.make_tensor(axes, TensorProto.INT64, [1], [2]))
    for place, (key, channels) in observed.items():
        own = f"avreview/norm{place}"
        shape = f"{own}/view"
        constants.append(helper.make_tensor(shape, TensorProto.INT64, [3], [0, channels, -1]))
        mean, squares, extents = (_name(place, part) for part in _PARTS)
        nodes += [
            helper.make_node("Reshape", [key, shape], [f"{own}/flat"], f"{own}/Reshape"),
            helper.make_node("Cast", [f"{own}/flat"], [f"{own}/values"], f"{own}/Cast", to=TensorProto.FLOAT),
            _reduced("ReduceMean", f"{own}/values", f"{own}/center", axes, opset, keep=True),
            helper.make_node("Sub", [f"{own}/values", f"{own}/center"], [f"{own}/deviations"], f"{own}/Sub"),
            _reduced("ReduceSumSquare", f"{own}/deviations", squares, axes, opset, keep=False),
            _reduced("ReduceMean", f"{own}/values", mean, axes, opset, keep=False),
            helper.make_node("Shape", [f"{own}/flat"], [extents], f"{own}/Shape"),
        ]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (mean, squares)]
        outputs.append(helper.make_tensor_value_info(extents, TensorProto.INT64, None))
    graph = GraphProto(node=nodes, initializer=constants, output=outputs)
    return bytes(ModelProto(graph=graph).SerializeToString())


def _reduced(op: str, key: str, result: str, axes: str, opset: int, *, keep: bool) -> Any:
    from onnx import helper

    if opset >= _AXES_ARE_INPUTS:
        return helper.make_node(op, [key, axes], [result], f"{result}/{op}", keepdims=int(keep))
    return helper.make_node(op, [key], [result], f"{result}/{op}", axes=[2], keepdims=int(keep))


def _extent(inputs: Inputs, feed: Mapping[str, Array]) -> int:
    """The number of samples in a batch."""
    axes = {entry["name"]: entry["batch_axis"] for entry in inputs.entries}
    return next((int(feed[name].shape[axis]) for name, axis in axes.items() if axis is not None), 1)


def _numbers(values: Array) -> list[float | None]:
    """Seven digits, a float32's worth, keep the answer short."""
    return [float(f"{value:.7g}") if np.isfinite(value) else None for value in values.tolist()]
