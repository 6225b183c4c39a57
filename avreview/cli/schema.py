"""`avreview schema`: the JSON Schemas of what avreview writes."""

from __future__ import annotations

import enum
import json
from typing import Annotated

import typer


class Kind(str, enum.Enum):
    """What a schema describes."""

    REPORT = "report"


def schema(kind: Annotated[Kind, typer.Argument(help="What the schema describes.")] = Kind.REPORT) -> None:
    """Print the JSON Schema of the report."""
    from avreview.report.schema import report_schema

    typer.echo(json.dumps(report_schema(), indent=2, ensure_ascii=False))
