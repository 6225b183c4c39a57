"""Collecting samples over seeds, of one augmentation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from avreview.augment.model import Sample, as_json


class Tally:
    """Samples by measure, and why others were not taken.

    What was measured under one seed at least is not listed as unjudged: a seed that shows nothing is no gap.
    """

    def __init__(self) -> None:
        self.samples: dict[str, list[Sample]] = {}
        self._reasons: dict[str, str] = {}
        self._objects: dict[str, int] = {}
        self.changed = False

    def add(self, measure: str, sample: Sample) -> None:
        self.samples.setdefault(measure, []).append(sample)

    def unjudged(self, measure: str, why: str) -> None:
        self._reasons.setdefault(measure, why)

    def unjudged_objects(self, why: str) -> None:
        """An object of which nothing could be told."""
        self._objects[why] = self._objects.get(why, 0) + 1

    def withheld(self, keys: Collection[str]) -> None:
        """What was not given cannot come back: labels that are not there leave nothing open, and others say so."""
        for name, why in list(self._reasons.items()):
            key = next((key for key in keys if why == f"the augmentation returned no {key}"), None)
            if key == "gt_boxes":
                del self._reasons[name]
            elif key is not None:
                self._reasons[name] = f"the augmentation is given no {key}, as its factory or adapter asks (`without`)"

    @property
    def reasons(self) -> dict[str, str]:
        found = {name: why for name, why in self._reasons.items() if name not in self.samples}
        if self._objects:
            why = max(self._objects, key=lambda reason: self._objects[reason])
            for name in ("in_box", "centre", "dims", "yaw"):
                if name not in self.samples:
                    found.setdefault(name, f"no object could be judged: {why}")
        return found

    def as_measured(self, **others: Any) -> dict[str, Any]:
        """A `Measured` as JSON."""
        return {
            "measures": {name: as_json(samples) for name, samples in self.samples.items()},
            "unjudged": self.reasons,
            "changed": self.changed,
            **others,
        }
