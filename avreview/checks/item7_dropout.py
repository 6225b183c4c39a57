"""Question 7: where is dropout used, and is it disabled at inference?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.artifact import Artifact
from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable
from avreview.engine.review import Severity
from avreview.facts.dropout_context import DropoutContext
from avreview.facts.heads import Heads
from avreview.facts.randomness import Dropout, Randomness


def _every(randomness: Randomness) -> Sequence[Dropout]:
    """All dropouts. Raises NotApplicable without any, NotAvailable where there may be some that cannot be seen."""
    randomness.drawing.require_settings()
    if randomness.dropouts:
        return randomness.dropouts
    if randomness.drawing.is_whole:
        raise NotApplicable("the graph holds no dropout; exporters remove inactive ones")
    raise NotApplicable("the module tree holds no dropout; what a forward calls as a function is not in a tree")


def _dropouts(randomness: Randomness, least: float) -> Sequence[Dropout]:
    """Plain dropouts that drop something, or NotApplicable. Stochastic depth is AV401's."""
    _every(randomness)
    return [d for d in randomness.dropouts if not d.per_sample and (d.rate is None or d.rate > least)]


@check("AV701")
def dropout_active_at_inference(randomness: Randomness, limits: Thresholds) -> Iterator[Violation]:
    """Dropout that still drops."""
    randomness.drawing.require_settings()
    if not randomness.active:
        randomness.drawing.require_forward()
    dropping = [dropout for dropout in randomness.active if not dropout.per_sample]
    found = [dropout for dropout in dropping if dropout.rate is None or dropout.rate > limits.min_rate]
    if found:
        yield Violation(
            at=found[0].location(randomness.artifact),
            also=[dropout.location(randomness.artifact) for dropout in found[1:]],
            message=f"{count(len(found), 'dropout')} still {verb(len(found), 'drop')} at inference: "
            "the same input gives different outputs.",
            observed={
                "evidence": listed(dict.fromkeys(dropout.evidence for dropout in found)),
                "rates": sorted({rate for d in found if (rate := shown_floats(d.rate)) is not None}),
            },
            expected={"active_dropouts": 0},
        )


@check("AV703")
def dropout_in_geometry_or_temporal_head(
    randomness: Randomness, heads: Heads, limits: Thresholds
) -> Iterator[Violation]:
    """Dropout close to an output that regresses geometry or works over time."""
    placed: dict[tuple[str, str], list[Dropout]] = {}
    for dropout in _dropouts(randomness, limits.min_rate):
        head = heads.of(dropout.node, dropout.module, int(limits.max_layers_to_output))
        if head is not None:
            placed.setdefault(head, []).append(dropout)
    for (kind, name), dropouts in placed.items():
        yield Violation(
            at=dropouts[0].location(randomness.artifact),
            also=[dropout.location(randomness.artifact) for dropout in dropouts[1:]],
            message=f"Dropout in the {kind} head {name!r}.",
            observed={"dropouts": len(dropouts), "rates": sorted({shown_floats(d.rate) or 0.0 for d in dropouts})},
            expected={"dropouts": 0},
        )


@check("AV704")
def dropout_without_scaling(randomness: Randomness) -> Iterator[Violation]:
    """A random mask whose survivors are not divided by the keep probability."""
    masks = [dropout for dropout in randomness.dropouts if dropout.form == "mask"]
    if not masks:
        randomness.drawing.require_settings()
        randomness.drawing.require_flow()
        raise NotApplicable("the graph multiplies nothing with a random mask")
    for dropout in masks:
        if not dropout.scaled:
            yield Violation(
                at=dropout.location(randomness.artifact),
                message="A random mask is not divided by the keep probability: the signal's mean shrinks.",
                observed={"rate": shown_floats(dropout.rate), "scaled": False},
                expected={"scaled": True},
            )


@check("AV705")
def dropout_rate_extreme(randomness: Randomness, context: DropoutContext, limits: Thresholds) -> Iterator[Violation]:
    """A rate of 1, of a half and more outside large dense layers, or of 0."""
    idle = []
    for dropout in _every(randomness):
        rate = dropout.rate
        if rate is None:
            continue
        if rate <= limits.idle_rate:
            idle.append(dropout)
        elif rate >= limits.certain_rate:
            yield _rate_violation(randomness, dropout, Severity.ERROR, "drops everything", "less than 1")
        elif rate >= limits.high_rate and context.dense_width(dropout.node) < limits.large_dense_width:
            expected = f"under {limits.high_rate:g} outside dense layers of {limits.large_dense_width:g} units"
            yield _rate_violation(randomness, dropout, None, "is high outside a large dense layer", expected)
    if idle:
        yield Violation(
            at=idle[0].location(randomness.artifact),
            also=[dropout.location(randomness.artifact) for dropout in idle[1:]],
            message=f"{count(len(idle), 'dropout')} with a rate of 0 {verb(len(idle), 'drop')} nothing.",
            observed={"rate": 0.0},
            expected={"rate": "over 0, or no dropout"},
            severity=Severity.NOTE,
        )


def _rate_violation(
    randomness: Randomness, dropout: Dropout, severity: Severity | None, what: str, expected: str
) -> Violation:
    rate = shown_floats(dropout.rate)
    return Violation(
        at=dropout.location(randomness.artifact),
        message=f"A dropout rate of {rate:g} {what}.",
        observed={"rate": rate},
        expected={"rate": expected},
        severity=severity,
    )


@check("AV706")
def dropout_before_batch_norm(
    randomness: Randomness, context: DropoutContext, limits: Thresholds
) -> Iterator[Violation]:
    """A dropout whose signal reaches a batch norm with running statistics before any other norm."""
    found = []
    for dropout in _dropouts(randomness, limits.min_rate):
        norm = context.next_batch_norm(dropout, int(limits.max_weight_layers_between))
        if norm is not None:
            found.append((dropout, norm))
    if not found:
        randomness.drawing.require_flow()
    else:
        yield Violation(
            at=found[0][0].location(randomness.artifact),
            also=[norm.location(randomness.artifact) for _, norm in found],
            message=f"{count(len(found), 'dropout')} in front of a batch norm: "
            "its running variance was measured with units dropped.",
            observed={"batch_norms": listed(norm.module or norm.node.label for _, norm in found)},
            expected={"dropout": "behind the last batch norm of its branch"},
        )


@answer(7)
def where_is_dropout(artifact: Artifact, randomness: Randomness) -> AnswerText:
    """Counts dropouts left in the graph, and how many of them still drop."""
    every, active = randomness.dropouts, randomness.active
    randomness.drawing.require_settings()
    if not every and not randomness.drawing.is_whole:
        return AnswerText("The module tree holds no dropout.")
    if not every:
        return AnswerText("The graph holds no dropout; exporters remove those that are off at inference.")
    rows = [
        {
            "layer": dropout.module or dropout.node.label,
            "form": "stochastic depth" if dropout.per_sample else dropout.form,
            "rate": shown_floats(dropout.rate),
            "at_inference": "drops" if dropout.active else "off",
        }
        for dropout in every
    ]
    place = "graph" if randomness.drawing.is_whole else "module tree"
    dropping = f"{len(active)} of {count(len(every), 'dropout')} in the {place} still {verb(len(active), 'drop')}"
    return AnswerText(f"{dropping} at inference.", rows)
