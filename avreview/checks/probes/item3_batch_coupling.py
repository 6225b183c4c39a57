"""Question 3 from a run: does a sample's output depend on the other samples of its batch?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avreview.artifact import Artifact, Node
from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.cards import Thresholds
from avreview.engine.checks import AnswerText, Violation, answer, check
from avreview.engine.review import Location, Severity
from avreview.facts.modules import locate
from avreview.probes.batch import BatchCoupling

_QUANTIZES_DYNAMICALLY = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"})
_RUNS_IN_TIME = frozenset({"CumSum", "GRU", "LSTM", "RNN", "Scan"})


@check("AV302")
def batch_coupled_output(artifact: Artifact, coupling: BatchCoupling, limits: Thresholds) -> Iterator[Violation]:
    """A sample's part of an output changed with the samples beside it."""
    coupled = [name for name, moved in coupling.moved.items() if moved > limits.max_difference]
    if not coupled:
        return
    path, culprit = artifact.provenance.path, coupling.culprit
    largest = max(coupling.moved.values())
    case: dict[str, Any] = {}
    if _is_quantization(culprit):
        case["remedy"] = (
            "Quantize activations statically, with calibrated scales, or run one sample at a time where an output has "
            "to be reproduced from its own input; else check that the difference is within the precision budget."
        )
        case["severity"] = Severity.NOTE if largest <= limits.max_quantization_difference else Severity.WARNING
    yield Violation(
        at=Location(path, tensor=coupled[0]) if culprit is None else locate(path, culprit),
        message=f"{count(len(coupled), 'output')} of {len(coupling.moved)} ({listed(coupled)}) "
        f"{verb(len(coupled), 'depend')} on the other samples of the batch{_by(culprit)}. {_batch(coupling)}",
        observed={"largest_difference": shown_floats(largest), "batch": coupling.size},
        expected={"largest_difference": limits.max_difference},
        **case,
    )


def _is_quantization(culprit: Node | None) -> bool:
    return culprit is not None and culprit.op in _QUANTIZES_DYNAMICALLY


def _by(culprit: Node | None) -> str:
    if culprit is None:
        return ""
    if _is_quantization(culprit):
        return f": {culprit.op} takes one scale for the whole batch, by design"
    if culprit.op in _RUNS_IN_TIME:
        return f"; the first to mix them is a {culprit.op}, which runs along the batch axis as if it were time"
    return f"; the first node that mixes them is a {culprit.op}"


def _batch(coupling: BatchCoupling) -> str:
    """What was taken for the batch, so that a person can tell where it is none."""
    where = f"axis {coupling.axis} of {coupling.input}"
    if coupling.made_dynamic:
        return f"The file fixes a batch of 1 ({where}), which was made free for the test."
    if coupling.fixed and not _is_quantization(coupling.culprit):
        return (
            f"The batch is {where}, fixed at {coupling.size}: if those are the cameras or frames of one scene, "
            "meant to be fused, this is no fault."
        )
    return f"The batch is {where}" + f", fixed at {coupling.size}." * coupling.fixed + "." * (not coupling.fixed)


@answer(3)
def is_a_sample_by_itself(coupling: BatchCoupling) -> AnswerText:
    """What exchanging a sample's neighbours showed."""
    left_out = len(coupling.left_out)
    rest = f" {count(left_out, 'further output')} could not be told apart by sample." if left_out else ""
    rest = " The file fixes a batch of 1, which was made free for the test." * coupling.made_dynamic + rest
    outputs = count(len(coupling.moved), "output")
    if coupling.differing:
        largest = max(coupling.moved.values())
        changed = f"{len(coupling.differing)} of {outputs} by up to {largest:.2g} of the largest value"
        return AnswerText(f"Exchanging a sample's neighbours in a batch of {coupling.size} changed {changed}.{rest}")
    return AnswerText(
        f"Exchanging a sample's neighbours in a batch of {coupling.size} left {outputs} unchanged bit for bit.{rest}"
    )
