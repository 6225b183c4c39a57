"""Models that draw random numbers: runs of them cannot be compared."""

from __future__ import annotations

from avreview.engine.resolve import NotAvailable
from avreview.facts.modules import module_path
from avreview.facts.randomness import Randomness


def drawn_by(randomness: Randomness) -> str | None:
    """The first that draws random numbers, in words; None where nothing does."""
    for dropout in randomness.active:
        what = "stochastic depth" if dropout.per_sample else "a dropout"
        return f"{what}, {dropout.module or dropout.node.label}"
    for generator in randomness.others:
        return f"{generator.node.op} {generator.module or module_path(generator.node) or generator.node.label}"
    return None


def require_none(randomness: Randomness) -> None:
    """Raises NotAvailable for a graph that draws. A few runs may agree by chance, so that runs alone do not tell."""
    found = drawn_by(randomness)
    if found:
        raise NotAvailable(
            f"the model draws random numbers ({found}), so that two runs cannot be compared; "
            "remove what draws them (AV401, AV701, AV702) and run again"
        )
