"""What the answers to questions 8 and 9 say of a measured augmentation: a sentence, and the table behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avreview.augment.judged import Fault, Judged, Limits, faults, judged, names
from avreview.augment.kinds import KINDS, amount
from avreview.augment.model import Augmented, Measured
from avreview.checks.words import count, listed, verb
from avreview.engine.review import Scalar
from avreview.load.wording import one_line

_NAME = 120
_WORDS = 300
_SCENES = {"image": "images", "driving": "driving scenes", "sequence": "sequences of driving scenes"}
_CULPRITS = 4  # that a sentence names


def sentence(
    augmented: Augmented, rules: Sequence[str], limits: Limits, what: str, but: Callable[[Fault], bool] | None = None
) -> str:
    """How many augmentations break `what`, and which; or that none does, and what was left open.

    `but` tells the faults that the rules leave to those of another question.
    """
    if augmented.whole.failure:
        return f"The augmentation could not be measured: {one_line(augmented.whole.failure, _WORDS)}."
    where = f"Run under {count(augmented.seeds, 'seed')} on synthetic {_SCENES.get(augmented.kind, 'scenes')}, "
    broken: dict[str, list[str]] = {}
    for rule in rules:
        for fault in faults(augmented, rule, limits):
            if but is not None and but(fault):
                continue
            broken.setdefault(fault.name, []).extend(entry.kind.title for entry in fault.off)
    if broken:
        told = [f"{one_line(name, _NAME)} ({', '.join(dict.fromkeys(off))})" for name, off in broken.items()]
        of = f" of {len(augmented.members)}" if len(augmented.members) > 1 else ""
        number = f"{len(broken)}{of} {'augmentation' if len(broken) == 1 and not of else 'augmentations'}"
        said = f"{number} {verb(len(broken), 'break')} {what}: {listed(told, _CULPRITS)}."
    elif not augmented.whole.changed:
        lost = any(reason.startswith("the augmentation returned no ") for reason in augmented.whole.unjudged.values())
        came = "what came back of every scene was as before" if lost else "every scene came back as it was"
        said = f"{came}, so nothing was put to the test."
    else:
        whole = f"the {count(len(augmented.members), 'augmentation')} together" if augmented.members else "it"
        said = (
            f"{whole} {'keep' if len(augmented.members) > 1 else 'keeps'} {what} consistent in all that was measured."
        )
    return f"{where}{said}{_open(augmented.whole, rules)}"


def _open(whole: Measured, rules: Sequence[str]) -> str:
    left = [KINDS[name].title for name in whole.unjudged if name in KINDS and KINDS[name].rule in rules]
    return f" Not judged: {', '.join(left)}." if left else ""


def table(augmented: Augmented, rules: Sequence[str], limits: Limits) -> list[dict[str, Scalar]]:
    """What was measured for some rules: a row for each augmentation and measure, what is off first."""
    rows: list[tuple[int, dict[str, Scalar]]] = []
    for name, measured in zip(names(augmented), augmented.all, strict=True):
        shown = one_line(name, _NAME)
        if measured.failure:
            reason = one_line(measured.failure, _WORDS)
            rows.append((0, {"augmentation": shown, "verdict": "did not run", "reason": reason}))
        own = [entry for entry in judged(measured, limits) if entry.kind.rule in rules]
        rows += [(1 if entry.off else 3, _row(shown, entry)) for entry in own]
        for measure, reason in measured.unjudged.items():
            if measure in KINDS and KINDS[measure].rule in rules:
                title, why = KINDS[measure].title, one_line(reason, _WORDS)
                rows.append((2, {"augmentation": shown, "measure": title, "verdict": "not judged", "reason": why}))
    return [row for _, row in sorted(rows, key=lambda entry: entry[0])]


def _row(name: str, entry: Judged) -> dict[str, Scalar]:
    return {
        "augmentation": name,
        "measure": entry.kind.title,
        "verdict": "off" if entry.off else "fine",
        "worst": amount(entry.worst.value, entry.kind.unit),
        "accepted": entry.accepted,
        "seed": entry.worst.seed,
        "at": one_line(entry.worst.entity, _NAME),
    }
