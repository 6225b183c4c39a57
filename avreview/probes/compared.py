"""What a comparison of an export with its reference came to. Records alone: static checks name them too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Node

FULL, HALF, QUANTIZED = "full", "half", "quantized"  # precision


class Limits(NamedTuple):
    """How far an output may drift: relative to the largest output, in times the sensitivity, and for integers the
    share of elements that differ. What is over `max_of_precision`, reduced precision does not explain."""

    max_drift: float
    max_sensitivity_ratio: float
    max_differing: float
    max_of_precision: float = math.inf

    def exceeded(self, drift: float | None, sensitivity: float, differing: float) -> bool:
        """Whether an output departs; `drift` is None for integers, of which the share counts."""
        if drift is None:
            return differing > max(self.max_differing, self.max_sensitivity_ratio * sensitivity)
        return drift > self.max_drift and drift > self.max_sensitivity_ratio * sensitivity


class OutputParity(NamedTuple):
    """One output beside its reference, the worst over all batches.

    `drift` is the largest |difference| over the largest |output| and `sensitivity` the same for inputs moved by one
    unit in the last place; both are None for integers, where `differing` is the share of elements that differ. An
    output that could not be compared has a `note` that says why, and no numbers.
    """

    name: str
    shape: tuple[int, ...]
    max_difference: float | None = None
    drift: float | None = None
    sensitivity: float = 0.0
    differing: float = 0.0
    departs: bool = False
    note: str | None = None

    @property
    def compared(self) -> bool:
        return self.max_difference is not None

    @property
    def measure(self) -> float:
        """The drift, or for integers the share of elements that differ."""
        return self.differing if self.drift is None else self.drift


class Departure(NamedTuple):
    """The first layer whose result departs from the reference's although all observed ones before it agree.

    `folded` are modules of the reference that the exporter folded into it, `suspects` nodes between it and the
    layers that agree, which could not be observed.
    """

    node: Node | None
    module: str | None
    drift: float
    agreeing: int
    folded: Sequence[str] = ()
    suspects: Sequence[Node] = ()


class Parity(NamedTuple):
    """An export beside its reference: `kind` says what the reference is, `limits` by which precision it is judged.

    `precision` and `reference_precision` are `full`, `half` or `quantized`; `rule` is the rule that judges.
    """

    reference: str
    kind: str
    batches: int
    outputs: Sequence[OutputParity]
    precision: str
    reference_precision: str
    limits: Limits
    notes: Sequence[str] = ()
    departure: Departure | None = None

    @property
    def reduced(self) -> bool:
        """Whether the export computes in less precision than its reference."""
        return is_reduced(self.precision, self.reference_precision)

    @property
    def compared(self) -> list[OutputParity]:
        return [output for output in self.outputs if output.compared]

    @property
    def departing(self) -> list[OutputParity]:
        """The outputs that depart, the worst first."""
        return sorted((each for each in self.compared if each.departs), key=lambda each: each.measure, reverse=True)

    @property
    def is_of_precision(self) -> bool:
        """Whether reduced precision explains the drift.

        It adds up over layers, so the first layer that departs tells, where it is known: other weights move that one
        far at once. An overflow, which is no number, is precision's doing too.
        """
        drifts = [each.measure for each in self.departing] if self.departure is None else [self.departure.drift]
        largest = max(filter(math.isfinite, drifts), default=0.0)
        return self.reduced and largest <= self.limits.max_of_precision


def is_reduced(export: str, reference: str) -> bool:
    """Whether an export of one precision computes in less than its reference."""
    order = (FULL, HALF, QUANTIZED)
    return order.index(export) > order.index(reference)
