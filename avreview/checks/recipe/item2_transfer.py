"""Question 2 from a recipe: what training starts from, at which rates, and what it says is frozen."""

from __future__ import annotations

from avreview.checks.words import listed
from avreview.engine.checks import AnswerText, answer
from avreview.engine.resolve import NotAvailable
from avreview.facts.recipe_decay import RecipeDecay
from avreview.facts.recipe_places import said_at
from avreview.load.wording import quoted
from avreview.recipe.model import Recipe

_LONGEST = 60


@answer(2)
def what_training_starts_from(recipe: Recipe, decay: RecipeDecay | None) -> AnswerText:
    """The weights that training starts from, what is frozen, and the rates of rules by name."""
    sentences = []
    if recipe.pretrained is not None and recipe.pretrained.value:
        where = said_at(recipe.pretrained.at, recipe)
        sentences.append(
            f"By the recipe training starts from {quoted(str(recipe.pretrained.value), _LONGEST)} ({where})."
        )
    if recipe.frozen:
        names = listed(dict.fromkeys(quoted(str(setting.value), _LONGEST) for setting in recipe.frozen))
        sentences.append(f"It freezes {names} ({said_at(recipe.frozen[0].at, recipe)}).")
    if decay is not None and sentences:
        sentences.append(_rates(decay))
    if not sentences:
        raise NotAvailable("the recipe says nothing of pretrained or frozen modules")
    return AnswerText(" ".join(sentences))


def _rates(decay: RecipeDecay) -> str:
    rules = [rule for rule in decay.optimizer.rules if rule.rate_factor not in (None, 1)]
    if not rules:
        return "It gives one rate to all modules."
    told = listed(
        f"{quoted(rule.pattern or rule.kind, _LONGEST)} learns at {rule.rate_factor:g} times the rate "
        f"({said_at(rule.at, decay.recipe)})"
        for rule in rules
    )
    return f"{told}."
