"""The normalization of images that a recipe states, laid beside the one that an export does at its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Artifact, ValueInfo
from avreview.compare.preprocessing import Reading, readings
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.graphs import the_graph
from avreview.facts.modality import InputModality
from avreview.facts.weights import Constants
from avreview.recipe.model import InputNormalization, Recipe

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# How an export's constants stand to the recipe's.
SAME = "same"
RESCALED = "rescaled"  # the same for inputs that are a constant factor smaller or larger
REVERSED = "reversed"  # the same with the channels the other way round
OTHER = "other"
_NO_SCALE = (None, 1.0)


class StatedConstants(NamedTuple):
    """The recipe's normalization for pixels as they are stored: (x − mean) / deviation, [channels] or [1]."""

    mean: Array
    deviation: Array
    stated: InputNormalization

    @property
    def is_rescaled(self) -> bool:
        """Whether the recipe brings pixels into another range first, which a caller may go on doing."""
        return self.stated.scale not in _NO_SCALE


class ImageInput(NamedTuple):
    """An input of the export that holds images, and what is done to it in front of the first layer."""

    info: ValueInfo
    reading: Reading

    @property
    def holds_pixels(self) -> bool:
        """Whether its type tells that it is given pixels as they are stored, from 0 to 255."""
        return self.info.dtype == "uint8"

    @property
    def is_told(self) -> bool:
        """Whether scale and shift can be told, and are no layer's that learns."""
        learned = any(step.is_learned for step in self.reading.steps)
        return not learned and self.reading.mean is not None and self.reading.deviation is not None


class InputComparison(NamedTuple):
    """The inputs that hold images, and what the recipe does to images."""

    artifact: str
    inputs: Sequence[ImageInput]
    stated: Sequence[StatedConstants]


@fact
def input_comparison(
    artifact: Artifact, recipe: Recipe, constants: Constants, modality: InputModality
) -> InputComparison:
    """Raises NotAvailable for a recipe that states no normalization, NotApplicable for an export without images."""
    graph = the_graph(artifact)
    stated = [found for entry in recipe.normalization if (found := _constants(entry)) is not None]
    if not stated:
        raise NotAvailable("needs the normalization of the input, which the recipe does not tell; state it there")
    channels = max(max(entry.mean.size, entry.deviation.size) for entry in stated)
    wanted = {1, 3, 4} if channels == 1 else {channels}
    by_name = {reading.input: reading for reading in readings(graph, constants)}
    inputs = [
        ImageInput(info, by_name[info.name])
        for info in graph.inputs
        if modality.sensors.get(info.name, "camera") == "camera" and _holds_images(info, wanted)
    ]
    if not inputs:
        raise NotApplicable("no input of the export holds images")
    return InputComparison(artifact.provenance.path, inputs, stated)


def _holds_images(info: ValueInfo, channels: set[int]) -> bool:
    """Whether an input has the axes of images: […, channels, height, width] or [batch, height, width, channels]."""
    dims = info.dims
    if dims is None or not 4 <= len(dims) <= 6:
        return False
    return dims[-3] in channels or (dims[-1] in channels and dims[-3] not in channels)


def _constants(entry: InputNormalization) -> StatedConstants | None:
    import numpy as np

    scale = 1.0 if entry.scale is None else entry.scale
    if (entry.mean is None and entry.std is None and entry.scale is None) or not scale:
        return None
    mean = np.asarray(entry.mean or (0.0,), np.float64)
    deviation = np.asarray(entry.std or (1.0,), np.float64)
    if len({mean.size, deviation.size} - {1}) > 1:
        return None
    with np.errstate(all="ignore"):
        mean, deviation = mean / scale, deviation / scale
    if not np.isfinite([*mean, *deviation]).all() or not deviation.all():
        return None
    return StatedConstants(mean, deviation, entry)


def compared(given: ImageInput, stated: StatedConstants, limit: float) -> str:
    """How the export's constants stand to the recipe's: SAME, RESCALED, REVERSED or OTHER."""
    mean, deviation = given.reading.mean, given.reading.deviation
    if mean is None or deviation is None or len({mean.size, deviation.size, stated.mean.size} - {1}) > 1:
        return OTHER
    if _alike(mean, deviation, stated.mean, stated.deviation, limit):
        return SAME
    factor = deviation / stated.deviation
    if (abs(factor - factor.mean()) <= limit * abs(factor)).all():
        scaled = float(factor.mean())
        if _alike(mean, deviation, stated.mean * scaled, stated.deviation * scaled, limit):
            return RESCALED
    if _alike(mean, deviation, stated.mean[::-1], stated.deviation[::-1], limit):
        return REVERSED
    return OTHER


def rescaling(given: ImageInput, stated: StatedConstants) -> float:
    """By how much the export's inputs are larger than the recipe's."""
    deviation = given.reading.deviation
    return 1.0 if deviation is None else float((deviation / stated.deviation).mean())


def _alike(mean: Array, deviation: Array, other_mean: Array, other_deviation: Array, limit: float) -> bool:
    """Whether both agree within a relative limit; a mean near 0 is held against the deviation."""
    import numpy as np

    means, deviations = np.broadcast_arrays(mean, other_mean), np.broadcast_arrays(deviation, other_deviation)
    size = np.maximum(abs(means[0]), abs(means[1]))
    slack = 0.1 * limit * np.maximum(abs(deviations[0]), abs(deviations[1]))
    near = (abs(means[0] - means[1]) <= limit * size + slack).all()
    return bool(near and (abs(deviations[0] - deviations[1]) <= limit * abs(deviations[1])).all())


def shown(values: Array) -> str:
    """`[123.675, 116.28, 103.53]`, or one number."""
    listed = [f"{value:.6g}" for value in values.reshape(-1)[:8]]
    return listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"


def distinct(stated: Sequence[StatedConstants]) -> Iterator[StatedConstants]:
    """Each pair of constants once: the training and the test pipeline mostly state the same."""
    seen = set()
    for entry in stated:
        key = (entry.mean.tobytes(), entry.deviation.tobytes())
        if key not in seen:
            seen.add(key)
            yield entry
