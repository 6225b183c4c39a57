"""Comparing two files: reports by what they say, models by what they are and by what a review says of them."""

from __future__ import annotations

from collections.abc import Callable

from avreview import __version__
from avreview.api import review_artifact
from avreview.compare.artifacts import compare_artifacts, kind_of
from avreview.compare.findings import compare_findings
from avreview.compare.report_pairs import compare_reports
from avreview.compare.reports import is_report, read_report
from avreview.compare.result import Diff
from avreview.config.settings import Planned
from avreview.engine.cards import Catalogue
from avreview.engine.policy import Policy
from avreview.errors import UsageError
from avreview.load import open_artifact


def compare_files(
    old: Planned, new: Planned, policy: Policy, rules: Catalogue, *, memory: int, left_out: Callable[[str], bool]
) -> Diff:
    """What changed. `left_out` tells which rules of reports do not count.

    Raises ArtifactError or ConfigError for a file that cannot be read, UsageError for two of different kinds.
    """
    reports = [is_report(plan.model) for plan in (old, new)]
    if reports[0] != reports[1]:
        report, other = (old.model, new.model) if reports[0] else (new.model, old.model)
        raise UsageError(f"{report} is a report and {other} is not; name two reports, or two models")
    if reports[0]:
        return _reports(old.model, new.model, policy, rules, left_out)
    before, after = (open_artifact(plan.model, weights=plan.weights, memory=memory) for plan in (old, new))
    sections, sizes = compare_artifacts(before, after)
    title = new.name or new.model
    reviews = [
        review_artifact(artifact, policy, modality=plan.modality or new.modality, title=title)
        for artifact, plan in ((before, old), (after, new))
    ]
    found = compare_findings(reviews[0], reviews[1], title)
    subjects = [review.subject["model"] for review in reviews]
    return Diff(
        __version__, rules.digest, kind_of(after), subjects[0], subjects[1], sections, sizes, [found], policy.fail_on
    )


def _reports(old: str, new: str, policy: Policy, rules: Catalogue, left_out: Callable[[str], bool]) -> Diff:
    before, after = read_report(old), read_report(new)
    findings = compare_reports(before, after, policy, left_out)
    return Diff(
        __version__, rules.digest, "report", before.subject, after.subject, (), (), findings, policy.fail_on,
        after.unreadable,
    )  # fmt: skip
