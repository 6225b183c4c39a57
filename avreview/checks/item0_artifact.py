"""Item 0: can the artifact be reviewed at all?"""

from __future__ import annotations

from collections.abc import Iterator

from avreview.artifact import Artifact
from avreview.checks.words import count
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.resolve import NotApplicable
from avreview.engine.review import Location
from avreview.facts.graphs import the_graph
from avreview.facts.parameters import Parameters
from avreview.facts.statistics import Statistics
from avreview.facts.validity import Validity


@check("AV001")
def non_finite_weights(parameters: Parameters, statistics: Statistics, limits: Thresholds) -> Iterator[Violation]:
    """NaN or Inf in a parameter. Minus infinity in what is added is a mask's usual value."""
    if not parameters.all:
        raise NotApplicable("the model has no parameters")
    for parameter in parameters.all:
        measured = statistics.of(parameter.tensor)
        is_mask = parameter.role == "factor"
        number = measured.nan + (0 if is_mask else measured.inf)
        if number > limits.max_non_finite:
            verb = "is" if number == 1 else "are"
            yield Violation(
                at=parameter.at,
                message=f"The {parameter.role} holds {count(number, 'value')} that {verb} no number.",
                observed={
                    "nan": measured.nan,
                    "inf": measured.inf,
                    "of": parameter.tensor.size,
                    "first": parameter.first_non_finite(infinite=not is_mask),
                },
                expected={"nan": 0, "inf": 0},
            )


@check("AV002")
def invalid_model(artifact: Artifact, validity: Validity) -> Iterator[Violation]:
    """onnx.checker rejects the file, or dies of it."""
    outcome = validity.outcome()
    if not outcome.accepted:
        yield Violation(
            at=Location(artifact.provenance.path),
            message="onnx.checker rejects the model.",
            observed={"onnx.checker": outcome.message or "no message"},
            expected={"onnx.checker": "accepts it"},
        )


@answer(0)
def can_it_be_reviewed(artifact: Artifact, parameters: Parameters) -> AnswerText:
    """Says what was read."""
    graph = the_graph(artifact)
    elements = sum(parameter.tensor.size for parameter in parameters.all)
    return AnswerText(
        f"Read {count(len(graph.nodes), 'node')} and {elements:,} parameters in {count(len(parameters.all), 'tensor')}."
    )
