"""Question 9 from a run: are temporal augmentations consistent with velocity and tracking labels?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.augment.judged import Fault, faults, judged, rules_limits
from avreview.augment.model import Augmented
from avreview.checks.augmentation.violations import found_by, require_judged, require_run, violation, violations
from avreview.checks.augmentation.wording import sentence, table
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotAvailable

_RULES = ("AV901", "AV902", "AV903", "AV907", "AV908")


@check("AV901")
def velocity_inconsistent(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """Velocity labels that are not the velocity shown.

    A heading that differs from the velocity because the box was turned wrongly is AV801's, and no second finding.
    """
    require_run(augmented)
    found = [fault for fault in found_by(augmented, "AV901", limits) if not _is_yaw(fault)]
    if not found:
        require_judged(augmented, "AV901", limits)
    for fault in found:
        yield violation(augmented, fault)


def _is_yaw(fault: Fault) -> bool:
    """Whether only heading and velocity differ, and it is the heading that is wrong."""
    alone = all(entry.measure == "heading" for entry in fault.off)
    return alone and _is_off(fault, ["yaw"])


def _is_off(fault: Fault, measures: Sequence[str]) -> bool:
    return any(entry.off for entry in judged(fault.measured, rules_limits()) if entry.measure in measures)


@check("AV902")
def time_channel_inconsistent(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """Lags of sweeps that do not fit how far objects moved between them."""
    return violations(augmented, "AV902", limits)


@check("AV903")
def track_identity_broken(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """Identities that changed, were doubled, or moved to another object."""
    return violations(augmented, "AV903", limits)


@check("AV907", also=True)
def frame_drop_keeps_velocity(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """Velocity labels that are not the motion from frame to frame.

    Where the velocity of single frames is wrong already, or the poses are, this follows from it and tells nothing of
    the times, unless it is the times that explain it: the others have rules of their own.
    """
    require_run(augmented)
    found = found_by(augmented, "AV907", limits)
    own = [fault for fault in found if _is_of_time(fault) or not _is_off(fault, ["velocity", "ego"])]
    if found and not own:
        raise NotAvailable("velocity labels or poses are wrong by themselves (AV901, AV908), which hides what was done "
                           "to the times; mend those and measure again")  # fmt: skip
    if not own:
        require_judged(augmented, "AV907", limits)
    for fault in own:
        yield violation(augmented, fault)


def _is_of_time(fault: Fault) -> bool:
    """Whether the labels would be right if the times, or the order of the frames, were."""
    return any(word in entry.words for entry in fault.off for word in ("timestamp", "frames are in reverse order"))


@check("AV908")
def ego_pose_inconsistent(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """Poses that no longer put standing things in one place."""
    return violations(augmented, "AV908", limits)


@answer(9)
def measured(augmented: Augmented) -> AnswerText:
    """What the runs say of velocities, times, identities and poses."""
    rows = table(augmented, _RULES, rules_limits())
    if not any(row.get("measure") for row in rows):
        raise NotAvailable("nothing of velocity or identity was measured")
    said = sentence(augmented, _RULES, rules_limits(), "velocities, times, track ids and poses", but=_is_yaw)
    if any(map(_is_yaw, faults(augmented, "AV901", rules_limits()))):
        said += " Headings differ from velocities, and it is the yaw that is wrong (question 8)."
    return AnswerText(said, rows)
