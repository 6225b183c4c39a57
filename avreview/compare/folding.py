"""Batch norms that one side holds by themselves and the other has folded into the layer in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.compare.held import Held
from avreview.compare.match import Match
from avreview.engine.cards import catalogue
from avreview.facts.norms import RUNNING, Norm
from avreview.facts.tensor_compare import compare_arrays, narrower

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Fold(NamedTuple):
    """A norm, the layer that it is folded into on the other side, and the tensors (by id) that this explains."""

    norm: Norm
    layer: str
    tensors: frozenset[int]


class Folds(NamedTuple):
    """The folds by the index of the norm's node: of norms that the old side holds, and of those that the new does."""

    old: dict[int, Fold]
    new: dict[int, Fold]

    @property
    def tensors(self) -> set[int]:
        return {tensor for side in self for fold in side.values() for tensor in fold.tensors}


def find_folds(match: Match) -> Folds:
    """The norms whose removal the weights of the layer in front make up for, within rounding."""
    found = Folds({}, {})
    if match.alignment is None:
        return found
    biases = (
        _biases([*(pair.old for pair in match.tensors), *match.old_left]),
        _biases([*(pair.new for pair in match.tensors), *match.new_left]),
    )
    for pair in match.tensors:
        for held, folded, place, side in ((pair.old, pair.new, 0, found.old), (pair.new, pair.old, 1, found.new)):
            fold = _fold(held, folded, biases[place], biases[1 - place])
            if fold is not None:
                side[fold.norm.node.index] = fold
    return found


def _biases(entries: list[Held]) -> dict[int, Held]:
    return {entry.node.index: entry for entry in entries if entry.role == "bias" and entry.node is not None}


def _fold(held: Held, folded: Held, own: dict[int, Held], other: dict[int, Held]) -> Fold | None:
    """What becomes of the layer `held` and the norm behind it when that is folded in, if it is what `folded` holds."""
    import numpy as np

    norm = _free_norm(held, folded)
    if norm is None or held.node is None or folded.node is None or held.shape != folded.shape:
        return None
    factor, mean, beta = _terms(norm)
    if factor.shape != (held.shape[0],):
        return None
    tolerance = catalogue()["AV403"].limits.max_difference
    with np.errstate(all="ignore"):
        weight = held.read() * factor.reshape(-1, *[1] * (len(held.shape) - 1))
        dtype = narrower(held.tensor.dtype, folded.tensor.dtype)
        if not compare_arrays(folded.read(), np.asarray(weight), dtype).agrees(tolerance):
            return None
        before, after = own.get(held.node.index), other.get(folded.node.index)
        shift = ((0.0 if before is None else before.read().reshape(-1)) - mean) * factor + beta
        given = np.zeros_like(shift) if after is None else after.read().reshape(-1)
        if given.shape != shift.shape or not compare_arrays(given, np.asarray(shift), dtype).agrees(10 * tolerance):
            return None
    explained = [held, folded, *(entry for entry in (before, after) if entry is not None)]
    return Fold(norm, folded.where, frozenset(id(entry.tensor) for entry in explained))


def _free_norm(held: Held, folded: Held) -> Norm | None:
    """The norm behind one layer where there is none behind the other."""
    if held.role != "weight" or held.export is None or folded.export is None:
        return None
    layer, other = held.export.layer, folded.export.layer
    if layer is None or other is None or layer.kind == "ConvTranspose" or other.norm is not None:
        return None
    norm = layer.norm
    known = norm is not None and norm.statistics == RUNNING and norm.mean is not None and norm.variance is not None
    return norm if known else None


def _terms(norm: Norm) -> tuple[Array, Array, Array]:
    """γ/√(v + eps), μ and β of a norm, [channels] in float64."""
    import numpy as np

    assert norm.mean is not None
    assert norm.variance is not None
    mean, variance = (np.asarray(part.read(), np.float64).reshape(-1) for part in (norm.mean, norm.variance))
    gamma = np.ones_like(mean) if norm.gamma is None else np.asarray(norm.gamma.read(), np.float64).reshape(-1)
    beta = np.zeros_like(mean) if norm.beta is None else np.asarray(norm.beta.read(), np.float64).reshape(-1)
    if not gamma.shape == beta.shape == mean.shape == variance.shape:
        return np.empty(0), mean, beta
    return np.asarray(gamma / np.sqrt(np.maximum(variance, 0) + (norm.eps or 0.0))), mean, beta
