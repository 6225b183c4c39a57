"""Question 5 for checkpoints: which norms kept counting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avreview.checks.words import count, listed
from avreview.engine.checks import Violation, check
from avreview.engine.review import Location
from avreview.facts.norm_counters import NormCounters


@check("AV503")
def norm_stats_partly_frozen(counters: NormCounters) -> Iterator[Violation]:
    """Norms that counted different numbers of batches; a norm shared by several levels counts several times a step."""
    if _all_multiples(list(counters.groups)):
        return
    *fewer, _ = counters.groups.values()
    places = [Location(counters.artifact, module=path) for group in fewer for path in group]
    total = sum(map(len, counters.groups.values()))
    yield Violation(
        at=places[0],
        also=places[1:],
        message=f"{count(len(places), 'batch norm')} of {total} counted fewer batches than the rest.",
        observed={"batches": {str(number): listed(group) for number, group in list(counters.groups.items())[:8]}},
        expected={"batches": "the same for every norm"},
    )


def _all_multiples(numbers: Sequence[int]) -> bool:
    return numbers[0] > 0 and all(number % numbers[0] == 0 for number in numbers)
