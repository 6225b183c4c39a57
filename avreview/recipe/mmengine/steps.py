"""Transforms as a configuration writes them, turned into steps: wrappers are opened, and nested steps stand flat."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from avreview.load.wording import quoted
from avreview.recipe.mmengine.amounts import FLIPS, narrowed, number, option, read_amounts, varies
from avreview.recipe.mmengine.image_transforms import IMAGE_TRANSFORMS
from avreview.recipe.mmengine.known import Known
from avreview.recipe.mmengine.other_transforms import (
    CHOICES,
    FIXED_INSIDE,
    META_KEYS,
    OTHER_TRANSFORMS,
    TEST_TIME,
    WRAPPERS,
)  # fmt: skip
from avreview.recipe.mmengine.preprocess import preprocess_steps
from avreview.recipe.mmengine.scene_transforms import SCENE_TRANSFORMS
from avreview.recipe.mmengine.special import Around, adapted
from avreview.recipe.model import Amount, Does, Place, Step, Unread, Upon
from avreview.recipe.python.values import Row, Table, Unknown, partly, plain, scope_free

KNOWN = {**SCENE_TRANSFORMS, **IMAGE_TRANSFORMS, **OTHER_TRANSFORMS}
MOST_STEPS = 500
DEEPEST = 12


class Wrapped(NamedTuple):
    """The wrappers around a transform: names outermost first, and what they make of what is inside."""

    names: tuple[str, ...] = ()
    deep: int = 0  # lists and wrappers
    choice: int | None = None
    probability: float | None = 1.0  # None: not told
    is_fixed: bool = False
    mirrors: bool = True  # of a fixed one: whether it mirrors at all


class StepReader:
    """Reads the transforms of pipelines; `unread` gathers what could not be read of them."""

    def __init__(self, unread: list[Unread]) -> None:
        self._unread = unread
        self._choices = 0

    def steps(self, pipeline: Any, at: Place, what: str, around: Around) -> list[Step]:
        """The steps of a list of transforms."""
        found = list(itertools.islice(self._listed(pipeline, at, what, around, Wrapped()), MOST_STEPS + 1))
        if len(found) > MOST_STEPS:
            self._note(what, f"has more than {MOST_STEPS} transforms, of which the rest is not read", at)
        return found[:MOST_STEPS]

    def _note(self, what: str, why: str, at: Place) -> None:
        self._unread.append(Unread(what, why, at))

    def _listed(self, value: Any, at: Place, what: str, around: Around, wrapped: Wrapped) -> Iterator[Step]:
        unknown = partly(value) if not isinstance(value, Table) else None
        if unknown is not None:
            self._unread.append(unknown.unread(what))
        if isinstance(value, Table):
            value = (value,)
        if wrapped.deep > DEEPEST:
            self._note(what, "is nested too deep to be read", at)
            return
        wrapped = wrapped._replace(deep=wrapped.deep + 1)
        if not isinstance(value, list | tuple):
            if unknown is None:
                self._note(what, "is no list of transforms", at)
            return
        for item in value:
            if isinstance(item, Table):
                yield from self._transform(item, what, around, wrapped)
            elif isinstance(item, list | tuple):
                yield from self._listed(item, at, what, around, wrapped)
            elif isinstance(item, Unknown):
                self._unread.append(item.unread(f"a transform of {what}"))
            elif item is not None:
                self._note(f"a transform of {what}", "is no dict with a type", at)

    def _transform(self, table: Table, what: str, around: Around, wrapped: Wrapped) -> Iterator[Step]:
        kind = table.get("type")
        name = scope_free(kind)
        if not name:
            unknown = kind if isinstance(kind, Unknown) else table.rest
            why = "has no type" if unknown is None else unknown.why
            self._note(f"a transform of {what}", why, table.at)
            return
        if table.rest is not None:
            self._unread.append(table.rest.unread(f"options of {quoted(name)} in {what}"))
        if name in WRAPPERS:
            yield from self._wrapper(name, table, what, around, wrapped)
        elif name == "Preprocess":
            yield from preprocess_steps(table, wrapped.names)
        elif name == "Albu":
            yield from self._albumentations(table, wrapped)
        else:
            yield self._step(name, table, what, around, wrapped)

    def _wrapper(self, name: str, table: Table, what: str, around: Around, wrapped: Wrapped) -> Iterator[Step]:
        inner = table.get(WRAPPERS[name])
        names = (*wrapped.names, name)
        if name in TEST_TIME:
            yield Step(name, table.at, frozenset({Does.TEST_TIME}), options=_plain_options(table, WRAPPERS[name]),
                       is_random=False, inside=wrapped.names)  # fmt: skip
        if inner is None:
            if name == "RandAugment":
                yield self._step(name, table, what, around, wrapped)
            return
        if name in FIXED_INSIDE:
            wrapped = wrapped._replace(is_fixed=True, mirrors=option(table, "flip", False) is not False)
        elif name in CHOICES:
            single = isinstance(inner, list | tuple) and all(_is_one(part) for part in inner)
            self._choices += single
            wrapped = wrapped._replace(choice=self._choices if single else wrapped.choice, probability=None)
        elif name == "RandomApply":
            own = number(option(table, "prob", 0.5))
            both = None if own is None or wrapped.probability is None else own * wrapped.probability
            wrapped = wrapped._replace(probability=both)
        yield from self._listed(inner, table.at, f"{what}.{name}", around, wrapped._replace(names=names))

    def _step(self, name: str, table: Table, what: str, around: Around, wrapped: Wrapped) -> Step:
        known = KNOWN.get(name)
        options = _plain_options(table)
        if known is None:
            self._note(f"the transform {quoted(name)} in {what}", "is not known here", table.at)
            return Step(name, table.at, is_known=False, options=options, inside=wrapped.names, choice=wrapped.choice)
        amounts, unread = read_amounts(known, table, around.dataset)
        for amount, unknown in unread.items():
            why, at = (unknown.why, unknown.at) if unknown else ("is stated in a way that is not read", table.at)
            self._note(f"{amount} of {quoted(name)} in {what}", why, at)
        step = Step(
            name, table.at, known.does, known.upon, known.random, amounts=amounts, options=options,
            inside=wrapped.names, choice=wrapped.choice, collects=_collected(name, table),
        )  # fmt: skip
        step = _unless_training(step, known, table)
        step = adapted(step, table, around)
        return _settled(step, known, around, wrapped, told=not unread)

    def _albumentations(self, table: Table, wrapped: Wrapped) -> Iterator[Step]:
        """mmdetection's wrapper around albumentations."""
        from avreview.recipe.albumentations.transforms import LIBRARY
        from avreview.recipe.image_steps import Call, Steps

        def call(entry: Any, deep: int) -> Call | None:
            name = scope_free(entry.get("type")) if isinstance(entry, Table) else None
            if name is None or deep > DEEPEST:
                self._note("a transform of albumentations", "is no dict with a type", table.at)
                return None
            inner = entry.get("transforms")
            children = [call(child, deep + 1) for child in inner] if isinstance(inner, list | tuple) else []
            options = _plain_options(entry, "transforms")
            return Call(
                name,
                entry.at,
                options,
                [child for child in children if child is not None],
                is_whole=entry.rest is None and not any(isinstance(v, Unknown) for v in entry.values()),
            )

        leaves = {Upon.KEYPOINTS} if isinstance(table.get("bbox_params"), Table) else {Upon.KEYPOINTS, Upon.BOXES_2D}
        steps = Steps(LIBRARY, frozenset(leaves), choices=self._choices)
        listed = table.get("transforms")
        for entry in listed if isinstance(listed, list | tuple) else ():
            made = call(entry, 0)
            if made is not None:
                steps.add(made)
        self._unread += steps.unread
        self._choices = steps.choices
        for step in steps.found:
            yield replace(step, inside=(*wrapped.names, "Albu", *step.inside))


def _is_one(alternative: Any) -> bool:
    return isinstance(alternative, Table) or (isinstance(alternative, list | tuple) and len(alternative) == 1)


def _plain_options(table: Table, *without: str) -> dict[str, Any]:
    options: dict[str, Any] = plain({key: value for key, value in table.items() if key not in ("type", *without)})
    return options


def _unless_training(step: Step, known: Known, table: Table) -> Step:
    """What is drawn in training alone, and fixed elsewhere: `training=False`, `is_train=False`."""
    if known.training is None:
        return step
    name, default = known.training
    if option(table, name, default) is not False:
        return step
    kept = {key: value for key, value in step.amounts.items() if key == "probability"}
    return replace(step, does=step.does - known.only_training, amounts=kept, is_random=False)


def _settled(step: Step, known: Known, around: Around, wrapped: Wrapped, *, told: bool) -> Step:
    """The step with what its wrappers and hooks make of it, and without geometry that cannot happen."""
    amounts = dict(step.amounts)
    if wrapped.is_fixed:
        kept = {name: amount for name, amount in amounts.items() if name not in FLIPS}
        does = step.does if wrapped.mirrors else step.does - {Does.FLIP}
        return replace(step, amounts=kept, does=narrowed(does, kept), is_random=False)
    is_random = step.is_random
    if is_random is None and known.random is None:
        is_random = varies(amounts) if told else None
    if step.name in around.stops and around.role == "train":
        epoch, _ = around.stops[step.name]
        amounts["stop_epoch"] = Amount(epoch, epoch, "epoch")
    if wrapped.probability != 1.0:
        is_random = True
        own = amounts.pop("probability", Amount(1.0, 1.0, "share"))
        if wrapped.probability is not None:
            amounts["probability"] = Amount(own.low * wrapped.probability, own.high * wrapped.probability, "share")
    return replace(step, amounts=amounts, does=narrowed(step.does, amounts), is_random=is_random)


def _collected(name: str, table: Table) -> frozenset[str]:
    known = KNOWN[name]
    if Does.COLLECT not in known.does:
        return frozenset()
    stated = table.get("meta_keys")
    keys = _texts(table.get("keys"))
    return keys | (META_KEYS.get(name, frozenset()) if stated is None else _texts(stated))


def _texts(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset({value})
    if not isinstance(value, Row | tuple):
        return frozenset()
    return frozenset(item for item in value if isinstance(item, str))
