"""The published JSON Schema of the report's YAML and JSON forms."""

from __future__ import annotations

from typing import Any


def report_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of `avreview/report/1`, read from the installed package."""
    import importlib.resources
    import json

    file = importlib.resources.files("avreview.report") / "schema" / "report-1.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema
