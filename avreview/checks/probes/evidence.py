"""What the report keeps of the probes themselves: what ran, on which inputs, and what came to nothing."""

from __future__ import annotations

from typing import Any

from avreview.engine.checks import evidence
from avreview.probes.live import LiveModel
from avreview.probes.probing import Probing


@evidence("probes")
def probes(probing: Probing | None, live: LiveModel | None) -> list[dict[str, Any]]:
    """One entry for each probe that was started: of an export, or of the module beside a checkpoint."""
    probing = probing or (live.probing if live is not None else None)
    if probing is None:
        return []
    return [
        {"probe": run.probe, "inputs": run.inputs, **({"reason": run.reason} if run.reason else {})}
        for run in probing.runs
    ]
