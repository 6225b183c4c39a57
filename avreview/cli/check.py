"""`avreview check`: review models."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperCommand

from avreview.cli.output import complain, destination, words

if TYPE_CHECKING:
    from avreview.probes.request import ProbeRequest


class Format(str, enum.Enum):
    """How a report is written."""

    TERMINAL = "terminal"
    YAML = "yaml"
    JSON = "json"


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


_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def _bytes(text: str) -> int:
    """`2GB` as a number of bytes."""
    digits = text.rstrip("KMGIBkmgib")
    unit = _UNITS.get(text[len(digits) :].upper())
    if unit is None or not digits.isascii() or not digits.isdecimal() or len(digits) > 15 or not int(digits):
        raise typer.BadParameter(f"{text!r} is not a size such as 512MB or 2GB")
    return int(digits) * unit


class CheckCommand(TyperCommand):
    """`check`, where `--probe` takes its value behind an equals sign or goes without."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, ["--probe=all" if a == "--probe" else a for a in args[:end]] + args[end:])


def _asked(probe: list[str] | None, inputs: Path | None, reference: str | None) -> ProbeRequest | None:
    """What is to be run; None when nothing is. Raises UsageError for what only a run could use."""
    from avreview.errors import UsageError

    if probe is None:
        useless = "--inputs" if inputs is not None else "--reference" if reference is not None else None
        if useless is not None:
            raise UsageError(f"{useless} is for probes, and nothing is run unless asked for; add --probe")
        return None
    from avreview.cli.progress import running
    from avreview.probes.request import ProbeRequest, named_probes

    given = str(inputs) if inputs is not None else None
    return ProbeRequest(named_probes(words(probe)), inputs=given, reference=reference, progress=running)


def check(
    models: Annotated[
        list[Path],
        typer.Argument(help="ONNX exports, PyTorch checkpoints or model folders to review.", metavar="MODEL..."),
    ],
    checkpoint: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The checkpoint that the exports were made from.", metavar="FILE"),
    ] = None,
    pretrained: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The pretrained base that training started from.", metavar="FILE"),
    ] = None,
    weights: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Which weights to review where a checkpoint holds several: model, ema, ...", metavar="SET"),
    ] = None,
    select: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer reads it at run time on Python 3.10 as well
        typer.Option(help="Rules to run: id, prefix, name or item. Repeat it, or use commas.", metavar="RULE"),
    ] = None,
    ignore: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Rules to leave out, named in the same ways.", metavar="RULE"),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option(help="The severity from which a finding fails the review (exit code 1).")
    ] = FailOn.ERROR,
    modality: Annotated[
        Optional[Modality],  # noqa: UP045
        typer.Option(help="The sensor behind the inputs, where their names do not tell."),
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How the report is written.")] = Format.TERMINAL,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="Write the report to a file.", metavar="FILE", dir_okay=False),
    ] = None,
    probe: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Run the ONNX exports in child processes and measure: all probes, or those named behind an equals "
            "sign: --probe=repeat,batch,signal,levels,parity,norms,modes,gradients.",
            metavar="[=PROBES]",
        ),
    ] = None,
    inputs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="What probes run the model on: an .npz file, or a folder of .npy files, named as the inputs. "
            "Without it, inputs are made up.",
            metavar="FILE",
        ),
    ] = None,
    reference: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="What the export's outputs are compared with: an ONNX, TorchScript or .pt2 file, an .npz of recorded "
            "inputs and outputs, or pkg.module:factory, which is imported and called.",
            metavar="REF",
        ),
    ] = None,
    probe_timeout: Annotated[
        float, typer.Option(help="Seconds that each probe may take.", metavar="SECONDS", min=1, max=86400)
    ] = 300.0,
    probe_memory: Annotated[
        int, typer.Option(help="The most memory that each probe may take.", metavar="SIZE", parser=_bytes)
    ] = "8GiB",  # type: ignore[assignment] # parsed like any other text
    seed: Annotated[int, typer.Option(help="What made-up inputs are drawn from.", min=0, max=2**32 - 1)] = 0,
    memory: Annotated[
        int, typer.Option(help="The most memory that reading one file may take.", metavar="SIZE", parser=_bytes)
    ] = "1GiB",  # type: ignore[assignment] # parsed like any other text
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Unfold long lists, tables and everything not assessed.")
    ] = False,
) -> None:
    """Review models: the nine questions, answered from the files. Nothing in them is run without --probe.

    Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 the review could not be done.
    """
    from avreview.api import review
    from avreview.engine.review import Severity, Verdict
    from avreview.report import write

    asked = _asked(probe, inputs, reference)
    report = review(
        models,
        checkpoint=checkpoint,
        pretrained=pretrained,
        weights=weights,
        select=words(select),
        ignore=words(ignore),
        fail_on=Severity.parse(fail_on.value),
        modality=modality.value if modality is not None else None,
        memory=memory,
        probes=asked and asked._replace(seconds=probe_timeout, memory=probe_memory, seed=seed),
    )
    for _, reason in report.unreadable:
        complain(reason)
    if report.reviews:
        with destination(output) as stream:
            write(report, format.value, stream, verbose=verbose)
    if report.unreadable:
        raise typer.Exit(2)
    if any(entry.verdict is Verdict.FAIL for entry in report.reviews):
        raise typer.Exit(1)
