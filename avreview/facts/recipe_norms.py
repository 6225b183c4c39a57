"""Norm layers that a recipe configures, and over how many samples each takes its statistics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from avreview.engine.resolve import fact
from avreview.facts.optimizer_groups import number_of
from avreview.recipe.model import NormSetting, Recipe, Setting

_PLAIN = re.compile(r"BN(?:[123]d)?|BatchNorm(?:[123]d)?", re.IGNORECASE)
_SYNCED = re.compile(r"\w*Sync\w*(?:BN|BatchNorm)\w*", re.IGNORECASE)
# Modules that see each camera's image by itself; what works on the bird's-eye view does not.
_OF_IMAGES = re.compile(r"(?:^|[._])(?:img|images?|cam|cameras?)(?:[._]|$)", re.IGNORECASE)
_NOT_OF_IMAGES = re.compile(r"(?:^|[._])(?:bev|pts|fus(?:er|ion)|lidar)(?:[._]|$)", re.IGNORECASE)


class RecipeNorms(NamedTuple):
    """The norms of a recipe, and what it says of devices, samples and cameras; None for what it does not say."""

    recipe: Recipe
    batch: Sequence[NormSetting]  # plain batch norms
    synced: Sequence[NormSetting]  # batch norms that devices share
    samples: float | None  # on each device and step
    devices: float | None
    cameras: float | None

    @property
    def learning(self) -> list[NormSetting]:
        """Plain batch norms whose statistics are not frozen."""
        return [norm for norm in self.batch if norm.frozen_statistics is not True]

    @property
    def is_synced(self) -> bool:
        """Whether the recipe has all batch norms synchronized."""
        setting = self.recipe.sync_norm
        return setting is not None and setting.value is True

    @property
    def sensors(self) -> set[str]:
        """The sensors that the model encodes, as far as the recipe tells."""
        return {name for name, setting in self.recipe.sensors.items() if setting.value}

    def is_of_images(self, module: str) -> bool:
        """Whether a module sees the images of each camera by itself."""
        if _NOT_OF_IMAGES.search(module):
            return False
        only_cameras = self.sensors == {"camera"}
        return bool(_OF_IMAGES.search(module)) or (only_cameras and module.split(".")[0] == "backbone")

    def is_frozen(self, module: str) -> bool:
        """Whether the recipe says of a module that it does not learn."""
        return any(f"{module}.".startswith(f"{setting.value}.") for setting in self.recipe.frozen)

    def images(self, module: str) -> float | None:
        """How many samples a norm of the module sees in a step: images of all cameras where it works on images."""
        if self.samples is None:
            return None
        return self.samples * (self.cameras or 1) if self.is_of_images(module) else self.samples


@fact
def recipe_norms(recipe: Recipe) -> RecipeNorms:
    """Sorts the norms by what they do with a batch."""
    return RecipeNorms(
        recipe,
        [norm for norm in recipe.norms if _PLAIN.fullmatch(norm.kind)],
        [norm for norm in recipe.norms if _SYNCED.fullmatch(norm.kind)],
        _number(recipe.batch_size),
        _number(recipe.devices),
        _number(recipe.cameras),
    )


def _number(setting: Setting | None) -> float | None:
    return None if setting is None else number_of(setting.value)
