"""DeepSpeed's file for the model, `mp_rank_00_model_states.pt`, when it is the only one: its optimizer's flat groups.

DeepSpeed joins the parameters of a group end to end into one vector, and its optimizer knows only that. `param_shapes`
has the names and shapes in the order of the vector (`deepspeed/utils/zero_to_fp32.py`). A vector divided among
processes is in other files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import Optimizer, ParamGroup, Slot
from avreview.load.layouts.values import mapping_of

if TYPE_CHECKING:
    import numpy as np

_PADDING = 4096  # elements that aligning a vector may add at its end; DeepSpeed aligns to 2 × processes, NCCL to 128 B


class Piece(NamedTuple):
    """A parameter's place in its group's vector."""

    name: str
    start: int
    shape: tuple[int, ...]


class PieceStorage:
    """`count` elements of another storage, from `start` on."""

    def __init__(self, whole: Tensor, start: int, count: int) -> None:
        self._whole = whole
        self._start = start
        self._count = count

    def array(self) -> np.ndarray[Any, Any]:
        part: np.ndarray[Any, Any] = self._whole.storage.array()[self._start : self._start + self._count]
        return part

    def chunks(self, elements: int) -> Iterator[np.ndarray[Any, Any]]:
        for start in range(0, self._count, elements):
            yield self.part(start, min(elements, self._count - start))

    def part(self, start: int, count: int) -> np.ndarray[Any, Any]:
        return self._whole.part(self._start + start, min(count, self._count - start))

    def heads(self, rows: int, length: int) -> np.ndarray[Any, Any]:
        heads: np.ndarray[Any, Any] = self.array().reshape(rows, -1)[:, :length].copy()
        return heads


def pieces(param_shapes: Any) -> list[list[Piece]]:
    """The places of each group's parameters; [] for what is not a list of shapes by name."""
    found = []
    for group in param_shapes if isinstance(param_shapes, list | tuple) else ():
        start = 0
        places = []
        for name, shape in (mapping_of(group) or {}).items():
            if not isinstance(name, str) or not isinstance(shape, tuple) or not all(type(one) is int for one in shape):
                return []
            places.append(Piece(name, start, shape))
            start += math.prod(shape)
        found.append(places)
    return found


def by_name(optimizer: Optimizer, param_shapes: Any) -> tuple[Optimizer, list[str]]:
    """The optimizer with a slot for every parameter in the place of one for every vector, and what was not possible.

    An optimizer that already knows parameters comes back as it is.
    """
    if not optimizer.groups or any(len(group.slots) > 1 for group in optimizer.groups):
        return optimizer, []
    groups = pieces(param_shapes)
    if len(groups) != len(optimizer.groups) or not _fit(optimizer, groups):
        said = (
            "DeepSpeed keeps the optimizer's state in vectors without the parameters' names, or divided among several "
            "files: which parameters it holds is not known"
        )
        return optimizer._replace(groups=(), state={}), [said]
    state: dict[Slot, Mapping[str, Any]] = {}
    named = []
    for group, places in zip(optimizer.groups, groups, strict=True):
        names = tuple(piece.name for piece in places)
        named.append(ParamGroup(group.options, names, names))
        vectors = optimizer.state.get(group.slots[0], {}) if group.slots else {}
        for piece in places:
            state[piece.name] = {
                key: _piece(item, piece, f"{optimizer.where}.state.{piece.name}.{key}") if _is_vector(item) else item
                for key, item in vectors.items()
            }
    return optimizer._replace(groups=tuple(named), state=state), []


def _fit(optimizer: Optimizer, groups: list[list[Piece]]) -> bool:
    """Whether every vector holds its group's parameters whole, and nothing behind them but padding."""
    for group, places in zip(optimizer.groups, groups, strict=True):
        needed = sum(math.prod(piece.shape) for piece in places)
        vectors = optimizer.state.get(group.slots[0], {}) if group.slots else {}
        if any(_is_vector(item) and not 0 <= item.size - needed <= _PADDING for item in vectors.values()):
            return False
    return True


def _is_vector(item: Any) -> bool:
    return isinstance(item, Tensor) and len(item.shape) == 1


def _piece(vector: Tensor, piece: Piece, name: str) -> Tensor:
    count = math.prod(piece.shape)
    return replace(vector, name=name, shape=piece.shape, storage=PieceStorage(vector, piece.start, count))


def elsewhere(tensors: Mapping[str, Tensor], param_shapes: Any) -> list[str]:
    """Says so when the weights themselves lie in other files: ZeRO-3 leaves empty tensors in their places."""
    empty = [
        piece.name
        for places in pieces(param_shapes)
        for piece in places
        if math.prod(piece.shape) and (piece.name not in tensors or not tensors[piece.name].size)
    ]
    if not empty:
        return []
    return [
        f"{len(empty):,} parameters were not reviewed: DeepSpeed divided them among the files of its processes; "
        "join them with zero_to_fp32.py"
    ]
