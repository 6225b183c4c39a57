"""`avreview baseline`: record today's findings, so that only new ones fail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from avreview.cli.options import Config, Isolated
from avreview.cli.output import complain, destination
from avreview.cli.reports import refuse_configuration
from avreview.cli.settings import planned_reviews, stated_settings

FILE = "avreview-baseline.yaml"


def baseline(
    models: Annotated[
        Optional[list[Path]],  # noqa: UP045 - Typer reads it at run time on Python 3.10 as well
        typer.Argument(help="Models to review; without any, those of avreview.yaml.", metavar="[MODEL...]"),
    ] = None,
    config: Config = None,
    isolated: Isolated = False,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help=f"Where to write it. [default: the configuration's baseline, or {FILE}]",
        ),
    ] = None,
) -> None:
    """Record today's findings: only new ones fail.

    The file is named in avreview.yaml: `baseline: avreview-baseline.yaml`. Waived findings are not recorded.
    """  # fmt: skip
    from avreview.api import review_planned
    from avreview.config.baseline import baseline_of
    from avreview.report.structure import simple
    from avreview.report.values import count
    from avreview.report.yaml_format import write_structure

    settings = stated_settings(config, isolated, None)
    path = output or Path(settings.baseline or FILE)
    refuse_configuration(path)
    report = review_planned(planned_reviews(settings, models or []), settings._replace(baseline=None))
    for _, reason in report.unreadable:
        complain(reason)
    if report.unreadable:
        raise typer.Exit(2)
    recorded = baseline_of(report.reviews)
    with destination(path) as stream:
        write_structure(simple(recorded), stream)
    complain(f"{path}: {count(len(recorded['findings']), 'finding')} recorded")
