"""The settings of a run, whoever stated them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.review import Severity

OFF = "off"


class Planned(NamedTuple):
    """A review that a configuration asks for. Paths are as a person in the working folder would give them."""

    model: str
    name: str | None = None
    role: str | None = None
    checkpoint: str | None = None
    pretrained: str | None = None
    weights: str | None = None
    modality: str | None = None
    inputs: str | None = None
    reference: str | None = None


class Override(NamedTuple):
    """What holds in modules that a glob matches: severities by rule id; None leaves the finding out."""

    modules: tuple[str, ...]
    severities: Mapping[str, Severity | None]


class Settings(NamedTuple):
    """All settings. `files` are what they were read from; `severities` None leaves a rule out."""

    files: tuple[str, ...] = ()
    profile: str = "default"
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: Severity = Severity.ERROR
    severities: Mapping[str, Severity | None] = {}
    thresholds: Mapping[str, Mapping[str, float]] = {}
    overrides: Sequence[Override] = ()
    waivers: tuple[str, ...] = ()
    baseline: str | None = None
    rule_folders: tuple[str, ...] = ()
    memory: str | None = None
    probe_timeout: float | None = None
    probe_memory: str | None = None
    seed: int | None = None
    reviews: Sequence[Planned] = ()

    def described(self) -> dict[str, Any]:
        """What differs from what avreview does by itself, in JSON's types."""
        plain = _NOTHING_SAID
        changed = {key: value for key, value in self._asdict().items() if value != getattr(plain, key)}
        if "fail_on" in changed:
            changed["fail_on"] = str(self.fail_on)
        if "severities" in changed:
            changed["severities"] = _words(self.severities)
        if "overrides" in changed:
            changed["overrides"] = [
                {"modules": list(entry.modules), "severities": _words(entry.severities)} for entry in self.overrides
            ]
        if "reviews" in changed:
            changed["reviews"] = [
                {key: value for key, value in entry._asdict().items() if value is not None} for entry in self.reviews
            ]
        return changed


def _words(severities: Mapping[str, Severity | None]) -> dict[str, str]:
    return {rule: OFF if severity is None else str(severity) for rule, severity in severities.items()}


_NOTHING_SAID = Settings()
