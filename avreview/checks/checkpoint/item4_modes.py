"""Question 4 for saved modules: the mode they were saved in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.checkpoint import Module
from avreview.checks.words import count, listed, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable
from avreview.engine.review import Location
from avreview.facts.training_modes import TrainingModes


@check("AV407")
def saved_in_training_mode(modes: TrainingModes, limits: Thresholds) -> Iterator[Violation]:
    """Modules whose behaviour depends on the mode, saved in training mode."""
    if not modes.dependent:
        raise NotApplicable("no module of the tree depends on the mode")
    if len(modes.training) > limits.max_training_modules:
        places = [Location(modes.artifact, module=module.path) for module in modes.training]
        yield Violation(
            at=places[0],
            also=places[1:],
            message=f"{count(len(places), 'module')} of {len(modes.dependent)} that depend on the mode "
            f"{verb(len(places), 'were', 'was')} saved in training mode.",
            observed={"training": True, "kinds": listed(dict.fromkeys(module.kind for module in modes.training))},
            expected={"training": False},
        )


@answer(4)
def which_mode_was_saved(modes: TrainingModes) -> AnswerText:
    """Says in which mode the modules of a tree were saved."""
    if not modes.dependent:
        return AnswerText("No module of the tree depends on the mode.")
    working = len(modes.training)
    saved = f"{working} of {count(len(modes.dependent), 'module')} that depend on the mode"
    state = (
        f"{saved} {verb(working, 'were', 'was')} saved in training mode"
        if working
        else f"{saved} left in training mode"
    )
    return AnswerText(f"{state}.", _rows(modes.dependent))


def _rows(modules: Sequence[Module]) -> list[dict[str, str | bool | None]]:
    return [
        {"module": module.path, "kind": module.kind, "training": module.attributes.get("training") is True}
        for module in modules
    ]
