"""Question 6 from both sides: does the optimizer state come from the training that the recipe describes?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from avreview.checks.words import count, listed, verb
from avreview.engine.cards import catalogue
from avreview.engine.checks import limitation
from avreview.facts.decay import DecayCoverage
from avreview.facts.optimizer_groups import OptimizerGroups, number_of
from avreview.facts.recipe_decay import KIND_OF_ROLE, PLURALS, RecipeDecay, largest, scaled
from avreview.facts.recipe_places import said_at


@limitation
def state_and_recipe_differ(
    groups: OptimizerGroups, decay: RecipeDecay, coverage: DecayCoverage | None
) -> Iterator[str]:
    """Optimizer state that was not made by this recipe: then one of both belongs to another training."""
    found = (
        _other_kind(groups, decay), _other_decay(groups, decay), _other_rate(groups, decay),
        _other_coverage(coverage, decay),
    )  # fmt: skip
    told = [words for words in found if words]
    if told:
        yield (
            f"The optimizer state in the checkpoint and the recipe do not agree: {'; '.join(told)}. What is said of "
            "question 6 goes by the checkpoint as far as that tells it."
        )


def _other_kind(groups: OptimizerGroups, decay: RecipeDecay) -> str:
    kinds = {kind.name for kind in groups.kinds if kind.is_decoupled is not None}
    if decay.kind is None or len(groups.kinds) != 1 or not kinds or decay.optimizer.decays_outside:
        return ""
    return "" if decay.kind.name in kinds else f"the state is of {listed(kinds)}, the recipe names {decay.title}"


# Trainers that scale the decay they are given: by the batch size.
_SCALING = ("ultralytics",)


def _other_decay(groups: OptimizerGroups, decay: RecipeDecay) -> str:
    biggest = largest(decay)
    stated = [group.decay for group in groups.filled if group.decay is not None]
    if biggest is None or not stated or decay.optimizer.decays_outside or decay.recipe.dialect in _SCALING:
        return ""
    if _alike(max(stated), biggest):
        return ""
    where = said_at(decay.at, decay.recipe)
    return f"the state decays by {max(stated):g} at most, the recipe ({where}) by {biggest:g}"


def _other_rate(groups: OptimizerGroups, decay: RecipeDecay) -> str:
    """Compares the largest rates; the last one of a schedule says nothing."""
    factors = [number_of(rule.rate_factor) for rule in decay.optimizer.rules]
    peaks = [
        group.peak_rate
        for group in groups.filled
        if group.peak_rate is not None and not {"initial_lr", "max_lr"}.isdisjoint(group.options)
    ]
    if decay.rate is None or decay.optimizer.rate is None or len(peaks) < len(groups.filled) or not peaks:
        return ""
    expected = [scaled(decay.rate, factor) for factor in (1.0, *factors)]
    if any(value is not None and _alike(max(peaks), value) for value in expected):
        return ""
    where = said_at(decay.optimizer.rate.at, decay.recipe)
    return f"the state began at a rate of {max(peaks):g}, the recipe ({where}) gives {decay.rate:g}"


def _other_coverage(coverage: DecayCoverage | None, decay: RecipeDecay) -> str:
    """Compares which parameters are decayed, where their group and what the recipe does are both known."""
    if coverage is None or decay.optimizer.decays_outside:
        return ""
    least = catalogue()["AV601"].limits.min_mapping_margin
    differing: Counter[str] = Counter()
    for entry in coverage.parameters:
        told = decay.of_name(entry.name, entry.role).decay
        kind = KIND_OF_ROLE.get(entry.role)
        if entry.group is None or entry.weight_decay is None or entry.margin < least or told is None or kind is None:
            continue
        differing[PLURALS[kind]] += (told > 0) != (entry.weight_decay > 0)
    number = differing.total()
    if not number:
        return ""
    kinds = listed(kind for kind, of_kind in differing.most_common() if of_kind)
    return f"{count(number, 'parameter')} ({kinds}) {verb(number, 'are', 'is')} decayed by one and not by the other"


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= 0.01 * max(abs(one), abs(other))
