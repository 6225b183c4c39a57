"""Does the export compute what its reference computes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avreview.artifact import Artifact
from avreview.engine.cards import catalogue
from avreview.engine.resolve import NotAvailable, fact
from avreview.facts.graphs import the_graph
from avreview.facts.modules import module_path
from avreview.facts.randomness import Randomness
from avreview.probes.chance import require_none
from avreview.probes.compared import FULL, HALF, QUANTIZED, Departure, Limits, OutputParity, Parity
from avreview.probes.plan import InputPlan
from avreview.probes.precision import Precision
from avreview.probes.probing import Probing
from avreview.probes.reference import Reference

_SAMPLES = 2
_NO_PLAN = InputPlan([[]], None, 0)


def limits_by_precision() -> dict[str, Limits]:
    """What may drift how far: for two of full precision, two of the `same` lower one, and an export of a lower one."""
    exact, reduced = catalogue()["AV402"].limits, catalogue()["AV406"].limits
    ratio, differing, most = exact.max_sensitivity_ratio, exact.max_differing, exact.max_drift_of_precision
    return {
        FULL: Limits(exact.max_drift, ratio, differing),
        "same": Limits(exact.max_drift_fp16, ratio, differing),
        HALF: Limits(reduced.max_drift_fp16, 0.0, reduced.max_differing, most),
        QUANTIZED: Limits(reduced.max_drift_int8, 0.0, reduced.max_differing, most),
    }


@fact(only_for_rules=True)
def parity(
    artifact: Artifact,
    probing: Probing,
    reference: Reference,
    plan: InputPlan | None,
    precision: Precision,
    randomness: Randomness,
) -> Parity:
    """Runs export and reference on the same inputs. Raises NotAvailable for an export that does not repeat."""
    require_none(randomness)
    if plan is None and not reference.recorded:
        raise NotAvailable("needs inputs to compare on that cannot be made up; pass --inputs")
    limits = limits_by_precision()
    answer = probing.run(
        "parity",
        plan or _NO_PLAN,
        user_code=reference.user_code,
        reference=reference.text,
        precision=precision.kind,
        limits=limits,
        samples=_SAMPLES,
    )
    outputs = [OutputParity(**{**entry, "shape": tuple(entry["shape"])}) for entry in answer["outputs"]]
    return Parity(
        reference=reference.text,
        kind=answer["kind"],
        batches=answer["batches"],
        outputs=outputs,
        precision=precision.kind,
        reference_precision=answer["reference_precision"],
        limits=limits[answer["judged"]],
        notes=tuple(answer["notes"]),
        departure=_departure(artifact, answer["first"]),
    )


def _departure(artifact: Artifact, first: Mapping[str, Any] | None) -> Departure | None:
    if first is None:
        return None
    producer = the_graph(artifact).producer
    node = producer.get(first["key"])
    module = first["module"] or (module_path(node) if node is not None else None)
    suspects = tuple(producer[key] for key in first["suspects"] if key in producer)
    return Departure(node, module, first["drift"], first["agreeing"], tuple(first["folded"]), suspects)
