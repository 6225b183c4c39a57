"""Which parameters never received a gradient, as the optimizer's state tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avreview.artifact import Artifact, Tensor
from avreview.checkpoint import Optimizer
from avreview.engine.resolve import NotAvailable, fact
from avreview.facts.statistics import Statistics
from avreview.facts.subject import TrainingState

if TYPE_CHECKING:
    from avreview.facts.optimizer_candidates import Candidate

# Running sums that any gradient but 0 leaves above 0 for as long as float32 can hold them.
_SUMS = ("exp_avg_sq", "square_avg", "sum", "variance", "exp_inf", "momentum_buffer")


class Gradients:
    """What the optimizer's state says of each parameter, read only of those that are asked for."""

    def __init__(
        self, states: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], statistics: Statistics
    ) -> None:
        self._states = states  # by the parameter's name inside the model
        self._names = names  # the key in the file → that name
        self._statistics = statistics

    def never(self, key: str) -> str:
        """Why the parameter stored under `key` never received a gradient; "" where it did, or nothing tells."""
        state = self._states.get(self._names.get(key, ""))
        if state is None:
            return ""
        if not state:
            return "no optimizer state"
        for name in _SUMS:
            tensor = state.get(name)
            if isinstance(tensor, Tensor) and tensor.is_floating and tensor.size:
                return f"{name} is 0" if self._statistics.of(tensor).zeros == tensor.size else ""
        return ""


@fact
def gradients(artifact: Artifact, state: TrainingState, statistics: Statistics) -> Gradients:
    """Pairs states with parameters, by recorded names or by their order where it fits without a gap."""
    from avreview.facts.optimizer_candidates import candidates, trained_set

    trained = trained_set(state.checkpoint)
    if trained is None or not state.checkpoint.optimizers:
        raise NotAvailable("needs optimizer state, which the file does not hold; pass the training checkpoint")
    every = candidates(trained, state.checkpoint.modules)
    states: dict[str, Mapping[str, Any]] = {}
    for optimizer in state.checkpoint.optimizers:
        states.update(_paired(optimizer, every))
    if not any(states.values()):
        raise NotAvailable("needs optimizer state by parameter; none in the file can be told by name")
    return Gradients(states, {tensor.name: name for name, tensor in artifact.tensors.items()}, statistics)


def _paired(optimizer: Optimizer, every: Sequence[Candidate]) -> dict[str, Mapping[str, Any]]:
    slots = [slot for group in optimizer.groups for slot in group.slots]
    names = [name for group in optimizer.groups for name in group.names]
    if len(names) != len(slots):
        if len(slots) != len(every):
            return {}
        names = [candidate.name for candidate in every]
    shapes = {candidate.name: candidate.tensor.shape for candidate in every}
    found = {name: optimizer.state.get(slot, {}) for name, slot in zip(names, slots, strict=True)}
    fits = all(_shape(state) in (None, shapes.get(name, _shape(state))) for name, state in found.items())
    return found if fits else {}


def _shape(state: Mapping[str, Any]) -> tuple[int, ...] | None:
    tensors = (state.get(name) for name in _SUMS)
    return next((tensor.shape for tensor in tensors if isinstance(tensor, Tensor)), None)
