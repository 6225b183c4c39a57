"""Running the rules over a subject: facts in, a Review out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Artifact
from avreview.engine.cards import PREFIX, Card, Catalogue, Thresholds
from avreview.engine.checks import (
    ANSWERS,
    EVIDENCE,
    LIMITATIONS,
    Answerer,
    AnswerText,
    Check,
    Violation,
    load_checks,
)
from avreview.engine.policy import Policy
from avreview.engine.resolve import NotApplicable, NotAvailable, Resolver, WrongKind, is_background
from avreview.engine.review import Answer, Finding, Review, RuleOutcome, Verdict
from avreview.errors import AvreviewError

# The words of a card's `needs`, as a reason says them.
SUPPLIES = {
    "graph": "an ONNX export",
    "weights": "a model with its weights",
    "module-tree": "a PyTorch module tree",
    "optimizer-state": "optimizer state from a training checkpoint",
    "pretrained-base": "the pretrained base",
    "checkpoint": "a checkpoint",
    "recipe": "the training recipe",
    "running": "running the model",
    "reference-model": "a reference PyTorch model",
    "input-data": "input data",
    "augmentation": "running the augmentation",
    "modality": "the input's modality",
}
_BESIDE_PROBES = {"reference-model": "--reference", "input-data": "--inputs"}
# How much a verdict weighs when a question's is made of its rules': the worst counts.
_WEIGHT = {
    Verdict.FAIL: 4,
    Verdict.ATTENTION: 3,
    Verdict.PASS: 2,
    Verdict.NOT_ASSESSED: 1,
    Verdict.NOT_APPLICABLE: 0,
}


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
    with_probes: bool = False,
    title: str = "",
) -> Review:
    """Reviews one subject, made of `artifacts` by role; `with_probes` when the person asked for runs.

    Each view gives facts by type. What the first, of the model itself, cannot show, a rule looks for in the next:
    an export holds no optimizer state, the checkpoint beside it does.
    """
    with_checkpoint = any(artifact.checkpoint is not None for artifact in artifacts.values())
    checks = load_checks(catalogue, of_checkpoints=with_checkpoint or "pretrained" in artifacts, of_probes=with_probes)
    checks = {rule: check for rule, check in checks.items() if with_probes or not catalogue[rule].is_of_probes}
    resolvers = [Resolver(view) for view in views]
    cards = [card for card in catalogue if card.id in policy.rules]
    resolvers[0].begin({need.kind for card in cards if card.id in checks for need in checks[card.id].needs})
    # Rules that wait for another process go last, so that it works meanwhile.
    order = sorted(cards, key=lambda card: card.id in checks and _waits(checks[card.id]))
    name = title or artifacts["model"].provenance.path
    done = {card.id: _run_rule(card, checks.get(card.id), resolvers, policy, name) for card in order}
    outcomes = [done[card.id] for card in cards]
    answers = [_answer(catalogue, item, outcomes, resolvers) for item in catalogue.questions]
    return Review(
        subject={role: _described(artifact) for role, artifact in artifacts.items()},
        verdict=_worst(answer.verdict for answer in answers),
        checklist=answers,
        rules=[entry.outcome for entry in outcomes],
        findings=sorted(
            (finding for entry in outcomes for finding in entry.findings), key=lambda f: (f.item, -f.severity, f.rule)
        ),
        limitations=list(dict.fromkeys(_limitations(catalogue, artifacts.values(), resolvers))),
        evidence=_evidence(catalogue, resolvers) if with_probes else {},
        title=title,
    )


def _waits(check: Check) -> bool:
    return any(is_background(need.kind) for need in check.needs)


def _limitations(catalogue: Catalogue, artifacts: Iterable[Artifact], resolvers: Sequence[Resolver]) -> Iterator[str]:
    for artifact in artifacts:
        yield from artifact.limitations
    own = [entry for entry in LIMITATIONS if entry.prefix in catalogue.prefixes]
    for resolver, entry in itertools.product(resolvers, own):
        try:
            arguments = resolver.for_words(entry.needs)
        except (NotAvailable, NotApplicable):
            continue
        yield from entry.function(*arguments)


def _evidence(catalogue: Catalogue, resolvers: Sequence[Resolver]) -> dict[str, Any]:
    """The data behind the review, each from the first view that has it."""
    found: dict[str, Any] = {}
    own = [entry for entry in EVIDENCE if entry.prefix in catalogue.prefixes]
    for resolver, entry in itertools.product(resolvers, own):
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


def _run_rule(card: Card, check: Check | None, resolvers: Sequence[Resolver], policy: Policy, name: str) -> _Outcome:
    """How the rule ends in the first view that can decide it; in none, how it ends in the one that says most."""
    if check is None:
        return _ended(card, Verdict.NOT_ASSESSED, _planned(card) if card.planned else _unsupplied(card))
    ended: list[_Outcome] = []
    for resolver in resolvers:
        ended.append(_run_check(card, check, resolver, policy, name))
        if ended[-1].outcome.reason is None:
            return ended[-1]
    return min(ended, key=lambda entry: (entry.outcome.verdict is not Verdict.NOT_APPLICABLE, entry.wrong_kind))


def _run_check(card: Card, check: Check, resolver: Resolver, policy: Policy, name: str) -> _Outcome:
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
    findings = [judged for finding in found if (judged := policy.judged(finding, name)) is not None]
    if not findings:
        left_out = "every finding lies in modules for which the configuration leaves the rule out"
        return _ended(card, Verdict.NOT_ASSESSED, left_out) if found else _ended(card, Verdict.PASS)
    failed = any(finding.severity >= policy.fail_on and finding.is_open for finding in findings)
    outcome = RuleOutcome(card.id, card.name, card.item, Verdict.FAIL if failed else Verdict.ATTENTION)
    return _Outcome(outcome, findings)


def _ended(card: Card, verdict: Verdict, reason: str | None = None) -> _Outcome:
    return _Outcome(RuleOutcome(card.id, card.name, card.item, verdict, reason))


def _planned(card: Card) -> str:
    ways = [" and ".join(SUPPLIES[word] for word in way) for way in card.needs]
    needed = ", or ".join(ways)
    return f"needs {needed}, which this version of avreview cannot use yet"


def _unsupplied(card: Card) -> str:
    """What a rule wants whose check was not loaded, because the review lacks all that could decide it."""
    needed = {word for way in card.needs for word in way}
    if card.is_of_probes:
        beside = [option for word, option in _BESIDE_PROBES.items() if word in needed]
        options = " with ".join(["--probe", *beside])
        return f"needs the model to be run, which has to be asked for; pass {options}"
    if "pretrained-base" not in needed:
        return "needs a training checkpoint; pass --checkpoint"
    if "optimizer-state" not in needed:
        return "needs the pretrained base; pass --pretrained"
    return "needs a training checkpoint and the pretrained base; pass --checkpoint and --pretrained"


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


def _answer(catalogue: Catalogue, item: int, outcomes: Sequence[_Outcome], resolvers: Sequence[Resolver]) -> Answer:
    own = [entry.outcome for entry in outcomes if entry.outcome.item == item]
    question = catalogue.questions[item]
    verdict = _worst(outcome.verdict for outcome in own)
    assessed = sum(outcome.verdict is not Verdict.NOT_ASSESSED for outcome in own)
    answerers = [entry for entry in ANSWERS.get(item, ()) if entry.prefix in catalogue.prefixes]
    sentence, table = _words(answerers, own, resolvers)
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
        reasons = list(dict.fromkeys(outcome.reason for outcome in own if outcome.reason))
        sentences = [_sentence(reason) for reason in reasons[:1]]
    return " ".join(sentences), table


def _said(answerer: Answerer, resolver: Resolver) -> AnswerText | None:
    try:
        return answerer.function(*resolver.for_words(answerer.needs))
    except (NotAvailable, NotApplicable):
        return None


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."
