"""How much is at stake if the mode of the deployed model is ever wrong?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.resolve import fact
from avreview.probes.live import LiveModel

_SAMPLES = 8


class MovingPart(NamedTuple):
    """A module (or `number` modules under one path) and the gap that it causes with all others in eval().

    `chance` is True where its outputs in train() differ from run to run, as a dropout's do.
    """

    path: str
    kinds: Sequence[str]
    number: int
    gap: float
    chance: bool


class ModeGap(NamedTuple):
    """How far train() moves each output of the reference: largest |difference| / largest |output in eval()|.

    `chance` is the same between runs in train(). `scope` says what was switched: `all`, or `norms and dropouts` where
    the reference gives nothing comparable in train(). `sensitive` counts the modules that read their mode.
    """

    outputs: Mapping[str, float]
    chance: float
    scope: str
    parts: Sequence[MovingPart]
    sensitive: int
    inputs: Mapping[str, Any]

    @property
    def gap(self) -> float:
        return max(self.outputs.values())


@fact(only_for_rules=True)
def mode_gap(live: LiveModel) -> ModeGap:
    """Runs the reference in both modes."""
    answer = live.run("modes", samples=_SAMPLES)
    return ModeGap(
        answer["outputs"],
        answer["chance"],
        answer["scope"],
        [MovingPart(**entry) for entry in answer["parts"]],
        answer["sensitive"],
        answer["inputs_used"],
    )
