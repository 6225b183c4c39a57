"""State dicts: names and tensors, without what training wrappers put before the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.load.layouts.values import MAX_DEPTH, Budget, Held, held, key_text, mapping_of, named

if TYPE_CHECKING:
    from avreview.artifact import Tensor

# A wrapper holds the model as its one child. DataParallel, DDP and AveragedModel call it `module`, torch.compile
# `_orig_mod`, Lightning's strategies `_forward_module`, FSDP `_fsdp_wrapped_module`, activation checkpointing
# `_checkpoint_wrapped_module`, ema_pytorch `ema_model`; a LightningModule usually calls its network `model`.
PREFIXES = (
    "module.", "model.", "_orig_mod.", "_forward_module.", "ema_model.", "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
)  # fmt: skip
# Those that wrap modules inside a model too, and that nobody gives to a module of their own.
INNER = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_forward_module", "_checkpoint_wrapped_module"))


_NO_MORE = object()
_END = (None, _NO_MORE)


class Names(NamedTuple):
    """Keys by the names they have inside the model, and what every one of them began with."""

    by_key: Mapping[str, str]
    prefix: str


def flatten(value: Any, budget: Budget) -> dict[str, Held]:
    """The tensors of a dictionary, of dictionaries in it as `outer.inner`; everything else in it is left out.

    Raises ArtifactError when there are more than any checkpoint has.
    """
    flat: dict[str, Held] = {}
    top = mapping_of(value)
    if top is None:
        return flat
    inside = {id(value)}
    stack = [("", value, iter(top.items()))]
    while stack:
        prefix, container, items = stack[-1]
        key, item = next(items, _END)
        if item is _NO_MORE:
            stack.pop()
            inside.discard(id(container))
            continue
        own = key_text(key)
        if own is None:
            continue
        name = prefix + own
        budget.take(name)
        if (tensor := held(item)) is not None:
            flat[name] = tensor
        elif (inner := mapping_of(item)) and id(item) not in inside and len(stack) < MAX_DEPTH:
            inside.add(id(item))
            stack.append((f"{name}.", item, iter(inner.items())))
    return flat


def stripped(keys: Iterable[str]) -> Names:
    """Keys without the prefixes that all of them carry, and without inner wrappers; as they are where that clashes."""
    names = {key: key for key in keys}
    prefix = ""
    while (found := _common(names.values())) and len(prefix) < 200:
        prefix += found
        names = {key: name[len(found) :] for key, name in names.items()}
    inner = {key: _without_inner(name) for key, name in names.items()}
    if len(set(inner.values())) == len(inner):
        names = inner
    return Names(names, prefix)


def renamed(tensors: Mapping[str, Held], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors by their names inside the model; `Tensor.name` is the key that the file has."""
    return {names[key]: named(item.tensor, key) for key, item in tensors.items()}


def _common(names: Iterable[str]) -> str:
    """The known prefix that every name carries, with something behind it; "" if there is none."""
    every = list(names)
    if not every:
        return ""
    for prefix in PREFIXES:
        if every[0].startswith(prefix) and all(name.startswith(prefix) and len(name) > len(prefix) for name in every):
            return prefix
    return ""


def _without_inner(name: str) -> str:
    if not any(wrapper in name for wrapper in INNER):
        return name
    parts = name.split(".")
    return ".".join([part for part in parts if part not in INNER]) or name
