"""Question 6: which parameters receive weight decay?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.cards import Thresholds, catalogue
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location, Scalar, Severity
from avreview.facts import optimizer_roles as roles
from avreview.facts.decay import NORMS, TABLES, WEIGHTS, CoveredParameter, DecayCoverage, decay_outside, step_shrinkage
from avreview.facts.lineage import NewModules
from avreview.facts.optimizer_groups import OptimizerGroup, OptimizerGroups
from avreview.facts.subject import TrainingState

_NAMES_REMEDY = "build the optimizer from model.named_parameters(), so that it stores names (PyTorch 2.6 and later)"


@check("AV601")
def bias_decayed(coverage: DecayCoverage, limits: Thresholds) -> Iterator[Violation]:
    """Biases of layers in a group that decays."""
    yield from _decayed(coverage, coverage.of(roles.BIAS), limits, "bias", "biases")


@check("AV602")
def norm_decayed(coverage: DecayCoverage, limits: Thresholds) -> Iterator[Violation]:
    """Scales and shifts of norms in a group that decays."""
    norms = coverage.of(*NORMS)
    if not norms:
        raise NotApplicable("the model has no norm with a scale or a shift")
    pairs = [entry for entry in norms if entry.in_pair]
    rest = [entry for entry in norms if not entry.in_pair]
    found = list(_decayed(coverage, rest, limits, "norm parameter", "norm parameters", open_ones=not pairs))
    for group, entries in _by_group(entry for entry in pairs if _decay(entry) > limits.max_decay):
        modules = list(dict.fromkeys(entry.module for entry in entries))
        found.append(
            _violation(
                group, [entry for entry in entries if entry.role == entries[0].role] or entries,
                f"The scale or the shift of {count(len(modules), 'norm')} is decayed by {group.decay:g}; which of the "
                "two, their equal shapes do not tell.",
                limits,
            )
        )  # fmt: skip
    yield from found


@check("AV603")
def embedding_decayed(coverage: DecayCoverage, limits: Thresholds) -> Iterator[Violation]:
    """Embeddings and what carries a place, in a group that decays."""
    yield from _decayed(coverage, coverage.of(*TABLES), limits, "embedding", "embeddings")


def _decay(entry: CoveredParameter) -> float:
    return entry.weight_decay or 0.0


def _decayed(
    coverage: DecayCoverage,
    entries: Sequence[CoveredParameter],
    limits: Thresholds,
    noun: str,
    plural: str,
    *,
    open_ones: bool = True,
) -> Iterator[Violation]:
    """One finding a group. Raises NotAvailable when none is sure and some are open."""
    if not entries and open_ones:
        raise NotApplicable(f"the model has no {plural}")
    coverage.groups.require_decay()
    sure = [entry for entry in entries if entry.margin >= limits.min_mapping_margin]
    found = [entry for entry in sure if _decay(entry) > limits.max_decay]
    if not found and len(sure) < len(entries) and _some_decay(coverage, limits):
        raise NotAvailable(_open(len(entries) - len(sure), len(entries), noun, plural))
    for group, held in _by_group(found):
        number = len(held)
        message = f"{number} {noun if number == 1 else plural} {verb(number, 'are', 'is')} decayed by {group.decay:g}."
        yield _violation(group, held, message, limits)


def _some_decay(coverage: DecayCoverage, limits: Thresholds) -> bool:
    return any((group.decay or 0.0) > limits.max_decay for group in coverage.groups.filled)


def _open(number: int, total: int, noun: str, plural: str) -> str:
    return (
        f"needs to know the group of {f'{number} of {total} {plural}' if total > 1 else f'the {noun}'}, which shapes "
        f"and order leave open: {_NAMES_REMEDY}"
    )


def _by_group(entries: Iterable[CoveredParameter]) -> list[tuple[OptimizerGroup, list[CoveredParameter]]]:
    """Entries by the settings of their groups: a group a parameter is still one cause."""
    found: dict[tuple[int, float | None], tuple[OptimizerGroup, list[CoveredParameter]]] = {}
    for entry in entries:
        if entry.group is not None:
            found.setdefault((entry.group.optimizer, entry.group.decay), (entry.group, []))[1].append(entry)
    return list(found.values())


def _violation(
    group: OptimizerGroup, entries: Sequence[CoveredParameter], message: str, limits: Thresholds
) -> Violation:
    places = _places(entries)
    groups = sorted({entry.group.number for entry in entries if entry.group is not None})
    return Violation(
        at=places[0],
        also=places[1:],
        message=message,
        observed={
            "weight_decay": group.decay, "groups": groups[:16], "parameters": len(entries),
            "elements": sum(entry.size for entry in entries),
        },
        expected={"weight_decay": limits.max_decay},
    )  # fmt: skip


def _places(entries: Iterable[CoveredParameter]) -> list[Location]:
    """One place a module."""
    return list({entry.module or entry.name: entry.at for entry in reversed(list(entries))}.values())[::-1]


@check("AV604")
def l2_with_adaptive_optimizer(groups: OptimizerGroups, limits: Thresholds) -> Iterator[Violation]:
    """Weight decay through the gradient in an optimizer of Adam's family."""
    if all(kind.is_adaptive is False for kind in groups.kinds):
        raise NotApplicable(f"the optimizer is {listed({kind.name: None for kind in groups.kinds})}, not one like Adam")
    decayed = [
        (group, decay)
        for group, decay in groups.require_decay()
        if decay > limits.max_decay and groups.kind(group).is_adaptive is not False
    ]
    coupled = [(group, decay) for group, decay in decayed if groups.kind(group).is_decoupled is False]
    if not coupled and any(groups.kind(group).is_decoupled is None for group, _ in decayed):
        raise NotAvailable(
            "needs to know whether the optimizer is Adam or AdamW, which state saved before PyTorch 2.7 or by other "
            "packages does not tell; pass the training recipe with --recipe"
        )
    if coupled:
        kind = groups.kind(coupled[0][0])
        largest = max(decay for _, decay in coupled)
        yield Violation(
            at=Location(groups.artifact),
            message=f"{kind.name} adds a weight decay of {largest:g} to the gradient, and divides that by its size.",
            observed={
                "optimizer": kind.name,
                "weight_decay": largest,
                "groups": [group.number for group, _ in coupled][:16],
            },
            expected={"decoupled_weight_decay": True},
        )


@check("AV605")
def parameter_not_optimized(coverage: DecayCoverage, limits: Thresholds) -> Iterator[Violation]:
    """Parameters that no group holds."""
    should = [entry for entry in coverage.parameters if entry.should_learn]
    out = [entry for entry in coverage.left_out if entry.margin >= limits.min_mapping_margin]
    unsure = [entry for entry in should if entry.margin < limits.min_mapping_margin and not entry.in_pair]
    if not out and unsure and _holds_fewer(coverage):
        raise NotAvailable(_open(len(unsure), len(should), "parameter", "parameters"))
    if not out:
        return
    on_purpose = _looks_frozen(coverage, out)
    places = _places(out)
    elements = sum(entry.size for entry in out)
    yield Violation(
        at=places[0],
        also=places[1:],
        message=f"{count(len(out), 'parameter')} of {count(len(places), 'module')} {verb(len(out), 'are', 'is')} in "
        f"none of the optimizer's groups{f': {on_purpose}' if on_purpose else ''}.",
        observed={"parameters": len(out), "elements": elements, "of": sum(entry.size for entry in should)},
        expected={"parameters": 0},
        severity=Severity.NOTE if on_purpose else None,
    )


def _holds_fewer(coverage: DecayCoverage) -> bool:
    """True when the optimizer holds fewer parameters than should learn: then it leaves some out."""
    held = sum(len(group.slots) for group in coverage.groups.filled)
    return held < sum(entry.should_learn or entry.group is not None for entry in coverage.parameters)


def _looks_frozen(coverage: DecayCoverage, out: Sequence[CoveredParameter]) -> str:
    """Why leaving these out looks meant, or "": a state dict does not say what was frozen. A tree says it."""
    if coverage.has_tree:
        return ""
    learned = [entry for entry in coverage.parameters if entry.should_learn]
    if learned[: len(out)] == list(out) and len(out) < len(learned):
        return "all that comes first in the model, as if frozen on purpose"
    norms = [entry for entry in learned if entry.role in NORMS]
    if list(out) == norms and len(norms) < len(learned):
        return "all the norms, as if frozen on purpose"
    return ""


@check("AV606")
def no_weight_decay(state: TrainingState, groups: OptimizerGroups, limits: Thresholds) -> Iterator[Violation]:
    """No group decays."""
    outside = decay_outside(groups, state.checkpoint.layout)
    if outside:
        raise NotAvailable(outside)
    decays = [decay for _, decay in groups.require_decay()]
    if max(decays) <= limits.max_decay:
        held = sum(len(group.slots) for group in groups.filled)
        yield Violation(
            at=Location(groups.artifact),
            message=f"None of the {count(held, 'parameter')} in the optimizer is decayed.",
            observed={"weight_decay": max(decays), "groups": len(groups.filled)},
            expected={"weight_decay": f"over {limits.max_decay:g}, or a reason"},
        )


_KINDS = {**dict.fromkeys(WEIGHTS, "weights"), roles.BIAS: "biases", **dict.fromkeys(NORMS, "norms")}


@check("AV607")
def head_decay_not_separate(coverage: DecayCoverage, new: NewModules, limits: Thresholds) -> Iterator[Violation]:
    """New modules decayed as much as pretrained ones, kind by kind."""
    held = [entry for entry in coverage.parameters if entry.group is not None and entry.role in _KINDS]
    if not any(entry.name in new.names for entry in held):
        raise NotApplicable("the optimizer holds no new module")
    if not any(entry.name in new.pretrained for entry in held):
        raise NotApplicable("the optimizer holds no pretrained module")
    coverage.groups.require_decay()
    sure = [entry for entry in held if entry.margin >= limits.min_mapping_margin]
    pretrained = {(_KINDS[entry.role], entry.weight_decay) for entry in sure if entry.name in new.pretrained}
    shared: dict[float, list[CoveredParameter]] = {}
    for entry in sure:
        is_shared = (_KINDS[entry.role], entry.weight_decay) in pretrained
        if is_shared and entry.name in new.names and _decay(entry) > limits.max_decay:
            shared.setdefault(_decay(entry), []).append(entry)
    if not shared and len(sure) < len(held) and _some_decay(coverage, limits):
        raise NotAvailable(_open(len(held) - len(sure), len(held), "parameter", "parameters"))
    for decay, entries in shared.items():
        places = _places(entries)
        kinds = listed(dict.fromkeys(_KINDS[entry.role] for entry in entries))
        yield Violation(
            at=places[0],
            also=places[1:],
            message=f"{count(len(places), 'new module')} {verb(len(places), 'share')} a weight decay of {decay:g} "
            f"with the pretrained ones ({kinds}).",
            observed={"weight_decay": decay, "parameters": len(entries)},
            expected={"weight_decay": "one chosen for new modules"},
        )


@check("AV608")
def decay_too_strong(state: TrainingState, groups: OptimizerGroups, limits: Thresholds) -> Iterator[Violation]:
    """Rate times decay, in one step and over the steps made."""
    outside = decay_outside(groups, state.checkpoint.layout)
    if outside:
        raise NotAvailable(outside)
    decayed = [group for group, decay in groups.require_decay() if decay > 0]
    if not decayed:
        raise NotApplicable("nothing is decayed")
    told = [(group, _shrinkage(group, groups, limits)) for group in decayed]
    if not any(message for _, message in told) and any(message is None for _, message in told):
        kinds = listed({groups.kind(group).name: None for group in decayed})
        raise NotAvailable(f"needs an optimizer whose decay takes a known share of a weight; the file's is {kinds}")
    for group, message in told:
        if message:
            yield Violation(
                at=Location(groups.artifact),
                message=f"{group.title[:1].upper()}{group.title[1:]} {message}",
                observed={
                    "lr": shown_floats(group.peak_rate),
                    "weight_decay": group.decay,
                    "parameters": len(group.slots),
                },
                expected={"share_a_step": f"at most {limits.max_step_shrinkage:g}"},
            )


def _shrinkage(group: OptimizerGroup, groups: OptimizerGroups, limits: Thresholds) -> str | None:
    """What is too strong about a group's decay; "" when nothing is, None when it cannot be told."""
    share = step_shrinkage(group, groups, group.peak_rate)
    if share is None:
        return None
    if share > limits.max_step_shrinkage:
        return f"loses {share:.1%} of each weight in a step."
    rates = [rate for rate in (group.rate, group.peak_rate) if rate is not None]
    lasting = step_shrinkage(group, groups, min(rates))
    steps = groups.steps[group.optimizer]
    if lasting is not None and steps is not None and lasting * steps > limits.max_total_shrinkage:
        return f"shrinks a weight without gradient by exp(-{lasting * steps:.0f}) over the {steps:,} steps made."
    return ""


@answer(6)
def which_parameters_are_decayed(groups: OptimizerGroups, coverage: DecayCoverage | None) -> AnswerText:
    """Says how much is decayed, and lists the groups."""
    if coverage is None:
        rows = [_group_row(groups, group, None) for group in groups.filled]
        decayed = sum((group.decay or 0) > 0 for group in groups.filled)
        return AnswerText(
            f"{decayed} of {count(len(rows), 'group')} {verb(decayed, 'decay')}; which parameters stand in which group "
            "is not known.",
            rows,
        )
    held = [entry for entry in coverage.parameters if entry.group is not None]
    decayed_ones = [entry for entry in held if _decay(entry) > 0]
    out = coverage.left_out
    parts = [f"{len(decayed_ones)} of {count(len(held), 'parameter')} {verb(len(decayed_ones), 'are', 'is')} decayed"]
    kinds = Counter(entry.role for entry in decayed_ones)
    if kinds:
        parts.append(f"({', '.join(f'{number} {_plural(role, number)}' for role, number in kinds.most_common(4))})")
    sentence = " ".join(parts)
    if out:
        sentence += f"; {len(out)} {verb(len(out), 'are', 'is')} not optimized"
    limit = catalogue()["AV601"].limits.min_mapping_margin
    unsure = sum(entry.margin < limit for entry in coverage.parameters)
    if unsure:
        sentence += f"; of {count(unsure, 'parameter')} the group is the likeliest, not certain"
    return AnswerText(f"{sentence}.", list(_rows(coverage, held, out)))


def _plural(role: str, number: int) -> str:
    if number == 1 or role == roles.OTHER:
        return role
    return {"bias": "biases", roles.POSITION: "positions, queries or tokens"}.get(role, f"{role}s")


def _rows(
    coverage: DecayCoverage, held: Sequence[CoveredParameter], out: Sequence[CoveredParameter]
) -> Iterator[dict[str, Scalar]]:
    by_group: dict[tuple[int, int], list[CoveredParameter]] = {}
    for entry in held:
        if entry.group is not None:
            by_group.setdefault((entry.group.optimizer, entry.group.number), []).append(entry)
    merged: dict[tuple[int, float | None, float | None], tuple[list[OptimizerGroup], list[CoveredParameter]]] = {}
    for group in coverage.groups.filled:
        key = (group.optimizer, group.rate, group.decay) if len(coverage.groups.filled) > _MOST_ROWS else (
            group.optimizer, float(group.number), None
        )  # fmt: skip
        groups, entries = merged.setdefault(key, ([], []))
        groups.append(group)
        entries += by_group.get((group.optimizer, group.number), [])
    for groups, entries in merged.values():
        yield _group_row(coverage.groups, groups[0], entries, len(groups))
    frozen = [entry for entry in coverage.parameters if entry.is_frozen and entry.group is None]
    for name, left in (("not optimized", list(out)), ("frozen", frozen)):
        if left:
            yield _row(name, left, None, None)


_MOST_ROWS = 32  # more groups are shown by their settings


def _group_row(
    groups: OptimizerGroups, group: OptimizerGroup, entries: Sequence[CoveredParameter] | None, number: int = 1
) -> dict[str, Scalar]:
    name = group.title if number == 1 else f"{number} groups"
    if len(groups.kinds) > 1:
        name = f"optimizer {group.optimizer}, {name}"
    if entries is None:
        return {
            "group": name, "parameters": len(group.slots), "elements": None, "rate": group.rate, "decay": group.decay,
            "kinds": None,
        }  # fmt: skip
    return _row(name, entries, group.rate, group.decay)


def _row(name: str, entries: Sequence[CoveredParameter], rate: float | None, decay: float | None) -> dict[str, Scalar]:
    kinds = Counter(entry.role for entry in entries)
    return {
        "group": name,
        "parameters": len(entries),
        "elements": sum(entry.size for entry in entries),
        "rate": rate,
        "decay": decay,
        "kinds": ", ".join(f"{number} {_plural(role, number)}" for role, number in kinds.most_common()),
    }
