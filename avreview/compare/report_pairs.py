"""Which reviews of two reports are of the same model, and how a team's policy sees their findings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from avreview.compare.findings import compare_findings
from avreview.compare.reports import ReadReport
from avreview.compare.result import Findings
from avreview.engine.policy import Policy
from avreview.engine.review import Finding, Review


def compare_reports(
    old: ReadReport, new: ReadReport, policy: Policy, left_out: Callable[[str], bool]
) -> list[Findings]:
    """The findings of each model in both reports. `left_out` tells which rules are not selected.

    Severities are those that the reports state; what a report says is waived or in the baseline stays so, and what
    the policy covers is covered as well.
    """
    sides = [[_judged(review, policy, left_out) for review in report.reviews] for report in (old, new)]
    return [compare_findings(left, right, _name(left, right)) for left, right in _pairs(*sides)]


def _name(old: Review | None, new: Review | None) -> str:
    return next((review.name for review in (new, old) if review is not None), "")


def _judged(review: Review, policy: Policy, left_out: Callable[[str], bool]) -> Review:
    """The review with the findings and rules that are selected, as the policy sees them."""
    findings = [
        seen for finding in review.findings if not left_out(finding.rule)
        and (seen := _seen(finding, review.name, policy)) is not None
    ]  # fmt: skip
    return review._replace(findings=findings, rules=[rule for rule in review.rules if not left_out(rule.rule)])


def _seen(finding: Finding, model: str, policy: Policy) -> Finding | None:
    judged = policy.judged(finding, model)
    if judged is None:
        return None
    return judged._replace(waived=finding.waived or judged.waived, known=finding.known or judged.known)


def _pairs(old: Sequence[Review], new: Sequence[Review]) -> Iterator[tuple[Review | None, Review | None]]:
    """Reviews of the same name, else of files of the same name, else the only one that is left of each."""
    left, right = list(old), list(new)
    found: list[tuple[Review, Review]] = []
    keys: tuple[Callable[[Review], str], ...] = (lambda review: review.name, lambda review: _file(review))
    for key in keys:
        for review in list(left):
            others = [other for other in right if key(other) == key(review)]
            if len(others) == 1 and sum(key(other) == key(review) for other in left) == 1:
                found.append((review, others[0]))
                left.remove(review)
                right.remove(others[0])
    if len(left) == len(right) == 1:
        found.append((left.pop(), right.pop()))
    place = {id(review): number for number, review in enumerate(new)}
    yield from sorted(found, key=lambda pair: place[id(pair[1])])
    yield from ((None, review) for review in right)
    yield from ((review, None) for review in left)


def _file(review: Review) -> str:
    return os.path.basename(str(review.subject.get("model", {}).get("path", "")))
