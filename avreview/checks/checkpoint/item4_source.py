"""Question 4 beside the checkpoint: was the export made from it, and from which of its weight sets?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.checks.words import count, listed, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check, limitation
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location
from avreview.facts.export_match import ExportMatch, SetMatch
from avreview.facts.export_weights import ExportWeights
from avreview.facts.subject import Companions
from avreview.facts.weight_matching import Match

_AVERAGED = ("ema", "swa", "averaged", "average")


@check("AV403")
def export_weights_differ(match: ExportMatch, limits: Thresholds) -> Iterator[Violation]:
    """Reports what differs from the set that most of the export agrees with."""
    best = match.best
    _require_pairs(best, limits)
    if not best.differing:
        return
    worst = sorted(best.differing, key=_difference, reverse=True)
    statistics = all(entry.weight.role in ("mean", "variance") for entry in worst)
    what = "running statistic" if statistics else "weight"
    yield Violation(
        at=worst[0].weight.at,
        also=[entry.weight.at for entry in worst[1:]],
        message=f"{count(len(worst), what)} of {len(best.paired)} {verb(len(worst), 'differ')} from the checkpoint's "
        f"{_set_words(match, best)}.",
        observed={
            "differ": len(worst),
            "agree": len(best.agreeing),
            "not_paired": len(best.absent),
            "largest_difference": float(f"{_difference(worst[0]):.3g}"),
            "checkpoint_tensor": worst[0].names[0],
            "treated": worst[0].how or "as it is",
        },
        expected={"largest_difference": f"at most {limits.max_difference:g} of the largest element"},
    )


def _difference(match: Match) -> float:
    return match.comparison.difference if match.comparison is not None else 0.0


def _require_pairs(best: SetMatch, limits: Thresholds) -> None:
    share = best.share(best.paired)
    if share < limits.min_paired_share:
        raise NotAvailable(
            f"needs the checkpoint that the export was made from; only {share:.0%} of the export's weights could be "
            "paired with this one's"
        )


def _set_words(match: ExportMatch, chosen: SetMatch) -> str:
    return f"`{chosen.name}` weights" if len(match.sets) > 1 else "weights"


@check("AV404")
def raw_weights_exported_not_ema(match: ExportMatch, companions: Companions, limits: Thresholds) -> Iterator[Violation]:
    """Reports an export that agrees with the raw set and not with the averaged one."""
    averaged = [found for name, found in match.sets.items() if _is_averaged(name)]
    raw = [found for name, found in match.sets.items() if not _is_averaged(name)]
    if not averaged or not raw:
        _require_no_average(companions)
        raise NotApplicable("the checkpoint does not hold both raw and averaged weights")
    _require_pairs(match.best, limits)
    agreeing = [found for found in match.sets.values() if found.agrees]
    if not agreeing:
        raise NotAvailable("needs the checkpoint that the export was made from; it agrees with neither set of this one")
    if any(found in agreeing for found in averaged):
        return
    nearest = averaged[0]
    where = {name: held.where for name, held in match.checkpoint.sets.items()}
    places = [entry.weight.at for entry in nearest.differing]
    yield Violation(
        at=places[0],
        also=places[1:],
        message=f"The export holds the weights of `{where[agreeing[0].name]}`, the raw ones, and not the average in "
        f"`{where[nearest.name]}`.",
        observed={
            "exported": agreeing[0].name,
            "differ_from_average": len(places),
            "largest_difference": float(f"{max(map(_difference, nearest.differing)):.3g}"),
        },
        expected={"exported": nearest.name},
    )


def _require_no_average(companions: Companions) -> None:
    """Raises NotAvailable where the recipe keeps an average and the checkpoint holds one set of weights."""
    recipe = companions.recipe
    if recipe is not None and recipe.ema is not None and recipe.ema.value:
        from avreview.facts.recipe_places import said_at

        raise NotAvailable(
            f"needs raw and averaged weights: the recipe keeps an average ({said_at(recipe.ema.at, recipe)}), and the "
            "checkpoint holds one set; pass the checkpoint that training wrote"
        )


def _is_averaged(name: str) -> bool:
    return name.lower().startswith(_AVERAGED)


@answer(4)
def was_it_made_from_the_checkpoint(match: ExportMatch) -> AnswerText:
    """Says how the export's weights compare with the checkpoint's, and a row for each that was laid beside one."""
    best = match.best
    whose = f"the checkpoint's {_set_words(match, best)}"
    if not best.differing:
        sentence = f"{len(best.agreeing)} of {count(len(best.matches), 'weight')} are those of {whose}"
    else:
        sentence = f"{len(best.differing)} of {count(len(best.paired), 'weight')} differ from {whose}"
    if best.absent:
        sentence += f", {len(best.absent)} could not be paired"
    return AnswerText(f"{sentence}.", [_row(entry) for entry in best.matches])


def _row(match: Match) -> dict[str, str | float | None]:
    return {
        "module": match.weight.at.module or match.weight.at.node,
        "tensor": match.weight.at.tensor,
        "checkpoint": listed(match.names) or None,
        "treated": match.how or None,
        "difference": float(f"{_difference(match):.3g}") if match.comparison is not None else None,
    }


@limitation
def unpaired_weights(match: ExportMatch, weights: ExportWeights) -> Iterator[str]:
    """Weights of the export that nothing of the checkpoint was laid beside."""
    absent = match.best.absent
    if absent:
        yield (
            f"{count(len(absent), 'weight')} of the export {verb(len(absent), 'have', 'has')} no counterpart in the "
            f"checkpoint ({_named([entry.weight.at for entry in absent])}): what they were made from is not known."
        )
    if weights.hidden and match.best.unused:
        yield (
            f"{count(len(weights.hidden), 'layer')} of the export {verb(len(weights.hidden), 'compute')} weights from "
            "constants in a way that was not followed: they were not compared with the checkpoint's."
        )


def _named(places: Sequence[Location]) -> str:
    return listed(dict.fromkeys(place.module or place.tensor or place.node or "" for place in places))
