"""`avreview schema`: the JSON Schemas of what avreview writes and reads."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from avreview.cli.output import destination


class Kind(str, enum.Enum):
    """What a schema describes."""

    REPORT = "report"
    CONFIG = "config"
    WAIVERS = "waivers"
    BASELINE = "baseline"
    DIFF = "diff"
    RECIPE = "recipe"


def schema(kind: Annotated[Kind, typer.Argument(help="What the schema describes.")] = Kind.REPORT) -> None:
    """Print a JSON Schema: of a report, configuration or recipe."""
    from avreview.report.json_format import dumps
    from avreview.report.schema import diff_schema, report_schema

    if kind is Kind.REPORT:
        found = report_schema()
    elif kind is Kind.DIFF:
        found = diff_schema()
    else:
        from avreview.config.schemas import schema as config_schema

        found = config_schema(kind.value)
    with destination() as stream:
        stream.write(dumps(found))
