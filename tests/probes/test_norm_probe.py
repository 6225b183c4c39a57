from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from models import Array, ModelBuilder

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.norms import Estimate, Moments, probe
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime


def inputs(path: Path, data: Array, name: str = "x") -> Inputs:
    np.savez(path / "inputs.npz", **{name: data})  # type: ignore[arg-type]
    entry = {
        "name": name, "dtype": str(data.dtype), "shape": (1, *data.shape[1:]), "kind": "given", "batch_axis": 0,
        "low": 0, "high": 2, "value": None,
    }  # fmt: skip
    return Inputs({"attempts": [[entry]], "batch": None, "seed": 0, "given": str(path / "inputs.npz")})


def measured(path: Path, model: ModelBuilder, data: Array, key: str, channels: int) -> dict[str, Any]:
    runtime = Runtime(model.save(path / "model.onnx"))
    job = {"norms": [{"input": key, "channels": channels}], "samples": 3, "least": 4}
    return probe(runtime, inputs(path, data), job)


@pytest.mark.parametrize("opset", [9, 17, 18, 21])
@pytest.mark.parametrize("shape", [(11, 5), (11, 5, 7), (11, 5, 4, 6), (11, 5, 2, 3, 4)])
def test_statistics_are_numpys_over_samples_and_space(tmp_path: Path, opset: int, shape: tuple[int, ...]) -> None:
    data = (np.random.default_rng(0).standard_normal(shape) * 3 + 100).astype(np.float32)
    model = ModelBuilder(opset).input("x", ["batch", *shape[1:]])
    model.channels["x"] = 5
    model.batch_norm("bn").output("y")
    found = measured(tmp_path, model, data, "x", 5)
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    assert found["samples"] == 11
    np.testing.assert_allclose(found["norms"][0]["mean"], data.astype(np.float64).mean(axes), rtol=1e-6)
    np.testing.assert_allclose(found["norms"][0]["variance"], data.astype(np.float64).var(axes), rtol=1e-4)


def test_a_value_inside_the_graph_is_observed_behind_what_computes_it(tmp_path: Path) -> None:
    data = np.random.default_rng(0).standard_normal((9, 3, 6, 6)).astype(np.float32)
    model = ModelBuilder().input("x", ["batch", 3, 6, 6]).conv("conv", 5)
    key = model.value
    model.batch_norm("bn").relu().output("y")
    found = measured(tmp_path, model, data, key, 5)["norms"][0]
    alone = ModelBuilder().input("x", ["batch", 3, 6, 6]).conv("conv", 5).output("y")
    values = onnxruntime.InferenceSession(alone.build().SerializeToString()).run(None, {"x": data})[0]
    np.testing.assert_allclose(found["mean"], values.astype(np.float64).mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["variance"], values.astype(np.float64).var((0, 2, 3)), rtol=1e-4)


def test_half_precision_is_summed_in_full_precision(tmp_path: Path) -> None:
    data = np.full((6, 2, 40, 40), 300, np.float16)
    data[:, :, ::2] = 304
    model = ModelBuilder().input("x", ["batch", 2, 40, 40], 10)
    ones = np.ones(2, np.float16)
    model.batch_norm("bn", scale=ones, bias=ones, mean=ones, variance=ones).output("y", dtype=10)
    found = measured(tmp_path, model, data, "x", 2)["norms"][0]
    assert found["mean"] == [302, 302]
    assert found["variance"] == [4, 4]


def test_infinite_values_are_told_from_numbers(tmp_path: Path) -> None:
    data = np.ones((5, 2, 2, 2), np.float32)
    data[0, 1] = np.inf
    model = ModelBuilder().input("x", ["batch", 2, 2, 2]).batch_norm("bn").output("y")
    found = measured(tmp_path, model, data, "x", 2)["norms"][0]
    assert found["mean"] == [1, None]
    assert found["variance"] == [0, None]


def test_a_norm_that_cannot_be_observed_is_left_out(tmp_path: Path) -> None:
    model = ModelBuilder().input("x", ["batch", 2, 2, 2]).batch_norm("bn").output("y")
    runtime = Runtime(model.save(tmp_path / "model.onnx"))
    data = np.ones((5, 2, 2, 2), np.float32)
    norms = [{"input": "body\x1fx", "channels": 2}, {"input": "x", "channels": 2}]
    found = probe(runtime, inputs(tmp_path, data), {"norms": norms, "samples": 2, "least": 4})
    assert found["norms"][0] is None
    assert found["norms"][1]["mean"] == [1, 1]
    with pytest.raises(Refused, match="inside a subgraph or function"):
        probe(runtime, inputs(tmp_path, data), {"norms": norms[:1], "samples": 2, "least": 4})


def test_moments_of_parts_are_those_of_the_whole() -> None:
    data = np.random.default_rng(1).standard_normal((40, 3, 16)) + np.array([0, 1e4, -5])[:, None]
    moments = Moments(3)
    for start, stop in ((0, 1), (1, 7), (7, 40)):
        part = data[start:stop]
        center = part.mean(2)
        moments.add(center, ((part - center[..., None]) ** 2).sum(2), part.shape[2])
    assert moments.count == 40 * 16
    np.testing.assert_allclose(moments.mean, data.mean((0, 2)), rtol=1e-9)
    np.testing.assert_allclose(moments.variance, data.var((0, 2)), rtol=1e-9)


def test_standard_errors_are_those_of_independent_samples() -> None:
    """Of n independent samples that are constant in space the mean has σ / √n, whatever the number of pixels."""
    values = np.random.default_rng(2).normal(5, 3, (400, 200))
    estimate = Estimate(200)
    for start in range(0, 400, 40):
        estimate.add(values[start : start + 40], np.zeros((40, 200)), 64.0, 40)
    found = estimate.as_json()
    assert found is not None
    assert np.mean(found["mean_error"]) == pytest.approx(3 / 400**0.5, rel=0.1)
    assert np.mean(found["variance_error"]) == pytest.approx(9 * (2 / 400) ** 0.5, rel=0.1)
