"""How far the outputs move when the runtime optimizes the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.probes.child.compare import arrays, drift, equal
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.child.runtime import Runtime, Session
from avreview.probes.child.sensitivity import ulp

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

# The optimizations that rewrite arithmetic, by the runtime's names for them. One that a version does not know is none.
_REWRITES = (
    "AttentionFusion", "Avx2WeightS8ToU8Transformer", "BiasGeluFusion", "BiasSkipLayerNormFusion", "BiasSoftmaxFusion",
    "CastChainElimination", "CastElimination", "ClipQuantRewrite", "CommonSubexpressionElimination", "ConstantFolding",
    "ConstantFoldingDQ", "ConvActivationFusion", "ConvAddActivationFusion", "ConvAddFusion", "ConvBNFusion",
    "ConvMulFusion", "DQMatMulNBitsFusion", "DivMulFusion", "DoubleQDQPairsRemover", "DynamicQuantizeMatMulFusion",
    "EmbedLayerNormFusion", "FastGeluFusion", "FuseReluClip", "GatherToSliceFusion", "GeluFusionL1", "GeluFusionL2",
    "GemmActivationFusion", "GemmSumFusion", "GemmTransposeFusion", "LayerNormFusionL1", "LayerNormFusionL2",
    "MatMulActivationFusion", "MatMulAddFusion", "MatMulIntegerToFloatFusion", "MatMulScaleFusion",
    "MatMul_BatchNormalization_Fusion", "MatmulTransposeFusion", "NchwcTransformer", "NhwcTransformer",
    "NoopElimination", "NotWhereFusion", "Pad_Fusion", "QDQFinalCleanupTransformer", "QDQPropagationTransformer",
    "QDQS8ToU8Transformer", "QDQSelectorActionTransformer", "QuickGeluFusion", "ReluQuantRewrite", "ReshapeFusion",
    "SimplifiedLayerNormFusion", "SkipLayerNormFusion", "TransposeOptimizer",
)  # fmt: skip
_LEVELS = ("BASIC", "EXTENDED")  # below all of them


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one batch with all optimizations off and with all on, and again with all off where they are apart.

    `outputs` holds the drift of each, and `changed` that of integers, the share of elements that differ. Where one is
    over the job's `max_drift` or `max_changed`, `sensitivity` tells what one unit in the last place of the inputs
    does; where it is over that by `max_sensitivity_ratio` too, it is among `departing`, and `level` and `optimization`
    tell what does it as far as that is sure. `repeats` is False for a model that differs from run to run as well.
    """
    plain = runtime.session()
    samples = inputs.samples(job["samples"])
    first = arrays(inputs.settle(plain, samples))
    feed = inputs.batch(samples)
    moved = moves(first, arrays(_optimized(runtime).run(feed)))
    over = [name for name, how in moved.items() if how.get("drift", 0.0) > job[_limit(first[name])]]
    if over and not _repeats(plain, feed, first):
        return {"repeats": False}
    steps = _steps(plain, feed, first) if over else {}
    departing = [name for name in over if moved[name]["drift"] > job["max_sensitivity_ratio"] * steps.get(name, 0.0)]
    answer = {"repeats": True, "outputs": moved, "sensitivity": steps, "departing": departing}
    if not departing:
        return answer
    name = max(departing, key=lambda name: float(moved[name]["drift"]))
    bound = max(job[_limit(first[name])], job["max_sensitivity_ratio"] * steps.get(name, 0.0))

    def departs(**options: Any) -> bool:
        how = moves(first, arrays(runtime.session(**options).run(feed)))[name]
        return bool(how.get("drift", 0.0) > bound)

    return {**answer, "level": _level(runtime, departs), "optimization": _optimization(runtime, departs)}


def _repeats(session: Session, feed: Arrays, first: Arrays) -> bool:
    again = arrays(session.run(feed))
    return all(name in again and equal(array, again[name]) for name, array in first.items())


def moves(one: Arrays, other: Arrays) -> dict[str, dict[str, Any]]:
    """For each output its `drift`, for integers the share of elements that differ; or `why` nothing can be said."""
    return {name: _move(array, other.get(name)) for name, array in one.items()}


def _move(one: Array, other: Array | None) -> dict[str, Any]:
    if other is None or one.shape != other.shape:
        return {"why": "its extents differ from run to run"}
    if not one.size:
        return {"why": "it is empty"}
    if _is_exact(one):
        return {"drift": float(np.mean(one != other))}
    if np.isnan(one.astype(np.float64)).all() and np.isnan(other.astype(np.float64)).all():
        return {"why": "it is NaN throughout"}
    return {"drift": drift(one, other)}


def _is_exact(array: Array) -> bool:
    """Whether it holds integers, truth values or text: of those only the share that differs means something."""
    return array.dtype.kind not in "fcV" and array.dtype.name != "bfloat16"


def _limit(array: Array) -> str:
    return "max_changed" if _is_exact(array) else "max_drift"


def _steps(plain: Session, feed: Arrays, first: Arrays) -> dict[str, float]:
    """What one unit in the last place of the inputs does to each output, up or down: the larger."""
    found: dict[str, float] = {}
    for towards in (np.inf, -np.inf):
        for name, how in moves(first, arrays(plain.run(ulp(feed, towards)))).items():
            found[name] = max(found.get(name, 0.0), float(how.get("drift", np.inf)))
    return found


def _optimized(runtime: Runtime) -> Session:
    try:
        return runtime.session(optimized=True)
    except MemoryError:
        raise
    except Exception as error:
        words = reason(error)
        if words is None:
            raise
        raise Refused(f"with graph optimizations on, {words}") from None


def _level(runtime: Runtime, departs: Callable[..., bool]) -> str | None:
    """The lowest level of optimization at which the output departs; None where time is short."""
    for level in _LEVELS:
        if runtime.is_late:
            return None
        if departs(optimized=level):
            return level
    return "ALL"


def _optimization(runtime: Runtime, departs: Callable[..., bool]) -> str | None:
    """The optimization that makes the difference by itself; None where it takes several, or time is short."""
    if runtime.is_late or departs(optimized=True, without=_REWRITES):
        return None
    suspects: Sequence[str] = _REWRITES
    while len(suspects) > 1:
        half = len(suspects) // 2
        for part in (suspects[:half], suspects[half:]):
            if runtime.is_late:
                return None
            if not departs(optimized=True, without=part):
                suspects = part
                break
        else:
            return None
    return suspects[0]
