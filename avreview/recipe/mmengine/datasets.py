"""Which datasets a configuration trains, validates and tests on, with what is wrapped around each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from avreview.recipe.mmengine.amounts import option
from avreview.recipe.model import Place, Unread
from avreview.recipe.python.values import Table, Unknown, partly, scope_free

ROLES = ("train", "val", "test")
_DEEPEST = 10
_MOST = 50
# Wrappers that apply a pipeline of their own behind that of the wrapped dataset. All others have none: what stands
# beside `dataset` there is left over from a base.
_APPLY = frozenset({"MultiImageMixDataset"})


class Dataset(NamedTuple):
    """One dataset of a role. `pipelines` are its own transforms, and those of wrappers, innermost first."""

    role: str
    table: Table
    pipelines: tuple[tuple[Any, Place], ...]


def datasets(config: Table, unread: list[Unread]) -> list[Dataset]:
    """The datasets of all roles. Old configurations name them in `data`, new ones in dataloaders."""
    found: list[Dataset] = []
    for role in ROLES:
        for holder, key in _entries(config, role):
            value = holder.get(key)
            unknown = partly(value)
            if unknown is not None and not isinstance(value, Table):
                unread.append(unknown.unread(f"the dataset for {role}"))
            elif value is not None:
                found += list(_unwrapped(role, value, (), 0))[:_MOST]
    return found


def _entries(config: Table, role: str) -> Iterator[tuple[Table, str]]:
    """The dicts, with the key, that hold the datasets of a role."""
    loader = config.get(f"{role}_dataloader")
    for entry in loader if isinstance(loader, list | tuple) else (loader,):
        if isinstance(entry, Table) and "dataset" in entry:
            yield entry, "dataset"
    if isinstance(loader, Unknown):
        yield config, f"{role}_dataloader"
    data = config.get("data")
    if isinstance(data, Table) and role in data:
        yield data, role
    elif isinstance(data, Unknown) and role == "train":
        yield config, "data"


def _unwrapped(role: str, value: Any, outer: tuple[tuple[Any, Place], ...], deep: int) -> Iterator[Dataset]:
    if deep > _DEEPEST:
        return
    if isinstance(value, list | tuple):
        for entry in value[:_MOST]:
            yield from _unwrapped(role, entry, outer, deep + 1)
        return
    if not isinstance(value, Table):
        return
    own = ((value["pipeline"], value.place("pipeline")),) if value.get("pipeline") is not None else ()
    inner = value.get("dataset", value.get("datasets"))
    if isinstance(inner, Table | list | tuple):
        kept = own if scope_free(value.get("type")) in _APPLY else ()
        yield from _unwrapped(role, inner, (*kept, *outer), deep + 1)
    else:
        yield Dataset(role, value, (*own, *outer))


def coordinates_of(dataset: Table | None, pipeline: Any) -> str | None:
    """The coordinates that boxes and points are in: `LiDAR`, `Depth`, `Camera`; None where not told."""
    stated = option(dataset, "box_type_3d")
    if isinstance(stated, str) and stated.lower() in _COORDINATES:
        return _COORDINATES[stated.lower()]
    for transform in pipeline if isinstance(pipeline, list | tuple) else ():
        kind = option(transform, "coord_type") if isinstance(transform, Table) else None
        if isinstance(kind, str) and kind.lower() in _COORDINATES:
            return _COORDINATES[kind.lower()]
        if isinstance(transform, Table) and scope_free(transform.get("type")) == "LoadImageFromFileMono3D":
            return "Camera"
    return None


_COORDINATES = {"lidar": "LiDAR", "depth": "Depth", "camera": "Camera"}
