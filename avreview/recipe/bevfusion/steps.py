"""The pipelines of a bevfusion recipe."""

from __future__ import annotations

from avreview.load.wording import quoted
from avreview.recipe.bevfusion.transforms import LIDAR_SWEEPS, NUMBERS_ARE_DEVIATIONS, SHARES, TRANSFORMS, Transform
from avreview.recipe.model import Amount, Does, Pipeline, Step, Upon
from avreview.recipe.placed import Notes, Placed

ROLES = ("train", "val", "test")
_MOST_STEPS = 500
_WRAPPERS = 10  # data sets inside one another


def pipelines(root: Placed, notes: Notes) -> list[Pipeline]:
    """The pipelines of `data`, and where it names none those that stand by themselves."""
    found = []
    for role in ROLES:
        node = _of_data(root.get("data", role)) or root.get("train_pipeline" if role == "train" else "test_pipeline")
        if node is not None:
            found.append(Pipeline(role, [_step(entry, notes) for entry in _listed(node)], node.at))
    return found


def data_set(node: Placed | None) -> Placed | None:
    """The data set itself, inside what repeats or balances it (CBGSDataset)."""
    for _ in range(_WRAPPERS):
        inner = node.get("dataset") if node is not None else None
        if inner is None:
            break
        node = inner
    return node


def _of_data(node: Placed | None) -> Placed | None:
    inner = data_set(node)
    return inner.get("pipeline") if inner is not None else None


def _listed(node: Placed) -> list[Placed]:
    if not node.is_list:
        raise node.error("is no list of transforms", "write one, each with its type")
    if len(node.value) > _MOST_STEPS:
        raise node.error(f"has more than {_MOST_STEPS} transforms", "shorten it")
    entries: list[Placed] = node.value
    return entries


def _step(node: Placed, notes: Notes) -> Step:
    name = notes.text(node.get("type"))
    if name is None:
        raise node.error("is a transform without a type", "name it")
    options = {key: entry.plain() for key, entry in node.entries().items() if key != "type"}
    known = TRANSFORMS.get(name)
    if known is None:
        notes.add(name, f"no transform of bevfusion is called {quoted(name)}", node.at)
        return Step(name, node.at, is_known=False, options=options)
    if known.still is not None and notes.flag(node.get("is_train")) is False:
        upon = known.upon if Does.OTHER not in known.still else frozenset[Upon]()
        scale = _limits(known, node, notes).get("scale") if upon else None
        amounts = {"scale": scale} if scale else {}
        return Step(name, node.at, known.still, upon, False, amounts=amounts, options=options)
    return Step(
        name,
        node.at,
        known.does,
        _upon(known, node, notes),
        _is_random(known, node, notes),
        amounts={**_limits(known, node, notes), **_flips(known, node, notes), **_counted(known, node, notes)},
        options=options,
        collects=_collected(node, notes) if Does.COLLECT in known.does else frozenset(),
    )


def _upon(known: Transform, node: Placed, notes: Notes) -> frozenset[Upon]:
    """What it changes; ObjectPaste with `sample_2d` pastes into images as well."""
    if Does.PASTE in known.does and notes.flag(node.get("sample_2d")):
        return known.upon | {Upon.IMAGE, Upon.BOXES_2D}
    return known.upon


def _is_random(known: Transform, node: Placed, notes: Notes) -> bool:
    """Sweeps are drawn at random where there are more than are wanted, unless `test_mode` says otherwise."""
    return known.is_random or (Does.SWEEPS in known.does and not notes.flag(node.get("test_mode")))


def _limits(known: Transform, node: Placed, notes: Notes) -> dict[str, Amount]:
    found = {}
    for amount, (option, unit) in known.limits.items():
        given = node.get(option)
        if given is None:
            continue
        if given.is_list and option not in NUMBERS_ARE_DEVIATIONS:
            pair = notes.numbers(given, 2)
            bounds = None if pair is None else (pair[0], pair[1])
        elif given.is_list:
            deviations = notes.numbers(given)
            bounds = None if not deviations else (-max(map(abs, deviations)), max(map(abs, deviations)))
        else:
            number = notes.number(given)
            bounds = None if number is None else (number if amount in SHARES else -abs(number), number)
        if bounds is not None:
            found[amount] = Amount(*bounds, unit)
    return found


def _flips(known: Transform, node: Placed, notes: Notes) -> dict[str, Amount]:
    found = {}
    for amount, option in known.flips.items():
        share = 0.5 if not option or notes.flag(node.get(option)) else 0.0
        found[amount] = Amount(share, share, "share")
    return found


def _counted(known: Transform, node: Placed, notes: Notes) -> dict[str, Amount]:
    """The epoch from which objects are no longer pasted (below 1: from the first), sweeps, and ranges."""
    found = {}
    stop = notes.number(node.get("stop_epoch"))
    if stop is not None:
        found["stop_epoch"] = Amount(max(stop, 0.0), max(stop, 0.0), "epoch")
    sweeps = notes.number(node.get("sweeps_num")) if Does.SWEEPS in known.does else None
    if sweeps is not None:
        count = sweeps + 1 if known is TRANSFORMS[LIDAR_SWEEPS] else sweeps
        found["sweeps"] = Amount(count, count, "count")
    bounds = notes.numbers(node.get("point_cloud_range"), 6) if Does.RANGE_FILTER in known.does else None
    if bounds is not None:
        found["range"] = Amount(min(bounds[:2]), max(bounds[3:5]), "m")
    return found


def _collected(node: Placed, notes: Notes) -> frozenset[str]:
    return frozenset([*(notes.texts(node.get("keys")) or ()), *(notes.texts(node.get("meta_keys")) or ())])
