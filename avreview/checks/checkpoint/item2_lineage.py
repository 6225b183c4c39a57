"""Question 2 beside a pretrained base: what came from it, and was it treated apart from what is new?"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from avreview.checks.words import count, listed, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable, NotAvailable, WrongKind
from avreview.engine.review import Location, Scalar
from avreview.facts.decay import CoveredParameter, DecayCoverage
from avreview.facts.initialization import DRAWN, Initialization, Initializations
from avreview.facts.lineage import MOVED, NEW, UNCHANGED, Lineage, NewModules, TensorLineage, modules_of
from avreview.facts.statistics import Statistics
from avreview.facts.subject import Companions, TrainingState


class _BaseModule(NamedTuple):
    """What became of the matrices of one module of the base, in elements."""

    name: str
    total: int
    paired: int
    inherited: int
    entries: Sequence[TensorLineage]

    @property
    def is_lost(self) -> bool:
        """All of it has its counterpart, and none comes from the base."""
        return self.total == self.paired and self.inherited == 0


@check("AV202")
def pretrained_not_loaded(lineage: Lineage, limits: Thresholds) -> Iterator[Violation]:
    """Counts how much of the base is found again in the model, as a whole and module by module."""
    modules = _base_modules(lineage, limits.min_cosine)
    if not modules:
        raise NotApplicable("the base holds no weight of several axes")
    if lineage.unnamed > limits.max_unnamed_share:
        raise NotAvailable(
            "needs the checkpoint; most of the export's weights have no name to find the base's by; pass --checkpoint"
        )
    # The base's last module is its head: mostly replaced, often drawn anew in the same shape, large in small models.
    body = modules[:-1] or modules
    share = sum(module.inherited for module in body) / sum(module.total for module in body)
    if share < limits.min_inherited_share:
        yield _not_loaded(lineage, share, limits)
        return
    for module in body:
        if module.is_lost and module.total >= limits.min_module_elements:
            yield Violation(
                at=module.entries[0].at,
                also=[entry.at for entry in module.entries[1:]],
                message=f"{module.name} of the base has its counterpart, which does not come from it.",
                observed={"cosine": _median_cosine(module.entries), "elements": module.total},
                expected={"cosine": f"at least {limits.min_cosine:g}"},
            )


def _base_modules(lineage: Lineage, min_cosine: float) -> list[_BaseModule]:
    paired = {entry.base[0]: entry for entry in lineage.matrices if entry.base}
    missing = {
        name: tensor.size for name, tensor in lineage.missing.items() if sum(extent > 1 for extent in tensor.shape) > 1
    }
    found: dict[str, _BaseModule] = {}
    for name, module in modules_of([name for name in lineage.base_order if name in paired or name in missing]).items():
        own = found.get(module) or _BaseModule(module, 0, 0, 0, ())
        entry = paired.get(name)
        size = entry.elements if entry is not None else missing[name]
        inherited = entry is not None and entry.inherited(min_cosine)
        found[module] = _BaseModule(
            module,
            own.total + size,
            own.paired + (size if entry is not None else 0),
            own.inherited + (size if inherited else 0),
            (*own.entries, entry) if entry is not None else own.entries,
        )
    return list(found.values())


def _not_loaded(lineage: Lineage, share: float, limits: Thresholds) -> Violation:
    lost = [entry for entry in lineage.matrices if entry.base and not entry.inherited(limits.min_cosine)]
    reshaped = [entry for entry in lineage.weights if entry.reshaped]
    renamed = next((entry for entry in lost if entry.by == "prefix"), None)
    first = next(iter((*lost, *reshaped)), None)
    observed: dict[str, Scalar] = {
        "inherited_share": round(share, 4),
        "unrelated": len(lost),
        "another_shape": len(reshaped),
        "without_counterpart": len(lineage.missing) - len(reshaped),
    }
    if lost:
        observed["median_cosine"] = _median_cosine(lost)
    if renamed is not None:
        observed["renamed"] = f"{renamed.base[0]} → {renamed.name}"
    if reshaped:
        observed["reshaped"] = listed(f"{entry.reshaped} {list(entry.tensor.shape)}" for entry in reshaped)
    return Violation(
        at=first.at if first is not None else Location(lineage.artifact),
        message=f"Of the base's weights, its head apart, {share:.0%} are found in the model.",
        observed=observed,
        expected={"inherited_share": f"at least {limits.min_inherited_share:g}"},
    )


def _median_cosine(entries: Iterable[TensorLineage]) -> float:
    return round(statistics.median(entry.comparison.cosine for entry in entries if entry.comparison), 4)


@check("AV203")
def new_module_shares_pretrained_lr(
    coverage: DecayCoverage, new: NewModules, limits: Thresholds
) -> Iterator[Violation]:
    """Compares the rate of what is new with that of what was pretrained."""
    held = [entry for entry in coverage.parameters if entry.group is not None and not entry.is_frozen]
    sure = [entry for entry in held if entry.rate_margin >= limits.min_mapping_margin]
    fresh = [entry for entry in sure if entry.name in new.names]
    old = [entry for entry in sure if entry.name in new.pretrained]
    if not any(entry.name in new.names for entry in held):
        raise NotApplicable("the optimizer holds no new module")
    if not any(entry.name in new.pretrained for entry in held):
        raise NotApplicable("the optimizer holds no pretrained module")
    usual = _usual_rate(old)
    if not fresh or usual is None:
        raise NotAvailable("needs an optimizer whose groups tell which parameters they hold, and at which rate")
    groups = {id(entry.group) for entry in old}
    shared = [
        entry
        for entry in fresh
        if id(entry.group) in groups or (rate := _rate(entry)) is None or rate < limits.min_rate_ratio * usual
    ]
    if shared:
        places = _module_places(entry.at for entry in shared)
        same = any(id(entry.group) in groups for entry in shared)
        yield Violation(
            at=places[0],
            also=places[1:],
            message=f"{count(len(places), 'new module')} {verb(len(places), 'train')} "
            f"{'in a group with pretrained ones' if same else 'at hardly more than the rate of pretrained ones'}.",
            observed={
                "rate": _rate(shared[0]),
                "pretrained_rate": usual,
                "group": shared[0].group.title if shared[0].group is not None else None,
                "parameters": len(shared),
            },
            expected={"rate": f"at least {limits.min_rate_ratio:g} times the pretrained modules', in its own group"},
        )


def _rate(entry: CoveredParameter) -> float | None:
    """The rate the schedule began with, where the group tells: at its end it may have brought all to one value."""
    if entry.group is None:
        return None
    return entry.lr if entry.group.peak_rate is None else entry.group.peak_rate


def _usual_rate(entries: Sequence[CoveredParameter]) -> float | None:
    """The rate at which half of the elements train at most."""
    known = sorted((rate, entry.size) for entry in entries if (rate := _rate(entry)) is not None)
    left = sum(size for _, size in known) / 2
    for rate, size in known:
        left -= size
        if left <= 0:
            return rate
    return None


def _module_places(places: Iterable[Location]) -> list[Location]:
    """One place a module."""
    return list({place.module or place.tensor: place for place in reversed(list(places))}.values())[::-1]


@check("AV204")
def frozen_module_moved(
    lineage: Lineage,
    companions: Companions,
    state: TrainingState | None,
    coverage: DecayCoverage | None,
    limits: Thresholds,
) -> Iterator[Violation]:
    """Compares what was said to be frozen with the base, bit by bit."""
    by_recipe = _frozen_by_recipe(lineage, companions)
    if state is None and (not by_recipe or companions.checkpoint is not None):
        raise WrongKind("needs a training checkpoint; pass --checkpoint")
    frozen = _frozen(state, coverage, limits)
    frozen = by_recipe | (frozen or {}) if by_recipe else frozen
    if frozen is None:
        raise NotAvailable(
            "needs what says which modules were frozen: optimizer state, or a checkpoint with its module tree"
        )
    judged = [entry for entry in lineage.weights if entry.name in frozen and entry.comparison is not None]
    if not judged:
        raise NotApplicable("no module that has its counterpart in the base is said to be frozen")
    averaged = state is not None and state.checkpoint.primary not in ("", "model")
    least = limits.averaging_tolerance if averaged else 0.0
    groups = modules_of(entry.name for entry in lineage.weights)
    moved: dict[str, list[TensorLineage]] = {}
    for entry in judged:
        changes = entry.comparison
        if changes and changes.changed > limits.max_changed_elements and changes.distance > least:
            moved.setdefault(groups[entry.name], []).append(entry)
    for module, entries in moved.items():
        yield Violation(
            at=entries[0].at,
            also=[entry.at for entry in entries[1:]],
            message=f"{module} is said to be frozen ({frozen[entries[0].name]}), and "
            f"{count(len(entries), 'tensor')} of it {verb(len(entries), 'differ')} from the base.",
            observed={
                "tensors": len(entries),
                "elements": sum(entry.comparison.changed for entry in entries if entry.comparison),
                "distance": max(_distance(entry) for entry in entries),
                "frozen_by": frozen[entries[0].name],
            },
            expected={"elements": limits.max_changed_elements},
        )


def _distance(entry: TensorLineage) -> float:
    return float(f"{entry.comparison.distance:.3g}") if entry.comparison is not None else 0.0


def _frozen_by_recipe(lineage: Lineage, companions: Companions) -> dict[str, str]:
    """The parameters in modules that the recipe says are frozen, each with the line that says so."""
    recipe = companions.recipe
    if recipe is None or not recipe.frozen:
        return {}
    from avreview.facts.recipe_places import said_at

    prefixes = {f"{setting.value}.": setting.at for setting in recipe.frozen}
    found = {}
    for entry in lineage.weights:
        name = f"{_full_name(entry)}."
        at = next((at for prefix, at in prefixes.items() if name.startswith(prefix)), None)
        if at is not None:
            found[entry.name] = f"the recipe, {said_at(at, recipe)}"
    return found


def _frozen(state: TrainingState | None, coverage: DecayCoverage | None, limits: Thresholds) -> dict[str, str] | None:
    """The frozen parameters by name, each with what says so; None where nothing could say it."""
    if state is None:
        return None
    found: dict[str, str] = {}
    modules = state.checkpoint.modules
    if modules:
        own = {
            f"{path}.{name}" if path else name: name in module.frozen
            for path, module in modules.items()
            for name in module.parameters
        }
        if not all(own.values()):  # of a copy kept for averaging everything is frozen: that says nothing
            found |= {name: "requires_grad is False" for name, is_frozen in own.items() if is_frozen}
    for entry in coverage.parameters if coverage is not None else ():
        if entry.rate_margin < limits.min_mapping_margin:
            continue
        if entry.group is None:
            found.setdefault(entry.name, "no group of the optimizer holds it")
        elif entry.lr == 0 and not entry.group.peak_rate:
            found.setdefault(entry.name, "its rate is 0")
    return found if found or modules or coverage is not None else None


@check("AV205")
def new_head_scale(
    lineage: Lineage, inits: Initializations, measured: Statistics, limits: Thresholds
) -> Iterator[Violation]:
    """Compares the gain of new weights that are still as drawn with that of the pretrained ones."""
    inits.require()
    by_tensor = {id(entry.tensor): entry for entry in lineage.tensors}
    gains: dict[str, list[float]] = {}
    fresh: list[tuple[Initialization, float]] = []
    for entry in inits.all:
        origin = by_tensor.get(id(entry.weight.tensor))
        if origin is None:
            continue
        gain = _gain(entry, measured)
        if origin.state == NEW and entry.match is not None and entry.match.distribution in DRAWN:
            fresh.append((entry, gain))
        elif origin.inherited(limits.min_cosine):
            gains.setdefault(_family(entry), []).append(gain)
    if not fresh:
        raise NotApplicable("no new weight is still at its initialization")
    every = [gain for held in gains.values() for gain in held]
    if not every:
        raise NotApplicable("no layer comes from the base")
    for entry, gain in fresh:
        usual = statistics.median(gains.get(_family(entry), every))
        if gain > limits.max_gain_ratio * usual:
            at = entry.layer.location(inits.artifact)
            yield Violation(
                at=Location(at.artifact, at.node, at.module, entry.weight.name),
                message=f"The new weight's gain is {gain / usual:.3g} times that of the pretrained layers.",
                observed={"gain": round(gain, 4), "pretrained_gain": round(usual, 4), "scheme": entry.scheme},
                expected={"ratio": f"at most {limits.max_gain_ratio:g}"},
            )


def _gain(entry: Initialization, measured: Statistics) -> float:
    """Root mean square times √fan_in: what a unit makes of inputs of size 1."""
    found = measured.of(entry.weight.tensor)
    return float((found.mean**2 + found.variance) ** 0.5 * entry.layer.fan_in**0.5)


def _family(entry: Initialization) -> str:
    return "Conv" if "Conv" in entry.layer.kind else "matrix"


@answer(2)
def what_became_of_the_base(
    lineage: Lineage, state: TrainingState | None, inits: Initializations | None, coverage: DecayCoverage | None
) -> AnswerText:
    """Says what of the model is the base's, and lists it by module."""
    fresh = {id(entry.weight.tensor) for entry in inits.untouched} if inits is not None else set()
    frozen = _said_to_be_frozen(state, coverage)
    names = [_full_name(entry) for entry in lineage.weights]
    groups = modules_of(names)
    modules: dict[str, list[TensorLineage]] = {}
    for name, entry in zip(names, lineage.weights, strict=True):
        modules.setdefault(groups[name], []).append(entry)
    rows = [_row(module, entries, fresh, frozen) for module, entries in modules.items()]
    total = sum(entry.elements for entry in lineage.weights)
    shares = [
        f"{sum(entry.elements for entry in lineage.weights if entry.state == state_) / total:.0%} {state_}"
        for state_ in (UNCHANGED, MOVED, NEW)
    ]
    new = [row["module"] for row in rows if row["state"] in ("new", "new, untouched")]
    sentence = f"Against the base, of the model's weights are {', '.join(shares)}"
    if new:
        sentence += f"; new: {listed(map(str, new))}"
    if lineage.missing:
        sentence += (
            f"; {count(len(lineage.missing), 'tensor')} of the base {verb(len(lineage.missing), 'are', 'is')} missing"
        )
    return AnswerText(f"{sentence}.", rows)


def _full_name(entry: TensorLineage) -> str:
    """A name with the module in front, also where an exporter gave the tensor a number."""
    return f"{entry.at.module}.{entry.name.rpartition('.')[2]}" if entry.at.module else entry.name


def _said_to_be_frozen(state: TrainingState | None, coverage: DecayCoverage | None) -> Mapping[str, str]:
    from avreview.engine.cards import catalogue

    return (_frozen(state, coverage, catalogue()["AV204"].limits) if state is not None else None) or {}


def _row(
    module: str, entries: Sequence[TensorLineage], fresh: set[int], frozen: Mapping[str, str]
) -> dict[str, Scalar]:
    states = {entry.state for entry in entries}
    if len(states) == 1:
        (state,) = states
    else:
        state = f"partly {'moved' if MOVED in states else 'unchanged'}" if NEW in states else MOVED
    if states == {NEW} and all(id(entry.tensor) in fresh for entry in entries if entry.is_matrix):
        state = "new, untouched" if any(entry.is_matrix for entry in entries) else NEW
    compared = [entry.comparison for entry in entries if entry.comparison is not None and entry.is_matrix]
    return {
        "module": module,
        "elements": sum(entry.elements for entry in entries),
        "state": state,
        "new": sum(entry.state == NEW for entry in entries),
        "tensors": len(entries),
        "cosine": round(statistics.median(entry.cosine for entry in compared), 4) if compared else None,
        "distance": float(f"{statistics.median(entry.distance for entry in compared):.3g}") if compared else None,
        "frozen": all(entry.name in frozen for entry in entries) if frozen else None,
    }
