"""Which sensor an input comes from, as its name or the person says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from avreview.artifact import Artifact
from avreview.engine.resolve import fact
from avreview.facts.graphs import the_graph

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
def input_modality(artifact: Artifact, stated: StatedModality) -> InputModality:
    """The stated modality for every input, or what each input's name says."""
    inputs = the_graph(artifact).inputs
    if stated.name is not None:
        return InputModality({info.name: stated.name for info in inputs if _is_data(info.dtype)}, known=True)
    sensors = {info.name: sensor for info in inputs if _is_data(info.dtype) and (sensor := _by_name(info.name))}
    return InputModality(sensors, known=bool(sensors))


def _is_data(dtype: str | None) -> bool:
    return dtype is None or dtype.startswith(("float", "bfloat", "uint8"))


def _by_name(name: str) -> str | None:
    words = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    joined = "_".join(filter(None, words))
    for sensor, pattern in _WORDS.items():
        if any(re.fullmatch(pattern, word) for word in (*words, joined)):
            return sensor
    return None
