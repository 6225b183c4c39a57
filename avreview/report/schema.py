"""The published JSON Schemas of what avreview writes: reports, and comparisons."""

from __future__ import annotations

from typing import Any


def report_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of `avreview/report/1`, read from the installed package."""
    return _read("report-1.json")


def diff_schema() -> dict[str, Any]:
    """The schema of `avreview/diff/1`, the JSON form of a comparison."""
    return _read("diff-1.json")


def _read(name: str) -> dict[str, Any]:
    import importlib.resources
    import json

    file = importlib.resources.files("avreview.report") / "schema" / name
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema
