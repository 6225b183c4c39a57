"""`avreview check`: review models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperCommand

from avreview.cli.options import (
    Config,
    ExitZero,
    Fails,
    Ignore,
    Isolated,
    Memory,
    Outputs,
    Profile,
    Quiet,
    Select,
    Sensor,
    Verbose,
    size,
)
from avreview.cli.output import complain, words
from avreview.cli.reports import Format, check_attest, planned_outputs, refuse_inputs, write_reports
from avreview.cli.settings import limited, over, planned_reviews, stated_settings, write_settings
from avreview.errors import UsageError

if TYPE_CHECKING:
    from avreview.augment.model import Measurement
    from avreview.cache.reviews import KeptReviews
    from avreview.config.settings import Planned, Settings
    from avreview.engine.review import Report
    from avreview.probes.request import ProbeRequest


class CheckCommand(TyperCommand):
    """`check`, where `--probe` takes its value behind an equals sign or goes without."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, ["--probe=all" if a == "--probe" else a for a in args[:end]] + args[end:])


def _asked(probe: list[str] | None, inputs: Path | None, reference: str | None) -> ProbeRequest | None:
    """What is to be run; None when nothing is. Raises UsageError for what only a run could use."""
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
        Optional[list[Path]],  # noqa: UP045 - Typer reads it at run time on Python 3.10 as well
        typer.Argument(
            help="ONNX exports, PyTorch checkpoints or model folders to review; without any, those of avreview.yaml.",
            metavar="[MODEL...]",
        ),
    ] = None,
    checkpoint: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The checkpoint that the exports were made from.", metavar="FILE"),
    ] = None,
    pretrained: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The pretrained base that training started from.", metavar="FILE"),
    ] = None,
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="The training recipe; without it, one that is found in the checkpoint or beside it. none: no recipe.",
            metavar="FILE",
        ),
    ] = None,
    manifest: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="What a split holds, for the search for leaks: train=FILE, val=FILE or test=FILE. Repeat it.",
            metavar="ROLE=FILE",
        ),
    ] = None,
    augment: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="An augmentation to run and measure: pkg.module:factory, which is imported and called in a child "
            "process, or an albumentations file.",
            metavar="TARGET",
        ),
    ] = None,
    weights: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Which weights to review where a checkpoint holds several: model, ema, ...", metavar="SET"),
    ] = None,
    select: Select = None,
    ignore: Ignore = None,
    fail_on: Fails = None,
    exit_zero: ExitZero = False,
    config: Config = None,
    isolated: Isolated = False,
    profile: Profile = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print the settings that would hold, and review nothing.")
    ] = False,
    modality: Sensor = None,
    format: Annotated[
        Optional[Format],  # noqa: UP045
        typer.Option("--format", "-f", help="How the report is written. [default: terminal, or by the file's suffix]"),
    ] = None,
    output: Outputs = None,
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
        Optional[float],  # noqa: UP045
        typer.Option(help="Seconds that each probe may take. [default: 300]", metavar="SECONDS", min=1, max=86400),
    ] = None,
    probe_memory: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="The most memory that each probe may take. [default: 8GiB]", metavar="SIZE", parser=size),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="What made-up inputs are drawn from. [default: 0]", metavar="INTEGER", min=0, max=2**32 - 1),
    ] = None,
    memory: Memory = None,
    cache: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Take the review of an unchanged model from an earlier run."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Review again whenever a file changes that the review depends on.")
    ] = False,
    attest: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Write an in-toto statement about the review to a file, for others to sign.",
            metavar="FILE",
            dir_okay=False,
        ),
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="On a terminal, add counts by rule over all reviews.")
    ] = False,
) -> None:
    """Review models: the nine questions, answered from the files. Nothing in them is run without --probe.

    Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 the review could not be done.
    """
    from avreview.api import review_planned
    from avreview.cli.watch import named_paths, read_paths
    from avreview.engine.review import Severity

    def settled() -> Settings:
        chosen = None if fail_on is None else Severity.parse(fail_on.value)
        return over(stated_settings(config, isolated, profile), words(select), words(ignore), chosen)

    if show_settings:
        write_settings(settled())
        return
    outputs = planned_outputs(format, output)
    check_attest(attest, outputs)
    asked = _asked(probe, inputs, reference)
    manifests = _manifests(manifest or [])
    limits = {"seconds": probe_timeout, "memory": probe_memory, "seed": seed}
    kept = _kept(cache)

    def once() -> tuple[int, Settings, Sequence[Planned], Report]:
        settings = settled()
        planned = planned_reviews(
            settings,
            models or [],
            checkpoint=_text(checkpoint),
            pretrained=_text(pretrained),
            recipe=recipe,
            manifests=manifests,
            augment=augment,
            weights=weights,
            modality=modality.value if modality is not None else None,
        )
        refuse_inputs(named_paths(settings, planned), outputs, attest)
        probes = asked and limited(asked, settings, limits)
        measurement = augment and _measurement(augment, settings, limits)
        report = review_planned(planned, settings, memory=memory, probes=probes, kept=kept, augment=measurement or None)
        if kept is not None and kept.trouble:
            complain(kept.trouble)
        for _, reason in report.unreadable:
            complain(reason)
        refuse_inputs(read_paths(report), outputs, attest)
        write_reports(report, outputs, attest, verbose=verbose, quiet=quiet, statistics=statistics)
        return exit_code(report, exit_zero), settings, planned, report

    if watch:
        from avreview.cli.watch import Round, watch_files

        written = [path for path in (attest, *(output.path for output in outputs)) if path is not None]
        raise typer.Exit(watch_files(lambda: Round(*once()), written))
    raise typer.Exit(once()[0])


def _manifests(words: list[str]) -> tuple[tuple[str, str], ...]:
    """`train=FILE` as role and path. Raises UsageError for anything else."""
    pairs = [word.partition("=") for word in words]
    for word, (role, _, path) in zip(words, pairs, strict=True):
        if role not in ("train", "val", "test") or not path:
            raise UsageError(f"--manifest {word}: write train=FILE, val=FILE or test=FILE")
    return tuple((role, path) for role, _, path in pairs)


def _measurement(target: str, settings: Settings, stated: Mapping[str, Any]) -> Measurement:
    """The augmentation that is to be run, within the limits of probes."""
    from avreview.augment.model import AugmentRequest, Measurement
    from avreview.cli.progress import running
    from avreview.probes.request import NOTHING

    limits = limited(NOTHING, settings, stated)
    request = AugmentRequest(target, seed=limits.seed, seconds=limits.seconds, memory=limits.memory, progress=running)
    return Measurement(request)


def _kept(wanted: bool) -> KeptReviews | None:
    """The reviews of earlier runs, where they are asked for."""
    if not wanted:
        return None
    from avreview.cli.kept import open_cache

    return open_cache()


def exit_code(report: Report, exit_zero: bool) -> int:
    """The exit code: 2 or 1 where something was unreadable or found."""
    from avreview.engine.review import Verdict

    if report.unreadable:
        return 2
    failed = any(entry.verdict is Verdict.FAIL for entry in report.reviews)
    return 1 if failed and not exit_zero else 0


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
