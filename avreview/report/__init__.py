"""Writing reports: one module a format, each of which knows nothing but the review."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from avreview.errors import UsageError

if TYPE_CHECKING:
    from avreview.engine.review import Report

Writer = Callable[..., None]


def _writer(module: str, *options: str) -> Writer:
    """A writer whose module is imported when it is used, and which is given those of the options that it knows."""

    def write_format(report: Report, stream: TextIO, **given: Any) -> None:
        known = {name: value for name, value in given.items() if name in options}
        importlib.import_module(f"avreview.report.{module}").write(report, stream, **known)

    return write_format


FORMATS: dict[str, Writer] = {
    "terminal": _writer("terminal", "verbose", "quiet", "statistics", "width", "color"),
    "yaml": _writer("yaml_format"),
    "json": _writer("json_format"),
    "sarif": _writer("sarif"),
    "junit": _writer("junit"),
    "github": _writer("github"),
    "gitlab": _writer("gitlab"),
    "markdown": _writer("markdown"),
    "html": _writer("html"),
}


def write(report: Report, format: str, stream: TextIO, **options: Any) -> None:
    """Writes the report to the stream in one of `FORMATS`; an option that the format has no use for is left out.

    Raises UsageError for an unknown format.
    """
    writer = FORMATS.get(format)
    if writer is None:
        raise UsageError(f"no report format is called {format!r}; there are {', '.join(FORMATS)}")
    writer(report, stream, **options)
