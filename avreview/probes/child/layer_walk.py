"""The parts of a torch module that probes look at: its weight layers and its batch norms."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class WeightLayer(NamedTuple):
    """A module that multiplies by weights. `unit_axis` counts its units in its output, from the end."""

    path: str
    module: Any
    kind: str
    unit_axis: int
    recurrent: bool = False


def weight_layers(module: Any) -> list[WeightLayer]:
    """Convolutions, linear and recurrent layers, attention, and whatever else holds a weight matrix and no children.

    Embeddings look up and do not multiply, and are left out.
    """
    import torch.nn as nn
    from torch.nn.modules.conv import _ConvNd
    from torch.nn.modules.sparse import Embedding, EmbeddingBag

    recurrent = (nn.RNNBase, nn.RNNCellBase)
    found = []
    for path, part in module.named_modules():
        if isinstance(part, _ConvNd):
            found.append(WeightLayer(path, part, type(part).__name__, -len(part.kernel_size) - 1))
        elif isinstance(part, recurrent):
            found.append(WeightLayer(path, part, type(part).__name__, -1, recurrent=True))
        elif isinstance(part, nn.MultiheadAttention) or (
            not isinstance(part, Embedding | EmbeddingBag) and _multiplies(part)
        ):
            found.append(WeightLayer(path, part, type(part).__name__, -1))
    return found


def _multiplies(part: Any) -> bool:
    import torch

    weight = getattr(part, "weight", None)
    is_matrix = isinstance(weight, torch.nn.Parameter) and weight.ndim >= 2
    return is_matrix and next(part.children(), None) is None


def is_program(module: Any) -> bool:
    """Whether a module is an exported program's, which computes by itself all that its submodules hold weights for."""
    import torch

    if not isinstance(module, torch.fx.GraphModule):
        return False
    called = [module.get_submodule(node.target) for node in module.graph.nodes if node.op == "call_module"]
    return not any(next(part.parameters(), None) is not None for part in called)


_PROGRAM_KINDS = {"conv": "Conv", "linear": "Linear", "lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


def program_layer(node: Any, result: Any) -> WeightLayer | None:
    """The weight layer that a node of an exported program computes, under the path of the module it was written for."""
    found = re.fullmatch(r"aten\.(?:(conv)(?:_transpose)?\w*|(linear)|(lstm|gru|rnn)\w*)\.\w+", str(node.target))
    first = next(tensors(result), None)
    if node.op != "call_function" or found is None or first is None:
        return None
    kind = _PROGRAM_KINDS[next(filter(None, found.groups()))]
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack and stack[-1] and stack[-1][0] else str(node.name)
    return WeightLayer(path, None, kind, 1 - first.ndim if kind == "Conv" else -1, kind not in ("Conv", "Linear"))


def batch_norms(module: Any) -> list[Any]:
    """The batch norms that keep running statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]


def run_synced_norms_alone(module: Any) -> None:
    """Lets synchronized batch norms, which in training refuse to run on a CPU, compute as ordinary ones do."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    for part in module.modules():
        if isinstance(part, torch.nn.SyncBatchNorm):
            part.forward = types.MethodType(_BatchNorm.forward, part)


def tensors(value: Any, depth: int = 0) -> Iterator[Any]:
    """The tensors in a tensor, sequence, mapping or dataclass."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif depth < 16:
        parts: Any = ()
        if isinstance(value, Mapping):
            parts = value.values()
        elif isinstance(value, list | tuple):
            parts = value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
        for part in parts:
            yield from tensors(part, depth + 1)
