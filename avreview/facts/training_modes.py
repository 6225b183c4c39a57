"""The mode in which the modules of a tree were saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.checkpoint import Module
from avreview.engine.resolve import NotAvailable, fact
from avreview.facts.subject import TrainingState

_DROPS = ("Dropout", "DropPath", "StochasticDepth", "DropBlock")
_RATES = ("p", "drop_prob", "drop_rate", "dropout")


class TrainingModes(NamedTuple):
    """The modules whose behaviour depends on the mode, and those of them that were saved in training mode."""

    artifact: str
    dependent: Sequence[Module]
    training: Sequence[Module]


@fact
def training_modes(state: TrainingState) -> TrainingModes:
    """Looks for norms that track statistics, dropout and recurrent layers with dropout in the module tree."""
    tree = state.checkpoint.modules
    if tree is None:
        raise NotAvailable("needs a module tree, which a state dict does not hold; pass TorchScript or a whole module")
    dependent = [module for module in tree.values() if depends_on_mode(module)]
    return TrainingModes(state.artifact, dependent, [m for m in dependent if m.attributes.get("training") is True])


def depends_on_mode(module: Module) -> bool:
    """True where `train()` and `eval()` give different outputs."""
    if "running_mean" in module.buffers:
        return True
    rates = [module.attributes.get(name) for name in _RATES]
    rate = max((value for value in rates if isinstance(value, (int, float))), default=None)
    if any(word in module.kind for word in _DROPS):
        return rate is None or rate > 0
    recurrent = module.kind in ("LSTM", "GRU", "RNN", "MultiheadAttention")
    return recurrent and rate is not None and rate > 0
