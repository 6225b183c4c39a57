"""The settings of a run, whoever stated them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.review import Severity

OFF = "off"
NO_RECIPE = "none"  # the word for: leave out the recipe that is found in the checkpoint or beside it


class Planned(NamedTuple):
    """A review that a configuration asks for. Paths are as a person in the working folder would give them.

    Without a `model` the recipe and the manifests (role and path) are reviewed by themselves.
    """

    model: str = ""
    name: str | None = None
    role: str | None = None
    checkpoint: str | None = None
    pretrained: str | None = None
    weights: str | None = None
    modality: str | None = None
    inputs: str | None = None
    reference: str | None = None
    recipe: str | None = None
    manifests: tuple[tuple[str, str], ...] = ()


class Override(NamedTuple):
    """What holds in modules that a glob matches: severities by rule id; None leaves the finding out."""

    modules: tuple[str, ...]
    severities: Mapping[str, Severity | None]


class Settings(NamedTuple):
    """All settings. `files` are what they were read from; `severities` None leaves a rule out.

    `packs` is False where installed rule packs are left out.
    """

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
    packs: bool = True

    def complete(self) -> dict[str, Any]:
        """All of it, in JSON's types."""
        return {
            **self._asdict(),
            "fail_on": str(self.fail_on),
            "severities": _words(self.severities),
            "overrides": [
                {"modules": list(entry.modules), "severities": _words(entry.severities)} for entry in self.overrides
            ],
            "reviews": [{key: value for key, value in entry._asdict().items() if value} for entry in self.reviews],
        }

    def described(self) -> dict[str, Any]:
        """What differs from what avreview does by itself. Which packs were in force a report says elsewhere."""
        plain = _NOTHING_SAID.complete()
        return {key: value for key, value in self.complete().items() if value != plain[key] and key != "packs"}


def _words(severities: Mapping[str, Severity | None]) -> dict[str, str]:
    return {rule: OFF if severity is None else str(severity) for rule, severity in severities.items()}


_NOTHING_SAID = Settings()
