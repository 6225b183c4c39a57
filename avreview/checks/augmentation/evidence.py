"""What the report keeps of a measured augmentation: every measure at its worst seed, and the pictures as data."""

from __future__ import annotations

from typing import Any

from avreview.augment.evidence import evidence_of
from avreview.augment.judged import rules_limits
from avreview.augment.model import Augmented
from avreview.engine.checks import evidence


@evidence("augmentations")
def augmentations(augmented: Augmented) -> dict[str, Any]:
    """The whole first, then its members."""
    return evidence_of(augmented, rules_limits())
