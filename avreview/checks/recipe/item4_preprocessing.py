"""Question 4 from a recipe: is the input normalized as it was in training?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotAvailable
from avreview.engine.review import Location, Severity
from avreview.facts.recipe_input import (
    OTHER,
    RESCALED,
    REVERSED,
    SAME,
    ImageInput,
    InputComparison,
    StatedConstants,
    compared,
    distinct,
    rescaling,
    shown,
)
from avreview.facts.recipe_places import location, said_at
from avreview.load.wording import one_line, quoted
from avreview.recipe.model import InputNormalization, Recipe

_ENTITY = "input.normalization"
_RANK = (SAME, RESCALED, REVERSED, OTHER)  # the better first


@check("AV408", also=True)
def input_preprocessing_changed(found: InputComparison, recipe: Recipe, limits: Thresholds) -> Iterator[Violation]:
    """Lays what the export does to its images beside what the recipe does, where the export does anything."""
    judged = unreadable = False
    for given in found.inputs:
        if not given.reading.is_affine:
            violation = _left_to_the_caller(found, given)
        elif not given.is_told:
            unreadable = True
            continue
        else:
            judged = True
            violation = _differing(found, given, limits)
        if violation is not None:
            judged = True
            yield violation
    if not judged:
        stated = found.stated[0]
        where = said_at(stated.stated.at, recipe)
        what = (
            "an export whose first steps come to one mean and one deviation for each channel"
            if unreadable
            else "what is done to the images in front of the export, which does not normalize them itself"
        )
        raise NotAvailable(
            f"needs {what}: by the recipe ({where}) it has to be (x - {shown(stated.mean)}) / {shown(stated.deviation)}"
        )


def _left_to_the_caller(found: InputComparison, given: ImageInput) -> Violation | None:
    """A note where the recipe has the model normalize its input, and the export does not."""
    inside = next((entry for entry in found.stated if entry.stated.inside_network), None)
    if inside is None:
        return None
    return Violation(
        at=location(inside.stated.at, _ENTITY),
        also=[Location(found.artifact, tensor=given.info.name)],
        message="The recipe's model normalizes its input itself, and the export does not: whoever calls it has to.",
        observed={"normalized_in_graph": False},
        expected=_expected(inside),
        severity=Severity.NOTE,
    )


def _differing(found: InputComparison, given: ImageInput, limits: Thresholds) -> Violation | None:
    """What is wrong with an input's constants against the nearest of the recipe's; None when nothing is."""
    limit = limits.max_relative_difference
    best = min(
        ((compared(given, stated, limit), stated) for stated in distinct(found.stated)),
        key=lambda entry: _RANK.index(entry[0]),
    )
    how, stated = best
    if how == SAME or (how == RESCALED and _range_is_callers(given, stated)):
        return None
    severity = Severity.NOTE if how == RESCALED and not given.holds_pixels else None
    mean, deviation = given.reading.mean, given.reading.deviation
    return Violation(
        at=Location(found.artifact, tensor=given.info.name),
        also=[location(stated.stated.at, _ENTITY)],
        message=f"The export normalizes {quoted(given.info.name, 60)} {_words(how, given, stated)}.",
        observed={
            "mean": shown(mean) if mean is not None else None,
            "deviation": shown(deviation) if deviation is not None else None,
            "input_type": given.info.dtype,
        },
        expected=_expected(stated),
        severity=severity,
    )


def _range_is_callers(given: ImageInput, stated: StatedConstants) -> bool:
    """Whether the export leaves out only the recipe's first step, bringing pixels into another range."""
    scale = stated.stated.scale or 1.0
    return stated.is_rescaled and not given.holds_pixels and abs(rescaling(given, stated) / scale - 1) <= 0.01


def _words(how: str, given: ImageInput, stated: StatedConstants) -> str:
    if how == REVERSED:
        order = f" ({stated.stated.order.upper()})" if stated.stated.order else ""
        return f"with the recipe's constants in the reverse order of channels{order}"
    if how == RESCALED:
        factor = rescaling(given, stated)
        size = f"{factor:.4g}" if factor >= 1 else f"1/{1 / factor:.4g}"
        return f"as the recipe does, but for values {size} times as large"
    return "otherwise than the recipe does"


def _expected(stated: StatedConstants) -> dict[str, str | None]:
    return {"mean": shown(stated.mean), "deviation": shown(stated.deviation), "order": stated.stated.order}


@answer(4)
def what_the_recipe_feeds(recipe: Recipe) -> AnswerText:
    """Says what training fed the network with."""
    told = [words for entry in recipe.normalization if (words := _fed(entry))]
    if not told:
        raise NotAvailable("the recipe states no normalization")
    where = said_at(recipe.normalization[0].at, recipe)
    return AnswerText(f"The recipe's images are {_first(told)} ({where}).")


def _first(told: Sequence[str]) -> str:
    every = list(dict.fromkeys(told))
    return every[0] if len(every) == 1 else f"{every[0]} (in another place {every[1]})"


def _fed(entry: InputNormalization) -> str:
    parts = []
    if entry.scale is not None and entry.scale != 1:
        parts.append(f"multiplied by {entry.scale:.6g}")
    if entry.mean is not None or entry.std is not None:
        mean, std = (_listed(values) for values in (entry.mean or (0.0,), entry.std or (1.0,)))
        parts.append(f"normalized by (x - {mean}) / {std}")
    if parts and entry.order:
        parts.append(f"in {one_line(entry.order, 10).upper()} order")
    return ", ".join(parts)


def _listed(values: Sequence[float]) -> str:
    told = [f"{value:g}" for value in values[:8]]
    return told[0] if len(told) == 1 else f"[{', '.join(told)}]"
