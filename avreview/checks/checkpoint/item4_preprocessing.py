"""Question 4 beside the export that a model replaces: is the input normalized as it was?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.artifact import Artifact
from avreview.engine.cards import Thresholds
from avreview.engine.checks import Violation, check
from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.engine.review import Location
from avreview.facts.graphs import the_graph
from avreview.facts.subject import PretrainedBase
from avreview.facts.weights import Constants


@check("AV408")
def input_preprocessing_changed(
    artifact: Artifact, base: PretrainedBase, constants: Constants, limits: Thresholds
) -> Iterator[Violation]:
    """Lays the constants in front of the first layer beside those of the base, where that is an export too."""
    from avreview.compare.inputs import alike, described, paired_values
    from avreview.compare.preprocessing import readings

    graph, other = the_graph(artifact), base.artifact.graph
    if other is None:
        raise NotAvailable("needs the training recipe, or a base that is an ONNX export; pass --recipe")
    new = {reading.input: reading for reading in readings(graph, constants)}
    old = {reading.input: reading for reading in readings(other, Constants(other))}
    pairs = [(old[before.name], new[after.name]) for before, after in paired_values(other.inputs, graph.inputs)]
    told = [(before, after) for before, after in pairs if before.steps or after.steps]
    if not told:
        raise NotApplicable("neither the export nor the base does anything to its inputs in front of the first layer")
    for before, after in told:
        if before.others == after.others and alike(before, after, limits.max_relative_difference):
            continue
        yield Violation(
            at=Location(artifact.provenance.path, tensor=after.input),
            also=[Location(base.artifact.provenance.path, tensor=before.input)],
            message="The input is normalized otherwise than in the base.",
            observed=described(after) or {"steps": []},
            expected=described(before) or {"steps": []},
        )
