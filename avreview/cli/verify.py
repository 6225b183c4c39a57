"""`avreview verify`: whether a report still describes its files."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from avreview.cli.output import destination


class Format(str, enum.Enum):
    """How the outcome is written."""

    TERMINAL = "terminal"
    JSON = "json"


def verify(
    report: Annotated[Path, typer.Argument(help="A report in its YAML or JSON form.", metavar="REPORT")],
    root: Annotated[
        Optional[Path],  # noqa: UP045 - Typer reads it at run time on Python 3.10 as well
        typer.Option(
            help="The folder that the report's paths begin at, instead of the working folder; nothing outside of it "
            "is opened.",
            metavar="DIR",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Another version of avreview, or other rules, are a change as well.")
    ] = False,
    format: Annotated[Format, typer.Option("--format", "-f", help="How the outcome is written.")] = Format.TERMINAL,
) -> None:
    """Say whether a report still describes its files.

    Exit codes: 0 every file is the one that was reviewed, 1 one has changed, is missing or is new, 2 it could not be
    told.
    """
    from avreview.audit.stated import read_report
    from avreview.audit.verify import Status
    from avreview.audit.verify import verify as verified
    from avreview.report.verified import write_json, write_text

    found = verified(read_report(report), None if root is None else str(root))
    with destination() as stream:
        (write_json if format is Format.JSON else write_text)(found, stream)
    if found.verdict is Status.UNCHECKED:
        raise typer.Exit(2)
    if found.verdict is not Status.SAME or (strict and not found.would_repeat):
        raise typer.Exit(1)
