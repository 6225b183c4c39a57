"""Which parameters an optimizer decays, at which rate, and which it does not hold at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from avreview.engine.resolve import NotAvailable, fact
from avreview.engine.review import Location
from avreview.facts import optimizer_roles as roles
from avreview.facts.optimizer_candidates import Candidate
from avreview.facts.optimizer_groups import OptimizerGroup, OptimizerGroups
from avreview.facts.optimizer_mapping import Assignment, ParameterMapping
from avreview.facts.subject import TrainingState

WEIGHTS = (roles.MATRIX, roles.CONVOLUTION, roles.RECURRENT)
TABLES = (roles.EMBEDDING, roles.POSITION)
NORMS = (roles.SCALE, roles.SHIFT)


class CoveredParameter(NamedTuple):
    """A parameter and what the optimizer does to it.

    `group` is None for one that it does not hold; `lr` and `weight_decay` are None then, and where the group does not
    state them. The margins say how much dearer the next best reading of the groups is that gives it another decay
    (or another rate): infinite where there is none, 0 where nothing tells. `in_pair` marks the scale and the shift
    of a norm of which one is decayed more: which of the two, no shape tells.
    """

    name: str
    module: str
    role: str
    size: int  # elements
    group: OptimizerGroup | None
    lr: float | None
    weight_decay: float | None
    is_frozen: bool
    should_learn: bool  # leaving it out of the optimizer leaves it untrained
    margin: float
    rate_margin: float
    in_pair: bool
    at: Location


class DecayCoverage(NamedTuple):
    """Every parameter in the model's order, and the groups that hold them."""

    artifact: str
    parameters: Sequence[CoveredParameter]
    groups: OptimizerGroups
    how: str  # what the names rest on: `recorded names`, `order of registration`, `sorted names`, `shapes alone`
    has_tree: bool  # a module tree told parameters from buffers

    def of(self, *kinds: str) -> list[CoveredParameter]:
        """Those of the given roles, frozen ones apart: nothing changes these."""
        return [entry for entry in self.parameters if entry.role in kinds and not entry.is_frozen]

    @property
    def left_out(self) -> list[CoveredParameter]:
        """Those that should learn and that no group holds."""
        return [entry for entry in self.parameters if entry.group is None and entry.should_learn]


@fact
def decay_coverage(state: TrainingState, groups: OptimizerGroups, mapping: ParameterMapping) -> DecayCoverage:
    """Joins the mapping with roles. Raises NotAvailable when the decay in the file is not the one that acted."""
    outside = decay_outside(groups, state.checkpoint.layout)
    if outside:
        raise NotAvailable(outside)
    pairs = _open_pairs(groups, mapping)
    parameters = [
        _covered(candidate, mapping.assignments[candidate.name], groups, candidate.module in pairs, state.artifact)
        for candidate in mapping.candidates
    ]
    return DecayCoverage(state.artifact, parameters, groups, mapping.how, bool(state.checkpoint.modules))


def _covered(
    candidate: Candidate, assignment: Assignment, groups: OptimizerGroups, is_pair: bool, artifact: str
) -> CoveredParameter:
    group = None if assignment.group is None else groups.all[assignment.group]
    in_pair = is_pair and candidate.role in NORMS
    return CoveredParameter(
        name=candidate.name,
        module=candidate.module,
        role=candidate.role,
        size=candidate.tensor.size,
        group=group,
        lr=group.rate if group else None,
        weight_decay=group.decay if group else None,
        is_frozen=candidate.is_frozen,
        should_learn=candidate.should_learn,
        margin=0.0 if in_pair else assignment.decay_margin,
        rate_margin=assignment.rate_margin,
        in_pair=in_pair,
        at=Location(artifact, module=candidate.module or None, tensor=candidate.tensor.name),
    )


def _open_pairs(groups: OptimizerGroups, mapping: ParameterMapping) -> set[str]:
    """Norms whose scale and shift have one shape and another decay each, without names that say which has which."""
    if mapping.how == "recorded names":
        return set()
    by_module: dict[str, list[Candidate]] = {}
    for candidate in mapping.candidates:
        if candidate.role in NORMS:
            by_module.setdefault(candidate.module, []).append(candidate)
    found = set()
    for module, held in by_module.items():
        places = [mapping.assignments[candidate.name].group for candidate in held]
        decays = {None if place is None else groups.all[place].decay for place in places}
        if len(held) == 2 and len(decays) > 1 and None not in places:
            found.add(module)
    return found


def decay_outside(groups: OptimizerGroups, layout: str) -> str:
    """Why the stored decay cannot be believed, or "": some trainers shrink the weights themselves.

    OpenPCDet's adam_onecycle, taken from fastai, multiplies every weight by 1 − rate × decay before the step and
    stores a decay of 0 in Adam's groups: everything but batch norms, and batch norms, at one rate
    (tools/train_utils/optimization/fastai_optim.py, OptimWrapper.step).
    """
    filled = groups.filled
    if any(group.decay != 0 for group in filled) or len(groups.kinds) != 1:
        return ""
    pairs = list(zip(groups.all[::2], groups.all[1::2], strict=False))
    norms_apart = all(
        _is_norm_group(second) and not _is_norm_group(first) and first.rate == second.rate for first, second in pairs
    )
    is_adam = groups.kinds[0].name in ("Adam", "AdamW")
    if is_adam and pairs and len(groups.all) % 2 == 0 and (norms_apart or layout == "openpcdet"):
        return (
            "needs the training recipe (--recipe): Adam's groups are split as OpenPCDet's adam_onecycle and fastai do "
            "it, which decay the weights outside the optimizer and store a decay of 0"
        )
    return ""


def _is_norm_group(group: OptimizerGroup) -> bool:
    """Vectors in pairs of one length, as scales and shifts in the model's order are."""
    shapes = [slot.shape for slot in group.slots]
    return (
        bool(shapes)
        and len(shapes) % 2 == 0
        and all(
            first is not None and len(first) == 1 and first == second
            for first, second in zip(shapes[::2], shapes[1::2], strict=True)
        )
    )


def step_shrinkage(group: OptimizerGroup, groups: OptimizerGroups, rate: float | None) -> float | None:
    """The share that decay takes from a weight without gradient in one step at a rate; None where nothing tells.

    A decoupled decay takes rate × decay. For SGD the decay goes through the momentum m, and in the long run each
    step takes rate × decay × (1 − dampening) / (1 − m). Adam's coupled decay is divided by its own size: no share.
    """
    kind = groups.kind(group)
    if rate is None or group.decay is None:
        return None
    if kind.name == "SGD":
        momentum, dampening = (_option(group, name) for name in ("momentum", "dampening"))
        return rate * group.decay * (1 - dampening if momentum else 1.0) / (1 - momentum) if momentum < 1 else math.inf
    return rate * group.decay if kind.is_decoupled and kind.name != "LAMB" else None


def _option(group: OptimizerGroup, name: str) -> float:
    value = group.options.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
