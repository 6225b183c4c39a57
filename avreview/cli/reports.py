"""Which reports a command writes, in which format, and where: standard output, or one file or several."""

from __future__ import annotations

import enum
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from avreview.config.nearest import FILE as CONFIGURATION
from avreview.config.nearest import PYPROJECT
from avreview.errors import UsageError

if TYPE_CHECKING:
    from avreview.audit.attest import Written
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
    Raises UsageError for a suffix that no format has, for a file that is named twice, and for one that the next run
    would take for its configuration.
    """
    if not outputs:
        return [Output(format or Format.TERMINAL)]
    if len(outputs) > len(set(outputs)):
        raise UsageError("the same --output is named twice")
    for path in outputs:
        refuse_configuration(path)
    alone = len(outputs) == 1
    return [
        Output(format or Format.TERMINAL) if path == _STANDARD_OUTPUT else Output(_chosen(path, format, alone), path)
        for path in outputs
    ]


def refuse_configuration(path: Path) -> None:
    """Raises UsageError for a file that the next run would take for its configuration."""
    if path.name in (CONFIGURATION, PYPROJECT):
        raise UsageError(f"{path}: what is written there would be taken for a configuration; choose another --output")


def refuse_inputs(paths: Iterable[str], outputs: Sequence[Output], attest: Path | None) -> None:
    """Raises UsageError where a report would be written over a file that the review reads."""
    written = {os.path.realpath(path): path for path in (attest, *(output.path for output in outputs)) if path}
    for path in paths:
        if (over := written.get(os.path.realpath(path))) is not None:
            raise UsageError(f"{over}: is read for the review, and would be written over; choose another --output")


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


def check_attest(attest: Path | None, outputs: Sequence[Output]) -> None:
    """Raises UsageError where the statement would be written over a report, or between its lines."""
    if attest == _STANDARD_OUTPUT:
        raise UsageError("--attest names a file; standard output carries the report and nothing else")
    if attest is not None and attest in [output.path for output in outputs]:
        raise UsageError(f"{attest} is named by --output as well as by --attest")


def write_reports(report: Report, outputs: Sequence[Output], attest: Path | None = None, **how: bool) -> None:
    """Writes the report everywhere: the files first, all of them or none, and standard output last.

    `how` is what the terminal format takes: `verbose`, `quiet`, `statistics`. `attest` is the file for an in-toto
    statement that holds the digest of each report file; where nothing was reviewed there is none to make.
    A report in which nothing could be read is not written for a person, who finds the reasons on standard error.
    """
    from avreview.cli.output import complain, destination, write_files
    from avreview.report import write

    def writer(format: Format) -> Callable[[TextIO], None]:
        return lambda stream: write(report, format.value, stream, **how)

    wanted = [output for output in outputs if report.reviews or output.format is not Format.TERMINAL]
    files = [(output.path, output.format) for output in wanted if output.path is not None]
    if attest is not None and not report.reviews:
        complain(f"{attest}: not written, for nothing was reviewed")
    if attest is None or not report.reviews:
        write_files([(path, writer(format)) for path, format in files])
    else:
        attesting = _Attesting(report)
        noted = [(path, attesting.noting(path, format, writer(format))) for path, format in files]
        write_files([*noted, (attest, attesting.write)])
    for output in wanted:
        if output.path is None:
            with destination() as stream:
                writer(output.format)(stream)


class _Attesting:
    """Takes the digests of reports as they are written, and writes the statement that holds them."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._written: list[Written] = []

    def noting(self, path: Path, format: Format, write: Callable[[TextIO], None]) -> Callable[[TextIO], None]:
        """`write`, which also notes what the file then holds."""
        from avreview.audit.attest import Written

        def write_noted(stream: TextIO) -> None:
            whole = io.StringIO()
            write(whole)
            stream.write(whole.getvalue())
            octets = whole.getvalue().replace("\n", os.linesep).encode("utf-8")
            self._written.append(Written(str(path), format.value, hashlib.sha256(octets).hexdigest()))

        return write_noted

    def write(self, stream: TextIO) -> None:
        from avreview.audit.attest import statement
        from avreview.report.json_format import dumps

        stream.write(dumps(statement(self._report, self._written)))
