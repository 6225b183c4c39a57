"""Which sensor an input comes from, as its name or the person says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from avreview.artifact import Artifact, ValueInfo
from avreview.engine.resolve import fact
from avreview.facts.graphs import the_graph
from avreview.facts.subject import Companions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from avreview.recipe.model import Recipe

MODALITIES = ("camera", "lidar", "radar", "depth", "occupancy")
_WORDS = {
    "lidar": r"lidar|points?|point_?cloud|pcd?|voxels?|pillars?|intensity|sweeps?|range_?(image|view)",
    "radar": r"radar|doppler|rcs",
    "depth": r"depths?|disparity",
    "occupancy": r"occ|occupancy|occupancies",
    "camera": r"images?|imgs?|cams?|cameras?|rgb|pixels?|pixel_values|frames?|video",
}


class StatedModality(NamedTuple):
    """What the person says of the inputs on the command line; None when nothing was said."""

    name: str | None = None


class InputModality(NamedTuple):
    """The sensor behind each input, where it is known."""

    sensors: Mapping[str, str]
    known: bool

    @property
    def measuring(self) -> dict[str, str]:
        """Inputs whose absolute magnitude means something: range, power, intensity, counts."""
        return {name: sensor for name, sensor in self.sensors.items() if sensor != "camera"}


@fact
def input_modality(artifact: Artifact, stated: StatedModality, companions: Companions) -> InputModality:
    """The stated modality for every input, or what each input's name says, or of the one that is left the recipe."""
    inputs = the_graph(artifact).inputs
    if stated.name is not None:
        return InputModality({info.name: stated.name for info in inputs if _is_data(info.dtype)}, known=True)
    sensors = {info.name: sensor for info in inputs if _is_data(info.dtype) and (sensor := _by_name(info.name))}
    if companions.recipe is not None:
        sensors |= _by_recipe(companions.recipe, inputs, sensors)
    return InputModality(sensors, known=bool(sensors))


def _by_recipe(recipe: Recipe, inputs: Sequence[ValueInfo], named: Mapping[str, str]) -> dict[str, str]:
    """The recipe's one sensor that no name tells of, behind the one input whose name tells nothing; else none.

    An input of one axis is left alone: it holds no image, no points and no grid.
    """
    encoded = [sensor for sensor, setting in recipe.sensors.items() if setting.value and sensor in MODALITIES]
    told = [sensor for sensor in encoded if sensor not in named.values()]
    large = [info.name for info in inputs if info.dims is None or len(info.dims) >= 2]
    nameless = [info.name for info in inputs if info.name not in named and _is_data(info.dtype)]
    if len(told) == 1 and len(nameless) == 1 and nameless[0] in large:
        return {nameless[0]: told[0]}
    return {}


def _is_data(dtype: str | None) -> bool:
    return dtype is None or dtype.startswith(("float", "bfloat", "uint8"))


def _by_name(name: str) -> str | None:
    words = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    joined = "_".join(filter(None, words))
    for sensor, pattern in _WORDS.items():
        if any(re.fullmatch(pattern, word) for word in (*words, joined)):
            return sensor
    return None
