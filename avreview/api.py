"""Reviewing from Python: what the command line does, as functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

from avreview import __version__
from avreview.artifact import Artifact
from avreview.artifact import Digest as FileDigest
from avreview.engine.cards import Catalogue, shipped, using
from avreview.engine.policy import Policy, select_rules
from avreview.engine.review import Report, Review, Severity
from avreview.engine.run import run
from avreview.errors import ArtifactError
from avreview.facts.modality import StatedModality
from avreview.facts.subject import Companions
from avreview.load import open_artifact
from avreview.load.context import MEMORY
from avreview.probes.request import NOTHING, ProbeRequest
from avreview.sizes import byte_size

if TYPE_CHECKING:
    from avreview.config.settings import Planned, Settings

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
    from avreview.config.settings import Planned, Settings

    beside = {"checkpoint": checkpoint, "pretrained": pretrained}
    paths = {role: os.fspath(path) for role, path in beside.items() if path is not None}
    planned = [Planned(os.fspath(path), weights=weights, modality=modality, **paths) for path in models]
    settings = Settings(select=tuple(select), ignore=tuple(ignore), fail_on=fail_on)
    return review_planned(planned, settings, memory=memory, probes=probes)


def review_planned(
    planned: Sequence[Planned], settings: Settings, *, memory: int | None = None, probes: ProbeRequest | None = None
) -> Report:
    """Reviews what is planned, by the settings of a configuration. Otherwise as `review`.

    `memory` outranks the settings'. Raises ConfigError for a waiver or a baseline that cannot be read.
    """
    if memory is None:
        memory = MEMORY if settings.memory is None else byte_size(settings.memory)
    rules = _catalogue(settings)
    with using(rules):
        policy = _policy(settings, rules)
        desk = _Desk(memory)
        reviews = [entry for plan in planned if (entry := desk.review(plan, policy, probes)) is not None]
    findings = [(entry.name, finding) for entry in reviews for finding in entry.findings]
    return Report(
        __version__, rules.digest, reviews, list(dict.fromkeys(desk.unreadable)), policy.uses(findings),
        settings.described(),
    )  # fmt: skip


def review_artifact(
    model: Artifact,
    policy: Policy,
    companions: Companions = _ALONE,
    *,
    modality: str | None = None,
    probes: ProbeRequest | None = None,
    title: str = "",
) -> Review:
    """Reviews an artifact at hand, with what stands beside it. Raises ArtifactError when its file changes meanwhile."""
    import numpy as np

    from avreview.engine.cards import catalogue

    stated = StatedModality(modality)
    views: list[dict[type, Any]] = [{Artifact: model, Companions: companions, StatedModality: stated}]
    if companions.checkpoint is not None:
        alone = companions._replace(checkpoint=None)
        views.append({Artifact: companions.checkpoint, Companions: alone, StatedModality: stated})
    for view in views:
        view[ProbeRequest] = NOTHING  # what stands beside the model is not run once more in its place
    views[0][ProbeRequest] = probes or NOTHING
    named = {"model": model, "checkpoint": companions.checkpoint, "pretrained": companions.pretrained}
    artifacts = {role: artifact for role, artifact in named.items() if artifact is not None}
    with np.errstate(all="ignore"):  # weights that overflow are a finding of some rule, not a warning of numpy's
        return run(catalogue(), policy, views, artifacts, with_probes=probes is not None, title=title)


class _Desk:
    """Opens what reviews ask for, each file once, and keeps what could not be read."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._companions: dict[str, Artifact | None] = {}
        self.unreadable: list[tuple[str, str]] = []

    def review(self, plan: Planned, policy: Policy, probes: ProbeRequest | None) -> Review | None:
        """One review; None when its model cannot be read."""
        companions = Companions(self._companion(plan.checkpoint), self._companion(plan.pretrained))
        model = self._open(plan.model, plan.weights)
        if model is None:
            return None
        beside: dict[str, Mapping[str, Any]] = {}
        if probes is not None:
            probes = probes._replace(inputs=probes.inputs or plan.inputs, reference=probes.reference or plan.reference)
            beside = self._beside(model, probes)
        try:
            found = review_artifact(
                model, policy, companions, modality=plan.modality, probes=probes, title=plan.name or ""
            )
        except ArtifactError as error:  # what is read only when a rule asks for it
            self.unreadable.append((error.path, str(error)))
            return None
        return found._replace(role=plan.role or "", subject={**found.subject, **beside})

    def _beside(self, model: Artifact, probes: ProbeRequest) -> dict[str, Mapping[str, Any]]:
        """What the report says of the files that probes read. Wrong inputs are kept with what could not be read."""
        from avreview.load.digest import Digest
        from avreview.load.source import open_source
        from avreview.probes.given import check_given, open_given

        found: dict[str, Mapping[str, Any]] = {}
        try:
            if probes.inputs is not None:
                given = open_given(probes.inputs)
                if model.graph is not None:
                    check_given(given, model.graph)
                found["inputs"] = _files(probes.inputs, given.digests())
            if probes.reference is not None and os.path.isfile(probes.reference):
                source = open_source(probes.reference)
                found["reference"] = _files(probes.reference, {source.path: Digest(source)})
        except ArtifactError as error:
            self.unreadable.append((error.path, str(error)))
        return found

    def _companion(self, path: str | None) -> Artifact | None:
        if path is None:
            return None
        if path not in self._companions:
            self._companions[path] = self._open(path)
        return self._companions[path]

    def _open(self, path: str, weights: str | None = None) -> Artifact | None:
        try:
            return open_artifact(path, weights=weights, memory=self._memory)
        except ArtifactError as error:
            self.unreadable.append((error.path, str(error)))
            return None


def _files(path: str, digests: Mapping[str, FileDigest]) -> dict[str, Any]:
    """What identifies a file, or the files of a folder."""
    known = {name: digest.hexdigest() for name, digest in digests.items()}
    if set(known) == {path}:
        return {"path": path, "sha256": known[path]}
    return {"path": path, "files": [{"path": name, "sha256": digest} for name, digest in known.items()]}


def _catalogue(settings: Settings) -> Catalogue:
    """The rules as the settings have them."""
    rules = shipped()
    if settings.rule_folders:
        rules = rules.with_folders(map(_Path, settings.rule_folders))
    if settings.severities or settings.thresholds:
        rules = rules.configured(settings.severities, settings.thresholds)
    return rules


def _policy(settings: Settings, rules: Catalogue) -> Policy:
    """The policy of the settings. Raises ConfigError for a waiver or a baseline that cannot be read."""
    off = [rule for rule, severity in settings.severities.items() if severity is None]
    policy = Policy(select_rules(rules, settings.select, [*settings.ignore, *off]), settings.fail_on)
    if settings.overrides:
        policy = policy._replace(overrides=settings.overrides)
    if settings.waivers:
        from avreview.config.waivers import read_waivers, today

        policy = policy._replace(waivers=read_waivers(settings.waivers, rules), today=today().isoformat())
    if settings.baseline is not None:
        from avreview.config.baseline import read_baseline

        policy = policy._replace(baseline=read_baseline(settings.baseline))
    return policy
