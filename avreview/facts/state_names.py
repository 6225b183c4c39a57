"""Modules as a state dict's names and shapes tell them: what has a `running_mean` is a batch norm.

Names say which parameters belong together and shapes what they may be. Settings (stride, eps, mode) they do not say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from avreview.artifact import Tensor
from avreview.checkpoint import Module

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_PACKAGE = "torch.nn"
_TABLE = re.compile(r"emb|^wte$|^wpe$|^shared$|token|position")
_NORM = re.compile(r"norm|^ln|^rms|_ln|_rms")
_GATES = {4: "LSTM", 3: "GRU", 1: "RNN"}


def named_modules(tensors: Mapping[str, Tensor]) -> dict[str, Module]:
    """A module for every prefix that holds tensors directly, in the order of the state dict; the root is first."""
    held: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, _, own = name.rpartition(".")
        held.setdefault(path, {})[own] = tensor
    paths = [path for path in held if path]
    root = Module("", "", "", children=tuple(paths), parameters=_parameters(held.get("", {})))
    return {"": root, **{path: _module(path, held[path]) for path in paths}}


def _module(path: str, own: Mapping[str, Tensor]) -> Module:
    return Module(
        path, kind_of(path.rpartition(".")[2], own), _PACKAGE,
        parameters=_parameters(own),
        buffers=tuple(name for name in own if name in STATISTICS),
    )  # fmt: skip


def _parameters(own: Mapping[str, Tensor]) -> tuple[str, ...]:
    return tuple(name for name in own if name not in STATISTICS)


def kind_of(name: str, own: Mapping[str, Tensor]) -> str:
    """The class that a module of this name with these tensors most likely has, "" where they fit none.

    A transposed convolution looks like a plain one: it is called by the commoner name. An embedding looks like a
    linear layer without bias, a PReLU like an RMS norm: there the module's own name decides.
    """
    if "running_mean" in own and "running_var" in own:
        return "BatchNorm"
    hidden = own.get("weight_hh_l0") or own.get("weight_hh")
    if hidden is not None:
        return _recurrent(hidden)
    weight = own.get("weight")
    if weight is None:
        return "MultiheadAttention" if "in_proj_weight" in own else ""
    rank = len(weight.shape)
    bias = own.get("bias")
    if rank == 2:
        return "Embedding" if bias is None and _TABLE.search(name.lower()) else "Linear"
    if 3 <= rank <= 5:
        return f"Conv{rank - 2}d"
    if rank != 1 or weight.size < 2:
        return ""
    if bias is not None:
        return "Norm" if bias.shape == weight.shape else ""
    return "RMSNorm" if _NORM.search(name.lower()) else ""


def _recurrent(hidden: Tensor) -> str:
    if len(hidden.shape) != 2 or not hidden.shape[1]:
        return ""
    return _GATES.get(hidden.shape[0] // hidden.shape[1], "")
