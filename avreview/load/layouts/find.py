"""Finding the parts of a checkpoint: where weights, optimizers and what else there is lie in its value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from avreview.load.layouts import families
from avreview.load.layouts.metadata import metadata
from avreview.load.layouts.optimizer_state import holds_optimizers, is_optimizer
from avreview.load.layouts.values import Budget, held, is_module, key_text, mapping_of
from avreview.load.pickles.inert import Instance

_MOST_LEVELS = 5  # of dictionaries around a state dict: {"state": {"ema": {"module": …}}}
_MOST_LOOKED_AT = 10_000  # containers, in search of tensors that nothing names


class Weights(NamedTuple):
    """A value that holds weights: a state dict or a pickled module."""

    key: str  # its own key; "" for the checkpoint's value itself
    where: str
    value: Any
    role: str | None  # what the keys on the way say: `model`, `ema`, `swa`


class Found(NamedTuple):
    """The parts of a checkpoint, each with its place in the file."""

    layout: str
    weights: list[Weights]
    optimizers: list[tuple[str, Any]]
    metadata: dict[str, Any]
    unread: list[str]  # places of tensors that are neither weights nor an optimizer's
    top: Mapping[Any, Any]


def find(value: Any, budget: Budget) -> Found:
    """The parts of a checkpoint's value. Raises ArtifactError through the budget."""
    if is_module(value):
        return Found("module", [Weights("", "", value, "model")], [], {}, [], {})
    if held(value) is not None:
        return Found("tensor", [Weights("", "", {"tensor": value}, "model")], [], {}, [], {})
    if isinstance(value, list | tuple):
        value = {str(number): item for number, item in enumerate(value)}
    mapping = mapping_of(value)
    if mapping is None:
        return Found("", [], [], {}, [], {})
    found = Found(families.family(mapping), [], [], {}, [], mapping)
    _Search(found, budget).sort(value, "", None, 0)
    return found


class _Search:
    """Sorts the entries of dictionaries, and of dictionaries that only hold such, into the parts."""

    def __init__(self, found: Found, budget: Budget) -> None:
        self._found = found
        self._budget = budget
        self._weighty: dict[int, bool] = {}  # by the id() of a value, which lives as long as the search
        self._wrappers: dict[int, bool] = {}

    def sort(self, value: Any, where: str, role: str | None, level: int) -> None:
        """Sorts what lies in the dictionary at a place; `role` is what the keys on the way say."""
        found = self._found
        mapping = mapping_of(value) or {}
        if is_optimizer(mapping):
            found.optimizers.append((where or "optimizer", mapping))
            return
        if not self._is_wrapper(value, _MOST_LEVELS) and any(is_weight(item) for item in mapping.values()):
            found.weights.append(Weights(where.rpartition(".")[2], where, value, role))
            return
        rest = {}
        for key, item in mapping.items():
            name = key_text(key)
            if name is None:
                continue
            self._budget.take(where)
            if not self._taken(name, _joined(where, name), item, role, level):
                rest[key] = item
        found.unread.extend(self._unread(rest, where))
        said = metadata(rest, self._budget)
        found.metadata.update({_joined(where, key): one for key, one in said.items()})

    def _taken(self, key: str, place: str, item: Any, role: str | None, level: int) -> bool:
        """Whether an entry was taken for weights, an optimizer or a dictionary around such."""
        below = role if role in ("ema", "swa") else families.role(key) or role
        if holds_optimizers(item):
            self._found.optimizers.append((place, item))
        elif is_module(item):
            self._found.weights.append(Weights(key, place, item, below))
        elif level < _MOST_LEVELS and self._is_wrapper(item, _MOST_LEVELS):
            self.sort(item, place, below, level + 1)
        elif self._holds_weights(item, _MOST_LEVELS):
            self._found.weights.append(Weights(key, place, item, below))
        else:
            return False
        return True

    def _is_wrapper(self, value: Any, levels: int) -> bool:
        """Whether a dictionary is one around state dicts, rather than a state dict: a key in it says so."""
        mapping = mapping_of(value)
        known = self._wrappers.get(id(value))
        if mapping is None or known is not None:
            return bool(known)
        self._wrappers[id(value)] = False  # while it is looked at: it may hold itself
        containers = [(key, item) for key, item in mapping.items() if isinstance(item, dict | list | Instance)]
        found = any(
            holds_optimizers(item)
            or is_module(item)
            or (isinstance(key, str) and families.role(key) is not None and self._holds_weights(item, _MOST_LEVELS))
            for key, item in containers
        )
        if not found and levels > 0 and not any(is_weight(item) for item in mapping.values()):
            found = any(self._is_wrapper(item, levels - 1) for _, item in containers)
        self._wrappers[id(value)] = found
        return found

    def _holds_weights(self, value: Any, levels: int) -> bool:
        """Whether a dictionary holds weights, at most some levels deep."""
        mapping = mapping_of(value)
        known = self._weighty.get(id(value))
        if mapping is None or known is not None:
            return bool(known)
        self._weighty[id(value)] = False
        found = any(
            is_weight(item) or is_module(item) or (levels > 0 and self._holds_weights(item, levels - 1))
            for item in mapping.values()
        )
        self._weighty[id(value)] = found
        return found

    def _unread(self, rest: Mapping[Any, Any], where: str) -> Iterator[str]:
        for key, item in rest.items():
            if is_weight(item) or _holds_tensors(item):
                yield _joined(where, key_text(key) or "")


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def is_weight(value: Any) -> bool:
    """Whether a value is a tensor as weights are: of floating point, and no scalar such as a loss or a step."""
    found = held(value)
    return (
        found is not None
        and bool(found.tensor.shape)
        and (found.tensor.is_floating or found.tensor.quantization is not None)
    )


def _holds_tensors(value: Any) -> bool:
    """Whether weights lie in the lists and dictionaries of a value, at most some levels and entries deep."""
    queue = [value]
    seen: set[int] = set()
    while queue and len(seen) < _MOST_LOOKED_AT:
        item = queue.pop()
        inner = list(item) if isinstance(item, list | tuple) else list((mapping_of(item) or {}).values())
        for below in inner:
            if is_weight(below):
                return True
            if id(below) not in seen and isinstance(below, list | tuple | dict):
                seen.add(id(below))
                queue.append(below)
    return False
