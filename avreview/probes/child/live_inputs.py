"""What a live module is run on: given samples, its factory's example, or what its export's inputs tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.leaves import to_tensor
from avreview.probes.child.live import RUNNING, Live, guarded
from avreview.probes.child.refusal import Refused
from avreview.stages import stage

T = TypeVar("T")


class Arguments(NamedTuple):
    """A module's arguments, the number of samples in them (None where unknown), and where they come from."""

    positional: Sequence[Any]
    keywords: Mapping[str, Any]
    samples: int | None
    origin: str

    def call(self, module: Any) -> Any:
        """What the module returns. Raises Refused."""
        stage(RUNNING)
        with guarded("the reference"):
            return module(*self.positional, **self.keywords)

    def as_json(self) -> dict[str, Any]:
        from torch.utils import _pytree

        held = _pytree.tree_leaves((list(self.positional), dict(self.keywords)))
        shapes = [list(leaf.shape) for leaf in held if hasattr(leaf, "shape")]
        return {"origin": self.origin, "samples": self.samples, "shapes": shapes}


def settle(live: Live, inputs: Inputs, job: Mapping[str, Any], run: Callable[[Arguments], T]) -> tuple[Arguments, T]:
    """The first arguments that `run` accepts, with what it gives: `job["samples"]` samples if possible.

    Raises Refused: what was said to the first, or what to supply where there are none.
    """
    first: Refused | None = None
    for arguments in _candidates(live, inputs, job):
        try:
            return arguments, run(arguments)
        except Refused as refused:  # noqa: PERF203 - each try is a run of a model
            first = first or refused
    supply = "" if os.path.exists(job["reference"]) else "let the factory return (module, example_inputs), or "
    raise first or Refused(f"needs inputs to run the reference on; {supply}pass --inputs")


def _candidates(live: Live, inputs: Inputs, job: Mapping[str, Any]) -> Iterator[Arguments]:
    """Ways to call the module, best first."""
    wanted = int(job["samples"])
    if inputs.count is not None:
        yield from _planned(live, inputs, min(wanted, inputs.count), "given")
        return
    if live.example is not None:
        yield from _examples(live, wanted, int(job["plan"]["seed"]))
        return
    for attempt in range(len(job["plan"]["attempts"])):
        inputs.attempt = attempt
        if inputs.entries:
            yield from _planned(live, inputs, wanted, "made up")


def _planned(live: Live, inputs: Inputs, wanted: int, origin: str) -> Iterator[Arguments]:
    """Batches by the plan; a live module may well take another number of samples than its export fixes."""
    sizes = dict.fromkeys((wanted, inputs.fixed or wanted, 1)) if inputs.has_batch else {1: None}
    names = [entry["name"] for entry in inputs.entries]
    for size in sizes:
        positional, keywords = live.arguments(inputs.batch(range(size)), names)
        yield Arguments(positional, keywords, size if inputs.has_batch else None, origin)


def _examples(live: Live, wanted: int, seed: int) -> Iterator[Arguments]:
    """The factory's example: an example of one sample is varied to make more of it."""
    import torch
    from torch.utils import _pytree

    held, form = _pytree.tree_flatten(live.example)
    tensors = [to_tensor(_reduced(leaf)) if isinstance(leaf, np.ndarray) else leaf for leaf in held]
    counted = {int(leaf.shape[0]) for leaf in tensors if isinstance(leaf, torch.Tensor) and leaf.ndim}
    samples = counted.pop() if len(counted) == 1 else None
    if samples == 1 and wanted > 1:
        random = torch.Generator().manual_seed(seed)
        varied = [_varied(leaf, wanted, random) if isinstance(leaf, torch.Tensor) else leaf for leaf in tensors]
        yield _arguments(_pytree.tree_unflatten(varied, form), wanted, "the factory's example, varied")
    yield _arguments(_pytree.tree_unflatten(tensors, form), samples, "the factory's example")


def _reduced(array: Any) -> Any:
    """numpy's usual float64 means no more than a float."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _varied(tensor: Any, samples: int, random: Any) -> Any:
    """One sample and others like it: floats with noise of their own spread, anything else repeated."""
    import torch

    if not tensor.ndim:
        return tensor
    repeated = tensor.detach().repeat(samples, *[1] * (tensor.ndim - 1))
    if not repeated.is_floating_point():
        return repeated
    spread = float(repeated.float().std()) if repeated.numel() > 1 else 0.0
    noise = torch.randn(repeated.shape, generator=random) * (spread or 1.0)
    noise[0] = 0
    return repeated + noise.to(repeated.dtype)


def _arguments(example: Any, samples: int | None, origin: str) -> Arguments:
    if isinstance(example, Mapping):
        return Arguments((), example, samples, origin)
    positional = example if isinstance(example, tuple | list) else (example,)
    return Arguments(positional, {}, samples, origin)
