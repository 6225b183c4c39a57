"""`avreview explain`: one rule, whole."""

from __future__ import annotations

from typing import Annotated

import typer

from avreview.cli.output import destination


def explain(
    rules: Annotated[list[str], typer.Argument(help="Rules: id, prefix, name or item.", metavar="RULE...")],
) -> None:
    """Explain a rule: what it finds, why, what to do."""
    from avreview.engine.cards import catalogue
    from avreview.report.catalogue import write_cards

    known = catalogue()
    chosen = sorted(set().union(*map(known.select, rules)))
    with destination() as stream:
        write_cards([known[rule] for rule in chosen], known, stream)
