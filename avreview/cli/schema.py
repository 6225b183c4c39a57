"""`avreview schema`: the JSON Schemas of what avreview writes."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from avreview.cli.output import destination


class Kind(str, enum.Enum):
    """What a schema describes."""

    REPORT = "report"


def schema(kind: Annotated[Kind, typer.Argument(help="What the schema describes.")] = Kind.REPORT) -> None:
    """Print the JSON Schema of the report."""
    from avreview.report.json_format import dumps
    from avreview.report.schema import report_schema

    with destination() as stream:
        stream.write(dumps(report_schema()))
