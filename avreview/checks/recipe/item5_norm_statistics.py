"""Question 5 from a recipe: are normalization stats frozen, synced, or recalibrated?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from avreview.checks.words import count, listed, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location
from avreview.facts.layers import Layers
from avreview.facts.norms import NormLayers
from avreview.facts.recipe_norms import RecipeNorms
from avreview.facts.recipe_places import location, said_at
from avreview.load.wording import one_line
from avreview.recipe.model import Recipe, Setting

_LONGEST = 60


class _Small(NamedTuple):
    """A batch norm that sees too few samples, and how many."""

    at: Location
    samples: float
    of_images: bool


@check("AV506")
def norm_not_synced(
    norms: RecipeNorms, layers: Layers | None, held: NormLayers | None, limits: Thresholds
) -> Iterator[Violation]:
    """Plain batch norms that learn from few samples on each of several devices."""
    recipe = norms.recipe
    if norms.is_synced:
        return
    stated, by_default = _places(norms, layers, held)
    if not stated and not by_default:
        return
    if norms.samples is None or recipe.batch_size is None:
        raise NotAvailable("needs the number of samples on each device, which the recipe does not tell")
    small = [
        _Small(at, seen, norms.is_of_images(at.module or ""))
        for at in (*stated, *by_default)
        if (seen := norms.images(at.module or "")) is not None and seen < limits.min_batch_per_device
    ]
    if small and (norms.devices is None or recipe.devices is None):
        raise NotAvailable(
            "needs the number of devices, which the recipe does not tell (it is often given to the launcher)"
        )
    if norms.devices is not None and norms.devices < limits.min_devices:
        raise NotApplicable(f"training runs on {count(int(norms.devices), 'device')}")
    if small:
        least = min(small, key=lambda entry: entry.samples)
        told = {"train.batch_size": recipe.batch_size, "train.devices": recipe.devices}
        settings = [location(setting.at, name) for name, setting in told.items() if setting is not None]
        norms_at = [entry.at for entry in small]
        first, *others = [*norms_at, *settings] if norms_at[0] in stated else [*settings, *norms_at]
        yield Violation(
            at=first,
            also=others,
            message=f"{count(len(small), 'batch norm')} {verb(len(small), 'take')} statistics from {_few(least)} on "
            f"each of {norms.devices or 0:g} devices, and nothing synchronizes them.",
            observed={
                "devices": norms.devices, "samples_on_each": norms.samples, "cameras": norms.cameras,
                "batch_norms": len(small),
            },
            expected={"samples_on_each": f"at least {limits.min_batch_per_device:g}, or synchronized"},
        )  # fmt: skip


def _few(small: _Small) -> str:
    noun = "image" if small.of_images else "sample"
    return f"{small.samples:g} {noun}{'' if small.samples == 1 else 's'}"


def _places(
    norms: RecipeNorms, layers: Layers | None, held: NormLayers | None
) -> tuple[list[Location], list[Location]]:
    """The batch norms that learn: those that the recipe states, and those that only the model shows.

    The model's are those in parts of it (by the first word of their paths) of which the recipe configures no norm.
    Raises NotAvailable where neither tells of batch norms, NotApplicable where the model has none.
    """
    stated = [location(norm.at, norm.module) for norm in norms.learning]
    if held is None:
        if not norms.batch and not norms.synced:
            raise NotAvailable(
                "needs to know whether the model has batch norms, which the recipe does not tell; name the model too"
            )
        return stated, []
    found = [norm.location(held.artifact) for norm in held.batch_norms]
    if layers is not None:
        found += [layer.location(layers.artifact) for layer in layers.all if layer.folded_norm]
    if not found and not stated:
        raise NotApplicable("the model has no batch norm")
    parts = {norm.module.split(".")[0] for norm in norms.recipe.norms}
    return stated, [at for at in found if _part(at) not in parts and not norms.is_frozen(at.module or "")]


def _part(at: Location) -> str:
    return (at.module or "").split(".")[0]


@answer(5)
def how_the_recipe_treats_statistics(norms: RecipeNorms) -> AnswerText:
    """Says what the recipe tells of synchronizing, of samples behind each statistic, of freezing and of averaging."""
    recipe = norms.recipe
    parts = [*_synced(norms), *_batch(norms), *_frozen(norms), *_averaged(recipe)]
    if not parts:
        raise NotAvailable("the recipe says nothing of normalization")
    return AnswerText(f"The recipe {_joined(parts)}.")


def _synced(norms: RecipeNorms) -> Iterator[str]:
    recipe = norms.recipe
    if norms.is_synced and recipe.sync_norm is not None:
        yield f"synchronizes batch norms over devices ({said_at(recipe.sync_norm.at, recipe)})"
    elif norms.synced:
        kinds = listed(dict.fromkeys(norm.kind for norm in norms.synced))
        yield f"trains with {kinds} ({said_at(norms.synced[0].at, recipe)})"
    elif norms.learning:
        names = listed(dict.fromkeys(one_line(norm.module, _LONGEST) for norm in norms.learning))
        yield f"trains {names} with plain batch norm ({said_at(norms.learning[0].at, recipe)})"


def _batch(norms: RecipeNorms) -> Iterator[str]:
    recipe = norms.recipe
    samples, at = "", recipe.batch_size
    if norms.samples is not None and at is not None:
        samples = count(int(norms.samples), "sample")
    if norms.devices is not None:
        devices = f"runs on {count(int(norms.devices), 'device')}"
        yield f"{devices} with {samples} on each ({said_at(at.at, recipe)})" if samples and at is not None else devices
    elif samples and at is not None:
        yield f"takes {samples} on each device ({said_at(at.at, recipe)})"


def _frozen(norms: RecipeNorms) -> Iterator[str]:
    frozen = [norm for norm in norms.batch if norm.frozen_statistics]
    if frozen:
        names = listed(dict.fromkeys(one_line(norm.module, _LONGEST) for norm in frozen))
        yield f"freezes the statistics of {names} ({said_at(frozen[0].at, norms.recipe)})"


def _averaged(recipe: Recipe) -> Iterator[str]:
    if keeps_average(recipe.ema) and recipe.ema is not None:
        yield f"keeps an average of the weights ({said_at(recipe.ema.at, recipe)})"


def keeps_average(ema: Setting | None) -> bool:
    """Whether an average is kept: True, or its decay."""
    return ema is not None and ema.value is not False and ema.value is not None


def _joined(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
