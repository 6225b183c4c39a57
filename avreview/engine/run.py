"""Running the rules over a subject: facts in, a Review out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from avreview.artifact import Artifact
from avreview.engine.cards import PREFIX, Card, Catalogue, Thresholds
from avreview.engine.checks import (
    ANSWERS,
    EVIDENCE,
    LIMITATIONS,
    Answerer,
    AnswerText,
    Check,
    Evidence,
    Limitation,
    Violation,
    load_checks,
)
from avreview.engine.policy import Policy
from avreview.engine.reasons import planned, unsupplied
from avreview.engine.resolve import NotApplicable, NotAvailable, Resolver, WrongKind, is_background
from avreview.engine.review import Answer, Finding, Review, RuleOutcome, Verdict
from avreview.errors import AvreviewError

# How much a verdict weighs when a question's is made of its rules': the worst counts.
_WEIGHT = {
    Verdict.FAIL: 4,
    Verdict.ATTENTION: 3,
    Verdict.PASS: 2,
    Verdict.NOT_ASSESSED: 1,
    Verdict.NOT_APPLICABLE: 0,
}


_Registered = TypeVar("_Registered", Answerer, Evidence, Limitation)


class _Outcome(NamedTuple):
    outcome: RuleOutcome
    findings: Sequence[Finding] = ()
    wrong_kind: bool = False  # of artifact: what another one says of the rule is worth more


def run(
    catalogue: Catalogue,
    policy: Policy,
    views: Sequence[Mapping[type, Any]],
    artifacts: Mapping[str, Artifact],
    *,
    rooms: Iterable[str] = (),
    title: str = "",
) -> Review:
    """Reviews one subject, made of `artifacts` by role; `rooms` are those of the checks that have something to go by.

    Each view gives facts by type. What the first, of the model itself, cannot show, a rule looks for in the next:
    an export holds no optimizer state, the checkpoint beside it does. A `title` is needed where there is no model.
    """
    name = title or artifacts["model"].provenance.path
    desk = _Desk(catalogue, policy, [Resolver(view) for view in views], frozenset({"", *rooms}), name)
    checks = load_checks(catalogue, rooms)
    cards = [card for card in catalogue if card.id in policy.rules]
    needs = {need.kind for card in cards for made in checks.get(card.id, ()) for need in made.needs}
    desk.resolvers[0].begin(needs)
    # Rules that wait for another process go last, so that it works meanwhile.
    order = sorted(cards, key=lambda card: any(map(_waits, checks.get(card.id, ()))))
    done = {card.id: _run_rule(card, checks.get(card.id, ()), desk) for card in order}
    outcomes = [done[card.id] for card in cards]
    answers = [_answer(desk, item, outcomes) for item in catalogue.questions]
    return Review(
        subject={role: _described(artifact) for role, artifact in artifacts.items()},
        verdict=_worst(answer.verdict for answer in answers),
        checklist=answers,
        rules=[entry.outcome for entry in outcomes],
        findings=sorted(
            (finding for entry in outcomes for finding in entry.findings), key=lambda f: (f.item, -f.severity, f.rule)
        ),
        limitations=list(dict.fromkeys(_limitations(desk, artifacts.values()))),
        evidence=_evidence(desk),
        title=title,
    )


class _Desk(NamedTuple):
    """What every rule of one review is run with. `rooms` are the open ones, `name` is how policies know the model."""

    catalogue: Catalogue
    policy: Policy
    resolvers: Sequence[Resolver]
    rooms: frozenset[str]
    name: str

    def own(self, registered: Iterable[_Registered]) -> list[_Registered]:
        """Those that have something to go by, and that come from avreview or from a pack in force."""
        return [entry for entry in registered if entry.prefix in self.catalogue.prefixes and entry.room in self.rooms]


def _waits(check: Check) -> bool:
    return any(is_background(need.kind) for need in check.needs)


def _limitations(desk: _Desk, artifacts: Iterable[Artifact]) -> Iterator[str]:
    for artifact in artifacts:
        yield from artifact.limitations
    for resolver, entry in itertools.product(desk.resolvers, desk.own(LIMITATIONS)):
        try:
            arguments = resolver.for_words(entry.needs)
        except (NotAvailable, NotApplicable):
            continue
        yield from entry.function(*arguments)


def _evidence(desk: _Desk) -> dict[str, Any]:
    """The data behind the review, each from the first view that has it."""
    found: dict[str, Any] = {}
    for resolver, entry in itertools.product(desk.resolvers, desk.own(EVIDENCE)):
        try:
            arguments = resolver.for_words(entry.needs)
        except (NotAvailable, NotApplicable):
            continue
        if entry.name not in found and (data := entry.function(*arguments)):
            found[entry.name] = data
    return found


def _described(model: Artifact) -> Mapping[str, Any]:
    """What a report says of the reviewed file: enough to find it again and to know that it is the same."""
    provenance = model.provenance
    own = model.digests.get(provenance.path)
    described: dict[str, Any] = {
        "path": provenance.path,
        "sha256": None if own is None else own.hexdigest(),
        "bytes": provenance.bytes,
        "format": provenance.format,
        "producer": provenance.producer,
        **provenance.details,
    }
    if provenance.files:
        described["files"] = [
            {"path": path, "sha256": digest.hexdigest(), "bytes": digest.size}
            for path, digest in model.digests.items()
            if path != provenance.path
        ]
    return described


def _run_rule(card: Card, checks: Sequence[Check], desk: _Desk) -> _Outcome:
    """How the rule ends by the first of its checks, in the first view, that can decide it.

    In none, how it ends in the one that says most.
    """
    if not checks:
        return _ended(card, Verdict.NOT_ASSESSED, planned(card) if card.planned else unsupplied(card))
    ended: list[_Outcome] = []
    for made, resolver in itertools.product(checks, desk.resolvers):
        ended.append(_run_check(card, made, resolver, desk))
        if ended[-1].outcome.reason is None:
            return ended[-1]
    return min(ended, key=lambda entry: (entry.outcome.verdict is not Verdict.NOT_APPLICABLE, entry.wrong_kind))


def _run_check(card: Card, check: Check, resolver: Resolver, desk: _Desk) -> _Outcome:
    try:
        arguments = [card.limits if need.kind is Thresholds else resolver.argument(need) for need in check.needs]
        found = [_finding(card, violation) for violation in check.function(*arguments)]
    except NotAvailable as reason:
        ended = _ended(card, Verdict.NOT_ASSESSED, str(reason))
        return ended._replace(wrong_kind=isinstance(reason, WrongKind))
    except NotApplicable as reason:
        return _ended(card, Verdict.NOT_APPLICABLE, str(reason))
    except (AvreviewError, MemoryError):
        raise
    except Exception as error:
        author = "" if card.prefix == PREFIX else " to whom its rule pack is from"
        raise AvreviewError(
            f"the check of {card.id} ({card.name}) crashed: {type(error).__name__}: {error}; "
            f"please report it{author}; `--ignore {card.id}` reviews without it"
        ) from error
    findings = [judged for finding in found if (judged := desk.policy.judged(finding, desk.name)) is not None]
    if not findings:
        left_out = "every finding lies in modules for which the configuration leaves the rule out"
        return _ended(card, Verdict.NOT_ASSESSED, left_out) if found else _ended(card, Verdict.PASS)
    failed = any(finding.severity >= desk.policy.fail_on and finding.is_open for finding in findings)
    outcome = RuleOutcome(card.id, card.name, card.item, Verdict.FAIL if failed else Verdict.ATTENTION)
    return _Outcome(outcome, findings)


def _ended(card: Card, verdict: Verdict, reason: str | None = None) -> _Outcome:
    return _Outcome(RuleOutcome(card.id, card.name, card.item, verdict, reason))


def _finding(card: Card, violation: Violation) -> Finding:
    return Finding(
        rule=card.id,
        name=card.name,
        item=card.item,
        severity=card.severity if violation.severity is None else violation.severity,
        location=violation.at,
        message=violation.message,
        observed=violation.observed,
        expected=violation.expected,
        remedy=violation.remedy or card.remedy,
        why=card.why,
        also=violation.also,
    )


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=_WEIGHT.__getitem__, default=Verdict.NOT_ASSESSED)


def _answer(desk: _Desk, item: int, outcomes: Sequence[_Outcome]) -> Answer:
    own = [entry.outcome for entry in outcomes if entry.outcome.item == item]
    question = desk.catalogue.questions[item]
    verdict = _worst(outcome.verdict for outcome in own)
    assessed = sum(outcome.verdict is not Verdict.NOT_ASSESSED for outcome in own)
    sentence, table = _words(desk.own(ANSWERS.get(item, ())), own, desk.resolvers)
    return Answer(item, question.title, question.question, verdict, sentence, table, assessed, len(own))


def _words(
    answerers: Sequence[Answerer], own: Sequence[RuleOutcome], resolvers: Sequence[Resolver]
) -> tuple[str, Sequence[Mapping[str, Any]]]:
    if not own:
        return "No rule of this question was selected.", ()
    sentences: list[str] = []
    table: list[Mapping[str, Any]] = []
    for answerer in answerers:
        words = next(filter(None, (_said(answerer, resolver) for resolver in resolvers)), None)
        if words is not None:
            sentences.append(words.sentence)
            table += words.table
    if not sentences:
        sentences = [_without_words(own)]
    return " ".join(sentences), table


def _without_words(own: Sequence[RuleOutcome]) -> str:
    """The answer where none of the answerers had anything to go by: why, and what was decided all the same."""
    reason = next((outcome.reason for outcome in own if outcome.reason), "")
    passed = sum(outcome.verdict is Verdict.PASS for outcome in own)
    if not passed:
        return _sentence(reason) if reason else ""
    rest = f"; of the others the first {reason}" if reason else ""
    return f"Nothing was found by {passed} of {len(own)} rule{'s' * (len(own) != 1)}{rest}."


def _said(answerer: Answerer, resolver: Resolver) -> AnswerText | None:
    try:
        return answerer.function(*resolver.for_words(answerer.needs))
    except (NotAvailable, NotApplicable):
        return None


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."
