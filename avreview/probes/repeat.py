"""Does the same input give the same output, run after run?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from avreview.artifact import Artifact, Node
from avreview.engine.cards import catalogue
from avreview.engine.resolve import NotAvailable, fact
from avreview.facts.graphs import the_graph
from avreview.facts.randomness import Randomness
from avreview.probes.chance import drawn_by
from avreview.probes.plan import InputPlan
from avreview.probes.probing import Probing

_SAMPLES, _DRAWN_FOR = 1, 2  # of a batch; where numbers are drawn for each sample, one alone shows less


class Repeatability(NamedTuple):
    """How far each output moved in `runs` on the same input: the largest |difference| / largest |output|.

    `culprit` is the first node whose result differs though nothing that it reads does.
    """

    runs: int
    moved: Mapping[str, float]
    differing: tuple[str, ...]
    culprit: Node | None


@fact(only_for_rules=True)
def repeatability(artifact: Artifact, probing: Probing, plan: InputPlan, randomness: Randomness) -> Repeatability:
    """Runs the model several times on one batch: often where it draws random numbers, which may agree by chance."""
    limits = catalogue()["AV702"].limits
    draws = drawn_by(randomness)
    runs, samples = (limits.random_runs, _DRAWN_FOR) if draws else (limits.runs, _SAMPLES)
    answer = probing.run("repeat", plan, runs=int(runs), samples=samples)
    if draws and not answer["differing"]:
        raise NotAvailable(
            f"the model draws random numbers ({draws}), and {answer['runs']} runs agreed "
            "nevertheless; AV401 and AV701 judge what draws them"
        )
    culprit = the_graph(artifact).producer.get(answer["culprit"] or "")
    return Repeatability(answer["runs"], answer["outputs"], tuple(answer["differing"]), culprit)
