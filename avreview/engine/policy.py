"""What a team makes of findings: which rules run, how bad each finding is to them, and what they accept."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from avreview.engine.cards import Catalogue
from avreview.engine.review import Finding, Severity, Waiver, WaiverUse
from avreview.errors import AvreviewError


class Override(Protocol):
    """What holds in modules that a glob matches: severities by rule id; None leaves the finding out."""

    @property
    def modules(self) -> Sequence[str]: ...

    @property
    def severities(self) -> Mapping[str, Severity | None]: ...


class WaiverRule(Protocol):
    """A waiver, and which findings it covers."""

    @property
    def waiver(self) -> Waiver: ...

    def covers(self, finding: Finding, model: str) -> bool:
        """Whether it covers a finding in the model of that name."""
        ...


class Policy(NamedTuple):
    """What is reviewed and what fails: the selected rules, and the severity from which an open finding fails.

    Waivers that expired before `today` (YYYY-MM-DD) cover nothing. `baseline` holds (model, fingerprint) pairs.
    """

    rules: frozenset[str]
    fail_on: Severity = Severity.ERROR
    overrides: Sequence[Override] = ()
    waivers: Sequence[WaiverRule] = ()
    today: str = ""
    baseline: frozenset[tuple[str, str]] = frozenset()

    def judged(self, finding: Finding, model: str) -> Finding | None:
        """The finding as this policy sees it; None when it is left out."""
        severity: Severity | None = finding.severity
        place = finding.location.entity
        for override in self.overrides:
            if any(fnmatch.fnmatchcase(place, glob) for glob in override.modules):
                severity = override.severities.get(finding.rule, severity)
        if severity is None:
            return None
        finding = finding._replace(severity=severity)
        in_force = (entry for entry in self.waivers if entry.waiver.expires >= self.today)
        covering = next((entry.waiver for entry in in_force if entry.covers(finding, model)), None)
        return finding._replace(waived=covering, known=(model, finding.fingerprint) in self.baseline)

    def uses(self, findings: Iterable[tuple[str, Finding]]) -> list[WaiverUse]:
        """What became of each waiver, over (model, finding) pairs of all reviews."""
        every = list(findings)
        return [self._use(entry, every) for entry in self.waivers]

    def _use(self, entry: WaiverRule, findings: Iterable[tuple[str, Finding]]) -> WaiverUse:
        covered = sum(entry.covers(finding, model) for model, finding in findings)
        expired = entry.waiver.expires < self.today
        status = "expired" if expired and covered else "in-force" if covered else "unused"
        return WaiverUse(entry.waiver, status, covered)


def select_rules(catalogue: Catalogue, select: Iterable[str], ignore: Iterable[str]) -> frozenset[str]:
    """The ids of the selected rules: all, or those that `select` names, less those that `ignore` names."""
    chosen = set().union(*map(catalogue.select, select)) or set(catalogue.cards)
    left = chosen.difference(*map(catalogue.select, ignore))
    if not left:
        raise AvreviewError("no rule is left to run; select more or ignore less")
    return frozenset(left)
