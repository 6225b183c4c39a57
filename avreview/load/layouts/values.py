"""Looking at unpickled values as what they stand for: mappings, tensors, plain numbers and texts.

Every value may be hostile: containers that hold themselves, a dict reached by 2⁵⁰ paths, keys a megabyte long.
Whoever walks them counts what it takes with a `Budget` and keeps the containers it is inside of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.errors import ArtifactError
from avreview.load.layouts.arrays import as_tensor
from avreview.load.pickles.arrays import NumpyArray
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pytorch.globals import Parameter

MAX_DEPTH = 64  # levels of modules or dictionaries; torchvision's and mmdet's deepest nets have under 20
_MOST_ENTRIES = 3_000_000
_LONGEST_KEY = 64  # bits of an integer
_MOST_CHARACTERS = 1 << 26  # of the names that are put together


class Budget:
    """What walking one file's values may take: entries, and the characters of the names made of them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._entries = _MOST_ENTRIES
        self._characters = _MOST_CHARACTERS
        self.left_out: list[str] = []  # the keys of metadata that was too much

    def take(self, name: str = "", entries: int = 1) -> None:
        """Counts an entry, or what takes as much as several. Raises ArtifactError when there are more than allowed."""
        self._entries -= entries
        self._characters -= len(name)
        if self._entries < 0 or self._characters < 0:
            wrong = "spells out more entries than any checkpoint has: its containers hold one another many times over"
            raise ArtifactError(self.path, wrong, "do not load it; ask for the weights as safetensors")


def key_text(key: Any) -> str | None:
    """A dictionary's key as part of a name; None for keys that no writer of checkpoints uses."""
    if isinstance(key, str):
        return key
    return str(key) if isinstance(key, int) and key.bit_length() <= _LONGEST_KEY else None


class Held(NamedTuple):
    """A tensor as a checkpoint holds it; `trainable` is None where nothing says whether it is."""

    tensor: Tensor
    trainable: bool | None = None


def mapping_of(value: Any) -> Mapping[Any, Any] | None:
    """The entries of a dict, or of an object that is one (its class derives from dict); None for all else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Instance) and value.entries:
        return {key: item for key, item in value.entries if isinstance(key, str | int)}
    return None


def held(value: Any) -> Held | None:
    """The tensor that a value is: a tensor, a Parameter, a numpy array; None for all else."""
    if isinstance(value, Tensor):
        return Held(value)
    if isinstance(value, Parameter):
        return Held(value.tensor, value.requires_grad)
    if isinstance(value, NumpyArray):
        tensor = as_tensor(value)
        return None if tensor is None else Held(tensor)
    return None


def named(tensor: Tensor, name: str) -> Tensor:
    """The tensor under a name. `dataclasses.replace` takes four times as long, and checkpoints hold many tensors."""
    return Tensor(name, tensor.shape, tensor.dtype, tensor.storage, tensor.quantization)


def is_module(value: Any) -> bool:
    """Whether a value is a pickled `nn.Module`: what every one of them keeps is there."""
    return isinstance(value, Instance) and (
        (isinstance(value.field("_modules"), dict) and isinstance(value.field("_parameters"), dict))
        or compiled(value) is not None
    )


def compiled(value: Instance) -> Instance | None:
    """The module that `torch.compile` wrapped, whose wrapper is pickled as a call; None for any other object."""
    if value.class_name != "torch._dynamo.eval_frame.OptimizedModule" or not value.args:
        return None
    inner = value.args[0]
    own = isinstance(inner, Instance) and isinstance(inner.field("_modules"), dict)
    return inner if own and isinstance(inner.field("_parameters"), dict) else None


def fields(value: Instance) -> Mapping[str, Any]:
    """The attributes that an object's state would give it."""
    parts = value.state if isinstance(value.state, tuple) else (value.state,)
    merged: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, dict):
            merged.update((name, item) for name, item in part.items() if isinstance(name, str))
    return merged


def class_of(value: Instance) -> Global:
    """The class of an object, by name only."""
    return value.of if isinstance(value.of, Global) else Global("", "?")
