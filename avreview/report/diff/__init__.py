"""Writing what changed between two versions: one module a format, each of which knows nothing but the `Diff`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, TextIO

from avreview.errors import UsageError

if TYPE_CHECKING:
    from avreview.compare.result import Diff

_FORMATS = {"terminal": "terminal", "markdown": "markdown", "json": "structure"}


def write(diff: Diff, format: str, stream: TextIO, *, verbose: bool = False) -> None:
    """Writes the comparison in one of the formats `terminal`, `markdown`, `json`; `verbose` is the terminal's.

    Raises UsageError for an unknown format.
    """
    module = _FORMATS.get(format)
    if module is None:
        raise UsageError(f"no comparison is written as {format!r}; there are {', '.join(_FORMATS)}")
    options = {"verbose": verbose} if format == "terminal" else {}
    importlib.import_module(f"avreview.report.diff.{module}").write(diff, stream, **options)
