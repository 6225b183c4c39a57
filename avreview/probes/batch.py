"""Does what a model says of a sample depend on its neighbours, and does it run with other batch sizes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.cards import catalogue
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.batch_axis import BatchRuns
from avreview.facts.graphs import the_graph
from avreview.facts.randomness import Randomness
from avreview.probes.chance import require_none
from avreview.probes.plan import InputPlan
from avreview.probes.probing import Probing

_SIZES = (1, 3, 2)  # batch sizes that are tried where the batch is free, the last where the others do not suffice

# What only lays elements out anew. Where a batch of one was made free for the test and samples are mixed there, the
# change may have done it.
_LAYS_OUT = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Reshape", "ScatterElements",
    "ScatterND", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip


class BatchTrial(NamedTuple):
    """What the child measured."""

    answer: Mapping[str, Any]


class BatchCoupling(NamedTuple):
    """What exchanging a sample's neighbours, in a batch of `size`, did to its own part of the outputs.

    `moved` holds for each output the largest |difference| / largest |output| of the sample; `left_out` says of others
    why they show nothing. `culprit` is the first node at which the sample depends on its neighbours. The batch is an
    `axis` of `input`, and perhaps of others; the file may have it `fixed`. Where it is fixed at one it was
    `made_dynamic` for the test.
    """

    size: int
    moved: Mapping[str, float]
    left_out: Mapping[str, str]
    culprit: Node | None
    input: str
    axis: int
    fixed: bool
    made_dynamic: bool

    @property
    def differing(self) -> tuple[str, ...]:
        return tuple(name for name, value in self.moved.items() if value)


@fact(only_for_rules=True)
def batch_trial(probing: Probing, plan: InputPlan) -> BatchTrial:
    """Runs the probe. Raises NotApplicable for a model without a batch."""
    probing.require("batch")
    if not plan.has_batch:
        raise NotApplicable("no input has an axis that holds samples")
    return BatchTrial(probing.run("batch", plan, sizes=_SIZES, min_batch=int(catalogue()["AV302"].limits.min_batch)))


@fact(only_for_rules=True)
def batch_coupling(artifact: Artifact, trial: BatchTrial, plan: InputPlan, randomness: Randomness) -> BatchCoupling:
    """Raises NotAvailable where nothing can be said of a coupling."""
    require_none(randomness)
    answer = trial.answer
    if "unjudged" in answer:
        raise NotAvailable(answer["unjudged"])
    found = answer["coupling"]
    if not found["moved"]:
        name, why = next(iter(found["left_out"].items()), ("", "the model has no outputs"))
        which = f"output {name!r}: " if name else ""
        raise NotAvailable(f"no output shows what belongs to one sample ({which}{why})")
    culprit = the_graph(artifact).producer.get(found["culprit"] or "")
    moved = {name: float(value) for name, value in found["moved"].items()}
    entry = next(entry for entry in plan.attempts[0] if entry.batch_axis is not None)
    coupling = BatchCoupling(
        found["size"],
        moved,
        found["left_out"],
        culprit,
        entry.name,
        entry.batch_axis or 0,
        plan.batch is not None,
        answer["made_dynamic"],
    )
    if coupling.differing and coupling.made_dynamic and (culprit is None or culprit.op in _LAYS_OUT):
        raise NotAvailable(
            "the batch is fixed at 1 and cannot be made dynamic for the test without mixing samples; "
            "export with a dynamic batch axis, or with a batch of 2 or more"
        )
    return coupling


@fact(only_for_rules=True)
def batch_runs(artifact: Artifact, trial: BatchTrial, plan: InputPlan) -> BatchRuns:
    """What became of the batch sizes that were tried.

    Raises NotAvailable where the file fixes the batch, and where an input may have been left out of it.
    """
    graph = the_graph(artifact)
    if plan.batch is not None:
        raise NotAvailable("the batch is declared with one size")
    if plan.note or not _complete(graph, plan):
        raise NotAvailable("the first axis of an input may count samples, or something else")
    answer = trial.answer
    named = next((node for node in graph.nodes if node.name and node.name == answer["node"]), None)
    failed = {int(size): str(words) for size, words in answer["failed"].items()}
    return BatchRuns(tuple(answer["sizes"]), failed, named, _fixed_outputs(graph, plan, answer["shapes"]))


def _complete(graph: Graph, plan: InputPlan) -> bool:
    """Whether each input whose first axis is open has a batch axis."""
    without = {entry.name for entry in plan.attempts[0] if entry.batch_axis is None}
    return all(
        info.name not in without or not info.dims or (isinstance(info.dims[0], int) and info.dims[0] > 0)
        for info in graph.inputs
    )


def _fixed_outputs(graph: Graph, plan: InputPlan, shapes: Mapping[str, Mapping[str, list[int]]]) -> tuple[str, ...]:
    """The outputs that declare an input's batch by its name, and do not follow it."""
    batches = {
        info.dims[entry.batch_axis]
        for info in graph.inputs
        for entry in plan.attempts[0]
        if entry.name == info.name and entry.batch_axis is not None and info.dims is not None
    }
    found = []
    for info in graph.outputs:
        for axis, extent in enumerate(info.dims or ()):
            if isinstance(extent, str) and extent and extent in batches:
                fixed = [size for size, by_name in shapes.items() if _extent(by_name.get(info.name), axis) != int(size)]
                found += [info.name] * bool(fixed)
    return tuple(dict.fromkeys(found))


def _extent(shape: list[int] | None, axis: int) -> int | None:
    return shape[axis] if shape is not None and axis < len(shape) else None
