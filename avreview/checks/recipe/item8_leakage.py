"""Question 8 from the lists of what the splits hold: is validation made of other drives than training?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.checks.words import listed
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotAvailable
from avreview.engine.review import Location, Severity
from avreview.facts.leakage import Shared, SplitLists, shared_with_training
from avreview.load.wording import one_line, quoted
from avreview.recipe.manifests import Manifest
from avreview.recipe.manifests.ids import FOLDER

# One and several of each kind.
_NOUNS = {
    "frame": ("frame", "frames"),
    "file": ("file", "files"),
    "scene": ("scene", "scenes"),
    "scene-token": ("scene", "scenes"),
    "sequence": ("sequence", "sequences"),
    "drive": ("drive", "drives"),
    "log": ("log", "logs"),
    "log-token": ("log", "logs"),
    "route": ("route", "routes"),
    "folder": ("folder of numbered frames", "folders of numbered frames"),
    "number": ("frame number", "frame numbers"),
}
_LOGS = frozenset({"log", "log-token"})
_WARNINGS = frozenset({"route", FOLDER})  # other frames of the same place, or of what may be no recording
_EXAMPLES = 8


@check("AV809")
def train_val_leakage(lists: SplitLists, limits: Thresholds) -> Iterator[Violation]:
    """Ids that stand on both sides of a split."""
    every = shared_with_training(lists.manifests)
    for shared in every:
        if not shared.unsure and len(shared.ids) > limits.max_shared:
            yield _leak(lists, shared, limits)
    open_ended = [shared for shared in every if shared.unsure or not shared.compared]
    if len(open_ended) == len(every):
        raise NotAvailable(_incomparable(lists, open_ended[0]))


def _incomparable(lists: SplitLists, shared: Shared) -> str:
    if shared.unsure:
        why = f"the lists of train and {shared.role} share numbers alone, and {shared.unsure}"
    else:
        kinds = {
            role: listed(dict.fromkeys(kind for one in side for kind in one.ids), 4)
            for role, side in lists.manifests.sides.items()
        }
        why = f"train names {kinds['train']}, and {shared.role} names {kinds[shared.role]}"
    return f"needs ids of one kind on both sides ({why}); pass lists of scenes, logs or paths"


def _leak(lists: SplitLists, shared: Shared, limits: Thresholds) -> Violation:
    kind = str(shared.kind)
    nouns = _NOUNS[kind]
    number = len(shared.ids)
    noun = nouns[number != 1]
    module = f"train-{shared.role}.{kind}"
    first = shared.ids[0]
    there = _places(lists.manifests.sides[shared.role], kind, first, module)
    others = {other: count for other, count in shared.counts.items() if other != kind}
    names = listed(quoted(name, 60) for name in shared.ids)
    return Violation(
        at=there[0],
        also=[*there[1:], *_places(lists.manifests.sides["train"], kind, first, module)],
        message=f"{number:,} of {shared.sizes[1]:,} {nouns[shared.sizes[1] != 1]} of {shared.role} "
        f"{'are' if number != 1 else 'is'} in train as well: {names}.",
        observed={
            f"shared_{noun.replace(' ', '_')}": number,
            "first": [one_line(name, 120) for name in shared.ids[:_EXAMPLES]],
            **({"also_shared": others} if others else {}),
        },
        expected={"shared": f"at most {limits.max_shared:g}"},
        severity=_severity(shared, kind, limits),
    )


def _severity(shared: Shared, kind: str, limits: Thresholds) -> Severity | None:
    """The card's, unless it may be other scenes of the same drive, or no drive at all."""
    is_by_scene = len(shared.compared) > 1 and len(shared.ids) < limits.min_log_share * shared.sizes[1]
    return Severity.WARNING if kind in _WARNINGS or (kind in _LOGS and is_by_scene) else None


def _places(side: Sequence[Manifest], kind: str, name: str, module: str) -> list[Location]:
    return [
        Location(manifest.path, module=module, line=manifest.line(kind, name))
        for manifest in side
        if name in manifest.ids.get(kind, {})
    ]
