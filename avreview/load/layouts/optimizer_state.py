"""Optimizers of a checkpoint: their groups with all settings, and their state by slot.

A slot is what the optimizer calls a parameter: its number over all groups, a name (FSDP, DCP, torchtune), or in
files of torch < 1.5 the `id()` that the parameter had in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from avreview.checkpoint import Optimizer, ParamGroup, Slot
from avreview.load.layouts.metadata import plain
from avreview.load.layouts.state_dicts import stripped
from avreview.load.layouts.values import Budget, class_of, fields, held, key_text, mapping_of, named
from avreview.load.pickles.inert import Instance

_NOT_SLOTS = frozenset(("params", "param_names"))
_INNER = ("optimizer_state_dict", "base_optimizer_state", "optimizer", "state_dict")  # apex, DeepSpeed, accelerate
_MOST_NUMBERS = 8  # of one setting: betas are two or three
_MOST_WRAPPERS = 4


class Optimizers(NamedTuple):
    """The optimizers found, and what of them could not be read."""

    found: list[Optimizer]
    limitations: list[str]


def is_optimizer(value: Any) -> bool:
    """Whether a value is an optimizer's `state_dict()`, nested or flattened."""
    mapping = mapping_of(value)
    if mapping is None:
        return False
    if isinstance(mapping.get("param_groups"), list) and "state" in mapping:
        return True
    return _is_flat(mapping)


def holds_optimizers(value: Any) -> bool:
    """Whether a value is an optimizer, or a list or dictionary of optimizers and nothing else."""
    if is_optimizer(value) or _pickled(value):
        return True
    if isinstance(value, list | tuple):
        return bool(value) and all(is_optimizer(item) for item in value)
    mapping = mapping_of(value)
    if not mapping:
        return False
    if any(is_optimizer(mapping.get(name)) for name in _INNER):
        return True
    return all(is_optimizer(item) for item in mapping.values())


def read_optimizers(value: Any, where: str, budget: Budget) -> list[Optimizer]:
    """The optimizers of a value: one, a list (Lightning), a dictionary (mmengine), or one a parameter (torchtune)."""
    for _ in range(_MOST_WRAPPERS):
        if (pickled := _pickled(value)) is not None:
            return [_read(_numbered(fields(pickled)), where, budget, class_of(pickled).name)]
        mapping = mapping_of(value)
        if is_optimizer(value) and mapping is not None:
            return [_read(_nested(mapping) if _is_flat(mapping) else mapping, where, budget)]
        inner = next((name for name in _INNER if mapping and name in mapping), None)
        if mapping is None or inner is None or not holds_optimizers(mapping[inner]):
            break
        value, where = mapping[inner], f"{where}.{inner}"
    if isinstance(value, list | tuple):
        each = [(f"{where}[{number}]", item) for number, item in enumerate(value)]
    else:
        each = [(f"{where}.{name}", item) for name, item in _named(value)]
    single = [(place, mapping) for place, item in each if is_optimizer(item) and (mapping := mapping_of(item))]
    if mapping_of(value) is not None and len(single) > 1 and all(_one_parameter(item) for _, item in single):
        return [_joined(value, where, budget)]
    return [_read(item, place, budget) for place, item in single]


def _read(mapping: Mapping[Any, Any], where: str, budget: Budget, kind: str | None = None) -> Optimizer:
    raw_groups = mapping.get("param_groups")
    groups = tuple(_groups(raw_groups if isinstance(raw_groups, list) else [], budget))
    state: dict[Slot, dict[str, Any]] = {}
    for slot, entries in (mapping_of(mapping.get("state")) or {}).items():
        if key_text(slot) is not None and (inner := mapping_of(entries)) is not None:
            state[slot] = dict(_slot_state(inner, f"{where}.state.{slot}", budget))
    return Optimizer(where, groups, state, kind)


def _groups(raw: list[Any], budget: Budget) -> Iterator[ParamGroup]:
    count = 0
    for item in raw:
        group = mapping_of(item)
        if group is None:
            continue
        params = group.get("params")
        slots: list[Slot] = []
        for param in params if isinstance(params, list | tuple) else ():
            budget.take()
            slots.append(param if key_text(param) is not None else count)
            count += 1
        options = {name: plain(option, budget, name) for name, option in _named(group) if name not in _NOT_SLOTS}
        named = group.get("param_names")
        names = tuple(slot for slot in slots if isinstance(slot, str))
        if isinstance(named, list | tuple):
            names = tuple(name for name in named if isinstance(name, str))
        yield ParamGroup(
            options,
            tuple(slots),
            names if len(names) == len(slots) else (),
        )


def _slot_state(entries: Mapping[Any, Any], where: str, budget: Budget) -> Iterator[tuple[str, Any]]:
    """Tensors named by their place, and plain numbers; what Shampoo and its like nest is flattened one level."""
    for name, item in _named(entries):
        budget.take(where)
        if (tensor := held(item)) is not None:
            yield name, named(tensor.tensor, f"{where}.{name}")
        elif inner := mapping_of(item):
            for below, value in _named(inner):
                budget.take(where)
                if (tensor := held(value)) is not None:
                    yield f"{name}.{below}", named(tensor.tensor, f"{where}.{name}.{below}")
        else:
            yield name, plain(item, budget, name)


def _named(value: Any) -> list[tuple[str, Any]]:
    """The entries of a dictionary whose keys can be part of a name."""
    mapping = mapping_of(value) or {}
    return [(name, item) for key, item in mapping.items() if (name := key_text(key)) is not None]


def _pickled(value: Any) -> Instance | None:
    """An optimizer that was saved whole: its groups hold the parameters themselves."""
    if isinstance(value, Instance) and isinstance(value.field("param_groups"), list) and mapping_of(value) is None:
        return value
    return None


def _numbered(whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a pickled optimizer as its `state_dict()` would be: parameters replaced by their numbers."""
    numbers: dict[int, int] = {}
    groups = []
    for item in whole["param_groups"]:
        group = mapping_of(item) or {}
        params = group.get("params")
        each = [tensor for param in params if (tensor := held(param))] if isinstance(params, list) else []
        slots = [numbers.setdefault(id(tensor.tensor.storage), len(numbers)) for tensor in each]
        groups.append({**group, "params": slots})
    state = {}
    for param, entries in (mapping_of(whole.get("state")) or {}).items():
        tensor = held(param)
        if tensor and id(tensor.tensor.storage) in numbers:
            state[numbers[id(tensor.tensor.storage)]] = entries
    return {"state": state, "param_groups": groups}


def _one_parameter(mapping: Mapping[Any, Any]) -> bool:
    groups = mapping.get("param_groups")
    if not isinstance(groups, list) or len(groups) != 1 or not (group := mapping_of(groups[0])):
        return False
    params = group.get("params")
    return isinstance(params, list | tuple) and len(params) == 1


def _joined(value: Any, where: str, budget: Budget) -> Optimizer:
    """Optimizers that step in the backward pass, one a parameter and named by it, as one of as many groups."""
    groups: list[ParamGroup] = []
    state: dict[Slot, Mapping[str, Any]] = {}
    for name, item in _named(value):
        one = _read(mapping_of(item) or {}, f"{where}.{name}", budget)
        groups += [ParamGroup(group.options, (name,), (name,)) for group in one.groups]
        state[name] = next(iter(one.state.values()), {})
    return Optimizer(where, tuple(groups), state)


def _is_flat(mapping: Mapping[Any, Any]) -> bool:
    """Whether keys are `state.<name>.exp_avg` and `param_groups.<name>.lr` (`flatten_optimizer_state_dict`)."""
    keys = [key for key in mapping if isinstance(key, str)]
    return (
        bool(keys)
        and len(keys) == len(mapping)
        and "param_groups" not in mapping
        and (
            all(key.startswith(("state.", "param_groups.")) for key in keys)
            and any(key.startswith("param_groups.") for key in keys)
        )
    )


def _nested(mapping: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The flattened form with one group for every set of options, in the order of first use."""
    state: dict[str, dict[str, Any]] = {}
    options: dict[str, dict[str, Any]] = {}
    for key, item in mapping.items():
        part, _, rest = key.partition(".")
        name, _, own = rest.rpartition(".")
        (state if part == "state" else options).setdefault(name, {})[own] = item
    groups: dict[str, dict[str, Any]] = {}
    for name, group in options.items():
        if "params" in group and not isinstance(group["params"], str):
            del group["params"]
        same = repr([(option, _alike(item)) for option, item in group.items()])
        groups.setdefault(same, {**group, "params": []})["params"].append(name)
    return {"state": state, "param_groups": list(groups.values())}


def _alike(value: Any) -> Any:
    """What is equal for equal settings, and cannot take long to write out."""
    if isinstance(value, tuple | list) and len(value) <= _MOST_NUMBERS:
        return [_alike(item) if not isinstance(item, tuple | list) else id(item) for item in value]
    if isinstance(value, bool | float | str) or value is None:
        return value
    return key_text(value) or id(value)


def with_clean_names(optimizer: Optimizer, prefix: str) -> Optimizer:
    """Recorded names as the weight set has them: without the wrappers' prefixes that the set's keys had."""
    recorded = [name for group in optimizer.groups for name in group.names]
    if not recorded:
        return optimizer
    without = stripped(recorded)
    if without.prefix != prefix:
        cut = len(prefix) if prefix and all(name.startswith(prefix) for name in recorded) else 0
        by_name = {name: name[cut:] for name in recorded}
    else:
        by_name = dict(without.by_key)
    groups = tuple(group._replace(names=tuple(by_name[name] for name in group.names)) for group in optimizer.groups)
    return optimizer._replace(groups=groups)
