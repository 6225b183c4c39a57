"""What became of a pretrained base in a model: which tensors are unchanged, moved, new or missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Tensor
from avreview.engine.cards import catalogue
from avreview.engine.resolve import NotAvailable, fact
from avreview.engine.review import Location
from avreview.facts.export_weights import ExportWeights
from avreview.facts.initialization import Initializations
from avreview.facts.subject import PretrainedBase, TrainingState
from avreview.facts.tensor_compare import Comparison, compare
from avreview.facts.tensor_pairs import is_statistic, pair
from avreview.facts.weight_matching import Match, Settings, match_weights

UNCHANGED, MOVED, NEW = "unchanged", "moved", "new"


class TensorLineage(NamedTuple):
    """One tensor of the model and its counterpart in the base.

    `name` is the state_dict's (without wrapper prefixes), in an export the graph's; `base` are the base's tensors that
    it comes from, () for a new one, with the one that it would be but for its shape as `reshaped`. `by` says what
    paired them: `name`, `prefix`, `module`, `values`.
    """

    name: str
    tensor: Tensor
    at: Location
    state: str
    base: tuple[str, ...] = ()
    by: str = ""
    comparison: Comparison | None = None
    reshaped: str | None = None
    statistic: bool = False
    folded: bool = False  # a norm of the base was folded into it

    @property
    def elements(self) -> int:
        return self.tensor.size

    @property
    def is_matrix(self) -> bool:
        """A weight with several axes. A norm's scale lies near 1 in every model: its cosine tells nothing."""
        return sum(extent > 1 for extent in self.tensor.shape) > 1

    def inherited(self, min_cosine: float) -> bool:
        """Whether it descends from its counterpart: the angle between them is smaller than chance would have it."""
        return self.comparison is not None and self.comparison.cosine >= min_cosine


class Lineage(NamedTuple):
    """Every floating-point tensor of the model, and what the base holds beside them.

    `missing` are the base's tensors without a counterpart. `unnamed` is the share of an export's elements that have
    neither a counterpart nor a name to look for one by.
    """

    artifact: str
    base: str
    tensors: Sequence[TensorLineage]
    missing: Mapping[str, Tensor]
    base_order: Sequence[str]  # every tensor of the base
    unnamed: float = 0.0

    @property
    def weights(self) -> list[TensorLineage]:
        """Everything but norms' running statistics."""
        return [tensor for tensor in self.tensors if not tensor.statistic]

    @property
    def matrices(self) -> list[TensorLineage]:
        return [tensor for tensor in self.weights if tensor.is_matrix]

    @property
    def by_name(self) -> dict[str, TensorLineage]:
        return {tensor.name: tensor for tensor in self.tensors}


class NewModules(NamedTuple):
    """The parameters that training did not begin with: by name, as in the model's primary weight set.

    Against a base those it does not hold (or holds in another shape); without one those that AV201 cannot tell from a
    fresh draw. `pretrained` are those that come from the base; without one all others.
    """

    names: frozenset[str]
    artifact: str
    pretrained: frozenset[str]


@fact
def lineage(artifact: Artifact, base: PretrainedBase, weights: ExportWeights | None) -> Lineage:
    """Compares every tensor with its counterpart; each is read once, a chunk at a time where nothing was folded."""
    limits = catalogue()["AV202"].limits
    tensors = {name: tensor for name, tensor in base.artifact.tensors.items() if tensor.is_floating and tensor.size}
    if not tensors:
        raise NotAvailable("needs a pretrained base that holds floating-point tensors")
    if artifact.graph is not None:
        if weights is None:
            raise NotAvailable("needs the weights of the export")
        found = list(_of_export(weights, tensors))
        unnamed = _unnamed(found)
    else:
        found = list(_of_checkpoint(artifact, tensors, limits.min_cosine))
        unnamed = 0.0
    if not found:
        raise NotAvailable("needs a model that holds floating-point tensors")
    used = {name for entry in found for name in entry.base}
    missing = {name: tensor for name, tensor in tensors.items() if name not in used}
    return Lineage(artifact.provenance.path, base.artifact.provenance.path, found, missing, list(tensors), unnamed)


def _of_checkpoint(artifact: Artifact, base: Mapping[str, Tensor], min_cosine: float) -> Iterator[TensorLineage]:
    own = {name: tensor for name, tensor in artifact.tensors.items() if tensor.is_floating and tensor.size}
    pairing = pair(own, base, min_cosine)
    for name, tensor in own.items():
        at = Location(artifact.provenance.path, module=name.rpartition(".")[0] or None, tensor=tensor.name)
        found = pairing.pairs.get(name)
        statistic = is_statistic(name)
        if found is None:
            reshaped = pairing.reshaped.get(name)
            yield TensorLineage(name, tensor, at, NEW, reshaped=reshaped, statistic=statistic)
            continue
        comparison = compare(tensor, base[found.other])
        state = MOVED if comparison.changed else UNCHANGED
        yield TensorLineage(name, tensor, at, state, (found.other,), found.how, comparison, statistic=statistic)


def _of_export(weights: ExportWeights, base: Mapping[str, Tensor]) -> Iterator[TensorLineage]:
    """The base is brought to the export's form; of a folded norm, what is compared is weight and norm together."""
    rules = catalogue()
    settings = Settings(rules["AV403"].limits.max_difference, lambda path: None, rules["AV202"].limits.min_cosine)
    for match in match_weights(weights, base, settings):
        statistic = match.weight.role in ("mean", "variance")
        if match.names:
            state = UNCHANGED if match.agrees else MOVED
            yield _entry(match, state, match.names, match.by, match.comparison, statistic=statistic)
        elif match.weight.is_learned:
            yield _entry(match, NEW, statistic=statistic)


def _entry(
    match: Match,
    state: str,
    base: tuple[str, ...] = (),
    by: str = "",
    comparison: Comparison | None = None,
    *,
    statistic: bool,
) -> TensorLineage:
    weight = match.weight
    return TensorLineage(
        weight.name, weight.weight.tensor, weight.at, state, base, by, comparison,
        statistic=statistic, folded=match.norm is not None,
    )  # fmt: skip


def _unnamed(found: Sequence[TensorLineage]) -> float:
    """The share of the elements without a counterpart whose tensors have no module to be named by."""
    nameless = sum(entry.elements for entry in found if entry.state == NEW and entry.at.module is None)
    return nameless / max(sum(entry.elements for entry in found), 1)


@fact
def new_modules(
    artifact: Artifact, lineage: Lineage | None, inits: Initializations | None, state: TrainingState | None
) -> NewModules:
    """New against the base, or for want of one by AV201's test where the optimizer has not made a step yet.

    Trained weights beside an optimizer without a step must come from elsewhere, so what is still at a draw is new
    among them. After some steps the two cannot be told apart: a weight may have moved too little to show it.
    """
    path = artifact.provenance.path
    if lineage is not None:
        weights = lineage.weights
        new = frozenset(entry.name for entry in weights if entry.state == NEW)
        least = catalogue()["AV202"].limits.min_cosine
        return NewModules(new, path, frozenset(entry.name for entry in weights if entry.inherited(least)))
    stepped = state is None or any(optimizer.state for optimizer in state.checkpoint.optimizers)
    if stepped or inits is None or not inits.all or inits.wholly_untrained:
        raise NotAvailable("needs the pretrained base; pass --pretrained")
    names = {id(tensor): name for name, tensor in artifact.tensors.items()}
    fresh = {names.get(id(entry.weight.tensor)) for entry in inits.untouched}
    new = frozenset(name for name in fresh if name is not None)
    return NewModules(new, path, frozenset(names.values()) - new)


def modules_of(names: Iterable[str]) -> dict[str, str]:
    """The module that each tensor's name is summed up under: its first part behind what all names share.

    A single module that holds everything (`model.`) is no summary: what it holds is told apart.
    """
    every = list(names)
    parts = {name: name.split(".") for name in every}
    depth = 0
    while True:
        heads = Counter(tuple(part[: depth + 1]) for part in parts.values() if len(part) > depth + 1)
        if len(heads) != 1 or sum(heads.values()) != len(every):
            break
        depth += 1
    return {name: ".".join(part[: min(depth + 1, len(part) - 1)]) or name for name, part in parts.items()}
