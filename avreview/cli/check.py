"""`avreview check`: review models."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from avreview.cli.output import complain, destination, words


class Format(str, enum.Enum):
    """How a report is written."""

    TERMINAL = "terminal"
    YAML = "yaml"
    JSON = "json"


class FailOn(str, enum.Enum):
    """From which severity on a finding fails the review."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Modality(str, enum.Enum):
    """The sensor behind the model's inputs."""

    CAMERA = "camera"
    LIDAR = "lidar"
    RADAR = "radar"
    DEPTH = "depth"
    OCCUPANCY = "occupancy"


def check(
    models: Annotated[list[Path], typer.Argument(help="ONNX exports to review.", metavar="MODEL...")],
    select: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads it at run time on Python 3.10 as well
        typer.Option(help="Rules to run: id, prefix, name or item. Repeat it, or use commas.", metavar="RULE"),
    ] = None,
    ignore: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Rules to leave out, named in the same ways.", metavar="RULE"),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option(help="The severity from which a finding fails the review (exit code 1).")
    ] = FailOn.ERROR,
    modality: Annotated[
        Optional[Modality],  # noqa: UP045
        typer.Option(help="The sensor behind the inputs, where their names do not tell."),
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How the report is written.")] = Format.TERMINAL,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="Write the report to a file.", metavar="FILE", dir_okay=False),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Unfold long lists, tables and everything not assessed.")
    ] = False,
) -> None:
    """Review models: the nine questions, answered from the files. Nothing in them is run.

    Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 the review could not be done.
    """
    from avreview.api import review
    from avreview.engine.review import Severity, Verdict
    from avreview.report import write

    report = review(
        models,
        select=words(select),
        ignore=words(ignore),
        fail_on=Severity.parse(fail_on.value),
        modality=modality.value if modality is not None else None,
    )
    for _, reason in report.unreadable:
        complain(reason)
    if report.reviews:
        with destination(output) as stream:
            write(report, format.value, stream, verbose=verbose)
    if report.unreadable:
        raise typer.Exit(2)
    if any(entry.verdict is Verdict.FAIL for entry in report.reviews):
        raise typer.Exit(1)
