"""det3d's `Preprocess` (CenterPoint): one transform whose `cfg` says which steps happen, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avreview.recipe.mmengine.amounts import narrowed, number, numbers, option
from avreview.recipe.mmengine.special import pasted_sweeps
from avreview.recipe.model import Amount, Does, Place, Step, Upon
from avreview.recipe.python.values import Table, plain

_SCENE = frozenset({Upon.POINTS, Upon.BOXES_3D, Upon.VELOCITIES})
_HALF = Amount(0.5, 0.5, "share")


def preprocess_steps(table: Table, inside: tuple[str, ...]) -> Iterator[Step]:
    """Paste, mirror, rotate, scale and shift the scene, then shuffle the points. Angles are radians.

    Mirrors happen half of the time about each axis; no option tells that.
    """
    settings = table.get("cfg")
    if not isinstance(settings, Table):
        settings = table
    around = (*inside, "Preprocess")
    if settings.get("mode") == "train" and settings.get("no_augmentation") is not True:
        yield from _training(settings, around)
    if settings.get("shuffle_points") is True:
        at = settings.place("shuffle_points")
        yield Step("shuffle_points", at, frozenset({Does.SHUFFLE}), frozenset({Upon.POINTS}), inside=around)


def _training(settings: Table, inside: tuple[str, ...]) -> Iterator[Step]:
    sampler = settings.get("db_sampler")
    if isinstance(sampler, Table):
        yield _paste(sampler, settings.place("db_sampler"), inside)
    yield _step("random_flip_both", settings.at, Does.FLIP, {"flip_x": _HALF, "flip_y": _HALF}, {}, inside)
    for name, key, does, amount in (
        ("global_rotation", "global_rot_noise", Does.ROTATE, "rotation"),
        ("global_scaling", "global_scale_noise", Does.SCALE, "scale"),
        ("global_translate", "global_translate_std", Does.TRANSLATE, "translation"),
    ):
        if key in settings:
            told = _amount(amount, settings[key])
            shown = {key: plain(settings[key])}
            yield _step(name, settings.place(key), does, {amount: told} if told else {}, shown, inside)


def _amount(name: str, value: Any) -> Amount | None:
    found = numbers(value)
    if not found:
        return None
    if name == "translation" or (name == "rotation" and len(found) == 1):
        largest = max(abs(part) for part in found)
        return Amount(0.0 - largest, largest, "m" if name == "translation" else "rad")
    return Amount(min(found), max(found), "rad" if name == "rotation" else "ratio")


def _step(
    name: str,
    at: Place,
    does: Does,
    amounts: Mapping[str, Amount],
    options: Mapping[str, Any],
    inside: tuple[str, ...],
) -> Step:
    left = narrowed(frozenset({does}), amounts)
    return Step(name, at, left, _SCENE, bool(left), amounts=amounts, options=options, inside=inside)


def _paste(sampler: Table, at: Place, inside: tuple[str, ...]) -> Step:
    amounts = pasted_sweeps(sampler.get("db_info_path"))
    if number(option(sampler, "rate")) == 0:
        amounts["probability"] = Amount(0.0, 0.0, "share")
    options = plain(sampler)
    return Step("db_sampler", at, frozenset({Does.PASTE}), _SCENE, True, amounts=amounts, options=options,
                inside=inside)  # fmt: skip
