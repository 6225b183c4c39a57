"""`avreview diff`: what changed between two versions of a model."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TextIO

import typer

from avreview.cli.options import Config, FailOn, Ignore, Isolated, Memory, Profile, Select, Sensor
from avreview.cli.output import complain, destination, words, write_files
from avreview.cli.settings import over, planned_reviews, stated_settings
from avreview.errors import UsageError

if TYPE_CHECKING:
    from avreview.compare.result import Diff


class Format(str, enum.Enum):
    """How a comparison is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"


_SUFFIXES = {".txt": Format.TERMINAL, ".md": Format.MARKDOWN, ".json": Format.JSON}
_STANDARD_OUTPUT = Path("-")
_Output = tuple[Format, Path | None]


def diff(
    old: Annotated[Path, typer.Argument(help="The version before: an ONNX export, a checkpoint, or a report.")],
    new: Annotated[Path, typer.Argument(help="The version now, of the same kind.")],
    weights: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads it at run time on Python 3.10 as well
        typer.Option(help="Which weights to compare where checkpoints hold several: model, ema, ...", metavar="SET"),
    ] = None,
    select: Select = None,
    ignore: Ignore = None,
    fail_on: Annotated[
        Optional[FailOn],  # noqa: UP045
        typer.Option(help="The severity from which a new finding fails (exit code 1). [default: error]"),
    ] = None,
    config: Config = None,
    isolated: Isolated = False,
    profile: Profile = None,
    modality: Sensor = None,
    format: Annotated[
        Optional[Format],  # noqa: UP045
        typer.Option("--format", "-f", help="How it is written. [default: terminal, or by the file's suffix]"),
    ] = None,
    output: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            help="Writes it to a file, in its suffix's format (.txt, .md, .json); repeat it for several. "
            "- is standard output.",
            metavar="FILE",
            dir_okay=False,
        ),
    ] = None,
    memory: Memory = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every change and every finding.")] = False,
) -> None:
    """Say what changed between two exports, checkpoints or reports.

    Exit codes: 0 no new finding at or above --fail-on, 1 new findings, 2 the comparison could not be done. Nothing in
    the files is run.
    """
    from avreview.api import diff_planned
    from avreview.engine.review import Severity

    outputs = _planned(format, output)
    chosen = None if fail_on is None else Severity.parse(fail_on.value)
    settings = over(stated_settings(config, isolated, profile), words(select), words(ignore), chosen)
    before, after = planned_reviews(
        settings, [old, new], weights=weights, modality=modality.value if modality is not None else None
    )
    found = diff_planned(before, after, settings, memory=memory)
    for _, reason in found.unreadable:
        complain(f"{new}: {reason}")
    _write(found, outputs, verbose)
    if found.unreadable:
        raise typer.Exit(2)
    if found.failing:
        raise typer.Exit(1)


def _planned(format: Format | None, outputs: Sequence[Path] | None) -> list[_Output]:
    """Where it is written, and in which format. Raises UsageError for a suffix that no format has."""
    if not outputs:
        return [(format or Format.TERMINAL, None)]
    if len(outputs) > len(set(outputs)):
        raise UsageError("the same --output is named twice")
    found: list[_Output] = []
    for path in outputs:
        if path == _STANDARD_OUTPUT:
            found.append((format or Format.TERMINAL, None))
        elif (len(outputs) == 1 and format is not None) or not path.suffix:
            found.append((format or Format.TERMINAL, path))
        elif path.suffix.lower() in _SUFFIXES:
            found.append((_SUFFIXES[path.suffix.lower()], path))
        else:
            known = ", ".join(_SUFFIXES)
            raise UsageError(f"{path}: no format has this suffix; name the file with one of {known}, or pass --format")
    return found


def _write(found: Diff, outputs: Sequence[_Output], verbose: bool) -> None:
    """The files first, all of them or none, and standard output last."""
    from avreview.report.diff import write

    def writer(format: Format) -> Callable[[TextIO], None]:
        return lambda stream: write(found, format.value, stream, verbose=verbose)

    write_files([(path, writer(format)) for format, path in outputs if path is not None])
    for format, path in outputs:
        if path is None:
            with destination() as stream:
                writer(format)(stream)
