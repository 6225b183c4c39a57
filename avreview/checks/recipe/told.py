"""Steps of a recipe in words: what they do, upon what, and how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avreview.engine.review import Scalar
from avreview.facts.recipe_steps import MIRRORS, PlacedStep, Walk
from avreview.load.wording import one_line
from avreview.recipe.model import Amount, Does, Place, Step, Upon

_NAMES = {
    "flip_horizontal": "horizontal mirror",
    "flip_vertical": "vertical mirror",
    "flip_x": "mirror of x",
    "flip_y": "mirror of y",
    "stop_epoch": "until epoch",
    "start_epoch": "from epoch",
}
_UNITS = {"rad": " rad", "degree": "°", "m": " m", "px": " px"}
_LONGEST = 60
_MOST_ROWS = 400


def shown(name: str, amount: Amount) -> str:
    """`rotation ±0.393 rad`, `scale 0.95 to 1.05`, `mirror of y 0.5`."""
    unit = _UNITS.get(amount.unit, "")
    if name in MIRRORS or amount.low == amount.high:
        size = f"{amount.high:.4g}"
    elif amount.low == -amount.high:
        size = f"±{amount.high:.4g}"
    else:
        size = f"{amount.low:.4g} to {amount.high:.4g}"
    return f"{_NAMES.get(name, one_line(name, _LONGEST))} {size}{unit}"


def amounts(step: Step) -> str:
    """Every amount of a step, behind commas."""
    return ", ".join(shown(name, amount) for name, amount in step.amounts.items())


def does(step: Step) -> str:
    if not step.is_known:
        return "not known"
    return ", ".join(kind.value for kind in Does if kind in step.does)


def upon(step: Step) -> str:
    return ", ".join(kind.value for kind in Upon if kind in step.upon)


def place(at: Place) -> str:
    return one_line(at.file, 200) if at.line is None else f"{one_line(at.file, 200)}:{at.line}"


def rows(every: Sequence[Walk], wanted: Callable[[Walk, PlacedStep], bool]) -> list[dict[str, Scalar]]:
    """The steps that are wanted as rows of a table; pipelines of several splits that are the same lines once."""
    alike: dict[tuple[tuple[str, Place], ...], list[Walk]] = {}
    for walk in every:
        same = tuple((placed.step.name, placed.step.at) for placed in walk.all)
        alike.setdefault(same, []).append(walk)
    found = []
    for first, *others in alike.values():
        split = ", ".join(dict.fromkeys(_split(walk) for walk in (first, *others)))
        found += [{**row(placed), "split": split} for placed in first.all if wanted(first, placed)]
    return found[:_MOST_ROWS]


def _split(walk: Walk) -> str:
    return one_line(f"{walk.pipeline.role} {walk.pipeline.name}".strip(), _LONGEST)


def row(placed: PlacedStep) -> dict[str, Scalar]:
    """A step as a row of the table of questions 8 and 9."""
    step = placed.step
    off = "" if step.is_active else "never happens"
    random = {True: "random", False: "", None: ""}[step.is_random]
    return {
        "split": placed.pipeline.role,
        "step": one_line(step.name, _LONGEST),
        "does": does(step),
        "upon": upon(step),
        "how much": "; ".join(filter(None, (off or random, amounts(step)))),
        "at": place(step.at),
    }
