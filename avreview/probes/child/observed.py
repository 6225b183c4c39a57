"""What each layer of a reference takes and gives, sampled: at most 65,536 elements of a tensor are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avreview.probes.child.leaves import to_array
from avreview.probes.child.live import RUNNING, Live, guarded
from avreview.stages import stage

Array = np.ndarray[Any, Any]
_KEPT = 65_536  # elements of a tensor that are compared


class Sample(NamedTuple):
    """Evenly strided elements of a tensor of a shape."""

    shape: tuple[int, ...]
    values: Array


class Call(NamedTuple):
    """One call of a module: the floating-point tensors that it takes and gives."""

    path: str
    taken: Sequence[Sample]
    given: Sequence[Sample]
    is_leaf: bool


def sampled(array: Array) -> Sample:
    """A sample of an array; of arrays of one shape it holds the same places."""
    flat = array.reshape(-1)
    return Sample(array.shape, np.array(flat[:: _step(flat.size)]))


def _step(size: int) -> int:
    return max(1, -(-size // _KEPT))


def calls(live: Live, feed: Mapping[str, Array], names: Sequence[str]) -> list[Call]:
    """Every module that is called exactly once, in the order in which they return. Raises Refused.

    TorchScript calls its submodules without Python's hooks: there is nothing to be seen of its layers.
    """
    import torch

    if isinstance(live.module, torch.jit.ScriptModule):
        return []
    if isinstance(live.module, torch.fx.GraphModule):
        from avreview.probes.child.interpreted import interpreted

        return interpreted(live, feed, names)
    found: list[Call] = []
    with _hooks(live.module, found):
        live.call(feed, names)
    counts: dict[str, int] = {}
    for call in found:
        counts[call.path] = counts.get(call.path, 0) + 1
    return [call for call in found if counts[call.path] == 1]


@contextlib.contextmanager
def _hooks(module: Any, found: list[Call]) -> Iterator[None]:
    """Hooks on every submodule that note what goes in, before anything is changed in place, and what comes out."""
    entered: dict[str, list[list[Sample]]] = {}
    handles = []
    for path, part in module.named_modules():
        if path:
            handles += [
                part.register_forward_pre_hook(_before(path, entered), with_kwargs=True),
                part.register_forward_hook(_after(path, entered, found, not list(part.children()))),
            ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(path: str, entered: dict[str, list[list[Sample]]]) -> Any:
    def hook(module: Any, positional: Any, keywords: Any) -> None:
        entered.setdefault(path, []).append(tensors((positional, keywords)))

    return hook


def _after(path: str, entered: dict[str, list[list[Sample]]], found: list[Call], is_leaf: bool) -> Any:
    def hook(module: Any, positional: Any, returned: Any) -> None:
        taken = entered.get(path) or [[]]
        found.append(Call(path, taken.pop(), tensors(returned), is_leaf))

    return hook


def tensors(value: Any) -> list[Sample]:
    """Samples of the floating-point tensors in a nested value."""
    import torch
    from torch.utils import _pytree

    found = []
    for leaf in _pytree.tree_leaves(value):
        if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided and leaf.is_floating_point():
            flat = leaf.detach().reshape(-1)
            found.append(Sample(tuple(leaf.shape), to_array(flat[:: _step(flat.numel())])))
    return found


def run_quietly(what: str, function: Any, *arguments: Any) -> Any:
    """Calls user code under guard. Raises Refused."""
    import torch

    stage(RUNNING)
    with guarded(what), torch.no_grad():
        return function(*arguments)
