"""Which reports a command writes, in which format, and where: standard output, or one file or several."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from avreview.errors import UsageError

if TYPE_CHECKING:
    from avreview.engine.review import Report


class Format(str, enum.Enum):
    """How a report is written."""

    TERMINAL = "terminal"
    YAML = "yaml"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"
    GITLAB = "gitlab"
    MARKDOWN = "markdown"
    HTML = "html"


_SUFFIXES = {
    ".txt": Format.TERMINAL,
    ".yaml": Format.YAML,
    ".yml": Format.YAML,
    ".gitlab.json": Format.GITLAB,
    ".sarif.json": Format.SARIF,
    ".json": Format.JSON,
    ".sarif": Format.SARIF,
    ".xml": Format.JUNIT,
    ".md": Format.MARKDOWN,
    ".html": Format.HTML,
}
_STANDARD_OUTPUT = Path("-")


class Output(NamedTuple):
    """One report: its format, and its file; None is standard output."""

    format: Format
    path: Path | None = None


def planned_outputs(format: Format | None, outputs: Sequence[Path] | None) -> list[Output]:
    """The reports that `--format` and `--output` ask for.

    Without an output, one goes to standard output. A single file is written in the format named, and several each by
    its own suffix; the format named is then that of standard output (`-`) and of files without a suffix.
    Raises UsageError for a suffix that no format has, and for a file that is named twice.
    """
    if not outputs:
        return [Output(format or Format.TERMINAL)]
    if len(outputs) > len(set(outputs)):
        raise UsageError("the same --output is named twice")
    alone = len(outputs) == 1
    return [
        Output(format or Format.TERMINAL) if path == _STANDARD_OUTPUT else Output(_chosen(path, format, alone), path)
        for path in outputs
    ]


def _chosen(path: Path, format: Format | None, alone: bool) -> Format:
    if alone and format is not None:
        return format
    name = path.name.lower()
    found = next((known for suffix, known in _SUFFIXES.items() if name.endswith(suffix)), None)
    if found is None and not path.suffix:
        found = format or Format.TERMINAL
    if found is None:
        known = ", ".join(_SUFFIXES)
        raise UsageError(f"{path}: no format has this suffix; name the file with one of {known}, or pass --format")
    return found


def write_reports(report: Report, outputs: Sequence[Output], *, verbose: bool) -> None:
    """Writes the report everywhere: the files first, all of them or none, and standard output last.

    A report in which nothing could be read is not written for a person, who finds the reasons on standard error.
    """
    from avreview.cli.output import destination, write_files
    from avreview.report import write

    def writer(format: Format) -> Callable[[TextIO], None]:
        return lambda stream: write(report, format.value, stream, verbose=verbose)

    wanted = [output for output in outputs if report.reviews or output.format is not Format.TERMINAL]
    write_files([(output.path, writer(output.format)) for output in wanted if output.path is not None])
    for output in wanted:
        if output.path is None:
            with destination() as stream:
                writer(output.format)(stream)
