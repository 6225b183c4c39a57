"""Models that draw random numbers: runs of them cannot be compared."""

from __future__ import annotations

from avreview.engine.resolve import NotAvailable
from avreview.facts.randomness import Randomness


def require_none(randomness: Randomness) -> None:
    """Raises NotAvailable for a graph that draws. A few runs may agree by chance, so that runs alone do not tell."""
    nodes = [dropout.node for dropout in randomness.active] + [generator.node for generator in randomness.others]
    if nodes:
        raise NotAvailable(
            f"the model draws random numbers ({nodes[0].op} {nodes[0].label}), so that two runs cannot be compared; "
            "remove what draws them (AV401, AV701, AV702) and run again"
        )
