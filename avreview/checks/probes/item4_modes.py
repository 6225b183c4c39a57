"""Question 4 from a run of the source model: what is at stake if its mode is wrong?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from avreview.artifact import Artifact
from avreview.checks.words import count, listed
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check, evidence
from avreview.engine.review import Location
from avreview.probes.modes import ModeGap, MovingPart


@check("AV412")
def train_eval_gap(artifact: Artifact, modes: ModeGap, limits: Thresholds) -> Iterator[Violation]:
    """The outputs move between the modes."""
    if modes.gap <= limits.min_gap:
        return
    places = [Location(artifact.provenance.path, module=part.path) for part in modes.parts]
    yield Violation(
        at=places[0] if places else Location(artifact.provenance.path),
        also=places[1:],
        message=f"In train() the reference's outputs differ from those in eval() by {_percent(modes.gap)} of the "
        f"largest{_scope(modes)}{_causes(modes)}.",
        observed={
            "gap": _shown(modes.gap),
            "differs_between_runs": _shown(modes.chance),
            "parts": {part.path: _shown(part.gap) for part in modes.parts[: len(places)]},
            "samples": modes.inputs["samples"],
        },
        expected={"gap": f"at most {limits.min_gap:g}"},
    )


def _scope(modes: ModeGap) -> str:
    return "" if modes.scope == "all" else f" (only its {modes.scope} were switched)"


def _causes(modes: ModeGap) -> str:
    """Which parts move the outputs most, and whether by chance or by their statistics."""
    if not modes.parts:
        return ""
    return f"; alone, {listed(map(_named, modes.parts))}"


def _named(part: MovingPart) -> str:
    what = part.kinds[0] if len(part.kinds) == 1 else f"{count(part.number, 'module')}"
    how = "at random" if part.chance else "by its statistics"
    return f"{part.path or 'the model'} ({what}) moves them by {_percent(part.gap)} {how}"


@answer(4)
def how_far_modes_are_apart(modes: ModeGap) -> AnswerText:
    """The gap in a sentence."""
    apart = f"differ by {_percent(modes.gap)} of the largest" if modes.gap else "are the same"
    return AnswerText(
        f"The source model's outputs in train() and in eval() {apart}, on {_inputs(modes)}{_scope(modes)}."
    )


@evidence("modes")
def modes_compared(modes: ModeGap) -> dict[str, Any]:
    """The gap by output and by part."""
    return {
        "outputs": {name: _shown(gap) for name, gap in modes.outputs.items()},
        "differs_between_runs": _shown(modes.chance),
        "switched": modes.scope,
        "sensitive_modules": modes.sensitive,
        "parts": [{**part._asdict(), "gap": _shown(part.gap)} for part in modes.parts],
        "inputs": modes.inputs,
    }


def _inputs(modes: ModeGap) -> str:
    samples = modes.inputs["samples"]
    return f"{count(samples, 'sample')} ({modes.inputs['origin']})" if samples else f"{modes.inputs['origin']} inputs"


def _percent(gap: float) -> str:
    return f"{100 * gap:.3g} %" if math.isfinite(gap) else "more than can be told (not finite)"


def _shown(value: float) -> float | None:
    """Three significant digits; None for what is not finite."""
    return float(f"{value:.3g}") if math.isfinite(value) else None
