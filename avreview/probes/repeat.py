"""Does the same input give the same output, run after run?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from avreview.artifact import Artifact, Node
from avreview.engine.cards import catalogue
from avreview.engine.resolve import fact
from avreview.facts.graphs import the_graph
from avreview.probes.plan import InputPlan
from avreview.probes.probing import Probing

_SAMPLES = 2


class Repeatability(NamedTuple):
    """How far each output moved between runs on the same input: the largest |difference| / largest |output|.

    `culprit` is the first node whose result differs though nothing that it reads does.
    """

    runs: int
    moved: Mapping[str, float]
    differing: tuple[str, ...]
    culprit: Node | None


@fact(only_for_rules=True)
def repeatability(artifact: Artifact, probing: Probing, plan: InputPlan) -> Repeatability:
    """Runs the model several times on one batch."""
    runs = int(catalogue()["AV702"].limits.runs)
    answer = probing.run("repeat", plan, runs=runs, samples=_SAMPLES)
    culprit = the_graph(artifact).producer.get(answer["culprit"] or "")
    return Repeatability(runs, answer["outputs"], tuple(answer["differing"]), culprit)
