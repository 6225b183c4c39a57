"""What was run for a review, and on which inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avreview.report.page import Page

_NAME = 60
_LINE = 600


def write_probes(runs: Sequence[Mapping[str, Any]], page: Page) -> None:
    """One entry for each probe that was started, with its largest inputs, and where inputs came from."""
    if not runs:
        return
    page.heading("What was run")
    for run in runs:
        mark, style = ("?", "quiet") if run.get("reason") else ("✓", "")
        page.block(page.text(_run(run), limit=_LINE), indent=3, lead=page.text(f" {mark} ", style))
    for source in dict.fromkeys(_source(run["inputs"]) for run in runs if run.get("inputs")):
        page.block(page.text(source, "quiet", limit=_LINE), indent=3)


def _run(run: Mapping[str, Any]) -> str:
    """`repeat: image, image float32 [2, 3, 40, 80]`."""
    if run.get("reason"):
        return f"{run['probe']}: came to nothing; the reason stands below"
    arrays = [
        f"{str(array['name'])[:_NAME]} {array['dtype']} {list(array['shape'])} ({array['kind']})"
        for array in (run.get("inputs") or {}).get("arrays", ())
    ]
    return f"{run['probe']}: {', '.join(arrays)}" if arrays else str(run["probe"])


def _source(inputs: Mapping[str, Any]) -> str:
    given = inputs.get("given")
    return f"Inputs from {given}." if given else f"Inputs made up from seed {inputs.get('seed')}."
