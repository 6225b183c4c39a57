"""`avreview augment`: run an augmentation on synthetic scenes, and measure what it does to labels and geometry."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from avreview.cli.check import exit_code
from avreview.cli.options import Config, ExitZero, Fails, Ignore, Isolated, Outputs, Quiet, Select, Verbose, size
from avreview.cli.output import complain, words
from avreview.cli.reports import Format, planned_outputs, write_reports
from avreview.cli.settings import over, stated_settings

if TYPE_CHECKING:
    from avreview.augment.model import Augmented
    from avreview.config.settings import Settings
    from avreview.engine.resolve import NotAvailable


class Scene(str, enum.Enum):
    """What an augmentation is given."""

    IMAGE = "image"
    DRIVING = "driving"
    SEQUENCE = "sequence"


def augment(
    target: Annotated[
        str,
        typer.Argument(
            help="pkg.module:factory, which is imported and called; or an albumentations file, JSON or YAML.",
            metavar="TARGET",
        ),
    ],
    scene: Annotated[
        Optional[Scene],  # noqa: UP045 - Typer reads it at run time on Python 3.10 as well
        typer.Option(help="What it is given, where the augmentation does not tell: docs/augmentations.md."),
    ] = None,
    adapter: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="How it is called, where it does not tell: plain, mmdet3d, openpcdet, albumentations, torchvision, "
            "kornia.",
            metavar="NAME",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Under how many seeds it is run.", metavar="INTEGER", min=1, max=10000)
    ] = 16,
    seed: Annotated[int, typer.Option(help="What scenes are drawn from.", metavar="INTEGER", min=0, max=2**32 - 1)] = 0,
    timeout: Annotated[
        float, typer.Option(help="Seconds that all of it may take.", metavar="SECONDS", min=1, max=86400)
    ] = 300.0,
    memory: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="The most memory that it may take. [default: 8GiB]", metavar="SIZE", parser=size),
    ] = None,
    pictures: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Write a picture of each augmentation at its worst seed, as PNG, into a folder.",
            metavar="FOLDER",
            file_okay=False,
        ),
    ] = None,
    select: Select = None,
    ignore: Ignore = None,
    fail_on: Fails = None,
    exit_zero: ExitZero = False,
    config: Config = None,
    isolated: Isolated = False,
    format: Annotated[
        Optional[Format],  # noqa: UP045
        typer.Option("--format", "-f", help="How the report is written. [default: terminal, or by the file's suffix]"),
    ] = None,
    output: Outputs = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Run an augmentation on synthetic scenes and measure it.

    The scenes' truth is known: what no longer agrees after the augmentation is a finding.

    The target's code is run, in a child process, because it is named here.
    Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 the measurement could not be done.
    """
    from avreview.api import review_planned
    from avreview.augment.model import AugmentRequest, Measurement
    from avreview.cli.progress import running
    from avreview.config.settings import Planned
    from avreview.engine.review import Severity

    outputs = planned_outputs(format, output)
    if pictures is not None:
        from avreview.report.pictures.raster import require_pillow

        require_pillow()  # before anything is measured
    chosen = None if fail_on is None else Severity.parse(fail_on.value)
    settings = _measured_rules(over(stated_settings(config, isolated, None), words(select), words(ignore), chosen))
    request = AugmentRequest(
        target, scene.value if scene is not None else None, adapter, seeds, seed, timeout, progress=running
    )
    if memory is not None:
        request = request._replace(memory=memory)
    measurement = Measurement(request)
    report = review_planned([Planned(name=target)], settings, augment=measurement)
    for _, reason in report.unreadable:
        complain(reason)
    if pictures is not None:
        _draw(measurement.result(), pictures)
    write_reports(report, outputs, None, verbose=verbose, quiet=quiet, statistics=False)
    raise typer.Exit(exit_code(report, exit_zero))


def _draw(result: Augmented | NotAvailable, folder: Path) -> None:
    """Writes the pictures of what was measured."""
    from avreview.augment.drawing import write_pictures
    from avreview.augment.model import Augmented

    if isinstance(result, Augmented):
        for path in write_pictures(result, folder):
            complain(f"{path} written")


def _measured_rules(settings: Settings) -> Settings:
    """The settings with the rules that a measurement can decide, where none were selected."""
    from avreview.engine.cards import shipped

    if settings.select:
        return settings
    return settings._replace(select=tuple(card.id for card in shipped() if "augmentation" in card.rooms))
