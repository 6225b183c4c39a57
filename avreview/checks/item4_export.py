"""Question 4: are train/eval modes tested after export?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avreview.artifact import Artifact
from avreview.checks.words import count, listed, verb
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.review import Location
from avreview.facts.batch_axis import BatchAxis, BatchRuns
from avreview.facts.export_mode import ExportMode
from avreview.facts.graphs import the_graph
from avreview.facts.modules import locate
from avreview.facts.output_activations import OutputActivations
from avreview.facts.randomness import Randomness
from avreview.probes.compared import Parity


@check("AV401")
def random_operator_in_export(randomness: Randomness) -> Iterator[Violation]:
    """Randomness at inference that is no plain dropout: drop path, noise, sampling."""
    drop_paths = [dropout for dropout in randomness.active if dropout.per_sample]
    path = randomness.artifact
    found = [
        *(dropout.location(path) for dropout in drop_paths),
        *(generator.location(path) for generator in randomness.others),
    ]
    if not found:
        randomness.drawing.require_flow()
        return
    operators = [dropout.evidence for dropout in drop_paths] + [node.node.op for node in randomness.others]
    kinds = [f"{len(drop_paths)} stochastic depth"] * bool(drop_paths)
    kinds += [f"{len(randomness.others)} noise or sampling"] * bool(randomness.others)
    yield Violation(
        at=found[0],
        also=found[1:],
        message=f"The export draws random numbers at inference ({', '.join(kinds)}).",
        observed={"operators": listed(dict.fromkeys(operators)), "places": len(found)},
        expected={"random_operators": 0},
    )


@check("AV409")
def no_parity_evidence(artifact: Artifact, parity: Parity | None) -> Iterator[Violation]:
    """An export that this review did not compare with its source."""
    the_graph(artifact)
    if parity is not None:
        return
    yield Violation(
        at=Location(artifact.provenance.path),
        message="Nothing given shows that the export computes what the trained model computes.",
        observed={"outputs_compared": 0},
        expected={"outputs_compared": "all, with the source model in eval mode, on the same inputs"},
    )


@check("AV410")
def fixed_batch_baked_in(artifact: Artifact, batch: BatchAxis, runs: BatchRuns | None) -> Iterator[Violation]:
    """A batch axis that the input declares as dynamic, and a graph that takes one size of it."""
    path = artifact.provenance.path
    shown = _shown_by_runs(runs) if runs is not None else {}
    if batch.baked:
        first = batch.baked[0]
        yield Violation(
            at=locate(path, first.node),
            also=[locate(path, baked.node) for baked in batch.baked[1:]],
            message=f"{count(len(batch.baked), 'node')} {verb(len(batch.baked), 'fix', 'fixes')} the batch size "
            "although the input declares it as dynamic.",
            observed={"operator": first.node.op, "target_shape": list(first.target), **shown},
            expected={"first_extent": "0 or -1"},
        )
    elif runs is not None and (runs.failed or runs.fixed_outputs):
        yield Violation(
            at=_place(path, runs),
            message=_words_of_runs(runs),
            observed=shown,
            expected={"batch_sizes": "any, as declared"},
        )


def _shown_by_runs(runs: BatchRuns) -> dict[str, Any]:
    shown: dict[str, Any] = {"ran_with": list(runs.ran)}
    if runs.failed:
        shown |= {"failed_with": list(runs.failed), "runtime": next(iter(runs.failed.values()))}
    if runs.fixed_outputs:
        shown["outputs_that_do_not_follow"] = list(runs.fixed_outputs)
    return shown


def _place(path: str, runs: BatchRuns) -> Location:
    if runs.node is not None:
        return locate(path, runs.node)
    return Location(path, tensor=next(iter(runs.fixed_outputs), None) if not runs.failed else None)


def _words_of_runs(runs: BatchRuns) -> str:
    ran = f"with a batch of {' or '.join(map(str, runs.ran))}"
    if runs.failed:
        failed = " or ".join(map(str, runs.failed))
        return f"The input declares its batch as dynamic, but the model runs {ran} and fails with one of {failed}."
    outputs = listed(runs.fixed_outputs)
    return f"The batch of {outputs} is declared as the input's, but does not follow it when the model runs {ran}."


@check("AV411")
def repeated_output_activation(artifact: Artifact, outputs: OutputActivations) -> Iterator[Violation]:
    """A sigmoid or softmax of a sigmoid or softmax."""
    for repeated in outputs.repeated:
        yield Violation(
            at=locate(artifact.provenance.path, repeated.second),
            also=[locate(artifact.provenance.path, repeated.first)],
            message=f"{repeated.kinds[1]} is applied to what {repeated.kinds[0]} has already squashed.",
            observed={"first": repeated.kinds[0], "second": repeated.kinds[1]},
            expected={"squashing_operators": 1},
        )


@check("AV413")
def exported_in_training_mode(artifact: Artifact, mode: ExportMode) -> Iterator[Violation]:
    """The exporter's record says that norms updated their statistics: the model was in train()."""
    if not mode.mutated and not mode.nodes:
        return
    path = artifact.provenance.path
    places = [Location(path, module=module) for module in mode.modules]
    places = places or [locate(path, node) for node in mode.nodes]
    yield Violation(
        at=places[0],
        also=places[1:],
        message=f"The model was in train() when it was exported: {count(len(places), 'norm')} updated "
        f"{verb(len(places), 'their', 'its')} statistics.",
        observed={"mutated_buffers": len(mode.mutated), "training_operators": len(mode.nodes)},
        expected={"mutated_buffers": 0, "training_operators": 0},
    )


@answer(4)
def are_modes_tested(artifact: Artifact, randomness: Randomness, parity: Parity | None) -> AnswerText:
    """Says what the file itself shows of its mode; parity needs the source beside it."""
    the_graph(artifact)
    active = len(randomness.active) + len(randomness.others)
    working = f"{count(active, 'operator')} still {verb(active, 'work')} as in training"
    shown = working if active else "No operator is left in training mode"
    return AnswerText(
        f"{shown}." if parity is not None else f"{shown}; its outputs were not compared with its source's."
    )
