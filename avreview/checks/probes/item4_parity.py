"""Question 4 from a run: does the export compute what its reference computes?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from avreview.artifact import Artifact
from avreview.checks.words import count, listed, shown_floats, verb
from avreview.engine.checks import AnswerText, Violation, answer, check, evidence
from avreview.engine.resolve import NotApplicable
from avreview.engine.review import Location, Scalar
from avreview.facts.modules import locate
from avreview.probes import parity as _provider  # noqa: F401 - enters the fact's provider
from avreview.probes.compared import FULL, HALF, Departure, OutputParity, Parity


@check("AV402")
def export_output_drift(artifact: Artifact, parity: Parity) -> Iterator[Violation]:
    """The export computes something else than its reference, by more than rounding and precision explain."""
    if parity.departing and not parity.is_of_precision:
        bound = parity.limits.max_of_precision if parity.reduced else parity.limits.max_drift
        yield _violation(artifact, parity, bound, "gives other outputs than")


@check("AV406")
def precision_drift(artifact: Artifact, parity: Parity) -> Iterator[Violation]:
    """Reduced precision moves the outputs further than it should."""
    if not parity.reduced:
        what = "export computes in full precision" if parity.precision == FULL else "reference's precision is reduced"
        raise NotApplicable(f"the {what}; AV402 compares the outputs")
    if parity.departing and parity.is_of_precision:
        kind = "half precision" if parity.precision == HALF else "quantized form"
        yield _violation(artifact, parity, parity.limits.max_drift, f"in {kind} drifts from")


def _violation(artifact: Artifact, parity: Parity, bound: float, words: str) -> Violation:
    path, departing, first = artifact.provenance.path, parity.departing, parity.departure
    worst = departing[0]
    names = f"{count(len(departing), 'output')} of {len(parity.compared)} ({listed(each.name for each in departing)})"
    return Violation(
        at=_place(path, worst, first),
        also=[locate(path, node) for node in first.suspects] if first is not None else (),
        message=f"The export {words} {parity.kind} on the same inputs: {names}; {_size(worst)}"
        + (f". {_layer(first)}" if first is not None else "."),
        observed=_observed(worst, first),
        expected=_expected(worst, parity, bound),
    )


def _place(path: str, worst: OutputParity, first: Departure | None) -> Location:
    if first is None:
        return Location(path, tensor=worst.name)
    return Location(path, module=first.module) if first.node is None else locate(path, first.node, first.module)


def _size(worst: OutputParity) -> str:
    if worst.drift is None:
        return f"{worst.differing:.3g} of the elements of {worst.name} differ"
    if math.isinf(worst.drift):
        return f"{worst.name} has NaN or infinity on one side only"
    return f"{worst.name} is apart by {worst.max_difference:.3g}, which is {worst.drift:.3g} of its largest element"


def _layer(first: Departure) -> str:
    where = first.module or (first.node.label if first.node is not None else "")
    folded = f" (with {listed(first.folded)} folded into it)" if first.folded else ""
    before = f"; {count(first.agreeing, 'layer')} before it {verb(first.agreeing, 'agree')}" if first.agreeing else ""
    kind = f"{first.node.op} of " if first.node is not None and first.module else ""
    among = f"; between them lies {listed(node.op for node in first.suspects)}" if first.suspects else ""
    return f"The first layer that departs is {kind}{where}{folded}{before}{among}."


def _observed(worst: OutputParity, first: Departure | None) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"output": worst.name, "largest_difference": _shown(worst.max_difference)}
    if worst.drift is None:
        shown["differing"] = _shown(worst.differing)
    else:
        shown |= {"drift": _shown(worst.drift), "sensitivity": _shown(worst.sensitivity)}
    if first is not None:
        shown |= {"layer_drift": _shown(first.drift), "layers_that_agree_before": first.agreeing}
    return shown


def _expected(worst: OutputParity, parity: Parity, bound: float) -> Mapping[str, Any]:
    if worst.drift is None:
        return {"max_differing": parity.limits.max_differing}
    ratio = parity.limits.max_sensitivity_ratio
    return {"max_drift": bound, **({"max_times_sensitivity": ratio} if ratio else {})}


def _shown(value: float | None) -> Scalar:
    """Four digits; what is no finite number, which YAML and JSON lack, as a word."""
    if value is None or math.isfinite(value):
        return None if value is None else shown_floats(float(f"{value:.4g}"))
    return "infinite"


@evidence("parity")
def outputs_beside_the_reference(parity: Parity) -> dict[str, Any]:
    """Every output with its absolute and relative error."""
    return {
        "reference": parity.reference,
        "kind": parity.kind,
        "batches": parity.batches,
        "precision": parity.precision,
        "reference_precision": parity.reference_precision,
        "outputs": [_row(output) for output in parity.outputs],
        "notes": list(parity.notes),
    }


def _row(output: OutputParity) -> dict[str, Any]:
    row: dict[str, Any] = {"output": output.name, "shape": list(output.shape)}
    if output.note is not None:
        return {**row, "note": output.note}
    row["largest_difference"] = _shown(output.max_difference)
    if output.drift is None:
        return {**row, "differing": _shown(output.differing), "departs": output.departs}
    return {**row, "drift": _shown(output.drift), "sensitivity": _shown(output.sensitivity), "departs": output.departs}


@answer(4)
def compared_with_the_reference(parity: Parity) -> AnswerText:
    """What the comparison came to, the worst output in numbers."""
    worst = max(parity.compared, key=lambda each: (each.departs, each.measure))
    left_out = [output for output in parity.outputs if not output.compared]
    said = f"{count(len(parity.compared), 'output')} of {len(parity.outputs)} compared with {parity.kind}"
    departing = f"{len(parity.departing)} {verb(len(parity.departing), 'depart')}"
    sentence = f"{said}: {departing if parity.departing else 'none departs'}; the farthest, {_size(worst)}."
    notes = [*(output.note for output in left_out if output.note), *parity.notes]
    return AnswerText(" ".join([sentence, *(f"{note[:1].upper()}{note[1:]}." for note in notes)]))
