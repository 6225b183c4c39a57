"""From a checkpoint's unpickled value to its weight sets, module tree, optimizers and metadata.

Which keys hold what is told by names and, where a framework uses names in a way of its own, by `layouts.families`.
The primary set is the one that an inference user of that framework would load: see `families.primary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.checkpoint import Checkpoint, WeightSet
from avreview.errors import ArtifactError
from avreview.load.layouts import deepspeed, families
from avreview.load.layouts.find import Found, find
from avreview.load.layouts.optimizer_state import read_optimizers, with_clean_names
from avreview.load.layouts.sets import Sets, weight_sets
from avreview.load.layouts.values import Budget
from avreview.load.wording import quoted

if TYPE_CHECKING:
    from avreview.artifact import Tensor


class Layout(NamedTuple):
    """A checkpoint read by its layout. `tensors` are those of the primary set, by their names inside the model."""

    checkpoint: Checkpoint
    tensors: Mapping[str, Tensor]
    limitations: list[str]


def lay_out(value: Any, *, path: str, weights: str | None) -> Layout:
    """Reads a checkpoint's value; `weights` names the set to review in the place of the framework's own choice.

    Raises ArtifactError when the value holds no weights, has no set of that name, or is larger than any checkpoint.
    """
    budget = Budget(path)
    found = find(value, budget)
    sets = weight_sets(found, budget)
    if not sets.by_name:
        raise ArtifactError(path, _no_weights(found, sets), "give the file that holds the model's weights")
    primary = _chosen(sets, found.layout, path, weights)
    optimizers = [one for where, item in found.optimizers for one in read_optimizers(item, where, budget)]
    limitations = _limitations(found, sets, primary)
    if budget.left_out:
        names = ", ".join(quoted(key) for key in budget.left_out[:3])
        limitations.append(f"settings and records were left out as too long or too deep: parts of {names}")
    if found.layout == "deepspeed":
        shapes = found.top.get("param_shapes")
        limitations += deepspeed.elsewhere(sets.by_name[primary].tensors, shapes)
        named = [deepspeed.by_name(one, shapes) for one in optimizers]
        optimizers = [one for one, _ in named]
        limitations += [said for _, more in named for said in more]
    checkpoint = Checkpoint(
        sets.by_name,
        primary,
        found.layout,
        sets.trees.get(primary),
        tuple(with_clean_names(one, _raw_prefix(sets.by_name)) for one in optimizers),
        metadata={**found.metadata, **sets.counted},
    )
    return Layout(checkpoint, sets.by_name[primary].tensors, limitations)


def _chosen(sets: Sets, layout: str, path: str, weights: str | None) -> str:
    if weights is None:
        return families.primary(layout, {name: one.where for name, one in sets.by_name.items()})
    if weights in sets.by_name:
        return weights
    there = ", ".join(quoted(name) for name in sets.by_name)
    raise ArtifactError(path, f"has no weight set {quoted(weights)}", f"choose one of its own with --weights: {there}")


def _no_weights(found: Found, sets: Sets) -> str:
    if sets.unread:
        return f"holds no weights that can be read: {sets.unread[0]}"
    return "holds an optimizer's state and no weights" if found.optimizers else "holds no weights"


def _raw_prefix(sets: Mapping[str, WeightSet]) -> str:
    """The prefix of the set that the optimizer trained."""
    raw = sets.get("model") or next(iter(sets.values()))
    return raw.prefix


def _limitations(found: Found, sets: Sets, primary: str) -> list[str]:
    said = [*sets.limitations.get(primary, ()), *sets.unread]
    if extra := [name for name in sets.by_name if name in sets.apart]:
        if primary in extra:
            extra = [name for name in sets.by_name if name != primary]
        places = ", ".join(f"{quoted(name)} ({len(sets.by_name[name].tensors)} tensors)" for name in extra[:5])
        more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
        if extra:
            said.append(f"further weights were not reviewed: {places}{more}; choose them with --weights")
    if found.unread:
        places = ", ".join(quoted(place) for place in found.unread[:5])
        more = f" and {len(found.unread) - 5} more" if len(found.unread) > 5 else ""
        said.append(f"tensors without names, or of no known meaning, were not reviewed: {places}{more}")
    if remark := families.remark(found.layout, {name: one.where for name, one in sets.by_name.items()}):
        said.append(remark)
    return said
