"""Question 8 from a run: do augmentations preserve labels and geometry?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.augment.judged import rules_limits
from avreview.augment.model import Augmented
from avreview.checks.augmentation.violations import violations
from avreview.checks.augmentation.wording import sentence, table
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotAvailable

_RULES = ("AV801", "AV810", "AV811")


@check("AV801")
def augmentation_breaks_geometry(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """Boxes, points, images, matrices, masks, keypoints or maps that no longer agree."""
    return violations(augmented, "AV801", limits)


@check("AV810")
def augmentation_not_seeded(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """The same seed, and another result."""
    return violations(augmented, "AV810", limits)


@check("AV811")
def label_lost_or_cropped(augmented: Augmented, limits: Thresholds) -> Iterator[Violation]:
    """A box whose object can hardly be seen any more."""
    return violations(augmented, "AV811", limits)


@answer(8)
def measured(augmented: Augmented) -> AnswerText:
    """What the runs say of labels and geometry."""
    rows = table(augmented, _RULES, rules_limits())
    if not rows:
        raise NotAvailable("nothing of labels or geometry was measured")
    return AnswerText(sentence(augmented, _RULES, rules_limits(), "labels and geometry"), rows)
