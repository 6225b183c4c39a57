"""The review: everything the report writers write, and nothing else."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Scalar = str | int | float | bool | None


class Severity(enum.IntEnum):
    """How bad a finding is, in SARIF's words; a larger one is worse."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> Severity:
        return cls[word.upper()]


class Verdict(enum.Enum):
    """How a rule, a question or a review ends."""

    FAIL = "fail"  # findings at or above the failing severity
    ATTENTION = "attention"  # findings below it
    PASS = "pass"  # noqa: S105
    NOT_ASSESSED = "not-assessed"  # something was missing; the reason says what to supply
    NOT_APPLICABLE = "not-applicable"  # the model has nothing of the kind the rule speaks of

    def __str__(self) -> str:
        return self.value


class Location(NamedTuple):
    """Where a finding is. Whatever does not apply is None."""

    artifact: str  # the path as it was given
    node: str | None = None  # the ONNX node's name
    module: str | None = None  # the source module's dotted path, `neck.bn3`
    tensor: str | None = None  # the tensor's name in the file
    line: int | None = None  # a recipe's line

    @property
    def entity(self) -> str:
        """What the finding is about, shortest form: the module, or else the node, or else the tensor."""
        return self.module or self.node or self.tensor or ""


class Waiver(NamedTuple):
    """Why a finding is accepted, by whom and until when; and where that is written."""

    rule: str  # as it was written: an id or a name
    module: str  # the glob
    reason: str
    owner: str
    expires: str  # the last day on which it holds, YYYY-MM-DD
    file: str
    line: int


class WaiverUse(NamedTuple):
    """What became of a waiver: `in-force` (it covers `findings`), `expired` (they came back) or `unused`."""

    waiver: Waiver
    status: str
    findings: int


class Finding(NamedTuple):
    """One violation: where, what was seen, what was expected.

    `also` lists the further places of the same cause: twenty norms exported in training mode are one finding.
    """

    rule: str
    name: str
    item: int
    severity: Severity
    location: Location
    message: str
    observed: Mapping[str, Any]
    expected: Mapping[str, Any]
    remedy: str
    why: str
    also: Sequence[Location] = ()
    waived: Waiver | None = None
    known: bool = False  # the baseline holds it

    @property
    def is_open(self) -> bool:
        """Whether it counts: nobody waived it, and the baseline does not hold it."""
        return self.waived is None and not self.known

    @property
    def fingerprint(self) -> str:
        """Names the finding across runs: the rule and the place, never weights, so it survives retraining."""
        where = [self.location.module or "", self.location.node or "", self.location.tensor or ""]
        return hashlib.sha256("\0".join([self.rule, *where]).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class RuleOutcome(NamedTuple):
    """How one rule ended; `reason` says why when it could not be assessed or does not apply."""

    rule: str
    name: str
    item: int
    verdict: Verdict
    reason: str | None = None


class Answer(NamedTuple):
    """What the review says to one question of the checklist: a verdict, one sentence and a table.

    `assessed` of `rules` rules came to a verdict (pass, attention, fail or not-applicable).
    """

    item: int
    title: str
    question: str
    verdict: Verdict
    answer: str
    table: Sequence[Mapping[str, Scalar]] = ()
    assessed: int = 0
    rules: int = 0


class Review(NamedTuple):
    """Everything about one subject.

    `subject` maps a role (`model`, `checkpoint`, …) to facts of that file: path, sha256, bytes, format, producer, ….
    """

    subject: Mapping[str, Mapping[str, Any]]
    verdict: Verdict
    checklist: Sequence[Answer]
    rules: Sequence[RuleOutcome]
    findings: Sequence[Finding]
    limitations: Sequence[str] = ()  # what could not be seen in the file, and why
    evidence: Mapping[str, Any] = {}  # data behind the review, by name, for the formats that draw or keep it
    title: str = ""  # what the configuration calls it
    role: str = ""  # what the model does on the vehicle
    stated: Mapping[str, Any] = {}  # what whoever asked for the review said of the model: its modality, its weights

    @property
    def name(self) -> str:
        """What the configuration calls it, or else the path of the model, or of what was reviewed without one."""
        first = self.subject.get("model") or next(iter(self.subject.values()), {})
        return self.title or str(first.get("path", ""))

    def tally(self, severity: Severity) -> int:
        """How many open findings have that severity."""
        return sum(finding.severity is severity and finding.is_open for finding in self.findings)


class RulePack(NamedTuple):
    """Rule cards that come together."""

    name: str  # `avreview` for those that come with it, or else their folder
    version: str | None
    cards: int
    digest: str  # `sha256:…` over all of them


class ReadFile(NamedTuple):
    """A file that was read besides the reviewed ones, as it was when it was read."""

    kind: str  # `settings`, `waivers`, `baseline` or `rule`
    path: str
    sha256: str


class Report(NamedTuple):
    """All reviews of one run, with the tool that made them."""

    version: str  # the tool's
    rules_digest: str  # sha256 over every rule card
    reviews: Sequence[Review]
    unreadable: Sequence[tuple[str, str]] = ()  # (path, why) of what was asked for and could not be reviewed
    waivers: Sequence[WaiverUse] = ()
    settings: Mapping[str, Any] = {}  # what was configured, where it differs from what avreview does by itself
    date: str = ""  # UTC, `2026-11-22T08:19:00Z`
    environment: Mapping[str, Any] = {}  # Python, platform and versions of packages
    packs: Sequence[RulePack] = ()  # where the rules come from
    configuration: Sequence[ReadFile] = ()  # the files that settings, waivers, baseline and own rules were read from
