"""The settings of a command: what a configuration says, and what the command line says over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avreview.cli.output import destination
from avreview.errors import UsageError
from avreview.sizes import byte_size

if TYPE_CHECKING:
    from avreview.config.settings import Planned, Settings
    from avreview.engine.review import Severity
    from avreview.probes.request import ProbeRequest


def stated_settings(config: Path | None, isolated: bool, profile: str | None) -> Settings:
    """The settings of the nearest configuration, of the one that was named, or of none.

    Raises ConfigError for a file that is wrong, UsageError for options that contradict one another.
    """
    from avreview.config.nearest import nearest
    from avreview.config.settings import Settings

    if isolated and config is not None:
        raise UsageError("--isolated reads no configuration and --config names one; leave one of them out")
    found = config if config is not None or isolated else _from_here(nearest(Path.cwd()))
    if found is None and profile is None:
        return Settings(packs=not isolated)
    from avreview.config.reading import read_settings
    from avreview.engine.cards import installed, shipped

    return read_settings(found, profile, shipped() if isolated else installed())._replace(packs=not isolated)


def over(settings: Settings, select: list[str], ignore: list[str], fail_on: Severity | None) -> Settings:
    """The settings with the command line's say: --select in the place of the file's, --ignore added to it."""
    settings = settings._replace(ignore=(*settings.ignore, *ignore))
    if select:
        settings = settings._replace(select=tuple(select))
    return settings if fail_on is None else settings._replace(fail_on=fail_on)


def planned_reviews(
    settings: Settings, models: list[Path], *, augment: str | None = None, **options: Any
) -> list[Planned]:
    """The reviews of the models that were given, or else those of the configuration.

    `options` are the companions and the like that the command line names; they hold for every model. Where there is
    none, a recipe, manifests or an augmentation are reviewed by themselves.
    Raises UsageError where there is nothing to review.
    """
    from avreview.config.settings import Planned

    said = {name: value for name, value in options.items() if value not in (None, ())}
    if models:
        known = {_same(plan.model): plan for plan in settings.reviews if plan.model}
        plans = [known.get(_same(str(model)), Planned(str(model)))._replace(model=str(model)) for model in models]
    else:
        plans = list(settings.reviews)
    if not plans and (augment or said.keys() & {"recipe", "manifests"}):
        plans = [Planned()]
    if not plans:
        raise UsageError("no model to review; name one, or list `reviews` in avreview.yaml")
    return [plan._replace(**said) for plan in plans]


def limited(asked: ProbeRequest, settings: Settings, stated: Mapping[str, Any]) -> ProbeRequest:
    """The request with the limits and the seed of the configuration, or those `stated` on the command line."""
    configured: dict[str, Any] = {
        "seconds": settings.probe_timeout,
        "memory": None if settings.probe_memory is None else byte_size(settings.probe_memory),
        "seed": settings.seed,
    }
    said = [{name: value for name, value in entries.items() if value is not None} for entries in (configured, stated)]
    return asked._replace(**{**said[0], **said[1]})


def write_settings(settings: Settings) -> None:
    """Prints all settings as YAML."""
    from avreview.report.structure import simple
    from avreview.report.yaml_format import write_structure

    with destination() as stream:
        write_structure(simple(settings.complete()), stream)


def _from_here(path: Path | None) -> Path | None:
    """A path as seen from the working folder: a report that names it so holds in another checkout as well."""
    return None if path is None else Path(os.path.relpath(path))


def _same(path: str) -> str:
    return os.path.realpath(path)
