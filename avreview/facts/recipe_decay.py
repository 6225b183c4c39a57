"""What a recipe says of weight decay: how much, on which kinds of parameters, and which rules go by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avreview.engine.resolve import NotAvailable, fact
from avreview.facts import optimizer_roles as roles
from avreview.facts.optimizer_groups import number_of
from avreview.facts.optimizer_kind import OptimizerKind, kind_by_name
from avreview.recipe.model import GroupRule, Place, Recipe, RecipeOptimizer

BIAS, NORM, EMBEDDING, WEIGHT = "bias", "norm", "embedding", "weight"
PLURALS = {WEIGHT: "weights", BIAS: "biases", NORM: "norms", EMBEDDING: "embeddings"}
KIND_OF_ROLE = {
    roles.BIAS: BIAS, roles.SCALE: NORM, roles.SHIFT: NORM, roles.EMBEDDING: EMBEDDING, roles.POSITION: EMBEDDING,
    roles.MATRIX: WEIGHT, roles.CONVOLUTION: WEIGHT, roles.RECURRENT: WEIGHT,
}  # fmt: skip
# What these optimizers of PyTorch decay by where nothing is stated (torch.optim 1.x and 2.x).
_DEFAULTS = {"AdamW": 0.01, "NAdamW": 0.01} | dict.fromkeys(("Adam", "SGD", "NAdam", "RAdam", "Adamax", "RMSprop"), 0.0)
# Names that a rule speaks of norms or biases by.
_NAMES_OF_KIND = {
    BIAS: re.compile(r"(?:^|[._])bias(?:es)?$", re.IGNORECASE),
    NORM: re.compile(r"norm|(?:^|[._])(?:bn|ln|gn)\d*(?:[._]|$)", re.IGNORECASE),
    EMBEDDING: re.compile(r"embed|pos|token|quer", re.IGNORECASE),
}


class Treatment(NamedTuple):
    """What the recipe does to a parameter. `decay` and `rate` are None where it does not tell.

    `at` is the line that decides about the decay; `rule` the rule, None where no rule speaks.
    """

    decay: float | None
    rate: float | None
    at: Place
    rule: GroupRule | None = None


class RecipeDecay(NamedTuple):
    """The optimizer of a recipe. `base` is the general decay; `by_default` where the recipe leaves it to PyTorch."""

    recipe: Recipe
    optimizer: RecipeOptimizer
    kind: OptimizerKind | None
    base: float | None
    rate: float | None
    by_default: bool

    @property
    def at(self) -> Place:
        """Where the general decay is stated, or else the optimizer."""
        return self.optimizer.at if self.optimizer.decay is None else self.optimizer.decay.at

    @property
    def named(self) -> list[GroupRule]:
        """Rules that go by name, in the order in which they are tried: the longest first."""
        own = [rule for rule in self.optimizer.rules if rule.kind in ("name", "module")]
        return sorted(own, key=lambda rule: (-len(rule.pattern), rule.pattern))

    def require_base(self) -> float:
        """The general decay. Raises NotAvailable where it is not told."""
        if self.base is None:
            raise NotAvailable(
                f"needs the weight decay of {self.title}, which the recipe does not tell; state it there"
            )
        return self.base

    @property
    def title(self) -> str:
        from avreview.load.wording import one_line

        return one_line(self.optimizer.name, 40) or "the optimizer"

    def of_kind(self, kind: str, *, is_shift: bool = False) -> Treatment:
        """What is done to a kind of parameters where no rule goes by its name.

        In mmengine a rule on biases holds for the shifts of norms as well, unless there is one on norms.
        """
        kinds = (kind, BIAS) if is_shift and self.recipe.dialect == "mmengine" else (kind,)
        for each in kinds:
            rule = next((rule for rule in self.optimizer.rules if rule.kind == each), None)
            factor = None if rule is None else number_of(rule.decay_factor)
            if rule is not None and factor is not None:
                return self._by(rule, factor)
        decays = True if kind == WEIGHT else self.optimizer.decays.get(kind)
        decay = None if decays is None or self.base is None else self.base if decays else 0.0
        return Treatment(decay, self.rate, self.at)

    def of_name(self, name: str, role: str) -> Treatment:
        """What is done to a parameter, by its name and role."""
        rule = next((rule for rule in self.named if rule.pattern and rule.pattern in name), None)
        kind = KIND_OF_ROLE.get(role, WEIGHT)
        general = self.of_kind(kind, is_shift=role == roles.SHIFT)
        if rule is None:
            return general
        factor = self.decay_factor(rule)
        return self._by(rule, factor) if factor is not None else general._replace(rate=self._scaled(rule))

    def decay_factor(self, rule: GroupRule) -> float | None:
        """The factor of a rule by name; 1 in mmengine for one of the rate alone: it sets aside all others."""
        if rule.decay_factor is None and self.recipe.dialect == "mmengine":
            return 1.0
        return number_of(rule.decay_factor)

    def leaving_out(self, kind: str) -> list[GroupRule]:
        """Rules by name that leave parameters of a kind undecayed, as far as their pattern shows it."""
        names = _NAMES_OF_KIND[kind]
        return [rule for rule in self.named if self.decay_factor(rule) == 0 and names.search(rule.pattern)]

    def is_frozen(self, name: str) -> bool:
        """Whether the recipe says of a module or parameter that it does not learn."""
        return any(f"{name}.".startswith(f"{setting.value}.") for setting in self.recipe.frozen)

    def _by(self, rule: GroupRule, factor: float) -> Treatment:
        return Treatment(scaled(self.base, factor), self._scaled(rule), rule.at, rule)

    def _scaled(self, rule: GroupRule) -> float | None:
        factor = number_of(rule.rate_factor)
        return scaled(self.rate, 1.0 if factor is None else factor)


def scaled(general: float | None, factor: float | None) -> float | None:
    """A general value times a rule's factor; None where one is not told, or is past all bounds."""
    return None if general is None or factor is None else number_of(general * factor)


@fact
def recipe_decay(recipe: Recipe) -> RecipeDecay:
    """Raises NotAvailable for a recipe without an optimizer."""
    optimizer = recipe.optimizer
    if optimizer is None:
        raise NotAvailable("needs the optimizer's settings, which the recipe does not tell; pass one that holds them")
    base = None if optimizer.decay is None else number_of(optimizer.decay.value)
    by_default = optimizer.decay is None and recipe.dialect == "mmengine" and optimizer.name in _DEFAULTS
    if by_default:
        base = _DEFAULTS[optimizer.name]
    rate = None if optimizer.rate is None else number_of(optimizer.rate.value)
    kind = kind_by_name(optimizer.name, optimizer.options)
    return RecipeDecay(recipe, optimizer, kind, base, rate, by_default)


def largest(decay: RecipeDecay) -> float | None:
    """The largest decay that anything gets; None where not told."""
    if decay.base is None:
        return None
    factors: Sequence[float | None] = [1.0, *(decay.decay_factor(rule) for rule in decay.optimizer.rules)]
    return max(value for factor in factors if (value := scaled(decay.base, factor)) is not None)


def kinds_told(decay: RecipeDecay) -> Mapping[str, float]:
    """The decay of each kind of parameters that the recipe tells it of, apart from rules by name."""
    told = {kind: decay.of_kind(kind).decay for kind in (WEIGHT, BIAS, NORM, EMBEDDING)}
    return {kind: value for kind, value in told.items() if value is not None}
