"""Reviewing from Python: what the command line does, as functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

from avreview import __version__
from avreview.desk import Desk, reviews_of
from avreview.desk import review_artifact as review_artifact
from avreview.engine.cards import Catalogue, installed, shipped, using
from avreview.engine.policy import Policy, select_rules
from avreview.engine.review import ReadFile, Report, Severity
from avreview.errors import UsageError
from avreview.load.context import MEMORY
from avreview.probes.request import ProbeRequest, named_probes
from avreview.sizes import byte_size

if TYPE_CHECKING:
    from avreview.augment.model import AugmentRequest, Measurement
    from avreview.cache.reviews import KeptReviews
    from avreview.compare.result import Diff
    from avreview.config.settings import Planned, Settings

Path = str | os.PathLike[str]


def review(
    models: Path | Sequence[Path] = (),
    *,
    checkpoint: Path | None = None,
    pretrained: Path | None = None,
    recipe: Path | None = None,
    manifests: Mapping[str, Path | Sequence[Path]] | None = None,
    weights: str | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: Severity = Severity.ERROR,
    modality: str | None = None,
    memory: int = MEMORY,
    probes: ProbeRequest | Iterable[str] | None = None,
    augment: AugmentRequest | str | None = None,
    packs: bool = True,
    cache: bool = False,
) -> Report:
    """Reviews each model by itself: ONNX exports, PyTorch checkpoints, or folders of either. No configuration is read.

    Without a model the recipe, the manifests and the augmentation are reviewed by themselves.

    `checkpoint` is what the exports were made from, `pretrained` what training started from, `weights` the set to
    review where a checkpoint holds several (`model`, `ema`, …). `recipe` is the training recipe; without it, one that
    is found in the checkpoint or beside it is taken ("none" for none). `manifests` lists by split (`train`, `val`) the
    files that say what it holds. `augment` is an augmentation to be run and measured: `pkg.module:factory`.
    `select` and `ignore` take rule ids, prefixes, names and items; `modality` says which sensor the inputs come from;
    `memory` is how many bytes loading one file may take.
    Nothing is run but what `augment` and `probes` ask for: names of probes (`["repeat", "batch"]`, `["all"]`), or a
    request with inputs, reference and limits. `packs=False` leaves installed rule packs out; `cache` takes the review
    of an unchanged model from an earlier run.
    What cannot be read is in the report's `unreadable`, with the reason; the others are reviewed all the same.
    Raises UsageError for an unknown rule or probe and where nothing is named to be reviewed, PackError for a rule pack
    that cannot be used.
    """
    from avreview.config.settings import Planned, Settings

    models = [models] if isinstance(models, str | os.PathLike) else list(models)
    beside = {"checkpoint": checkpoint, "pretrained": pretrained, "recipe": recipe}
    paths = {role: os.fspath(path) for role, path in beside.items() if path is not None}
    if not models and recipe is None and not manifests and augment is None:
        raise UsageError("nothing to review; name a model, or else a recipe, manifests or an augmentation")
    common = Planned(weights=weights, modality=modality, manifests=_manifests(manifests or {}), **paths)
    planned = [common._replace(model=os.fspath(path)) for path in models or [""]]
    settings = Settings(select=tuple(select), ignore=tuple(ignore), fail_on=fail_on, packs=packs)
    asked = probes if probes is None or isinstance(probes, ProbeRequest) else ProbeRequest(named_probes(probes))
    return review_planned(
        planned,
        settings,
        memory=memory,
        probes=asked,
        kept=_users_cache() if cache else None,
        augment=_measurement(augment),
    )


def review_planned(
    planned: Sequence[Planned],
    settings: Settings,
    *,
    memory: int | None = None,
    probes: ProbeRequest | None = None,
    kept: KeptReviews | None = None,
    augment: Measurement | None = None,
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
        desk = Desk(memory, kept if augment is None else None, augment)
        reviews = reviews_of(planned, desk, policy, probes)
    findings = [(entry.name, finding) for entry in reviews for finding in entry.findings]
    return Report(
        __version__, rules.digest, reviews, list(dict.fromkeys(desk.unreadable)), policy.uses(findings),
        described, date, environment(), rules.packs(), _configuration(settings, rules),
    )  # fmt: skip


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


def _measurement(augment: AugmentRequest | str | None) -> Measurement | None:
    """What is to be measured, where something is."""
    if augment is None:
        return None
    from avreview.augment.model import AugmentRequest, Measurement

    return Measurement(AugmentRequest(augment) if isinstance(augment, str) else augment)


def _manifests(named: Mapping[str, Path | Sequence[Path]]) -> tuple[tuple[str, str], ...]:
    """The files of each split, as a plan has them."""
    listed = {role: [paths] if isinstance(paths, str | os.PathLike) else paths for role, paths in named.items()}
    return tuple((role, os.fspath(path)) for role, paths in listed.items() for path in paths)


def _users_cache() -> KeptReviews:
    """The reviews that earlier runs kept. Raises AvreviewError for a cache folder that cannot be used."""
    from avreview.cache.reviews import KeptReviews
    from avreview.cache.store import Store, default_folder

    return KeptReviews(Store(default_folder()))


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
