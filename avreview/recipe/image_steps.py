"""The steps of an image pipeline, from the calls of a library of augmentations: albumentations, torchvision or kornia.

A transform happens with its own `p`, and only when everything around it happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from avreview.load.wording import quoted
from avreview.recipe.model import Amount, Does, Place, Step, Unread, Upon

MOST_STEPS = 1_000
DEEPEST = 50
_NEUTRAL = {"rotation": 0.0, "scale": 1.0, "translation": 0.0, "shear": 0.0}
_GEOMETRY = {
    "rotation": Does.ROTATE, "scale": Does.SCALE, "translation": Does.TRANSLATE, "shear": Does.SHEAR,
}  # fmt: skip


class Range(NamedTuple):
    """How much of something: the options that hold it in one version or another, and their unit.

    `style` says what is written: `symmetric` v for -v to v; `fixed` v for v alone; `offset` v for 1 - v to 1 + v;
    `extents` a pair of such v, one for each axis.
    """

    amount: str
    options: tuple[str, ...]
    unit: str
    style: str = "symmetric"


class Transform(NamedTuple):
    """What the transforms of one name do. `probability` is the default of `p`.

    `is_fixed` ones do the same each time they are applied. `mirrors` is the share of applications that mirror the
    picture left to right, and top to bottom. `positions` names the arguments that are given without a name.
    """

    does: frozenset[Does]
    upon: frozenset[Upon]
    probability: float = 0.5
    is_fixed: bool = False
    ranges: tuple[Range, ...] = ()
    mirrors: tuple[float, float] = (0.0, 0.0)
    positions: tuple[str, ...] = ()


class Composition(NamedTuple):
    """How a composition applies what it holds.

    `kind` is `all`; `one`, chosen by the p's of its children, which it then applies for sure; `any`, which chooses one
    as likely as another, and lets that one's p decide; `some`, n of them in the same way; `either`, the first with p,
    and the other without. `probability` is the default of its own p.
    """

    kind: str = "all"
    probability: float = 1.0


class Library(NamedTuple):
    transforms: Mapping[str, Transform]
    compositions: Mapping[str, Composition]
    outermost: frozenset[str]  # compositions that are no wrapper


class Call(NamedTuple):
    """A transform or composition as written: the last part of its class's name, its settings, and what it holds.

    `options` are plain values; what could not be read is not among them (`p` is None), and `is_whole` is False then.
    """

    name: str
    at: Place
    options: Mapping[str, Any]
    children: Sequence[Call] = ()
    is_whole: bool = True


class _Odds(NamedTuple):
    """The bounds of a probability."""

    low: float
    high: float


class _Around(NamedTuple):
    """What is around a transform: how likely it all is, and the names, outermost first."""

    low: float = 1.0
    high: float = 1.0
    inside: tuple[str, ...] = ()
    choice: int | None = None
    is_forced: bool = False  # its own p does not count


@dataclass
class Steps:
    """Collects the steps of one pipeline. `leaves` is what no transform changes: boxes without `bbox_params`."""

    library: Library
    leaves: frozenset[Upon] = frozenset()
    found: list[Step] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    choices: int = 0

    def add(self, call: Call) -> None:
        self._add(call, _Around())

    def _add(self, call: Call, around: _Around) -> None:
        if len(self.found) >= MOST_STEPS or len(around.inside) > DEEPEST:
            if not any(note.what == "the rest of the pipeline" for note in self.unread):
                self.unread.append(Unread("the rest of the pipeline", "is more than any pipeline has", call.at))
        elif call.name in self.library.compositions or (call.children and call.name not in self.library.transforms):
            self._add_composition(call, around)
        else:
            self._add_transform(call, around)

    def _add_composition(self, call: Call, around: _Around) -> None:
        how = self.library.compositions.get(call.name)
        if how is None:
            self.unread.append(Unread(quoted(call.name), "is no composition that is known here", call.at))
            how = Composition()
        certain = how.kind == "either" or (around.is_forced and how.kind in ("all", "one"))
        own = _Odds(1.0, 1.0) if certain else _probability(call, how.probability)
        if around.is_forced and how.kind == "some":
            own = _Odds(own.low, 1.0)  # AlbumentationsX applies it for sure, albumentations with its own p
        inside = around.inside if call.name in self.library.outermost else (*around.inside, call.name)
        excludes = how.kind in ("one", "any", "either")
        if excludes:
            self.choices += 1
        choice = self.choices if excludes else None
        for place, child in enumerate(call.children):
            low, high = self._share(call, how, place)
            forced = how.kind in ("one", "either")
            odds = _Odds(around.low * own.low * low, around.high * own.high * high)
            self._add(child, _Around(*odds, inside, choice, forced))

    def _add_transform(self, call: Call, around: _Around) -> None:
        known = self.library.transforms.get(call.name)
        if known is None:  # `Lambda` too
            why = "runs a function" if call.name == "Lambda" else "is no transform that is known here"
            self.unread.append(Unread(quoted(call.name), why, call.at))
            unknown = Step(call.name, call.at, is_known=False, options=call.options)
            self.found.append(replace(unknown, inside=around.inside, choice=around.choice))
            return
        own = _Odds(1.0, 1.0) if around.is_forced else _probability(call, known.probability)
        amounts, does = _amounts(known, call)
        probability = Amount(around.low * own.low, around.high * own.high, "share")
        amounts["probability"] = probability
        for name, share in zip(("flip_horizontal", "flip_vertical"), known.mirrors, strict=True):
            if share:
                amounts[name] = Amount(probability.low * share, probability.high * share, "share")
        self.found.append(
            Step(
                call.name,
                call.at,
                does,
                known.upon - self.leaves,
                _is_random(known, amounts, probability),
                amounts=amounts,
                options=call.options,
                inside=around.inside,
                choice=around.choice,
                swaps_classes=False if Does.FLIP in does else None,
            )
        )

    def _share(self, call: Call, how: Composition, place: int) -> _Odds:
        """How often a composition applies one of its children, when it is applied itself."""
        share = 1.0
        if how.kind == "one":
            shares = [self._own(child) for child in call.children]
            if any(one.low != one.high for one in shares):
                return _Odds(0.0, 1.0)
            total = sum(one.low for one in shares)
            share = shares[place].low / total if total > 0 else 0.0
        elif how.kind == "any":
            share = 1 / len(call.children)
        elif how.kind == "either":
            low, high = _probability(call, how.probability)
            return _Odds(low, high) if place == 0 else _Odds(1 - high, 1 - low)
        elif how.kind == "some":
            chosen = call.options.get("n")
            if type(chosen) is not int or call.options.get("replace") is True or chosen < 1:
                return _Odds(0.0, 1.0)
            share = min(1.0, chosen / len(call.children))
        return _Odds(share, share)

    def _own(self, child: Call) -> _Odds:
        known: Any = self.library.transforms.get(child.name) or self.library.compositions.get(child.name)
        return _probability(child, known.probability if known is not None else 0.5)


def _probability(call: Call, default: float) -> _Odds:
    """The bounds of a call's own `p`: None stands for one that is not told."""
    value = call.options.get("p", default)
    if call.options.get("always_apply") is True:
        return _Odds(1.0, 1.0)
    if not _is_number(value):
        return _Odds(0.0, 1.0)
    share = min(1.0, max(0.0, float(value)))
    return _Odds(share, share)


def _amounts(known: Transform, call: Call) -> tuple[dict[str, Amount], frozenset[Does]]:
    """How much is done, and what: a range that changes nothing is nothing done."""
    amounts: dict[str, Amount] = {}
    does = known.does
    for name in dict.fromkeys(one.amount for one in known.ranges):
        spans = [one for one in known.ranges if one.amount == name]
        written = [option for one in spans for option in one.options if option in call.options]
        found = [amount for one in spans for amount in _spans(one, call.options)]
        if found:
            amounts[name] = Amount(min(a.low for a in found), max(a.high for a in found), found[0].unit)
        neutral = _NEUTRAL[name]
        if written and all(amount.low == amount.high == neutral for amount in found) and call.is_whole:
            does -= {_GEOMETRY[name]}
    return amounts, does


def _spans(spec: Range, options: Mapping[str, Any]) -> list[Amount]:
    """The ranges that the options of one amount state; None is none."""
    found = []
    for option in spec.options:
        for low, high in _pairs(options.get(option), spec.style):
            moved = (1 + low, 1 + high) if spec.style == "offset" else (low, high)
            found.append(Amount(*moved, spec.unit))
    return found


def _pairs(value: Any, style: str) -> list[tuple[float, float]]:
    """The ranges in an option: a number, a pair of numbers, or one of them for each axis."""
    if isinstance(value, Mapping):
        return [pair for one in value.values() if not isinstance(one, Mapping) for pair in _pairs(one, style)]
    if _is_number(value):
        number = float(value)
        return [(number, number) if style == "fixed" else (-abs(number), abs(number))]
    if not isinstance(value, list | tuple) or not value or not all(_is_number(part) for part in value):
        return []
    if style == "extents":
        return [(-abs(float(part)), abs(float(part))) for part in value]
    pairs = [value[start : start + 2] for start in range(0, len(value), 2)]
    return [(float(min(pair)), float(max(pair))) for pair in pairs] if len(value) in (2, 4) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_random(known: Transform, amounts: Mapping[str, Amount], probability: Amount) -> bool:
    """Whether two applications can differ: by happening or not, or by how much. What does nothing never differs."""
    if probability.high <= 0 or known.does == {Does.OTHER}:
        return False
    if probability.low < 1:
        return True
    drawn = [amount for name, amount in amounts.items() if name in _NEUTRAL]
    if known.ranges and drawn:
        return any(amount.low != amount.high for amount in drawn)
    return not known.is_fixed
