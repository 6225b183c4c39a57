"""Which parts of a torch module compute otherwise in train() than in eval()."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

_TORCH = ("torch.nn.", "torch.ao.nn.")
_DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout", "RReLU")
_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")


def sensitive_parts(module: Any) -> dict[str, Any]:
    """Every part that reads its own mode, by path; of torch's own classes those whose settings let the mode matter."""
    found = {}
    seen: set[int] = set()
    for path, part in module.named_modules():
        if id(part) not in seen and _reads_mode(part):
            seen.add(id(part))
            found[path] = part
    return found


def norms_and_dropouts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of torch's own classes."""
    return {path: part for path, part in parts.items() if _of_torch(part) or _scripted(part) in (*_DROPOUTS, *_NORMS)}


def kind(part: Any) -> str:
    """The name of a part's class, also where it was compiled."""
    return _scripted(part) or type(part).__name__


def _scripted(part: Any) -> str:
    return str(getattr(part, "original_name", ""))


def _of_torch(part: Any) -> bool:
    return type(part).__module__.startswith(_TORCH) and not _scripted(part)


def _reads_mode(part: Any) -> bool:
    import torch

    if isinstance(part, torch.jit.ScriptModule):
        return _compiled_reads_mode(part)
    if not _of_torch(part):
        known = isinstance(part, torch.nn.modules.batchnorm._NormBase | torch.nn.modules.dropout._DropoutNd)
        return _settings_matter(part) if known else _code_reads_mode(type(part))
    return _settings_matter(part)


def _settings_matter(part: Any) -> bool:
    """Of torch's own: norms that keep statistics, and whatever drops at a rate above 0."""
    import torch.nn as nn

    if isinstance(part, nn.modules.batchnorm._NormBase):
        return part.running_mean is not None
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return bool(part.p > 0)
    if isinstance(part, nn.RNNBase | nn.MultiheadAttention):
        return bool(part.dropout > 0)
    return isinstance(part, nn.RReLU)


def _code_reads_mode(owner: type) -> bool:
    """Whether a method of a class, or of one that it builds on, mentions `training`."""
    for base in owner.__mro__:
        if base.__module__.startswith("torch."):
            continue
        for value in vars(base).values():
            code = getattr(value, "__code__", None)
            if isinstance(code, types.CodeType) and "training" in _names(code):
                return True
    return False


def _names(code: types.CodeType) -> set[str]:
    """The names that a function reads, with those of functions and comprehensions inside it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _compiled_reads_mode(part: Any) -> bool:
    """Of TorchScript: a traced or frozen module has the mode written into its graph and reads none."""
    try:
        return 'name="training"' in str(part.graph)
    except Exception:  # a module without a forward method has no graph
        return False
