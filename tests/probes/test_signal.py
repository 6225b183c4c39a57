"""What the signal probe measures, against the same figures from all values at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import Facts
from models import Array, ModelBuilder
from onnx import TensorProto, helper

from avreview.engine.resolve import NotApplicable, NotAvailable
from avreview.probes.child.inputs import Inputs
from avreview.probes.drift import Drift, drift
from avreview.probes.plan import InputPlan
from avreview.probes.signal import LayerSignal, Signal

Save = Callable[[Any], Path]


def by_name(signal: Signal) -> Mapping[str, LayerSignal]:
    return {entry.name: entry for entry in signal.layers}


def whole(path: Path, plan: InputPlan, keys: list[str], runs: int = 1) -> dict[str, Array]:
    """The values under `keys` for eight samples, from a session that keeps them; runs are stacked in front."""
    model = onnx.load(path)
    for key in keys:
        model.graph.output.append(onnx.ValueInfoProto(name=key))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    inputs = Inputs(plan.as_json())
    size = inputs.fixed or 1
    feeds = [inputs.batch(range(run * size, (run + 1) * size)) for run in range(runs)]
    feeds = feeds if runs > 1 else [inputs.batch(range(8))]
    found = [session.run(keys, feed) for feed in feeds]
    return {key: np.stack([run[place] for run in found]) for place, key in enumerate(keys)}


def across(values: Array, samples: int, units: int) -> float:
    """The median over units of the mean over positions of the variance over axis `samples`."""
    variance = values.astype(np.float64).var(axis=samples, ddof=1, keepdims=True)
    others = tuple(axis for axis in range(values.ndim) if axis != units % values.ndim)
    return float(np.median(variance.mean(axis=others)))


def images(opset: int = 17, batch: int | str = "batch") -> ModelBuilder:
    model = ModelBuilder(opset).input("image", [batch, 3, 9, 7]).conv("stem", 6, bias=np.full(6, 300, np.float32))
    return model.relu("act").conv("body", 5).op("Tanh", module="squash").conv("head", 2).output("y")


@pytest.mark.parametrize("opset", [9, 13, 18, 21])
def test_one_run_measures_what_all_values_at_once_give(fact: Facts, saved: Save, opset: int) -> None:
    path = saved(images(opset))
    signal = fact(path, Signal)
    kept = whole(path, fact(path, InputPlan), ["/stem/Conv_output_0", "/body/Conv_output_0", "/squash/Tanh_output_0"])
    stem, body, squashed = (values[0] for values in kept.values())
    found = by_name(signal)
    assert signal.samples == 8
    assert signal.given == 0
    assert found["stem"].variance == pytest.approx(across(stem, 0, 1), rel=1e-4)
    assert found["body"].variance == pytest.approx(across(body, 0, 1), rel=1e-4)
    assert found["stem"].silent == (stem <= 0).all(axis=(0, 2, 3)).sum()
    assert [entry.share for entry in signal.saturations] == [pytest.approx((abs(squashed) > 0.97).mean(), abs=1e-6)]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_run_several_times(fact: Facts, saved: Save, batch: int) -> None:
    path = saved(images(batch=batch))
    signal = fact(path, Signal)
    kept = whole(path, fact(path, InputPlan), ["/stem/Conv_output_0", "/body/Conv_output_0"], runs=8)
    stem, body = kept.values()
    assert signal.samples == 8 * batch
    assert by_name(signal)["stem"].variance == pytest.approx(across(stem, 0, 2), rel=1e-4)
    assert by_name(signal)["body"].variance == pytest.approx(across(body, 0, 2), rel=1e-4)
    assert by_name(signal)["stem"].silent == (stem <= 0).all(axis=(0, 1, 3, 4)).sum()


def test_windows_in_the_batch_axis_are_positions(fact: Facts, saved: Save) -> None:
    """[batch, 4, 6] → [batch · 4, 6]: four windows a sample, whose differences are no variance across samples."""
    model = ModelBuilder().input("x", ["batch", 4, 6]).reshape(-1, 6)
    path = saved(model.gemm("inner", 5).relu("act").gemm("head", 2).output("y"))
    (values,) = whole(path, fact(path, InputPlan), ["/inner/Gemm_output_0"]).values()
    expected = across(values[0].reshape(8, 4, 5), 0, 2)
    assert by_name(fact(path, Signal))["inner"].variance == pytest.approx(expected, rel=1e-4)


def test_the_batch_is_found_behind_the_sequence(fact: Facts, saved: Save) -> None:
    """[batch, 10, 6] → [10, batch, 6], as PyTorch's transformers work by default."""
    model = ModelBuilder().input("x", ["batch", 10, 6]).transpose(1, 0, 2)
    path = saved(model.linear("inner", 5).relu("act").linear("head", 2).output("y"))
    (values,) = whole(path, fact(path, InputPlan), ["/inner/Add_output_0"]).values()
    assert by_name(fact(path, Signal))["inner"].variance == pytest.approx(across(values[0], 1, 2), rel=1e-4)


def test_a_model_without_a_batch_axis_is_run_on_several_inputs(fact: Facts, saved: Save) -> None:
    model = ModelBuilder().input("points", [40, 3]).linear("inner", 6).relu("act").linear("head", 2).output("y")
    signal = fact(saved(model), Signal)
    assert signal.samples == 8
    assert (by_name(signal)["inner"].variance or 0) > 1e-3


def test_half_precision_is_measured_in_single(fact: Facts, saved: Save) -> None:
    model = ModelBuilder().input("x", ["batch", 64], TensorProto.FLOAT16)
    weight = model.trained(32, 64).astype(np.float16) * np.float16(60)
    model.gemm("inner", 32, weight=weight * np.float16(40), bias=False).relu("act")
    path = saved(model.gemm("head", 2, weight=weight[:2, :32], bias=False).output("y", dtype=TensorProto.FLOAT16))
    (values,) = whole(path, fact(path, InputPlan), ["/inner/Gemm_output_0"]).values()
    expected = across(values[0], 0, 1)
    assert expected > 65504  # more than half precision holds
    assert by_name(fact(path, Signal))["inner"].variance == pytest.approx(expected, rel=1e-3)


def test_a_value_of_the_parameters_alone_is_left_out(fact: Facts, saved: Save) -> None:
    model = ModelBuilder().input("x", ["batch", 4, 6])
    queries = model.tensor("queries", model.trained(1, 4, 6))
    model.at(queries)
    model.channels[queries], model.ranks[queries] = 6, 3
    model.node("Relu", [queries], module="positions").linear("position", 6)
    position = model.value
    model.at("x").linear("inner", 6).add(position).linear("head", 2).output("y")
    found = by_name(fact(saved(model), Signal))
    assert found["position"].variance is None
    assert found["position"].left_out == "does not follow the batch"


def test_layers_inside_a_branch_cannot_be_measured(fact: Facts, saved: Save) -> None:
    model = ModelBuilder().input("x", ["batch", 6])
    weight = model.tensor("inner.weight", model.trained(6, 6))
    product = helper.make_node("MatMul", ["x", weight], ["inside"], "/inner/MatMul")
    result = [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)]
    branch = helper.make_graph([product], "branch", [], result)
    condition = model.tensor("condition", np.array(True))
    model.node("If", [condition], then_branch=branch, else_branch=branch, rank=2, channels=6)
    with pytest.raises(NotAvailable, match="inside a function, a branch or a loop"):
        fact(saved(model.output("y")), Signal)


def test_a_model_without_layers_has_no_signal(fact: Facts, saved: Save) -> None:
    with pytest.raises(NotApplicable, match="no layer with weights"):
        fact(saved(ModelBuilder().input("x", ["batch", 6]).relu().output("y")), Signal)


def test_queries_keys_gates_and_heads_end_their_paths(fact: Facts, saved: Save) -> None:
    model = ModelBuilder().input("x", ["batch", 5, 8]).linear("embed", 8)
    embedded = model.value
    query = model.linear("query", 8).value
    key = model.at(embedded).linear("key", 8).transpose(0, 2, 1).value
    value = model.at(embedded).linear("value", 8).value
    model.at(query).op("MatMul", key, module="scores").op("Softmax", axis=-1).op("MatMul", value, module="mixed")
    mixed = model.linear("out", 8).value
    model.linear("gate", 8).sigmoid("gate.act").op("Mul", mixed, module="gated").linear("head", 2).output("y")
    signal = fact(saved(model), Signal)
    found = by_name(signal)
    ends = {name for name, entry in found.items() if not entry.step.goes_on}
    assert ends == {"query", "key", "gate", "head"}
    assert [entry.name for entry in signal.paths[0].layers] == ["embed", "value", "out"]


def test_given_inputs_are_named_as_such(tmp_path: Path, fact: Facts, saved: Save) -> None:
    from conftest import EVERY_PROBE

    given = tmp_path / "batch.npz"
    np.savez(given, image=np.random.default_rng(0).standard_normal((6, 3, 9, 7)).astype(np.float32))
    signal = fact(saved(images()), Signal, probes=EVERY_PROBE._replace(inputs=str(given)))
    assert signal.inputs == "6 given and 2 synthetic samples"


def test_drift_of_a_constant_factor() -> None:
    found = drift([0.5**place for place in range(8)])
    assert found == pytest.approx(Drift(0.5, 0.5, 0.5))
    assert found is not None
    assert found.vanishes(0.55)
    assert not found.vanishes(0.45)


def test_drift_of_a_signal_that_has_gone_or_exploded() -> None:
    assert drift([1.0, 1e-20, 0.0, 0.0, 0.0, 0.0]) == Drift(0.0, 0.0, 0.0)
    exploded = drift([1.0, 1e30, math.inf, math.inf, math.inf, math.inf])
    assert exploded is not None
    assert exploded.explodes(1e6)
    assert drift([1.0]) is None


def test_drift_of_a_chain_of_many_layers_is_found_in_no_time() -> None:
    found = drift([0.999**place for place in range(50_000)])
    assert found == pytest.approx(Drift(0.999, 0.999, 0.999), abs=1e-3)
