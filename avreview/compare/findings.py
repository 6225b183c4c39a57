"""Which findings are new, gone or unchanged, by their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avreview.compare.result import Compared, Findings
from avreview.engine.review import Finding, Review, Verdict


def compare_findings(old: Review | None, new: Review | None, model: str) -> Findings:
    """Compares the findings of two reviews of one model. A side without a review has none.

    What waivers or the baseline cover is nobody's new finding, and none that is gone.
    """
    before, after = _by_fingerprint(old), _by_fingerprint(new)
    unassessed = [_unassessed(review) for review in (old, new)]
    found, accepted, unchanged, gone = [], [], [], []
    for fingerprint, findings in after.items():
        earlier = before.get(fingerprint, ())
        for number, finding in enumerate(findings):
            if number < len(earlier):
                unchanged.append(Compared(finding, _grown(earlier[number], finding)))
            elif not finding.is_open:
                accepted.append(Compared(finding, "waived" if finding.waived is not None else "in the baseline"))
            else:
                found.append(Compared(finding, _remark(finding, unassessed[0], "before", old)))
    for fingerprint, findings in before.items():
        left = findings[len(after.get(fingerprint, ())) :]
        gone += [Compared(each, _remark(each, unassessed[1], "now", new)) for each in left if each.is_open]
    lost = {
        rule: reason for rule, reason in unassessed[1].items()
        if old is not None and rule in {entry.rule for entry in old.rules} and rule not in unassessed[0]
    }  # fmt: skip
    verdicts = [None if review is None else str(review.verdict) for review in (old, new)]
    return Findings(
        model, verdicts[0], verdicts[1], _worst_first(found), _worst_first(gone), _worst_first(unchanged),
        _worst_first(accepted), lost, _verdicts(old, new),
    )  # fmt: skip


def _by_fingerprint(review: Review | None) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in () if review is None else review.findings:
        found.setdefault(finding.fingerprint, []).append(finding)
    return found


def _unassessed(review: Review | None) -> Mapping[str, str]:
    if review is None:
        return {}
    return {entry.rule: entry.reason or "" for entry in review.rules if entry.verdict is Verdict.NOT_ASSESSED}


def _remark(finding: Finding, unassessed: Mapping[str, str], when: str, other: Review | None) -> str:
    """Why a finding may be missing on the other side without the model having changed."""
    if other is None:
        return f"the model was not reviewed {when}"
    if finding.rule in unassessed:
        return f"not assessed {when}: {unassessed[finding.rule]}"
    return "" if any(entry.rule == finding.rule for entry in other.rules) else f"not among the rules {when}"


def _grown(old: Finding, new: Finding) -> str:
    words = []
    if len(old.also) != len(new.also):
        words.append(f"places: {1 + len(old.also)} before, {1 + len(new.also)} now")
    if old.severity != new.severity:
        words.append(f"{old.severity} before")
    if old.is_open != new.is_open:
        words.append("accepted now" if old.is_open else "accepted before, open now")
    return ", ".join(words)


def _worst_first(entries: Sequence[Compared]) -> list[Compared]:
    return sorted(
        entries, key=lambda entry: (-entry.finding.severity, entry.finding.rule, entry.finding.location.entity)
    )


def _verdicts(old: Review | None, new: Review | None) -> list[tuple[str, str, str]]:
    """The questions whose verdict is another one."""
    if old is None or new is None:
        return []
    before = {answer.item: answer for answer in old.checklist}
    return [
        (f"{answer.item}. {answer.question}", str(before[answer.item].verdict), str(answer.verdict))
        for answer in new.checklist
        if answer.item in before and before[answer.item].verdict is not answer.verdict
    ]
