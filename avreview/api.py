"""Reviewing from Python: what the command line does, as functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from avreview import __version__
from avreview.artifact import Artifact
from avreview.engine.cards import catalogue
from avreview.engine.review import Report, Review, Severity
from avreview.engine.run import Policy, run, select_rules
from avreview.errors import ArtifactError
from avreview.facts.modality import StatedModality
from avreview.load import open_artifact


def review(
    models: Sequence[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: Severity = Severity.ERROR,
    modality: str | None = None,
) -> Report:
    """Reviews each model by itself.

    `select` and `ignore` take rule ids, prefixes, names and items; `modality` says which sensor the inputs come from.
    A model that cannot be read is in the report's `unreadable`, with the reason; the others are reviewed all the same.
    Raises UsageError for an unknown rule.
    """
    rules = catalogue()
    policy = Policy(select_rules(rules, select, ignore), fail_on)
    reviews: list[Review] = []
    unreadable: list[tuple[str, str]] = []
    for path in models:
        try:
            reviews.append(_review(path, policy, modality))
        except ArtifactError as error:  # noqa: PERF203 - one file's fault is not the next one's
            unreadable.append((error.path, str(error)))
    return Report(__version__, rules.digest, reviews, unreadable)


def _review(path: str | os.PathLike[str], policy: Policy, modality: str | None) -> Review:
    import numpy as np

    artifact = open_artifact(path)
    given: dict[type, Any] = {Artifact: artifact, StatedModality: StatedModality(modality)}
    with np.errstate(all="ignore"):  # weights that overflow are a finding of some rule, not a warning of numpy's
        return run(catalogue(), policy, given, artifact)
