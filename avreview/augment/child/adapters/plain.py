"""What takes a scene and gives one back: a function, an object that is called, or several of these in a row.

`augment(scene)` and `augment(scene, rng)` (also `seed`, `generator`, `random_state`) are taken; a list, tuple or
mapping of them is a pipeline whose members are measured alone as well, and so is an object with `transforms`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from avreview.augment.child.adapters import Adapted, Apply
from avreview.augment.child.returned import BadScene
from avreview.augment.child.seeding import generator_for, randomness_argument, seed_everything
from avreview.augment.child.usercode import defined
from avreview.probes.child.refusal import Refused

_TAKEN = (
    "an augmentation is a function that takes a scene (a dict) and returns one, or a list, tuple or dict "
    "of such functions"
)


def fits(value: Any) -> bool:
    return callable(value) or isinstance(value, Mapping | list | tuple)


def adapted(value: Any, kind: str | None) -> Adapted:
    """Raises Refused for what cannot be called with a scene."""
    steps = _members(value)
    if steps is None:
        return Adapted("plain", kind or "driving", calling(_callable(value, "the augmentation")))
    members = [(name, calling(_callable(step, f"its member {name}"))) for name, step in steps]
    if not members:
        raise Refused("the factory returned an empty list; " + _TAKEN)
    whole = calling(value) if callable(value) else in_a_row([apply for _, apply in members])
    return Adapted("plain", kind or "driving", whole, members if len(members) > 1 else ())


def _members(value: Any) -> list[tuple[str, Any]] | None:
    if isinstance(value, Mapping):
        return [(str(name), step) for name, step in value.items()]
    if isinstance(value, list | tuple):
        return [_named(step, place) for place, step in enumerate(value)]
    transforms = getattr(value, "transforms", None)
    if isinstance(transforms, list | tuple) and transforms and all(map(callable, transforms)):
        return [_named(step, place) for place, step in enumerate(transforms)]
    return None


def _named(step: Any, place: int) -> tuple[str, Any]:
    if isinstance(step, tuple) and len(step) == 2 and isinstance(step[0], str):
        return step
    return name_of(step) or f"member {place}", step


def name_of(value: Any) -> str:
    """The name of a function, of what a partial calls, or of an object's class."""
    inner = getattr(value, "func", value)
    own = getattr(inner, "__name__", None)
    return str(own if isinstance(own, str) else type(inner).__name__)


def _callable(value: Any, what: str) -> Callable[..., Any]:
    if callable(value):
        return value  # type: ignore[no-any-return]
    raise Refused(f"{what} is of the type {type(value).__name__}, which cannot be called; {_TAKEN}")


def calling(function: Callable[..., Any]) -> Apply:
    """A function on a scene, with a seed in the form that it takes one."""
    argument = randomness_argument(function)
    if argument is None:
        _refuse_more_arguments(function)

    def apply(scene: Any, seed: int) -> Any:
        seed_everything(seed)
        if argument is None:
            return function(scene)
        return function(scene, **{argument: generator_for(argument, seed)})

    apply.__wrapped__ = function  # type: ignore[attr-defined]  # where a fault of what it returns is looked for
    return apply


def _refuse_more_arguments(function: Callable[..., Any]) -> None:
    """Raises Refused for a function that needs more than a scene and a generator."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        names = ", ".join(p.name for p in needed)
        raise Refused(f"{name_of(function)} takes ({names}); {_TAKEN}, with its generator in rng or seed")


def in_a_row(steps: Sequence[Apply]) -> Apply:
    """Each step under a seed of its own, drawn from the whole's."""

    def apply(scene: Any, seed: int) -> Any:
        for place, step in enumerate(steps):
            scene = step(scene, seed + 7919 * place)
            if scene is None:
                where = defined(step)
                at = f" ({where})" if where else ""
                raise BadScene(f"member {place} of it returned nothing (None) instead of a scene{at}")
        return scene

    return apply
