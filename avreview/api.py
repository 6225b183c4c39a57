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
from avreview.facts.subject import Companions
from avreview.load import open_artifact
from avreview.load.context import MEMORY
from avreview.probes.request import NOTHING, ProbeRequest

Path = str | os.PathLike[str]
_ALONE = Companions()


def review(
    models: Sequence[Path],
    *,
    checkpoint: Path | None = None,
    pretrained: Path | None = None,
    weights: str | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: Severity = Severity.ERROR,
    modality: str | None = None,
    memory: int = MEMORY,
    probes: ProbeRequest | None = None,
) -> Report:
    """Reviews each model by itself: ONNX exports, PyTorch checkpoints, or folders of either.

    `checkpoint` is what the exports were made from, `pretrained` what training started from, `weights` the set to
    review where a checkpoint holds several (`model`, `ema`, …). `select` and `ignore` take rule ids, prefixes, names
    and items; `modality` says which sensor the inputs come from; `memory` is how many bytes loading one file may take.
    Nothing is run but what `probes` asks for.
    What cannot be read is in the report's `unreadable`, with the reason; the others are reviewed all the same.
    Raises UsageError for an unknown rule.
    """
    rules = catalogue()
    policy = Policy(select_rules(rules, select, ignore), fail_on)
    reviews: list[Review] = []
    unreadable: list[tuple[str, str]] = []

    def opened(path: Path | None, *, weights: str | None = None) -> Artifact | None:
        try:
            return None if path is None else open_artifact(path, weights=weights, memory=memory)
        except ArtifactError as error:
            unreadable.append((error.path, str(error)))
            return None

    companions = Companions(opened(checkpoint), opened(pretrained))
    for path in models:
        model = opened(path, weights=weights)
        try:
            if model is not None:
                reviews.append(review_artifact(model, policy, companions, modality=modality, probes=probes))
        except ArtifactError as error:  # what is read only when a rule asks for it
            unreadable.append((error.path, str(error)))
    return Report(__version__, rules.digest, reviews, unreadable)


def review_artifact(
    model: Artifact,
    policy: Policy,
    companions: Companions = _ALONE,
    *,
    modality: str | None = None,
    probes: ProbeRequest | None = None,
) -> Review:
    """Reviews an artifact at hand, with what stands beside it. Raises ArtifactError when its file changes meanwhile."""
    import numpy as np

    stated = StatedModality(modality)
    views: list[dict[type, Any]] = [{Artifact: model, Companions: companions, StatedModality: stated}]
    if companions.checkpoint is not None:
        alone = companions._replace(checkpoint=None)
        views.append({Artifact: companions.checkpoint, Companions: alone, StatedModality: stated})
    for view in views:
        view[ProbeRequest] = probes or NOTHING
    named = {"model": model, "checkpoint": companions.checkpoint, "pretrained": companions.pretrained}
    artifacts = {role: artifact for role, artifact in named.items() if artifact is not None}
    with np.errstate(all="ignore"):  # weights that overflow are a finding of some rule, not a warning of numpy's
        return run(catalogue(), policy, views, artifacts, with_probes=probes is not None)
