"""Question 4 from a run: do the outputs depend on the runtime's graph optimizations?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from avreview.artifact import Artifact
from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.review import Location
from avreview.probes.compared import FULL
from avreview.probes.levels import LevelDrift

_LEVELS = {"BASIC": "the basic level on", "EXTENDED": "the extended level on", "ALL": "the highest level alone"}


@check("AV405")
def optimization_level_drift(artifact: Artifact, levels: LevelDrift, limits: Thresholds) -> Iterator[Violation]:
    """An output moves with the optimization level, further than rounding moves it."""
    if not levels.departing:
        return
    worst = max(levels.departing, key=lambda name: levels.drift[name])
    drift, rounding = levels.drift[worst], levels.sensitivity.get(worst, 0.0)
    number = len(levels.departing)
    yield Violation(
        at=Location(artifact.provenance.path, tensor=worst),
        message=f"{count(number, 'output')} of {len(levels.drift)} ({listed(levels.departing)}) "
        f"{verb(number, 'differ')} between graph optimizations off and on{_cause(levels)}.",
        observed={"drift": _shown(drift), "input_rounding": _shown(rounding)},
        expected={"drift": f"at most {levels.max_drift:g}, or {limits.max_sensitivity_ratio:g} times the rounding"},
    )


def _cause(levels: LevelDrift) -> str:
    if levels.level is None:
        return ""
    since = f", from {_LEVELS[levels.level]}" if levels.level != "ALL" else f", at {_LEVELS['ALL']}"
    return since + (f"; without {levels.optimization} they agree" if levels.optimization else "")


def _shown(value: float) -> float | str | None:
    return shown_floats(value) if math.isfinite(value) else "not finite"


@answer(4)
def do_levels_agree(levels: LevelDrift) -> AnswerText:
    """How far the outputs moved."""
    largest = max(levels.drift.values())
    if not largest:
        return AnswerText("Graph optimizations off and on gave the same outputs bit for bit.")
    moved = f"by up to {largest:.2g} of the largest value" if math.isfinite(largest) else "beyond every number"
    within = "" if levels.precision == FULL else f", in an export of {levels.precision} precision"
    return AnswerText(f"Graph optimizations on moved the outputs {moved}{within}.")
