"""The pipelines of a configuration: those that its datasets apply, and those that hooks put in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avreview.recipe.mmengine.amounts import number, option
from avreview.recipe.mmengine.datasets import ROLES, Dataset, coordinates_of
from avreview.recipe.mmengine.special import Around
from avreview.recipe.mmengine.steps import StepReader
from avreview.recipe.model import Pipeline, Place, Unread
from avreview.recipe.python.values import Table, Unknown, scope_free, tables

_ALONE = {"train": ("train_pipeline",), "val": ("val_pipeline", "eval_pipeline"), "test": ("test_pipeline",)}
_MOSAICS = ("Mosaic", "RandomAffine", "MixUp", "CachedMosaic", "CachedMixUp", "YOLOv5MixUp", "YOLOv5RandomAffine")


class PipelineReader:
    """Reads all pipelines of a configuration. `epochs` are those of the whole training, where told."""

    def __init__(self, config: Table, epochs: float | None, unread: list[Unread]) -> None:
        self._config = config
        self._epochs = epochs
        self._unread = unread
        self._steps = StepReader(unread)
        model = config.get("model")
        self._model = scope_free(model.get("type")) if isinstance(model, Table) else None
        self._stops = stops(config, epochs, unread)

    def pipelines(self, found: list[Dataset]) -> list[Pipeline]:
        """One pipeline for each dataset whose transforms differ; in a file that names no dataset, its variables."""
        made: list[Pipeline] = []
        for role in ROLES:
            own = [dataset for dataset in found if dataset.role == role]
            if own:
                made += self._of_datasets(role, own)
            elif not self._has_datasets():
                made += self._alone(role)
        return made + list(self._switched(found))

    def _has_datasets(self) -> bool:
        return any(name in self._config for name in ("data", *(f"{role}_dataloader" for role in ROLES)))

    def _of_datasets(self, role: str, own: list[Dataset]) -> Iterator[Pipeline]:
        seen: list[Any] = []
        for dataset in own:
            parts = tuple(part for part, _ in dataset.pipelines)
            if not parts:
                continue
            same = [
                (getattr(part, "at", None) or id(part), len(part) if isinstance(part, list) else 0) for part in parts
            ]
            if same in seen:  # copies of one list stand where it stands
                continue
            seen.append(same)
            name = "" if len(own) == 1 or len(seen) == 1 else str(len(seen))
            steps = []
            for part, at in dataset.pipelines:
                steps += self._steps.steps(part, at, f"the {role} pipeline", self._around(role, parts, dataset.table))
            yield Pipeline(role, steps, dataset.pipelines[0][1], name)

    def _alone(self, role: str) -> Iterator[Pipeline]:
        for name in _ALONE[role]:
            value = self._config.get(name)
            if isinstance(value, list | tuple | Unknown):
                around = self._around(role, (value,), None)
                at = self._config.place(name)
                yield Pipeline(role, self._steps.steps(value, at, name, around), at)
                return

    def _switched(self, found: list[Dataset]) -> Iterator[Pipeline]:
        """A pipeline that a hook puts in the place of the first for the last epochs."""
        train = next((dataset.table for dataset in found if dataset.role == "train"), None)
        for hook in hooks(self._config):
            if scope_free(hook.get("type")) == "PipelineSwitchHook" and "switch_pipeline" in hook:
                epoch = number(hook.get("switch_epoch"))
                at, value = hook.place("switch_pipeline"), hook["switch_pipeline"]
                around = self._around("train", (value,), train)
                steps = self._steps.steps(value, at, "the pipeline switched to", around)
                yield Pipeline("train", steps, at, "last epochs" if epoch is None else f"from epoch {epoch:g}")

    def _around(self, role: str, parts: tuple[Any, ...], dataset: Table | None) -> Around:
        names = frozenset(
            name
            for part in parts
            for _, table in tables(part)
            if (name := scope_free(table.get("type"))) is not None
        )  # fmt: skip
        coordinates = next((found for part in parts if (found := coordinates_of(dataset, part))), None)
        has_images = any(name.startswith(("LoadImage", "LoadMultiView", "BEVLoadMulti")) for name in names)
        return Around(role, coordinates, names, dataset, self._model, self._stops, has_images)


def hooks(config: Table) -> list[Table]:
    """The hooks that a configuration adds."""
    listed = config.get("custom_hooks")
    return [hook for hook in listed if isinstance(hook, Table)] if isinstance(listed, list | tuple) else []


def stops(config: Table, epochs: float | None, unread: list[Unread]) -> Mapping[str, tuple[float, Place]]:
    """From which epoch on a hook leaves a transform out, by the transform's name."""
    found: dict[str, tuple[float, Place]] = {}
    listed = config.get("custom_hooks")
    if isinstance(listed, Unknown):
        unread.append(listed.unread("custom_hooks"))
    for hook in hooks(config):
        name = scope_free(hook.get("type"))
        if name in ("DisableObjectSampleHook", "DisableAugHook"):
            epoch = number(option(hook, "disable_after_epoch", 15))
            listed = hook.get("disable_aug_list", ()) if name == "DisableAugHook" else ("ObjectSample",)
            names = listed if isinstance(listed, list | tuple) else ()
        elif name in ("Fading", "FadeOjectSampleHook", "FadeObjectSampleHook"):
            epoch = number(option(hook, "fade_epoch", option(hook, "num_last_epochs")))
            names = ("ObjectSample", "UnifiedObjectSample")
            if name != "Fading" and epoch is not None and "fade_epoch" not in hook:
                epoch = None if epochs is None else epochs - epoch
        elif name == "YOLOXModeSwitchHook":
            last = number(option(hook, "num_last_epochs", 15))
            epoch = None if epochs is None or last is None else epochs - last
            stated = hook.get("skip_type_keys")
            names = stated if isinstance(stated, list | tuple) else _MOSAICS
        else:
            continue
        if epoch is None:
            unread.append(Unread(f"the epoch of {name}", "is not stated as a number", hook.at))
            continue
        found.update({key: (epoch, hook.at) for key in names if isinstance(key, str)})
    return found
