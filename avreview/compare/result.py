"""What a comparison says: everything the writers of `avreview diff` write, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.engine.review import Finding, Severity

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


class Change(NamedTuple):
    """One thing that changed, in words; `where` names the module, node or tensor as the newer file has it.

    `amount` is the relative L2 distance that weights moved by, `also` are further places of the very same change.
    """

    kind: str
    where: str
    what: str
    old: Any = None
    new: Any = None
    amount: float | None = None
    also: tuple[str, ...] = ()


class Section(NamedTuple):
    """The changes of one aspect. `unseen` says why it could not be compared, `notes` what was not compared in it."""

    name: str
    title: str
    summary: str
    changes: Sequence[Change] = ()
    unseen: str | None = None
    notes: Sequence[str] = ()


class Size(NamedTuple):
    """A measure of both files, which no change of its own is."""

    what: str
    old: int | None
    new: int | None


class Compared(NamedTuple):
    """A finding of either side. `remark` says what to know of it: its rule was not assessed on the other side."""

    finding: Finding
    remark: str = ""


class Findings(NamedTuple):
    """The findings of one model in both versions. `new` and `gone` are open ones; `accepted` are new and covered.

    A verdict is None where that side has no review of the model. `unassessed` are rules that came to a verdict on the
    old side and to none on the new one, with the reason.
    """

    model: str
    old_verdict: str | None
    new_verdict: str | None
    new: Sequence[Compared]
    gone: Sequence[Compared]
    unchanged: Sequence[Compared]
    accepted: Sequence[Compared] = ()
    unassessed: Mapping[str, str] = {}
    verdicts: Sequence[tuple[str, str, str]] = ()  # (question, old, new) of those that changed


class Diff(NamedTuple):
    """Everything that changed from `old` to `new`. Of two reports there are no sections, only findings."""

    version: str
    rules_digest: str
    kind: str  # `onnx`, `checkpoint`, `report`
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    sections: Sequence[Section]
    sizes: Sequence[Size]
    findings: Sequence[Findings]
    fail_on: Severity
    unreadable: Sequence[tuple[str, str]] = ()  # (path, why): what the newer report says it could not review

    @property
    def identical(self) -> bool:
        """Whether both are the same bytes."""
        return self.old.get("sha256") is not None and _bytes_of(self.old) == _bytes_of(self.new)

    @property
    def changes(self) -> int:
        return sum(len(section.changes) for section in self.sections)

    @property
    def failing(self) -> list[Finding]:
        """The new findings at or above `fail_on`."""
        found = [entry.finding for findings in self.findings for entry in findings.new]
        return [finding for finding in found if finding.severity >= self.fail_on]

    def section(self, name: str) -> Section:
        return next(section for section in self.sections if section.name == name)


def _bytes_of(subject: Mapping[str, Any]) -> tuple[Any, ...]:
    return subject.get("sha256"), tuple(file.get("sha256") for file in subject.get("files", ()))
