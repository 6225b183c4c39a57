"""Tensors in the nested values that a torch module takes and returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.probes.child.refusal import Refused

Array = np.ndarray[Any, Any]
_DEEPEST = 16  # levels of nesting


def leaves(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Array]]:
    """The tensors in a tensor, sequence, mapping or dataclass, with their names (`boxes`, `levels.0`).

    What has no name of its own has "". None is left out, as exporters leave it out. Raises Refused for a value that
    no export has as an output.
    """
    import torch

    if value is None:
        return
    if isinstance(value, torch.Tensor):
        yield name, to_array(value)
    elif isinstance(value, np.ndarray | np.generic | bool | int | float):
        yield name, np.asarray(value)
    elif depth < _DEEPEST and (parts := _parts(value)) is not None:
        for key, part in parts:
            yield from leaves(part, f"{name}.{key}" if name and key else key or name, depth + 1)
    else:
        kind = type(value).__name__
        raise Refused(f"the reference returned a value of type {kind}, which is no tensor and no output of an export")


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """What a container holds, by names where it has them; None for what is no container."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(str(field), getattr(value, field)) for field in value._fields]
    if isinstance(value, list | tuple):
        return [("", part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def named(found: Sequence[tuple[str, Array]]) -> dict[str, Array] | list[Array]:
    """By name where every one has a name of its own, else in order."""
    names = {name for name, _ in found}
    return dict(found) if len(names) == len(found) and "" not in names else [array for _, array in found]


def to_array(tensor: Any) -> Array:
    """A tensor's numbers; types that numpy lacks become float32. The array does not share the tensor's memory."""
    import torch

    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    return np.array(tensor.cpu().resolve_conj().resolve_neg().numpy())


def to_tensor(array: Array, floats: Any = None) -> Any:
    """A tensor with a copy of an array. Reduced precision becomes `floats`, what the module computes in."""
    import torch

    array = np.array(array)
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat", "float8")):  # of ml_dtypes
        return torch.from_numpy(array.astype(np.float32)).to(floats or torch.float32)
    tensor = torch.from_numpy(array)
    return tensor.to(floats) if floats is not None and tensor.dtype == torch.float16 else tensor
