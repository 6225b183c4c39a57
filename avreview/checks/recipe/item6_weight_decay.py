"""Question 6 from a recipe: which parameters receive weight decay? Where optimizer state tells it, that goes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.checks.words import count, listed, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Scalar
from avreview.facts.optimizer_groups import number_of
from avreview.facts.recipe_decay import (
    BIAS,
    EMBEDDING,
    KIND_OF_ROLE,
    NORM,
    PLURALS,
    RecipeDecay,
    Treatment,
    kinds_told,
    largest,
    scaled,
)
from avreview.facts.recipe_parameters import NamedParameter, NamedParameters
from avreview.facts.recipe_places import location, said_at
from avreview.load.wording import quoted
from avreview.recipe.model import GroupRule, Recipe

_NOUNS = {BIAS: ("bias", "biases"), NORM: ("norm parameter", "norm parameters"), EMBEDDING: ("embedding", "embeddings")}
_DECAY = "optimizer.weight_decay"  # the entity of findings about the general decay


class _Decayed(NamedTuple):
    """Parameters of one kind that are decayed by one amount, and what of the recipe does it."""

    decay: float
    reasons: Sequence[Treatment]  # distinct ones
    parameters: Sequence[NamedParameter]  # none where only kinds are known


@check("AV601", also=True)
def bias_decayed(decay: RecipeDecay, named: NamedParameters | None, limits: Thresholds) -> Iterator[Violation]:
    """Biases that no rule of the recipe leaves out."""
    yield from _judged(decay, named, BIAS, limits)


@check("AV602", also=True)
def norm_decayed(decay: RecipeDecay, named: NamedParameters | None, limits: Thresholds) -> Iterator[Violation]:
    """Norms that no rule of the recipe leaves out, and those that a rule by name takes in again."""
    yield from _judged(decay, named, NORM, limits)


@check("AV603", also=True)
def embedding_decayed(decay: RecipeDecay, named: NamedParameters | None, limits: Thresholds) -> Iterator[Violation]:
    """Embeddings and what carries a place, which only the model's names show."""
    yield from _judged(decay, named, EMBEDDING, limits)


def _judged(decay: RecipeDecay, named: NamedParameters | None, kind: str, limits: Thresholds) -> Iterator[Violation]:
    """One finding a decay value. Raises NotAvailable where the recipe does not tell."""
    if decay.require_base() <= limits.max_decay:
        return
    own = [entry for entry in named.all if KIND_OF_ROLE.get(entry.role) == kind] if named is not None else []
    if named is not None and named.is_whole and not own:
        raise NotApplicable(f"the model has no {_NOUNS[kind][1]}")
    found = list(_by_names(decay, own, kind, limits) if own else _by_kind(decay, kind, limits))
    if own and not found and named is not None and not named.is_whole:
        found = list(_by_kind(decay, kind, limits))  # an export keeps the names of some of its parameters
    for entry in found:
        yield _violation(decay, entry, kind, limits)


def _by_names(
    decay: RecipeDecay, parameters: Sequence[NamedParameter], kind: str, limits: Thresholds
) -> Iterator[_Decayed]:
    held: dict[float, tuple[dict[int, Treatment], list[NamedParameter]]] = {}
    unknown = 0
    for entry in parameters:
        treated = decay.of_name(entry.name, entry.role)
        if treated.decay is None:
            unknown += 1
        elif treated.decay > limits.max_decay and not decay.is_frozen(entry.name):
            reasons, entries = held.setdefault(treated.decay, ({}, []))
            reasons.setdefault(id(treated.rule), treated)
            entries.append(entry)
    if unknown and not held:
        raise NotAvailable(_silent(decay, kind))
    for value, (reasons, entries) in held.items():
        yield _Decayed(value, sorted(reasons.values(), key=lambda treated: treated.rule is not None), entries)


def _by_kind(decay: RecipeDecay, kind: str, limits: Thresholds) -> Iterator[_Decayed]:
    """Of a kind as a whole, where no model names its parameters."""
    general = decay.of_kind(kind)
    if general.decay is None:
        raise NotAvailable(_silent(decay, kind))
    if general.decay > limits.max_decay:
        spared = decay.leaving_out(kind)
        if spared:
            names = listed(quoted(rule.pattern) for rule in spared)
            raise NotAvailable(
                f"needs the names of the model's {PLURALS[kind]}, to tell which of them the recipe's rule for {names} "
                "leaves undecayed; name the model beside the recipe"
            )
        if kind == EMBEDDING or (kind == NORM and not _norms_that_learn(decay.recipe)):
            raise NotAvailable(f"needs to know whether the model has {PLURALS[kind]}; name the model beside the recipe")
        yield _Decayed(general.decay, [general], ())
    elif kind == NORM:
        yield from _taken_in_again(decay, limits)


def _norms_that_learn(recipe: Recipe) -> bool:
    return any(norm.frozen_parameters is not True for norm in recipe.norms)


def _taken_in_again(decay: RecipeDecay, limits: Thresholds) -> Iterator[_Decayed]:
    """Rules by name whose modules hold norms by the recipe, and that decay them though they are left out elsewhere."""
    learning = [norm.module for norm in decay.recipe.norms if norm.frozen_parameters is not True]
    held: dict[float, list[Treatment]] = {}
    for rule in decay.named:
        value = scaled(decay.base, decay.decay_factor(rule))
        if value is not None and value > limits.max_decay and any(rule.pattern in f"{module}." for module in learning):
            held.setdefault(value, []).append(Treatment(value, None, rule.at, rule))
    for value, reasons in held.items():
        yield _Decayed(value, reasons, ())


def _silent(decay: RecipeDecay, kind: str) -> str:
    return (
        f"needs to know whether {decay.title} decays {PLURALS[kind]}, which this recipe does not tell; "
        "pass the training checkpoint with --checkpoint"
    )


def _violation(decay: RecipeDecay, found: _Decayed, kind: str, limits: Thresholds) -> Violation:
    places = [location(treated.at, _entity(treated.rule)) for treated in found.reasons]
    modules = {entry.module or entry.name: entry.at for entry in reversed(found.parameters)}
    number = len(found.parameters)
    noun = _NOUNS[kind][number != 1]
    what = f"{number} {noun}" if number else noun
    observed: dict[str, Scalar] = {"weight_decay": found.decay}
    if number:
        observed |= {"parameters": number, "elements": sum(entry.size for entry in found.parameters)}
    return Violation(
        at=places[0],
        also=[*dict.fromkeys(places[1:]), *reversed(modules.values())],
        message=_message(decay, found, kind, what),
        observed=observed,
        expected={"weight_decay": limits.max_decay},
    )


def _message(decay: RecipeDecay, found: _Decayed, kind: str, what: str) -> str:
    rules = [treated.rule for treated in found.reasons if treated.rule is not None]
    if not rules or len(rules) < len(found.reasons):
        default = " (its default; the recipe states none)" if decay.by_default else ""
        return f"{decay.title} decays {what} by {found.decay:g}{default}, and no rule of the recipe leaves them out."
    names = listed(_said(rule) for rule in rules)
    whose = f"The {verb(len(rules), 'rules', 'rule')} for {names}"
    sentence = f"{whose} {verb(len(rules), 'decay')} {what} by {found.decay:g}"
    general = decay.of_kind(kind).decay
    if general == 0:
        sentence += ": such a rule undoes what the recipe says of all others"
    return f"{sentence}."


def _said(rule: GroupRule) -> str:
    return quoted(rule.pattern) if rule.kind in ("name", "module") else PLURALS.get(rule.kind, rule.kind)


def _entity(rule: GroupRule | None) -> str:
    if rule is None:
        return _DECAY
    return f"optimizer.rules.{rule.pattern if rule.kind in ('name', 'module') else rule.kind}"


@check("AV604", also=True)
def l2_with_adaptive_optimizer(decay: RecipeDecay, limits: Thresholds) -> Iterator[Violation]:
    """Weight decay through the gradient in an optimizer of Adam's family, by its name and options."""
    kind = decay.kind
    if kind is None:
        raise NotAvailable(f"needs an optimizer that is known here; the recipe's is {quoted(decay.optimizer.name, 40)}")
    if kind.is_adaptive is False:
        raise NotApplicable(f"the optimizer is {kind.name}, not one like Adam")
    biggest = largest(decay)
    if biggest is None:
        decay.require_base()
        return
    if biggest <= limits.max_decay or decay.optimizer.decays_outside or kind.is_decoupled is True:
        return
    if kind.is_decoupled is None:
        raise NotAvailable(f"needs to know whether {decay.title} decouples its decay, which the recipe does not tell")
    yield Violation(
        at=location(decay.optimizer.at, "optimizer.type"),
        also=[location(decay.at, _DECAY)] if decay.at != decay.optimizer.at else (),
        message=f"{decay.title} adds a weight decay of {biggest:g} to the gradient, and divides that by its size.",
        observed={"optimizer": kind.name, "weight_decay": biggest},
        expected={"decoupled_weight_decay": True},
    )


@check("AV606", also=True)
def no_weight_decay(decay: RecipeDecay, limits: Thresholds) -> Iterator[Violation]:
    """A decay of 0, stated or by PyTorch's default."""
    biggest = largest(decay)
    if biggest is None:
        decay.require_base()
    elif biggest <= limits.max_decay:
        how = f"states no weight decay, and that of {decay.title} is {biggest:g}" if decay.by_default else (
            f"sets the weight decay of {decay.title} to {biggest:g}"
        )  # fmt: skip
        yield Violation(
            at=location(decay.at, _DECAY),
            message=f"The recipe {how}: nothing is decayed.",
            observed={"weight_decay": biggest},
            expected={"weight_decay": f"over {limits.max_decay:g}, or a reason"},
        )


# The mean rate over a schedule, as a share of its peak: at least so much for these.
_MEAN_RATE = {"constant": 1.0, "cosine": 0.5, "linear": 0.5, "onecycle": 0.4}


@check("AV608", also=True)
def decay_too_strong(decay: RecipeDecay, recipe: Recipe, limits: Thresholds) -> Iterator[Violation]:
    """Peak rate times decay in one step, and the mean rate times decay over the steps that the recipe counts."""
    base, rate = decay.require_base(), decay.rate
    if base <= 0:
        raise NotApplicable("nothing is decayed")
    if rate is None:
        raise NotAvailable(f"needs the rate of {decay.title}, which the recipe does not tell; state it there")
    share = _share_a_step(decay, rate * base)
    if share is None:
        raise NotAvailable(
            f"needs an optimizer whose decay takes a known share of a weight; the recipe's is {decay.title}"
        )
    message = _too_strong(share, recipe, limits)
    if message:
        yield Violation(
            at=location(decay.at, _DECAY),
            also=[location(decay.optimizer.rate.at, "optimizer.rate")] if decay.optimizer.rate is not None else (),
            message=f"{decay.title} {message}",
            observed={"lr": rate, "weight_decay": base},
            expected={"share_a_step": f"at most {limits.max_step_shrinkage:g}"},
        )


def _share_a_step(decay: RecipeDecay, share: float) -> float | None:
    """What a decay takes from a weight without gradient in a step; see facts.decay.step_shrinkage."""
    if decay.optimizer.decays_outside:
        return share
    kind = decay.kind
    if kind is None:
        return None
    if kind.name == "SGD":
        stated = decay.optimizer.momentum
        momentum = number_of(stated.value) if stated is not None else number_of(decay.optimizer.options.get("momentum"))
        return share / (1 - momentum) if momentum is not None and 0 <= momentum < 1 else share
    return share if kind.is_decoupled and kind.name != "LAMB" else None


def _too_strong(share: float, recipe: Recipe, limits: Thresholds) -> str:
    if share > limits.max_step_shrinkage:
        return f"takes {share:.1%} of each weight in a step."
    steps = None if recipe.steps is None else number_of(recipe.steps.value)
    mean = None if recipe.schedule is None else _MEAN_RATE.get(str(recipe.schedule.value).lower())
    if steps is None or mean is None or share * mean * steps <= limits.max_total_shrinkage:
        return ""
    return f"shrinks a weight without gradient by exp(-{share * mean * steps:.0f}) over the {int(steps):,} steps."


@answer(6)
def what_the_recipe_decays(decay: RecipeDecay, named: NamedParameters | None) -> AnswerText:
    """Says what the recipe decays by kind, and lists its rules."""
    base = decay.base
    if base is None:
        return AnswerText(f"The recipe does not tell the weight decay of {decay.title}.", _rows(decay, named))
    where = f"{decay.title}'s default" if decay.by_default else said_at(decay.at, decay.recipe)
    told = kinds_told(decay)
    decayed = [PLURALS[kind] for kind, value in told.items() if value > 0]
    spared = [PLURALS[kind] for kind, value in told.items() if value == 0]
    if not decayed:
        sentence = f"By the recipe {decay.title} decays nothing ({where})"
    else:
        sentence = f"By the recipe {decay.title} decays {_joined(decayed)} by {base:g} ({where})"
        sentence += f", not {_joined(spared)}" if spared else ""
    if decay.named:
        number = len(decay.named)
        sentence += f"; {count(number, 'rule')} {verb(number, 'go', 'goes')} by name"
    return AnswerText(f"{sentence}.", _rows(decay, named))


def _joined(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _rows(decay: RecipeDecay, named: NamedParameters | None) -> list[dict[str, Scalar]]:
    """A row for all that no rule speaks of, and one for each rule."""
    held: dict[int, list[NamedParameter]] = {}
    for entry in named.all if named is not None else ():
        held.setdefault(id(decay.of_name(entry.name, entry.role).rule), []).append(entry)
    rows = [_row(f"recipe, {said_at(decay.at, decay.recipe)}", held.get(id(None)), decay.rate, decay.base, named)]
    for rule in decay.optimizer.rules:
        by_name = rule.kind in ("name", "module")
        factor = decay.decay_factor(rule) if by_name else number_of(rule.decay_factor)
        rate, value = scaled(decay.rate, number_of(rule.rate_factor)), scaled(decay.base, factor)
        name = f"recipe, {said_at(rule.at, decay.recipe)}: {_said(rule)}"
        rows.append(_row(name, held.get(id(rule)), rate, value, named))
    return rows


def _row(
    name: str,
    entries: Sequence[NamedParameter] | None,
    rate: float | None,
    decay: float | None,
    named: NamedParameters | None,
) -> dict[str, Scalar]:
    own = entries or ()
    kinds = Counter(entry.role for entry in own)
    known = named is not None
    return {
        "group": name,
        "parameters": len(own) if known else None,
        "elements": sum(entry.size for entry in own) if known else None,
        "rate": rate,
        "decay": decay,
        "kinds": ", ".join(f"{number} {role}" for role, number in kinds.most_common()) or None,
    }
