"""Question 2: are pretrained and newly initialized modules treated separately?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.checks.words import count, listed
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.review import Location
from avreview.facts.initialization import Initialization, Initializations
from avreview.facts.subject import PretrainedBase


@check("AV201")
def never_trained_module(inits: Initializations, limits: Thresholds) -> Iterator[Violation]:
    """A module whose weights cannot be told from a fresh draw; a wholly untrained model is one finding."""
    inits.require()
    if inits.wholly_untrained:
        message = "The model is untrained: its weights are those of a fresh draw."
        yield _untrained(inits, inits.untouched, None, message)
        return
    groups: dict[str, list[Initialization]] = {}
    trained = _trained_modules(inits)
    for entry in inits.untouched:
        groups.setdefault(_group(entry, trained), []).append(entry)
    for group, entries in groups.items():
        if not any(e.elements >= limits.alone_min_elements or (e.match and e.match.companion) for e in entries):
            continue
        yield _untrained(inits, entries, group, f"{_what(inits, group, entries)} cannot be told from a fresh draw.")


def _what(inits: Initializations, group: str, entries: Sequence[Initialization]) -> str:
    """The module, or those of its weights that are concerned: a recurrent layer may have learned one of two."""
    learned = {id(entry.layer) for entry in inits.all if not entry.untouched}
    if any(id(entry.layer) in learned for entry in entries):
        return f"Of {group}, which was trained otherwise, {count(len(entries), 'weight')}"
    return f"{group} was never trained: its weights"


def _trained_modules(inits: Initializations) -> frozenset[str]:
    """Every module that holds a trained weight, and all that contain it."""
    found = set()
    for entry in inits.all:
        module = "" if entry.untouched else entry.layer.module or ""
        while module:
            found.add(module)
            module = module.rpartition(".")[0]
    return frozenset(found)


def _group(entry: Initialization, trained: frozenset[str]) -> str:
    """The largest module around the weight in which nothing was trained."""
    module = entry.layer.module or entry.layer.node.label
    while (parent := module.rpartition(".")[0]) and parent not in trained:
        module = parent
    return module


def _untrained(inits: Initializations, entries: Sequence[Initialization], group: str | None, message: str) -> Violation:
    first = entries[0]
    gradients = dict.fromkeys(e.no_gradient for e in entries if e.no_gradient)
    companions = dict.fromkeys(e.match.companion.kind for e in entries if e.match and e.match.companion)
    return Violation(
        at=_location(inits, first)._replace(module=first.layer.module and (group or first.layer.module)),
        also=[_location(inits, entry) for entry in entries[1:]],
        message=message,
        observed={
            "scheme": listed(dict.fromkeys(entry.scheme for entry in entries)),
            "weights": len(entries),
            "elements": sum(entry.elements for entry in entries),
            "share_of_model": round(sum(e.elements for e in entries) / sum(e.elements for e in inits.all), 4),
            **({"companion": listed(companions)} if companions else {}),
            **({"optimizer": listed(gradients)} if gradients else {}),
        },
        expected={"weights": "changed by training"},
    )


def _location(inits: Initializations, entry: Initialization) -> Location:
    at = entry.layer.location(inits.artifact)
    return Location(at.artifact, at.node, at.module, entry.weight.name)


@answer(2)
def which_modules_are_new(inits: Initializations, base: PretrainedBase | None) -> AnswerText:
    """Says which modules were trained at all; what they were trained from, another answer says beside the base."""
    inits.require()
    untouched = inits.untouched
    if inits.wholly_untrained:
        sentence = "No module was trained: the whole model is at its initialization"
    elif untouched:
        trained = _trained_modules(inits)
        modules = listed(dict.fromkeys(_group(entry, trained) for entry in untouched))
        sentence = f"{count(len(untouched), 'weight')} of {len(inits.all)} never trained: {modules}"
    else:
        sentence = f"All {count(len(inits.all), 'weight')} that can be judged were trained"
    if base is not None:
        return AnswerText(f"{sentence}.")
    rows = [_row(entry) for entry in inits.all]
    return AnswerText(f"{sentence}. Which came from a pretrained base takes the base.", rows)


def _row(entry: Initialization) -> dict[str, str | float | int | None]:
    state = "untouched" if entry.untouched else "trained" if entry.match is None else "not told from a draw"
    return {
        "module": entry.layer.module or entry.layer.node.label,
        "weight": entry.weight.name,
        "elements": entry.elements,
        "state": state,
        "like": entry.scheme or None,
    }
