"""Units behind a rectifier that never fired while the model ran: the result of a probe, for a rule of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.facts.layers import Layer


class SilentLayer(NamedTuple):
    """A layer with a rectifier behind it, and how many of its units gave 0 on every input and at every position."""

    layer: Layer
    silent: int
    units: int


class Silence(NamedTuple):
    """Every layer whose units could be watched. `inputs` says what they were shown, in words."""

    layers: Sequence[SilentLayer]
    samples: int
    inputs: str
