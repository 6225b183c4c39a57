"""From measurements to findings: what every rule about a measured augmentation shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avreview.augment.judged import Fault, Judged, Limits, faults, judged
from avreview.augment.kinds import KINDS, amount
from avreview.augment.model import Augmented, Measured
from avreview.checks.words import count, shown_floats
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location
from avreview.load.wording import one_line

_NAME = 120  # characters of an augmentation's name
_WORDS = 300  # of what the measuring says


def violations(augmented: Augmented, rule: str, limits: Thresholds) -> Iterator[Violation]:
    """One violation an augmentation and cause.

    Where nothing is wrong, raises NotAvailable for what could not be judged and NotApplicable for what the scene has
    nothing of, so that nothing passes that was not looked at.
    """
    require_run(augmented)
    found = found_by(augmented, rule, limits)
    if not found:
        require_judged(augmented, rule, limits)
    for fault in found:
        yield violation(augmented, fault)


def found_by(augmented: Augmented, rule: str, limits: Thresholds) -> list[Fault]:
    return faults(augmented, rule, limits_of(rule, limits))


def limits_of(rule: str, limits: Thresholds) -> Limits:
    """The limits that a check was given, for its own rule; other rules keep those in use."""
    from avreview.augment.judged import rules_limits

    others = rules_limits()
    return lambda asked: limits if asked == rule else others(asked)


def require_run(augmented: Augmented) -> None:
    """Raises NotAvailable where the whole gave nothing that could be measured."""
    if augmented.whole.failure:
        raise NotAvailable(f"the augmentation could not be measured: {one_line(augmented.whole.failure, _WORDS)}")


def require_judged(augmented: Augmented, rule: str, limits: Thresholds) -> None:
    """Raises what is to be said where nothing is wrong, but not all that the rule asks was looked at."""
    whole = augmented.whole
    own = [name for name, kind in KINDS.items() if kind.rule == rule]
    open_ = {name: whole.unjudged[name] for name in own if name in whole.unjudged}
    if open_:
        reasons: dict[str, list[str]] = {}
        for name, reason in open_.items():
            reasons.setdefault(one_line(reason, _WORDS), []).append(KINDS[name].title)
        told = "; ".join(f"{', '.join(titles)}: {reason}" for reason, titles in reasons.items())
        raise NotAvailable(f"could not be judged: {told}")
    if not any(entry.kind.rule == rule for entry in judged(whole, limits_of(rule, limits))):
        _raise_nothing_measured(augmented, rule)
    if not whole.changed:
        seeds = count(augmented.seeds, "seed")
        raise NotAvailable(f"the augmentation changed nothing under {seeds}; draw more of them with --seeds")


# What a rule measures, and in which scenes there is anything of it.
_OF_SCENES = {
    "AV801": ("labels that could be compared with what is seen", ("image", "driving", "sequence")),
    "AV810": ("what two runs could be compared by", ("image", "driving", "sequence")),
    "AV811": ("boxes", ("image", "driving", "sequence")),
    "AV901": ("velocity labels", ("driving", "sequence")),
    "AV902": ("a time channel", ("driving", "sequence")),
    "AV903": ("track ids", ("driving", "sequence")),
    "AV907": ("frames with times and velocity labels", ("sequence",)),
    "AV908": ("poses", ("sequence",)),
}


def _raise_nothing_measured(augmented: Augmented, rule: str) -> None:
    what, scenes = _OF_SCENES[rule]
    if augmented.kind == "image" and "image" not in scenes:
        raise NotApplicable(f"an image has no {what.removeprefix('a ')}")
    if augmented.kind not in scenes:
        raise NotAvailable(f"needs a scene of several frames; pass --scene {scenes[-1]}")
    raise NotAvailable(f"the augmentation gave back no {what.removeprefix('a ')}, so nothing was compared")


def violation(augmented: Augmented, fault: Fault) -> Violation:
    """The finding: the farthest value off, at its worst seed, with what explains it and what else is off."""
    first, *others = fault.off
    name = one_line(fault.name, _NAME)
    explained = next((entry.words for entry in fault.off if entry.words), "")
    observed: dict[str, Any] = {
        first.measure: shown_floats(first.worst.value),
        "seed": first.worst.seed,
        "at": one_line(first.worst.entity, _NAME),
        "off": f"{first.bad} of {first.samples} measured",
    }
    if explained:
        observed["explanation"] = one_line(explained, _WORDS)
    if others:
        observed["also_off"] = [_briefly(entry) for entry in others]
    if fault.measured.culprit == fault.part:
        observed["culprit"] = fault.part
    return Violation(
        at=Location(augmented.target, module=name, tensor=fault.part if fault.part in _PARTS else None),
        message=_message(name, fault, first, explained),
        observed=observed,
        expected={entry.measure: entry.accepted for entry in fault.off},
    )


# The parts of a scene that a finding of AV801 tells apart; a rule of one part needs no such word.
_PARTS = ("boxes", "points", "images", "matrices", "masks", "keypoints", "map")


def _message(name: str, fault: Fault, first: Judged, explained: str) -> str:
    told = one_line(first.sentence, _WORDS)
    message = f"After {name} under seed {first.worst.seed}, {told} (accepted: {first.accepted})"
    if explained:
        message += f": {one_line(explained, _WORDS)}"
    if len(fault.off) > 1:
        message += f"; off as well: {', '.join(entry.kind.title for entry in fault.off[1:])}"
    return f"{message}.{_odd_one_out(fault.measured, fault)}"


def _odd_one_out(measured: Measured, fault: Fault) -> str:
    """Which part the others do not fit, where the comparisons of pairs say it."""
    if measured.culprit is None or measured.culprit != fault.part:
        return ""
    return f" Compared in pairs, it is the {fault.part} that do not fit the rest."


def _briefly(entry: Judged) -> str:
    value = amount(entry.worst.value, entry.kind.unit)
    return f"{entry.kind.title} {value} (seed {entry.worst.seed}, {one_line(entry.worst.entity, _NAME)})"
