"""Reviewing from Python: what the command line does, as functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

from avreview import __version__
from avreview.artifact import Artifact
from avreview.artifact import Digest as FileDigest
from avreview.engine.cards import Catalogue, installed, shipped, using
from avreview.engine.policy import Policy, select_rules
from avreview.engine.review import ReadFile, Report, Review, Severity
from avreview.engine.run import run
from avreview.errors import ArtifactError
from avreview.facts.modality import StatedModality
from avreview.facts.subject import Companions
from avreview.load import open_artifact
from avreview.load.context import MEMORY
from avreview.probes.request import NOTHING, ProbeRequest, named_probes
from avreview.sizes import byte_size

if TYPE_CHECKING:
    from avreview.cache.reviews import KeptReviews
    from avreview.compare.result import Diff
    from avreview.config.settings import Planned, Settings

Path = str | os.PathLike[str]
_ALONE = Companions()


def review(
    models: Path | Sequence[Path],
    *,
    checkpoint: Path | None = None,
    pretrained: Path | None = None,
    weights: str | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: Severity = Severity.ERROR,
    modality: str | None = None,
    memory: int = MEMORY,
    probes: ProbeRequest | Iterable[str] | None = None,
    packs: bool = True,
    cache: bool = False,
) -> Report:
    """Reviews each model by itself: ONNX exports, PyTorch checkpoints, or folders of either. No configuration is read.

    `checkpoint` is what the exports were made from, `pretrained` what training started from, `weights` the set to
    review where a checkpoint holds several (`model`, `ema`, …). `select` and `ignore` take rule ids, prefixes, names
    and items; `modality` says which sensor the inputs come from; `memory` is how many bytes loading one file may take.
    Nothing is run but what `probes` asks for: names of probes (`["repeat", "batch"]`, `["all"]`), or a request with
    inputs, reference and limits. `packs=False` leaves installed rule packs out; `cache` takes the review of an
    unchanged model from an earlier run.
    What cannot be read is in the report's `unreadable`, with the reason; the others are reviewed all the same.
    Raises UsageError for an unknown rule or probe, PackError for a rule pack that cannot be used.
    """
    from avreview.config.settings import Planned, Settings

    models = [models] if isinstance(models, str | os.PathLike) else models
    beside = {"checkpoint": checkpoint, "pretrained": pretrained}
    paths = {role: os.fspath(path) for role, path in beside.items() if path is not None}
    planned = [Planned(os.fspath(path), weights=weights, modality=modality, **paths) for path in models]
    settings = Settings(select=tuple(select), ignore=tuple(ignore), fail_on=fail_on, packs=packs)
    asked = probes if probes is None or isinstance(probes, ProbeRequest) else ProbeRequest(named_probes(probes))
    return review_planned(planned, settings, memory=memory, probes=asked, kept=_users_cache() if cache else None)


def review_planned(
    planned: Sequence[Planned],
    settings: Settings,
    *,
    memory: int | None = None,
    probes: ProbeRequest | None = None,
    kept: KeptReviews | None = None,
) -> Report:
    """Reviews what is planned, by the settings of a configuration. Otherwise as `review`.

    `memory` outranks the settings'. What `kept` holds is not reviewed again. Raises ConfigError for a waiver or a
    baseline that cannot be read.
    """
    from avreview.clock import timestamp
    from avreview.environment import environment

    date = timestamp()
    described = {**settings.described(), **_asked(memory, probes)}
    if memory is None:
        memory = MEMORY if settings.memory is None else byte_size(settings.memory)
    rules = _catalogue(settings)
    with using(rules):
        policy = _policy(settings, rules)
        if kept is not None:
            kept.begin(settings, rules, policy, memory)
        desk = _Desk(memory, kept)
        reviews = [entry for plan in planned if (entry := desk.review(plan, policy, probes)) is not None]
    findings = [(entry.name, finding) for entry in reviews for finding in entry.findings]
    return Report(
        __version__, rules.digest, reviews, list(dict.fromkeys(desk.unreadable)), policy.uses(findings),
        described, date, environment(), rules.packs(), _configuration(settings, rules),
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


def diff(
    old: Path,
    new: Path,
    *,
    weights: str | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: Severity = Severity.ERROR,
    modality: str | None = None,
    memory: int = MEMORY,
) -> Diff:
    """What changed from one version of a model to the next: two ONNX exports, two checkpoints, or two reports.

    Options as in `review`; of checkpoints `weights` are compared. Raises ArtifactError or ConfigError for what cannot
    be read, UsageError for two files of different kinds.
    """
    from avreview.config.settings import Planned, Settings

    before, after = (Planned(os.fspath(path), weights=weights, modality=modality) for path in (old, new))
    settings = Settings(select=tuple(select), ignore=tuple(ignore), fail_on=fail_on)
    return diff_planned(before, after, settings, memory=memory)


def diff_planned(old: Planned, new: Planned, settings: Settings, *, memory: int | None = None) -> Diff:
    """The same by the settings of a configuration. Files are reviewed by themselves, without companions.

    Waivers, baseline and overrides see both versions under the name of the newer one.
    """
    from avreview.compare.files import compare_files

    if memory is None:
        memory = MEMORY if settings.memory is None else byte_size(settings.memory)
    rules = _catalogue(settings)
    with using(rules):
        policy = _policy(settings, rules)
        if not settings.select:  # findings of rules that this catalogue does not know are kept in reports
            others = frozenset(rules.cards) - policy.rules
            return compare_files(old, new, policy, rules, memory=memory, left_out=others.__contains__)
        return compare_files(old, new, policy, rules, memory=memory, left_out=lambda rule: rule not in policy.rules)


class _Desk:
    """Opens what reviews ask for, each file once, and keeps what could not be read."""

    def __init__(self, memory: int, kept: KeptReviews | None = None) -> None:
        self._memory = memory
        self._kept = kept
        self._companions: dict[str, Artifact | None] = {}
        self.unreadable: list[tuple[str, str]] = []

    def review(self, plan: Planned, policy: Policy, probes: ProbeRequest | None) -> Review | None:
        """One review, or the kept one of an earlier run; None when its model cannot be read."""
        if probes is not None:
            probes = probes._replace(inputs=probes.inputs or plan.inputs, reference=probes.reference or plan.reference)
        found = None if self._kept is None else self._kept.find(plan, probes)
        if found is not None:
            return found
        unreadable = len(self.unreadable)
        found = self._reviewed(plan, policy, probes)
        if self._kept is not None and found is not None and len(self.unreadable) == unreadable:
            self._kept.keep(plan, probes, found)
        return found

    def _reviewed(self, plan: Planned, policy: Policy, probes: ProbeRequest | None) -> Review | None:
        companions = Companions(self._companion(plan.checkpoint), self._companion(plan.pretrained))
        model = self._open(plan.model, plan.weights)
        if model is None:
            return None
        beside = {} if probes is None else self._beside(model, probes)
        try:
            found = review_artifact(
                model, policy, companions, modality=plan.modality, probes=probes, title=plan.name or ""
            )
        except ArtifactError as error:  # what is read only when a rule asks for it
            self.unreadable.append((error.path, str(error)))
            return None
        said = {"weights": plan.weights, "modality": plan.modality}
        stated = {name: value for name, value in said.items() if value is not None}
        return found._replace(role=plan.role or "", subject={**found.subject, **beside}, stated=stated)

    def _beside(self, model: Artifact, probes: ProbeRequest) -> dict[str, Mapping[str, Any]]:
        """What the report says of the files that probes read. Wrong ones are kept with what could not be read."""
        from avreview.probes.given import check_given, open_given
        from avreview.probes.reference import check_reference

        found: dict[str, Mapping[str, Any]] = {}
        try:
            if probes.inputs is not None:
                given = open_given(probes.inputs)
                if model.graph is not None:
                    check_given(given, model.graph)
                found["inputs"] = _files(probes.inputs, given.digests())
            if probes.reference is not None:
                check_reference(probes.reference)
                if os.path.isfile(probes.reference):
                    found["reference"] = _files(probes.reference, self._reference(probes.reference))
        except ArtifactError as error:
            self.unreadable.append((error.path, str(error)))
        return found

    def _reference(self, path: str) -> Mapping[str, FileDigest]:
        """The digests of a reference: of its file, and where it is an ONNX export of its external data."""
        from avreview.load.digest import Digest
        from avreview.load.sniff import is_checkpoint
        from avreview.load.source import open_source

        source = open_source(path)
        if not is_checkpoint(source.read(0, 512)):
            try:
                return open_artifact(path, memory=self._memory).digests
            except ArtifactError:  # not an export, or one that the probe will say cannot be read
                pass
        return {source.path: Digest(source)}

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


def _users_cache() -> KeptReviews:
    """The reviews that earlier runs kept. Raises AvreviewError for a cache folder that cannot be used."""
    from avreview.cache.reviews import KeptReviews
    from avreview.cache.store import Store, default_folder

    return KeptReviews(Store(default_folder()))


def _files(path: str, digests: Mapping[str, FileDigest]) -> dict[str, Any]:
    """What identifies a file, or the files of a folder."""
    entries = [{"path": name, "sha256": digest.hexdigest(), "bytes": digest.size} for name, digest in digests.items()]
    own: dict[str, Any] = next((entry for entry in entries if entry["path"] == path), {"path": path})
    others = [entry for entry in entries if entry is not own]
    return {**own, "files": others} if others else own


def _asked(memory: int | None, probes: ProbeRequest | None) -> dict[str, Any]:
    """What was asked for beside the settings, by their names: limits, and what to run."""
    stated: dict[str, Any] = {} if memory is None else {"memory": str(memory)}
    if probes is None:
        return stated
    limits = {"probe_timeout": probes.seconds, "probe_memory": str(probes.memory), "seed": probes.seed}
    reference = {} if probes.reference is None else {"reference": probes.reference}
    return {**stated, **limits, "probes": sorted(probes.probes), **reference}


def _configuration(settings: Settings, rules: Catalogue) -> list[ReadFile]:
    """The files that settings, waivers, baseline and rules of one's own were read from, with their digests."""
    named = [("settings", path) for path in settings.files] + [("waivers", path) for path in settings.waivers]
    if settings.baseline is not None:
        named.append(("baseline", settings.baseline))
    rules_read = [ReadFile("rule", str(card.path), card.sha256) for card in rules.own]
    if not named:
        return rules_read
    from avreview.config.document import sha256_of

    read = [ReadFile(kind, path, digest) for kind, path in named if (digest := sha256_of(path)) is not None]
    return read + rules_read


def _catalogue(settings: Settings) -> Catalogue:
    """The rules as the settings have them."""
    rules = installed() if settings.packs else shipped()
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
