"""The report as SARIF 2.1.0, as GitHub's code scanning takes it.

Each review is a run of its own, so that the alerts of one model are not taken for mended when another is reviewed.
A result always has a place in a file, for GitHub refuses an upload in which one has not: in a binary it is line 1,
and `logicalLocations` names the module. What was not assessed is no result, which GitHub would show as an alert
whatever its `kind`: it stands among the invocation's notifications, as does what could not be read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from avreview.engine.review import Verdict
from avreview.report.escape import plain
from avreview.report.json_format import dumps
from avreview.report.places import Repository, everywhere, in_words, main_path
from avreview.report.sarif_rules import descriptors
from avreview.report.structure import simple
from avreview.report.values import count, show

if TYPE_CHECKING:
    from avreview.engine.review import Finding, Location, Report, Review

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"  # what forges call the top of the repository
_RUNS = 20  # that GitHub takes in a file
_RESULTS = 5000  # that it keeps of a run
_ROOM = 7_000_000  # characters for all results: GitHub takes 10 MB, compressed
_RELATED = 20  # further places of one result; the message says how many there are
_NAME = 300
_MESSAGE = 600
_VALUES = 400
_PARAGRAPH = 1000
_REASON = 600
_NOTIFICATIONS = 1000  # of one kind


def write(report: Report, stream: TextIO) -> None:
    """Writes one SARIF log. Of more than 20 reviews, which GitHub would refuse, it makes a single run."""
    apart = 0 < len(report.reviews) <= _RUNS
    groups = [[review] for review in report.reviews] if apart else [list(report.reviews)]
    repository = Repository()
    labels = _labels(groups, repository)
    runs = [
        _Run(report, reviews, repository, _ROOM // len(groups)).written(label)
        for reviews, label in zip(groups, labels, strict=True)
    ]
    stream.write(dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}))


def _labels(groups: Sequence[Sequence[Review]], repository: Repository) -> list[str]:
    """What each run is told apart by: GitHub closes alerts that a later run of the same category does not have."""
    labels: list[str] = []
    for reviews in groups:
        only = reviews[0] if len(reviews) == 1 else None
        name = "several models" if reviews else "nothing reviewed"
        if only is not None:
            name = only.title or repository.path(main_path(only))
        label = f"avreview/{plain(name, _NAME)}"
        labels.append(label if label not in labels else f"{label} {len(labels) + 1}")
    return [f"{label}/" for label in labels]


class _Run:
    """One run: some reviews, the files they are of, and what the rules found in them."""

    def __init__(self, report: Report, reviews: Sequence[Review], repository: Repository, room: int) -> None:
        self._report = report
        self._reviews = reviews
        self._repository = repository
        self._room = room
        self._rules = descriptors(reviews)
        self._index = {rule["id"]: number for number, rule in enumerate(self._rules)}
        self._artifacts = _artifacts(reviews, repository)
        self._files = {entry["location"]["uri"]: number for number, entry in enumerate(self._artifacts)}

    def written(self, label: str) -> dict[str, Any]:
        results, left_out = self._results()
        return {
            "tool": {
                "driver": {
                    "name": "avreview",
                    "version": plain(self._report.version),
                    "rules": self._rules,
                    "properties": {"rulesDigest": plain(self._report.rules_digest)},
                }
            },
            "automationDetails": {"id": label},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {_ROOT: {"description": {"text": "The top of the repository."}}},
            "invocations": [self._invocation(left_out)],
            "artifacts": self._artifacts,
            "results": results,
            "properties": {"reviews": [_summary(review) for review in self._reviews]},
        }

    def _results(self) -> tuple[list[dict[str, Any]], int]:
        """The findings, worst first, as many as GitHub takes; and how many there are beyond."""
        pairs = [(finding, review) for review in self._reviews for finding in review.findings]
        pairs.sort(key=lambda pair: (not pair[0].is_open, -pair[0].severity))
        with_baseline = any(finding.known for finding, _ in pairs)
        room = self._room
        seen: Counter[tuple[str, str]] = Counter()
        results: list[dict[str, Any]] = []
        for finding, review in pairs[:_RESULTS]:
            place = (finding.fingerprint, finding.location.artifact)
            seen[place] += 1
            result = self._result(finding, main_path(review), seen[place])
            if with_baseline:
                result["baselineState"] = "unchanged" if finding.known else "new"
            room -= len(json.dumps(result, indent=2))
            if room < 0:
                break
            results.append(result)
        return results, len(pairs) - len(results)

    def _result(self, finding: Finding, main: str, occurrence: int) -> dict[str, Any]:
        result: dict[str, Any] = {
            "ruleId": finding.rule,
            "ruleIndex": self._index[finding.rule],
            "level": str(finding.severity),
            "message": {"text": _message(finding, main)},
            "locations": [self._location(finding.location)],
            "partialFingerprints": {"primaryLocationLineHash": f"{finding.fingerprint}:{occurrence}"},
        }
        related = list(finding.also[:_RELATED])
        if finding.location.artifact != main and main:
            related.insert(0, finding.location._replace(artifact=main, line=None))
        if related:
            result["relatedLocations"] = [
                {"id": number, **self._location(location), "message": {"text": _unlinked(in_words(location, main))}}
                for number, location in enumerate(related, 1)
            ]
        if (waiver := finding.waived) is not None:
            words = f"{waiver.reason} (accepted by {waiver.owner} until {waiver.expires})"
            accepted = {"kind": "external", "status": "accepted", "justification": plain(words, _PARAGRAPH)}
            result["suppressions"] = [accepted]
        return result

    def _location(self, location: Location) -> dict[str, Any]:
        line = location.line if location.line is not None and location.line > 0 else 1
        region = {"startLine": line, "startColumn": 1, "endLine": line, "endColumn": 1}
        named = (("module", location.module), ("node", location.node), ("tensor", location.tensor))
        logical = [{"fullyQualifiedName": plain(name, _NAME), "kind": kind} for kind, name in named if name]
        place: dict[str, Any] = {
            "physicalLocation": {"artifactLocation": self._file(location.artifact), "region": region}
        }
        return {**place, "logicalLocations": logical} if logical else place

    def _file(self, path: str) -> dict[str, Any]:
        place = _address(path, self._repository)
        index = self._files.get(place["uri"])
        return place if index is None else {**place, "index": index}

    def _invocation(self, left_out: int) -> dict[str, Any]:
        """How the run went. What it could not look at is said here: a log without results is not yet a pass."""
        unreadable = [
            {
                **_notification("error", reason),
                "locations": [{"physicalLocation": {"artifactLocation": self._file(path)}}],
            }
            for path, reason in self._report.unreadable
        ]
        limits = [_notification("note", words) for review in self._reviews for words in review.limitations]
        if left_out:
            words = f"{count(left_out, 'finding')} left out, for GitHub takes no more; YAML and JSON have all"
            limits.insert(0, _notification("warning", words))
        undecided = [
            {
                **_notification("note", f"{outcome.rule} not assessed: {outcome.reason or 'no reason given'}"),
                "associatedRule": {"id": outcome.rule, "index": self._index[outcome.rule]},
            }
            for review in self._reviews
            for outcome in review.rules
            if outcome.verdict is Verdict.NOT_ASSESSED
        ]
        return {
            "executionSuccessful": not unreadable,
            "toolExecutionNotifications": _fitting(unreadable + limits),
            "toolConfigurationNotifications": _fitting(undecided),
        }


def _notification(level: str, words: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": _unlinked(plain(words, _REASON))}}


def _fitting(notifications: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many as a log has room for, and how many there are beyond."""
    more = len(notifications) - _NOTIFICATIONS
    if more <= 0:
        return notifications
    return [
        *notifications[:_NOTIFICATIONS],
        _notification("warning", f"{more} more, which the YAML and JSON forms have"),
    ]


def _artifacts(reviews: Sequence[Review], repository: Repository) -> list[dict[str, Any]]:
    """The files of the reviews with their digests, each once."""
    found: dict[str, dict[str, Any]] = {}
    for review in reviews:
        for role, facts in review.subject.items():
            main = role == "model" or "model" not in review.subject
            own = [{**facts, "role": "analysisTarget" if main else "referencedOnCommandLine"}]
            for file in own + [{**entry, "role": "analysisTarget"} for entry in facts.get("files") or ()]:
                place = _address(str(file.get("path", "")), repository)
                found.setdefault(place["uri"], _artifact(file, place))
    return list(found.values())


def _artifact(file: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"location": place, "roles": [file["role"]]}
    if isinstance(file.get("bytes"), int):
        entry["length"] = file["bytes"]
    if file.get("sha256"):
        entry["hashes"] = {"sha-256": plain(str(file["sha256"]).rpartition(":")[2], _NAME)}
    return entry


def _address(path: str, repository: Repository) -> dict[str, Any]:
    uri = repository.address(path)
    return {"uri": uri} if uri.startswith("file:") else {"uri": uri, "uriBaseId": _ROOT}


def _message(finding: Finding, main: str) -> str:
    """What was found and where: GitHub shows this text, and of the places the file alone."""
    parts = [
        plain(finding.message, _MESSAGE),
        f"At {everywhere(finding, main)}.",
        f"Seen: {plain(show(finding.observed), _VALUES)}; expected: {plain(show(finding.expected), _VALUES)}.",
        plain(" ".join(finding.remedy.split()), _PARAGRAPH),
    ]
    return _unlinked(" ".join(filter(None, parts)))


def _unlinked(text: str) -> str:
    """`text` in which SARIF sees neither a link (`[…](…)`) nor a place for an argument (`{0}`)."""
    return text.replace("](", "]\\x28").replace("{", "{{").replace("}", "}}")


def _summary(review: Review) -> Any:
    """The answers to the questions, for who reads the log instead of the forge's alerts."""
    answers = [
        {"item": answer.item, "verdict": str(answer.verdict), "answer": plain(answer.answer, _PARAGRAPH)}
        for answer in review.checklist
    ]
    return simple({"path": plain(main_path(review), _NAME), "verdict": str(review.verdict), "checklist": answers})
