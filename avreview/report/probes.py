"""What was run for a review, and on which inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avreview.report.page import Page

_NAME = 60
_REASON = 600


def write_probes(runs: Sequence[Mapping[str, Any]], page: Page) -> None:
    """One line for each probe that was started, after the inputs: equal ones are said once."""
    if not runs:
        return
    page.heading("What was run")
    inputs = [run["inputs"] for run in runs if run.get("inputs")]
    for given in [entry for place, entry in enumerate(inputs) if entry not in inputs[:place]]:
        page.block(page.text(_inputs(given), limit=_REASON), indent=3)
    for run in runs:
        reason = run.get("reason")
        lead = page.text(f" {'?' if reason else '✓'} ", "quiet" if reason else "")
        outcome = "" if not reason else ": came to nothing; the reason stands below"
        page.block(page.text(f"{run['probe']}{outcome}", limit=_REASON), indent=3, lead=lead)


def _inputs(given: Mapping[str, Any]) -> str:
    """`image: image, float32 [2, 3, 40, 80]; seed 0`."""
    arrays = given.get("arrays", ())
    words = [
        f"{str(array['name'])[:_NAME]}: {array['kind']}, {array['dtype']} {list(array['shape'])}" for array in arrays
    ]
    source = f"from {given['given']}" if given.get("given") else f"seed {given.get('seed')}"
    return f"inputs {'; '.join(words)}; {source}" if words else f"no inputs; {source}"
