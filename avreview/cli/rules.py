"""`avreview rules`: the catalogue."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from avreview.cli.output import destination


class Format(str, enum.Enum):
    """How the catalogue is written."""

    TERMINAL = "terminal"
    YAML = "yaml"
    JSON = "json"


def rules(
    format: Annotated[Format, typer.Option("--format", "-f", help="How the catalogue is written.")] = Format.TERMINAL,
) -> None:
    """List every rule, grouped by the question it helps to answer."""
    from avreview.engine.cards import catalogue
    from avreview.report.catalogue import write_rules

    with destination() as stream:
        write_rules(catalogue(), stream, format=format.value)
