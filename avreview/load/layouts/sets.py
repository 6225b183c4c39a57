"""The weight sets of a checkpoint: what was found, under the names `model` (raw), `ema`, `swa` and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.checkpoint import Module, WeightSet
from avreview.load.layouts import families
from avreview.load.layouts.averages import counters, taken_apart
from avreview.load.layouts.find import Found, Weights
from avreview.load.layouts.module_tree import read_module, without_frozen
from avreview.load.layouts.state_dicts import flatten, renamed, stripped
from avreview.load.layouts.values import Budget, Held, is_module, named

_AVERAGES = ("ema", "swa")


class Sets(NamedTuple):
    """Weight sets by name; what belongs to one of them goes by the same name."""

    by_name: dict[str, WeightSet]
    trees: dict[str, Mapping[str, Module]]
    limitations: dict[str, list[str]]
    apart: set[str]  # sets that are neither the model nor an average of it: a discriminator, a criterion
    counted: dict[str, Any]  # averaging: what the averages' counters say
    unread: list[str]  # why there are no weights where some were found


class _Part(NamedTuple):
    """A value with weights, read."""

    where: str
    key: str
    role: str | None
    set_: WeightSet
    modules: Mapping[str, Module] | None = None
    limitations: tuple[str, ...] = ()


def weight_sets(found: Found, budget: Budget) -> Sets:
    """Reads every value that holds weights and gives each its name."""
    own = families.roles(found.layout, found.top, [item.where for item in found.weights])
    sets = Sets({}, {}, {}, set(), {}, [])
    parts = []
    for item in found.weights:
        known = item._replace(role=own.get(item.where, item.role))
        read = _read(known, sets, budget)
        parts += [part for part in read if part.set_.tensors]
        sets.unread.extend(said for part in read if not part.set_.tensors for said in part.limitations)
    unknown = [part for part in parts if part.role is None]
    if unknown and len(unknown) == len(parts):
        if len(parts) > 1 and all(part.modules is None for part in parts) and not _alike(parts):
            parts = [_joined(parts)]
        parts = [parts[0]._replace(role="model"), *parts[1:]] if len(parts) == 1 else parts
    for part in parts:
        _add(part, sets)
    _share_trees(sets)
    return sets


def _read(item: Weights, sets: Sets, budget: Budget) -> list[_Part]:
    if is_module(item.value):
        return [_module_part(item, budget)]
    tensors = flatten(item.value, budget)
    if item.role in (None, "model") and (parts := taken_apart(tensors)):
        return [
            _part(item, {key: tensors[key] for key in keys}, role, keys)
            for role, keys in (("model", parts.raw), (parts.kind, parts.averaged))
        ]
    role = item.role
    if kept := counters(tensors):
        _count(item.where, {key: tensors[key] for key in kept}, sets)
        tensors = {key: tensor for key, tensor in tensors.items() if key not in kept}
        if role in (None, "model") and not item.where.startswith("ema_state_dict"):
            role = "swa" if "n_averaged" in kept else "ema"
    return [_part(item, tensors, role)]


def _part(
    item: Weights, tensors: Mapping[str, Held], role: str | None, names: Mapping[str, str] | None = None
) -> _Part:
    """A state dict as a weight set; `names` are those that a part of a state dict goes by."""
    names = names or {key: key for key in tensors}
    without = stripped(names.values())
    final = {key: without.by_key[name] for key, name in names.items()}
    prefix = without.prefix
    return _Part(item.where, item.key, role, WeightSet("", item.where, renamed(tensors, final), prefix))


def _module_part(item: Weights, budget: Budget) -> _Part:
    """A pickled module as a weight set: its tree tells the names, so that nothing is stripped but its wrappers."""
    tree = without_frozen(read_module(item.value, budget))
    tensors = {name: named(each.tensor, tree.prefix + name) for name, each in tree.tensors.items()}
    one = WeightSet("", item.where, tensors, tree.prefix, tree.training)
    role = tree.average if tree.average and item.role in (None, "model") else item.role
    return _Part(item.where, item.key, role, one, tree.modules, tuple(tree.limitations))


def _alike(parts: list[_Part]) -> bool:
    """Whether sets are versions of one model: the same names and shapes."""
    first, *rest = [{name: tensor.shape for name, tensor in part.set_.tensors.items()} for part in parts]
    return all(other == first for other in rest)


def _joined(parts: list[_Part]) -> _Part:
    """Parts of one model that were saved under a key each (`encoder`, `decoder`), as one set."""
    tensors = {
        f"{part.where}.{name}": named(tensor, f"{part.where}.{tensor.name}")
        for part in parts
        for name, tensor in part.set_.tensors.items()
    }
    return _Part("", "", "model", WeightSet("", "", tensors))


def _add(part: _Part, sets: Sets) -> None:
    name = part.role if part.role and part.role not in sets.by_name else part.where or part.key or "model"
    while name in sets.by_name:
        name += "'"
    sets.by_name[name] = part.set_._replace(name=name)
    if name != part.role:
        sets.apart.add(name)
    if part.modules is not None:
        sets.trees[name] = part.modules
    sets.limitations[name] = list(part.limitations)


def _share_trees(sets: Sets) -> None:
    """Gives an average that was saved as a state dict the tree of a module whose tensors have the same names."""
    for name in _AVERAGES:
        one = sets.by_name.get(name)
        if one is None or name in sets.trees:
            continue
        for other, tree in list(sets.trees.items()):
            if sets.by_name[other].tensors.keys() == one.tensors.keys():
                sets.trees[name] = tree


def _count(where: str, kept: Mapping[str, Held], sets: Sets) -> None:
    """Reads the counters of an average (`n_averaged`, `steps`), one number each."""
    numbers = {key: item.tensor.part(0, 1)[0].item() for key, item in kept.items()}
    sets.counted.setdefault("averaging", {})[where] = numbers
