"""Question 5 beside what the model came from: did statistics move where weights stood still, did eps change?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Tensor
from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location
from avreview.facts.export_match import ExportMatch, SetMatch, stated_eps
from avreview.facts.layers import Layers
from avreview.facts.lineage import UNCHANGED, Lineage, TensorLineage
from avreview.facts.norms import NormLayers
from avreview.facts.subject import PretrainedBase

FOLDED = "folded"


class _NormBlock(NamedTuple):
    """A norm's tensors in model and base, by what they are, and the weight in front of it."""

    parts: Mapping[str, TensorLineage]
    before: TensorLineage | None

    @property
    def is_frozen(self) -> bool:
        """Everything that a gradient could have moved is the base's; there has to be such a thing."""
        weights = [self.parts.get("weight"), self.parts.get("bias"), self.before]
        known = [entry for entry in weights if entry is not None]
        return bool(known) and all(entry.state == UNCHANGED for entry in known)


@check("AV507")
def frozen_weights_moving_stats(
    lineage: Lineage, base: PretrainedBase, layers: Layers | None, limits: Thresholds
) -> Iterator[Violation]:
    """Blocks whose weights are the base's and whose running statistics are not."""
    blocks = _norm_blocks(lineage, layers)
    frozen = [block for block in blocks if block.is_frozen]
    moved = [
        (block, shift)
        for block in frozen
        if (shift := _shift(block, base.artifact.tensors)) > limits.statistics_tolerance
    ]
    if not moved and any(entry.folded for entry in lineage.weights):
        raise NotAvailable("needs running statistics, which were folded into the layers before; pass --checkpoint")
    if not blocks:
        raise NotApplicable("no norm with running statistics has its counterpart in the base")
    if not frozen:
        raise NotApplicable("no norm with running statistics stands in a block that has the base's weights")
    if moved:
        places = [_place(block) for block, _ in moved]
        yield Violation(
            at=places[0],
            also=places[1:],
            message=f"{count(len(moved), 'norm')} of {len(frozen)} whose weights are the base's "
            f"{verb(len(moved), 'have', 'has')} other running statistics.",
            observed={"norms": len(moved), "largest_shift": float(f"{max(shift for _, shift in moved):.3g}")},
            expected={"largest_shift": f"at most {limits.statistics_tolerance:g}"},
        )


def _norm_blocks(lineage: Lineage, layers: Layers | None) -> list[_NormBlock]:
    parts: dict[tuple[str | None, str | None], dict[str, TensorLineage]] = {}
    before: dict[tuple[str | None, str | None], TensorLineage] = {}
    by_tensor = {id(entry.tensor): entry for entry in lineage.tensors}
    for layer in layers.all if layers is not None else ():
        if layer.norm is not None and layer.weight is not None and id(layer.weight.tensor) in by_tensor:
            at = layer.norm.location(lineage.artifact)
            before[at.module, at.node] = by_tensor[id(layer.weight.tensor)]
    last: TensorLineage | None = None
    for entry in lineage.tensors:
        if entry.is_matrix:
            last = entry
            continue
        key = (entry.at.module, entry.at.node)
        if entry.base and entry.base[0].rpartition(".")[2] in ("weight", "bias", "running_mean", "running_var"):
            parts.setdefault(key, {})[entry.base[0].rpartition(".")[2]] = entry
            if entry.at.node is None and last is not None and last.tensor.shape[0] == entry.elements:
                before.setdefault(key, last)  # a state_dict lists the layer in front of its norm
    return [
        _NormBlock(held, before.get(key)) for key, held in parts.items() if {"running_mean", "running_var"} <= {*held}
    ]


def _shift(block: _NormBlock, base: Mapping[str, Tensor]) -> float:
    """The largest change of a mean in standard deviations of the base, or of a variance in itself."""
    import numpy as np

    mean, variance = block.parts["running_mean"], block.parts["running_var"]
    old_mean, old_variance = (base[entry.base[0]].copy().astype(np.float64).reshape(-1) for entry in (mean, variance))
    new_mean, new_variance = (entry.tensor.copy().astype(np.float64).reshape(-1) for entry in (mean, variance))
    spread = np.maximum(old_variance, 1e-12)
    shifts = np.concatenate([abs(new_mean - old_mean) / np.sqrt(spread), abs(new_variance - old_variance) / spread])
    return float(np.nan_to_num(shifts, nan=np.inf).max(initial=0.0))


def _place(block: _NormBlock) -> Location:
    return block.parts["running_mean"].at


@check("AV508")
def norm_eps_changed_by_export(match: ExportMatch, norms: NormLayers, limits: Thresholds) -> Iterator[Violation]:
    """Compares every norm's eps with the one that its module in the checkpoint states."""
    eps = stated_eps(match.checkpoint)
    best = match.sets.get(match.checkpoint.primary, match.best)
    paired = [*_standing(best, norms), *_folded(best)]
    if not paired:
        raise NotApplicable("no norm of the export, standing or folded, was paired with one of the checkpoint")
    judged = [(at, own, stated, how) for at, module, own, how in paired if (stated := eps(module)) is not None]
    if not judged:
        raise NotAvailable(
            "needs a checkpoint with its module tree (a pickled module, TorchScript or exported program); "
            "a state_dict stores no eps"
        )
    changed: dict[tuple[str, float], list[tuple[Location, float, str]]] = {}
    for at, own, stated, form in judged:
        if abs(own - stated) > limits.eps_tolerance * stated:
            changed.setdefault((f"{own:.3g}", stated), []).append((at, own, form))  # a folded one is solved, not read
    for (shown, stated), found in changed.items():
        forms = dict.fromkeys(form for _, _, form in found)
        read = [own for _, own, form in found if form != FOLDED]
        yield Violation(
            at=found[0][0],
            also=[at for at, _, _ in found[1:]],
            message=f"{count(len(found), 'norm')} {verb(len(found), 'were', 'was')} exported with an eps of {shown}; "
            f"the checkpoint says {stated:g}.",
            observed={"eps": shown_floats(read[0]) if read else float(shown), "form": listed(forms)},
            expected={"eps": stated},
        )


_Paired = tuple[Location, str, float, str]  # place, module in the checkpoint, eps in the export, form


def _standing(best: SetMatch, norms: NormLayers) -> Iterator[_Paired]:
    """Norms of the graph with the modules that their tensors come from, or for want of these the same path."""
    modules: dict[int, str] = {}
    for match in best.paired:
        norm = match.weight.norm
        if norm is not None and match.by != "values":
            modules.setdefault(norm.node.index, match.names[0].rpartition(".")[0])
    for norm in norms.all:
        module = modules.get(norm.node.index, norm.module)
        if norm.eps is not None and module is not None:
            yield norm.location(norms.artifact), module, norm.eps, norm.form


def _folded(best: SetMatch) -> Sequence[_Paired]:
    """Folded norms whose weights agree with some eps."""
    return [
        (match.weight.at, match.norm.module, match.eps, FOLDED)
        for match in best.agreeing
        if match.norm is not None and match.eps is not None and match.weight.role == "weight"
    ]
