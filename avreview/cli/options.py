"""Options that several commands take, each written once. Typer reads the annotations at run time."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from avreview.errors import UsageError
from avreview.sizes import byte_size


class FailOn(str, enum.Enum):
    """From which severity on a finding fails the review."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Modality(str, enum.Enum):
    """The sensor behind the model's inputs."""

    CAMERA = "camera"
    LIDAR = "lidar"
    RADAR = "radar"
    DEPTH = "depth"
    OCCUPANCY = "occupancy"


def size(text: str) -> int:
    """`2GB` as a number of bytes."""
    try:
        return byte_size(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None


# `Optional` and not `| None`: Typer evaluates these on Python 3.10 as well.
Select = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="Rules to run: id, prefix, name or item. Repeat it, or use commas.", metavar="RULE"),
]
Ignore = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="Rules to leave out, named in the same ways.", metavar="RULE"),
]
Fails = Annotated[
    Optional[FailOn],  # noqa: UP045
    typer.Option(help="The severity from which a finding fails the review (exit code 1). [default: error]"),
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="End with 0 in spite of findings.")]
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="The configuration; without it the nearest avreview.yaml, or pyproject.toml with [tool.avreview].",
        metavar="FILE",
    ),
]
Isolated = Annotated[bool, typer.Option("--isolated", help="Read no configuration, use no rule packs.")]
Profile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="What settings start from: default, strict or audit.", metavar="NAME"),
]
Sensor = Annotated[
    Optional[Modality],  # noqa: UP045
    typer.Option(help="The sensor behind the inputs, where their names do not tell."),
]
Memory = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="The most memory that reading one file may take. [default: 1GiB]", metavar="SIZE", parser=size),
]
Outputs = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option(
        "--output",
        "-o",
        help="Write the report to a file, in its suffix's format; repeat it for several. - is standard output.",
        metavar="FILE",
        dir_okay=False,
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Unfold long lists, tables and everything not assessed.")
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="On a terminal, only findings that fail the review, and the closing line."),
]
