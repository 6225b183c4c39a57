"""`avreview explain`: one rule, whole."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def explain(
    rules: Annotated[list[str], typer.Argument(help="Rules: id, prefix, name or item.", metavar="RULE...")],
) -> None:
    """Explain a rule: what it finds, why it matters, how it is decided, what to do."""
    from avreview.engine.cards import catalogue
    from avreview.report.catalogue import write_card

    known = catalogue()
    chosen = sorted(set().union(*map(known.select, rules)))
    for rule in chosen:
        write_card(known[rule], known, sys.stdout)
