"""A configuration's values as a `Recipe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avreview.recipe.mmengine import data, model, training
from avreview.recipe.mmengine.datasets import datasets
from avreview.recipe.mmengine.pipelines import PipelineReader
from avreview.recipe.model import NormSetting, Recipe, Setting, Unread
from avreview.recipe.python.config import PythonConfig
from avreview.recipe.python.values import Table

MOST_UNREAD = 500


def recipe_of(path: str, config: PythonConfig, digests: Mapping[str, str]) -> Recipe:
    """What the configuration at `path` states, field by field."""
    values, unread = config.values, list(config.unread)
    epochs, steps = training.length(values)
    found = datasets(values, unread)
    pipelines = PipelineReader(values, None if epochs is None else epochs.value, unread).pipelines(found)
    velocity = model.velocity(values)
    classes, classes_at = data.classes(values, found, unread)
    norms = model.norms(values)
    return Recipe(
        path,
        "mmengine",
        dict(digests),
        pipelines=pipelines,
        sensors=model.sensors(values),
        labels=data.labels(values, pipelines, velocity),
        classes=classes,
        classes_at=classes_at,
        velocity=velocity,
        tracking=data.tracking(found, pipelines),
        sweeps=data.sweeps(found, pipelines),
        time_channel=data.time_channel(found, pipelines),
        frames=data.frames(values, found, pipelines),
        normalization=data.normalizations(values, pipelines),
        optimizer=training.optimizer(values, unread),
        epochs=epochs,
        steps=steps,
        schedule=training.schedule(values, unread),
        batch_size=training.batch_size(values, unread),
        devices=training.devices(values),
        accumulation=training.accumulation(values),
        cameras=data.cameras(values),
        sync_norm=_synchronized(values, norms),
        norms=norms,
        ema=training.ema(values),
        pretrained=model.pretrained(values),
        frozen=model.frozen(values),
        dropouts=model.dropouts(values),
        splits=data.splits(found, unread),
        precision=training.precision(values),
        unread=_once(unread),
    )


def _synchronized(values: Table, norms: Sequence[NormSetting]) -> Setting | None:
    """Whether batch norms are synchronized: by their kind, or by mmengine's `sync_bn` for all of them."""
    if isinstance(values.get("sync_bn"), str):
        return Setting(True, values.place("sync_bn"))
    batch = [norm for norm in norms if "BN" in norm.kind]
    synchronized = [norm for norm in batch if "SYNC" in norm.kind.upper()]
    if not batch:
        return None
    return Setting(bool(synchronized), (synchronized or batch)[0].at)


def _once(unread: Sequence[Unread]) -> list[Unread]:
    return list(dict.fromkeys(unread))[:MOST_UNREAD]
