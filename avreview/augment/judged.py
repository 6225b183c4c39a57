"""Measurements against the limits of the rule cards: which are off, by how much, and under which seed.

Checks, answers, reports and pictures all judge by this module, so that they never say different things.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.augment.kinds import KINDS, Kind, accepted, amount
from avreview.augment.model import Augmented, Measured, Sample

if TYPE_CHECKING:
    from avreview.engine.cards import Thresholds

_WHOLE = "the whole"  # as measuring names what has no name of its own
Limits = Callable[[str], "Thresholds"]  # the thresholds of a rule, by its id


class Judged(NamedTuple):
    """One measure of one augmentation, at its worst sample.

    `excess` tells how far over the limit that is, 1 being the limit itself; it orders what is off, and `off` decides.
    """

    measure: str
    kind: Kind
    worst: Sample
    limit: float
    off: bool
    excess: float
    samples: int
    bad: int  # samples that are off
    words: str  # what explains it; empty where nothing does, or nothing is off

    @property
    def sentence(self) -> str:
        """What is seen: `the yaw of object 3 (car) is off by 12.5°`."""
        return self.kind.says.format(
            value=amount(self.worst.value, self.kind.unit), at=self.worst.entity or "the scene"
        )

    @property
    def accepted(self) -> str:
        return accepted(self.limit, self.kind)


def rules_limits() -> Limits:
    """The thresholds of the rules in use, as the configuration has them."""
    from avreview.engine.cards import catalogue

    rules = catalogue()
    return lambda rule: rules[rule].limits


def judged(measured: Measured, limits: Limits) -> list[Judged]:
    """Every known measure that was taken, in the order of KINDS."""
    found = (
        _judged(name, kind, measured.measures[name], limits)
        for name, kind in KINDS.items()
        if name in measured.measures
    )
    return [entry for entry in found if entry is not None]


def _judged(name: str, kind: Kind, samples: Sequence[Sample], limits: Limits) -> Judged | None:
    entries = [(sample, *_against(name, kind, sample, limits)) for sample in samples]
    every = [(excess, off, sample, limit) for sample, limit, off, excess in entries if not math.isnan(limit)]
    if not every:
        return None
    excess, off, worst, limit = max(every, key=lambda entry: (entry[1], entry[0]))
    bad = [(over, sample.words) for over, is_off, sample, _ in every if is_off]
    words = worst.words or max((entry for entry in bad if entry[1]), default=(0.0, ""))[1] if off else ""
    return Judged(name, kind, worst, limit, off, excess, len(every), len(bad), words)


def _against(name: str, kind: Kind, sample: Sample, limits: Limits) -> tuple[float, bool, float]:
    """The limit for a sample (NaN where it is not judged), whether it is off, and the excess.

    A value that is no number is off: nothing shows that the augmentation kept what it should.
    """
    limit = _limit(name, kind, sample, limits)
    value = sample.value if isinstance(sample.value, int | float) else math.nan
    if not math.isfinite(value):
        return limit, True, math.inf
    if kind.least:
        return limit, value < limit, (1 - value) / max(1 - limit, 1e-9)
    return limit, value > limit, value / limit if limit else math.inf if value > 0 else 0.0


def _limit(name: str, kind: Kind, sample: Sample, limits: Limits) -> float:
    if not kind.limit:
        return 0.0
    thresholds: Any = limits(kind.rule)
    limit = float(getattr(thresholds, kind.limit))
    if name == "velocity":
        return max(limit, float(thresholds.max_velocity_relative) * sample.size)
    if name == "time":  # a share of a speed: what is accepted of the speed, in m/s, counts for slow objects
        if 0 < sample.size < thresholds.min_speed:
            return math.nan
        return max(limit, float(thresholds.max_velocity_error) / (sample.size or float(thresholds.min_speed)))
    return limit


class Fault(NamedTuple):
    """What is wrong with one augmentation for one reason: what is off, the farthest first, and which part it is."""

    name: str
    measured: Measured
    part: str
    off: Sequence[Judged]


def faults(augmented: Augmented, rule: str, limits: Limits) -> list[Fault]:
    """What a rule has against the augmentation: at members where they were measured alone, or else at the whole.

    A member is at fault in what the whole is off in as well (or could not be judged by): what other members undo
    harms nobody. The whole is at fault only in what no member explains.
    """
    whole = {entry.measure: entry.off for entry in judged(augmented.whole, limits) if entry.kind.rule == rule}
    found: list[Fault] = []
    explained: set[tuple[str, ...]] = set()
    for name, member in zip(names(augmented)[1:], augmented.members, strict=True):
        off = [entry for entry in _off(member, rule, limits) if whole.get(entry.measure, True)]
        explained |= {entry.kind.parts for entry in off}
        found += [Fault(name, member, part, group) for part, group in _causes(member, off)]
    left = [entry for entry in _off(augmented.whole, rule, limits) if entry.kind.parts not in explained]
    found += [Fault(names(augmented)[0], augmented.whole, *cause) for cause in _causes(augmented.whole, left)]
    return found


def names(augmented: Augmented) -> list[str]:
    """What the whole is called, and each member; those of one name with their places: `Flip[0]`, `Flip[2]`."""
    whole, members = augmented.whole.name, augmented.members
    if whole == _WHOLE:
        whole = "the whole pipeline" if members else augmented.target
    every = [member.name for member in members]
    several = {name for name in every if every.count(name) > 1}
    return [whole, *(f"{one.name}[{one.place}]" if one.name in several else one.name for one in members)]


def _off(measured: Measured, rule: str, limits: Limits) -> list[Judged]:
    found = [entry for entry in judged(measured, limits) if entry.off and entry.kind.rule == rule]
    return sorted(found, key=lambda entry: -entry.excess)


def _causes(measured: Measured, off: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    """What is off, parted by what is at fault: all that touches the culprit together, the rest by what it judges."""
    groups: dict[str, list[Judged]] = {}
    for entry in off:
        known = measured.culprit is not None and measured.culprit in entry.kind.parts
        part = measured.culprit if known else next(iter(entry.kind.parts), "")
        groups.setdefault(str(part), []).append(entry)
    return list(groups.items())
