"""Builds checkpoint artifacts from arrays, as a loader would hand them on: no file is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.artifact import Artifact, Provenance, Tensor
from avreview.checkpoint import Checkpoint, Module, Optimizer, WeightSet

Array = np.ndarray[Any, Any]


class Held:
    """Storage of an array in memory."""

    def __init__(self, flat: Array) -> None:
        self._flat = flat

    def array(self) -> Array:
        return self._flat

    def chunks(self, elements: int) -> Iterator[Array]:
        for start in range(0, self._flat.size, elements):
            yield self._flat[start : start + elements]

    def part(self, start: int, count: int) -> Array:
        return np.array(self._flat[start : start + count])

    def heads(self, rows: int, length: int) -> Array:
        return np.array(self._flat.reshape(rows, -1)[:, :length])


def tensors(arrays: Mapping[str, Array], prefix: str = "") -> dict[str, Tensor]:
    """Tensors by name; one and the same array gives one storage, as tied weights do."""
    storages: dict[int, Held] = {}
    return {
        name: Tensor(
            prefix + name, array.shape, array.dtype.name, storages.setdefault(id(array), Held(array.reshape(-1)))
        )
        for name, array in arrays.items()
    }


def checkpoint(
    arrays: Mapping[str, Array],
    *,
    path: str = "model.pt",
    sets: Mapping[str, Mapping[str, Array]] | None = None,
    prefix: str = "",
    modules: Sequence[Module] | None = None,
    optimizers: Sequence[Optimizer] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Artifact:
    """A checkpoint whose primary set `model` holds `arrays`; `sets` are further ones, such as `ema`."""
    every = {"model": arrays, **(sets or {})}
    weight_sets = {name: WeightSet(name, name, tensors(held, prefix), prefix) for name, held in every.items()}
    tree = {module.path: module for module in modules} if modules is not None else None
    held = Checkpoint(weight_sets, "model", "state_dict", tree, tuple(optimizers), metadata=metadata or {})
    return Artifact(Provenance(path, "pytorch-zip", 0), weight_sets["model"].tensors, checkpoint=held)
