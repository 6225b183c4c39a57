"""A pickled `nn.Module`, of which nothing was run, as its tree of modules and as its `state_dict()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from avreview.checkpoint import Module
from avreview.load.layouts.values import (
    MAX_DEPTH,
    Budget,
    Held,
    class_of,
    compiled,
    fields,
    held,
    is_module,
    mapping_of,
)
from avreview.load.pickles.inert import Global, Instance
from avreview.load.wording import quoted

_WRAPPERS = {  # a root that holds the model as its one child, by the child's name
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
    "AveragedModel": "module",
    "ExponentialMovingAverage": "module",
    "ModelEmaV3": "module",
    "_FabricModule": "_forward_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}
_INNER_WRAPPERS = frozenset(("OptimizedModule", "FullyShardedDataParallel", "CheckpointWrapper"))
_AVERAGES = {"AveragedModel": "swa", "ExponentialMovingAverage": "ema", "ModelEmaV3": "ema"}
_ENTRIES = 20  # that a module counts for, with all it keeps
_ENTRIES_AGAIN = 200  # … at each further place: heads share a few modules, bombs share all
_LONGEST_TEXT = 1000  # of an attribute
_MOST_VALUES = 64  # of an attribute that is a tuple
_NOTHING = object()


class ModuleTree(NamedTuple):
    """What a pickled module tells. `tensors` are as `state_dict()` has them, parents before children."""

    modules: dict[str, Module]
    tensors: dict[str, Held]
    prefix: str  # of the wrappers around the model: `module.`
    average: str | None  # `ema` or `swa` when a wrapper is one for averaging
    training: bool | None  # the root's flag
    limitations: list[str]


class _Place(NamedTuple):
    path: str
    value: Instance
    inside: tuple[int, ...]  # the modules that hold this one


def read_module(root: Instance, budget: Budget) -> ModuleTree:
    """Reads the tree below a pickled module, which `is_module` recognised.

    Modules that hold themselves are cut there; a module at several places is read at each. Raises ArtifactError
    when there are more than any model has.
    """
    root, wrappers = _unwrapped(root)
    prefix = "".join(f"{_WRAPPERS[wrapper]}." for wrapper in wrappers)
    average = next((_AVERAGES[wrapper] for wrapper in wrappers if wrapper in _AVERAGES), None)
    tree = ModuleTree({}, {}, prefix, average, _flag(root.field("training")), [])
    unread: list[str] = []
    lazy: list[str] = []
    cut: list[str] = []
    seen: set[int] = set()
    stack = [_Place("", root, ())]
    while stack:
        place = stack.pop()
        budget.take(place.path, _ENTRIES_AGAIN if id(place.value) in seen else _ENTRIES)
        seen.add(id(place.value))
        tree.modules[place.path] = _module(place)
        if not is_module(place.value):
            unread.append(f"{place.path} ({class_of(place.value).name})")
            continue
        if any(_is_packed(item) for item in fields(place.value).values()):
            unread.append(f"{place.path} ({class_of(place.value).name})")
        _tensors(place, tree.tensors, lazy, budget)
        below = []
        for name, child in _children(place.value):
            if id(child) in place.inside or child is place.value or len(place.inside) >= MAX_DEPTH:
                cut.append(_joined(place.path, name))
            else:
                below.append(_Place(_joined(place.path, name), child, (*place.inside, id(place.value))))
        stack += reversed(below)
    tree.limitations.extend(_limitations(unread, lazy, cut))
    return tree


def without_frozen(tree: ModuleTree) -> ModuleTree:
    """A tree in which every parameter has requires_grad False, as copies for inference have, with none marked.

    ultralytics and YOLOX freeze their averaged copy, and many people a model before they save it.
    """
    own = [module for module in tree.modules.values() if module.parameters]
    if not own or any(len(module.frozen) < len(module.parameters) for module in own):
        return tree
    thawed = {path: _replace_frozen(module) for path, module in tree.modules.items()}
    said = (
        "the pickled module has requires_grad False on every parameter, as copies for inference have: it does not "
        "tell what training left frozen"
    )
    return tree._replace(modules=thawed, limitations=[*tree.limitations, said])


def _replace_frozen(module: Module) -> Module:
    return module._replace(frozen=frozenset())


def _unwrapped(root: Instance) -> tuple[Instance, list[str]]:
    """The model, and the classes of the wrappers around it, the outermost first."""
    wrappers: list[str] = []
    while len(wrappers) < MAX_DEPTH and (inner := _inside(root)) is not None:
        wrappers.append(class_of(root).name)
        root = inner
    return root, wrappers


def _inside(wrapper: Instance) -> Instance | None:
    """The module in a wrapper around it; None when it is no wrapper."""
    modules = wrapper.field("_modules")
    if not isinstance(modules, dict):
        return compiled(wrapper)
    inner = modules.get(_WRAPPERS.get(class_of(wrapper).name, ""))
    return inner if isinstance(inner, Instance) and is_module(inner) and inner is not wrapper else None


def _module(place: _Place) -> Module:
    value = place.value
    parameters = _named(value.field("_parameters"))
    own = class_of(value)
    return Module(
        place.path,
        own.name.rpartition(".")[2] or "?",
        own.module,
        dict(_attributes(fields(value))),
        tuple(name for name, _ in _children(value)),
        tuple(name for name, _ in parameters),
        tuple(name for name, _ in _named(value.field("_buffers"))),
        frozenset(name for name, item in parameters if (tensor := held(item)) and tensor.trainable is False),
    )


def _children(value: Instance) -> list[tuple[str, Instance]]:
    """The modules that a module holds, without what `torch.compile` and FSDP put around them."""
    held_by = [(name, item) for name, item in _named(value.field("_modules")) if isinstance(item, Instance)]
    return [
        (name, (_inside(item) or item) if class_of(item).name in _INNER_WRAPPERS else item) for name, item in held_by
    ]


def _named(value: Any) -> list[tuple[str, Any]]:
    """The entries of `_parameters`, `_buffers` or `_modules` that are not None: `register_parameter("bias", None)`."""
    mapping = mapping_of(value) or {}
    return [(name, item) for name, item in mapping.items() if isinstance(name, str) and item is not None]


def _tensors(place: _Place, into: dict[str, Held], lazy: list[str], budget: Budget) -> None:
    """A module's own parameters and persistent buffers, in the order of `state_dict()`."""
    kept_out = place.value.field("_non_persistent_buffers_set")
    temporary = kept_out if isinstance(kept_out, set | frozenset | list | tuple) else ()
    own = _named(place.value.field("_parameters"))
    own += [(name, item) for name, item in _named(place.value.field("_buffers")) if name not in temporary]
    for name, item in own:
        key = _joined(place.path, name)
        budget.take(key)
        tensor = held(item)
        if tensor is not None:
            into[key] = tensor
        else:
            lazy.append(key)


def _attributes(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, item in state.items():
        if name.startswith("_"):
            continue
        value = _plain(item)
        if value is not _NOTHING:
            yield name, value


def _plain(value: Any) -> Any:
    """A number, text, boolean or None; a function's or class's dotted name; a flat tuple of such."""
    if value is None or isinstance(value, bool | float | int):
        return value if not isinstance(value, int) or value.bit_length() <= 64 else _NOTHING
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else _NOTHING
    if isinstance(value, Global):
        return value.dotted
    if isinstance(value, list | tuple) and len(value) <= _MOST_VALUES and not getattr(value, "_fields", None):
        flat = [item for part in value for item in (part if isinstance(part, list | tuple) else (part,))]
        if len(flat) <= _MOST_VALUES and all(item is None or isinstance(item, int | float | str) for item in flat):
            return tuple(flat)
    return _NOTHING


def _is_packed(value: Any) -> bool:
    """Whether an attribute is an object of the C++ side: quantized layers keep their packed weights in one."""
    return isinstance(value, Instance) and value.class_name == "torch.ScriptObject"


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _limitations(unread: list[str], lazy: list[str], cut: list[str]) -> Iterator[str]:
    if unread:
        yield f"weights inside {_some(unread)} were not read: the module keeps them in a form of its own"
    if lazy:
        yield f"{_some(lazy)} hold no values: lazy modules that never saw an input, or tensors of an unknown kind"
    if cut:
        yield f"{_some(cut)} were not followed: the module holds itself, or lies more than {MAX_DEPTH} levels deep"


def _some(names: list[str]) -> str:
    """The first of the names, and how many more there are."""
    shown = ", ".join(map(quoted, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
