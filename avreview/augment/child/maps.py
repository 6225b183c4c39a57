"""A map seen from above against the transform of the scene: each layer's one feature, and where it went."""

from __future__ import annotations

from typing import Any

import numpy as np

from avreview.augment.child.driving import MAP_CELL, MAP_PLACES, World
from avreview.augment.child.explain import explain_map
from avreview.augment.child.similarity import Similarity
from avreview.augment.child.tally import Tally
from avreview.augment.model import Sample

_HALF = 0.35  # of its full area that a feature has to show, or its middle is not known
_NOTICED = 0.8  # cells


def measure_map(world: World, out: dict[str, Any], scene: Similarity | None, seed: int, tally: Tally) -> None:
    """In cells, for the features that are still on the map."""
    layers = out.get("bev_map")
    if layers is None:
        return
    if len(layers) != len(MAP_PLACES):
        tally.unjudged("map", f"bev_map comes back with {len(layers)} layers instead of {len(MAP_PLACES)}")
        return
    if scene is None:
        tally.unjudged("map", "nothing else in the returned scene shows how it was moved")
        return
    origin = np.asarray(out.get("bev_origin", world.scene["bev_origin"]), dtype=np.float64)
    cell = float(out.get("bev_cell", MAP_CELL))
    before = np.asarray(MAP_PLACES)
    expected = scene.moved(np.column_stack([before, np.zeros(len(before))]))[:, :2]
    area = (world.scene["bev_map"] > 0.5).sum(axis=(1, 2)) * (scene.scale * MAP_CELL / cell) ** 2
    found = np.asarray([_middle(layer, share) for layer, share in zip(layers, area, strict=True)]) * cell + origin
    values = np.linalg.norm(found - expected, axis=1) / cell
    known = np.isfinite(values)
    words = ""
    if known.any() and values[known].max() > _NOTICED:
        words = explain_map(scene, before[known], found[known], MAP_CELL)
    for layer in np.flatnonzero(known):
        tally.add("map", Sample(seed, f"layer {layer}", float(values[layer]), 0.0, words))


def _middle(layer: np.ndarray, area: float) -> np.ndarray:
    """In cells; NaN for a feature that is cut by the border, or gone."""
    inside = layer > 0.5 * max(float(layer.max()), 1e-6)
    rows, columns = np.nonzero(inside)
    border = inside[[0, -1]].any() or inside[:, [0, -1]].any()
    if not len(rows) or border or not _HALF * area <= len(rows) <= 3 * area + 4:
        return np.full(2, np.nan)
    return np.array([rows.mean(), columns.mean()])
