"""The published JSON Schemas of the files that a person writes."""

from __future__ import annotations

from typing import Any


def schema(kind: str) -> dict[str, Any]:
    """The schema (draft 2020-12) of `config`, `waivers`, `baseline` or `recipe`, read from the installed package."""
    import importlib.resources
    import json

    file = importlib.resources.files("avreview.config") / "schema" / f"{kind}-1.json"
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded
