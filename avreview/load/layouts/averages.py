"""Averaged weights (EMA, SWA) that lie in one state dict with the raw ones, and the counters that averaging keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from avreview.load.layouts.values import Held

# What AveragedModel of torch and Lightning, mmengine's, ema_pytorch's and LitEma keep beside the weights.
COUNTERS = frozenset(("n_averaged", "steps", "step", "initted", "num_updates", "updates", "decay"))
_AVERAGED = ("ema_model.", "model_ema.", "ema.", "ema_module.", "ema_network.", "net_ema.", "teacher.", "swa_model.")
_RAW = ("online_model.", "student.", "model.", "net.", "network.", "module.", "")
_OF_WRAPPERS = ("online_model.", "student.")  # those of the above that are no part of the model
_LEAST_SHARE = 0.9  # of the averaged tensors that have a raw twin; buffers may be kept once


class Parts(NamedTuple):
    """One state dict taken apart; each part by the keys that the file has, with the name that belongs to it."""

    raw: dict[str, str]  # key → name
    averaged: dict[str, str]
    kind: str  # `ema` or `swa`


def counters(tensors: Mapping[str, Held]) -> frozenset[str]:
    """The keys of the counters that a wrapper for averaging adds to the weights of its one child `module`."""
    own = [key for key in tensors if "." not in key]
    rest = len(tensors) - len(own)
    if not own or not rest or not all(key in COUNTERS and tensors[key].tensor.size == 1 for key in own):
        return frozenset()
    inner = sum(key.startswith(("module.", "ema_model.", "online_model.")) for key in tensors)
    return frozenset(own) if inner == rest else frozenset()


def taken_apart(tensors: Mapping[str, Held]) -> Parts | None:
    """The raw and the averaged weights of a state dict that holds both; None when it holds one of them only."""
    for prefix in _AVERAGED:
        averaged = {key: key[len(prefix) :] for key in tensors if key.startswith(prefix)}
        if not averaged or len(averaged) == len(tensors):
            continue
        for raw in _RAW:
            if parts := _paired(tensors, averaged, prefix, raw, lambda name: name):
                return parts
        # LitEma keeps its copies as buffers, whose names must not hold dots.
        for raw in ("model.", ""):
            if parts := _paired(tensors, averaged, prefix, raw, lambda name: name.replace(".", "")):
                return parts
    # mmcv 1.x keeps the raw weights as buffers `ema_…` while the averaged ones stand in their places.
    buffers = {key: key for key in tensors if key.startswith("ema_") and "." not in key}
    if buffers:
        twins = {f"ema_{key.replace('.', '_')}": key for key in tensors if key not in buffers}
        if all(key in twins for key in buffers):
            raw_names = {key: twins[key] for key in buffers}
            shared = {key: key for key in tensors if key not in buffers}
            kept = {key: key for key in shared if key not in set(raw_names.values())}
            return Parts({**kept, **raw_names}, shared, "ema")
    return None


def _paired(
    tensors: Mapping[str, Held],
    averaged: Mapping[str, str],
    prefix: str,
    raw: str,
    as_written: Callable[[str], str],
) -> Parts | None:
    """Averaged weights with a raw twin of the same shape each. What is neither belongs to both parts."""
    others = {key: key[len(raw) :] for key in tensors if key.startswith(raw) and not key.startswith(prefix)}
    twins = {as_written(name): key for key, name in others.items()}
    pairs = {
        key: twins[name]
        for key, name in averaged.items()
        if name in twins and tensors[twins[name]].tensor.shape == tensors[key].tensor.shape
    }
    alone = [key for key, name in averaged.items() if key not in pairs and name not in COUNTERS]
    if len(pairs) < _LEAST_SHARE * (len(pairs) + len(alone)) or not pairs:
        return None
    replaced = set(pairs.values())
    shared = {
        key: key
        for key in tensors
        if key not in averaged and key not in replaced and not ("." not in key and key in COUNTERS)
    }
    cut = len(raw) if raw in _OF_WRAPPERS else 0
    whole = {key: key[cut:] if key in replaced else key for key in tensors if key in shared or key in replaced}
    copies = {key: twin[cut:] for key, twin in pairs.items()} | {key: (raw + averaged[key])[cut:] for key in alone}
    return Parts(whole, {**shared, **copies}, "swa" if prefix.startswith("swa") else "ema")
