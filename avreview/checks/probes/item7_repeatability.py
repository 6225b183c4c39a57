"""Question 7 from a run: is the output the same each time?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.artifact import Artifact
from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.review import Location
from avreview.facts.modules import locate
from avreview.probes.repeat import Repeatability


@check("AV702")
def output_not_repeatable(artifact: Artifact, repeatability: Repeatability) -> Iterator[Violation]:
    """The same input gave different outputs."""
    if not repeatability.differing:
        return
    path, culprit = artifact.provenance.path, repeatability.culprit
    largest = max(repeatability.moved.values())
    number = len(repeatability.differing)
    yield Violation(
        at=Location(path, tensor=repeatability.differing[0]) if culprit is None else locate(path, culprit),
        message=f"{count(number, 'output')} of {len(repeatability.moved)} ({listed(repeatability.differing)}) "
        f"{verb(number, 'differ')} between runs on the same input"
        + (f"; the first node whose result differs is a {culprit.op}." if culprit is not None else "."),
        observed={"largest_difference": shown_floats(largest), "runs": repeatability.runs},
        expected={"largest_difference": 0},
    )


@answer(7)
def repeatable(repeatability: Repeatability) -> AnswerText:
    """What the runs came to."""
    if repeatability.differing:
        return AnswerText(f"{repeatability.runs} runs on the same input gave different outputs.")
    return AnswerText(f"{repeatability.runs} runs on the same input gave the same outputs bit for bit.")
