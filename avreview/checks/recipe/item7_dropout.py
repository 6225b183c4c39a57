"""Question 7 from a recipe: the dropouts it states, which an export in eval mode no longer holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable
from avreview.engine.review import Severity
from avreview.facts.heads import head_by_name
from avreview.facts.recipe_places import location, said_at
from avreview.load.wording import one_line, quoted
from avreview.recipe.model import Recipe, RecipeDropout

_LONGEST = 60


def _stated(recipe: Recipe) -> Sequence[RecipeDropout]:
    """The dropouts that leave out units. Stochastic depth leaves out whole branches: that is another matter."""
    found = [
        dropout for dropout in recipe.dropouts if "path" not in dropout.name.lower() and math.isfinite(dropout.rate)
    ]
    if not found:
        raise NotApplicable("the recipe states no dropout")
    return found


def _entity(dropout: RecipeDropout) -> str:
    return f"{dropout.module}.{dropout.name}" if dropout.module else dropout.name


@check("AV703", also=True)
def dropout_in_geometry_or_temporal_head(recipe: Recipe, limits: Thresholds) -> Iterator[Violation]:
    """Dropouts in modules whose names say that they regress geometry or work over time."""
    placed: dict[tuple[str, str], list[RecipeDropout]] = {}
    for dropout in _stated(recipe):
        head = head_by_name(dropout.module) if dropout.rate > limits.min_rate else None
        if head is not None:
            placed.setdefault(head, []).append(dropout)
    for (kind, name), dropouts in placed.items():
        first, *others = (location(dropout.at, _entity(dropout)) for dropout in dropouts)
        yield Violation(
            at=first,
            also=others,
            message=f"The recipe trains the {kind} head {quoted(name, _LONGEST)} with dropout.",
            observed={"dropouts": len(dropouts), "rates": sorted({shown_floats(d.rate) or 0.0 for d in dropouts})},
            expected={"dropouts": 0},
        )


@check("AV705", also=True)
def dropout_rate_extreme(recipe: Recipe, limits: Thresholds) -> Iterator[Violation]:
    """A rate of 1, and of a half and more in a layer whose width the recipe does not tell."""
    for dropout in _stated(recipe):
        rate = shown_floats(dropout.rate)
        if dropout.rate >= limits.certain_rate:
            severity, what, expected = Severity.ERROR, "drops everything", "less than 1"
        elif dropout.rate >= limits.high_rate:
            severity, what = Severity.NOTE, "is high for any but a large dense layer"
            expected = f"under {limits.high_rate:g} outside dense layers of {limits.large_dense_width:g} units"
        else:
            continue
        yield Violation(
            at=location(dropout.at, _entity(dropout)),
            message=f"A dropout rate of {rate:g} {what}.",
            observed={"rate": rate},
            expected={"rate": expected},
            severity=severity,
        )


@answer(7)
def what_the_recipe_drops(recipe: Recipe) -> AnswerText:
    """Says with which rates the recipe trains, and where."""
    stated = [dropout for dropout in recipe.dropouts if 0 < dropout.rate < math.inf]
    if not stated:
        raise NotApplicable("the recipe states no dropout")
    rates = sorted({dropout.rate for dropout in stated})
    told = listed((f"{rate:g}" for rate in rates), most=4)
    names = listed(dict.fromkeys(one_line(dropout.module, _LONGEST) for dropout in stated))
    where = f" ({names})" if names else ""
    number = len(stated)
    rows = [
        {
            "layer": one_line(dropout.module, _LONGEST) or None,
            "form": f"recipe, {said_at(dropout.at, recipe)}: {one_line(dropout.name, _LONGEST)}",
            "rate": shown_floats(dropout.rate),
            "at_inference": None,
        }
        for dropout in stated
    ]
    return AnswerText(
        f"The recipe states {count(number, 'dropout')}{where} with {verb(len(rates), 'rates', 'a rate')} of {told}.",
        rows,
    )
