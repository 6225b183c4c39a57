"""The comparison with a reference, run whole: its inputs, its layers, and references that misbehave."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import ModelBuilder

from avreview.engine.resolve import NotAvailable
from avreview.probes.child.bisect import first_departing, from_calls
from avreview.probes.child.observed import calls
from avreview.probes.child.runtime import Runtime
from avreview.probes.compared import FULL, HALF, QUANTIZED, Limits, Parity
from avreview.probes.precision import Precision
from avreview.probes.request import ProbeRequest, named_probes

Facts = Callable[..., Any]
LIMITS = Limits(1e-5, 20, 0.01)


def linear(offset: float = 0.0, batch: int | str = "batch") -> ModelBuilder:
    model = ModelBuilder().input("image", [batch, 3])
    return model.gemm("fc", 4, bias=np.full(4, offset, np.float32)).output("scores")


def request(reference: Path | str, inputs: Path | None = None, seconds: float = 60) -> ProbeRequest:
    given = None if inputs is None else str(inputs)
    return ProbeRequest(named_probes(["parity"]), seconds=seconds, reference=str(reference), inputs=given)


def test_every_given_batch_is_compared_and_the_worst_counts(fact: Facts, tmp_path: Path) -> None:
    reference = linear().save(tmp_path / "reference.onnx")
    images = np.ones((5, 3), np.float32)
    images[4] = 0  # only here is the offset as large as the whole output
    np.savez(tmp_path / "inputs.npz", image=images)
    parity: Parity = fact(linear(0.5), Parity, probes=request(reference, tmp_path / "inputs.npz"))
    assert parity.batches > 1
    (output,) = parity.departing
    assert output.max_difference == pytest.approx(0.5)
    assert output.drift == pytest.approx(1.0)


def test_recorded_arrays_bring_their_inputs(fact: Facts, tmp_path: Path) -> None:
    model = linear(batch=2)
    kernel, offset = (ModelBuilder().trained(4, 3), np.zeros(4))
    image = np.random.default_rng(1).normal(size=(6, 3))  # numpy's usual float64
    np.savez(tmp_path / "recorded.npz", image=image, scores=image @ kernel.T + offset)
    parity: Parity = fact(model, Parity, probes=request(tmp_path / "recorded.npz"))
    assert parity.kind == "the recorded outputs"
    assert parity.batches == 3
    assert not parity.departing


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import os\nos._exit(0)", "ended with code 0 and no answer"),
        ("import time\ntime.sleep(60)", "did not finish within"),
    ],
)
def test_user_code_that_ends_or_hangs_the_process(
    fact: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.py").write_text(body)
    with pytest.raises(NotAvailable, match=reason) as caught:
        fact(linear(), Parity, probes=request("hostile:make", seconds=6))
    assert "while loading the reference" in str(caught.value)


def test_a_factory_in_the_working_folder(fact: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_code.py").write_text(
        "import torch\nprint('loading', flush=True)\n"
        "def make():\n"
        "    net = torch.nn.Linear(3, 4)\n"
        "    print('made')\n"
        "    net.load_state_dict(torch.load('weights.pt'))\n"
        "    return net.train()\n"
    )
    import torch

    weights = {"weight": torch.from_numpy(ModelBuilder().trained(4, 3)), "bias": torch.zeros(4)}
    torch.save(weights, "weights.pt")
    parity: Parity = fact(linear(), Parity, probes=request("model_code:make"))
    assert not parity.departing
    assert parity.reference_precision == FULL
    assert os.listdir(tmp_path)


def test_hooks_find_the_layer_that_departs_behind_folded_norms(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from avreview.probes.child.live import Live

    torch.manual_seed(0)
    network = torch.nn.Sequential()
    network.add_module("conv", torch.nn.Conv2d(3, 4, 3, padding=1, bias=False))
    network.add_module("bn", torch.nn.BatchNorm2d(4))
    network.add_module("act", torch.nn.ReLU(inplace=True))
    network.add_module("head", torch.nn.Conv2d(4, 4, 1))
    network.eval()
    network.bn.running_mean.normal_()
    network.bn.running_var.uniform_(0.5, 2)

    def exported(stale: bool) -> ModelBuilder:
        norm, weight = network.bn, network.conv.weight.detach().numpy()
        factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
        mean = 0 if stale else norm.running_mean.numpy()
        model = ModelBuilder().input("image", [2, 3, 8, 8])
        model.conv("conv", 4, weight=weight * factor[:, None, None, None], bias=(-mean * factor).astype(np.float32))
        model.relu("act")
        kernel, bias = (tensor.detach().numpy() for tensor in (network.head.weight, network.head.bias))
        return model.conv("head", 4, 1, weight=kernel, bias=bias).output("y")

    feed = {"image": np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)}
    seen = calls(Live(network), feed, ["image"])
    found = []
    for stale in (False, True):
        runtime = Runtime(exported(stale).save(tmp_path / f"{stale}.onnx"))
        found.append(first_departing(runtime, feed, from_calls(runtime.graph, seen), LIMITS))
    right, wrong = found
    assert right is None
    assert wrong is not None
    assert (wrong.module, wrong.folded) == ("conv", ("bn",))


def test_precision_is_the_lowest_that_a_graph_uses(fact: Facts) -> None:
    assert fact(linear(), Precision).kind == FULL
    half = linear()
    half.tensor("fc.weight", ModelBuilder().trained(4, 3).astype(np.float16))
    assert fact(half, Precision).kind == HALF
    quantized = ModelBuilder().input("image", ["batch", 3])
    stored = quantized.tensor("weight", np.ones((3, 4), np.int8))
    quantized.node("DequantizeLinear", [stored, quantized.scalar(0.1)])
    assert fact(quantized.node("MatMul", ["image", quantized.value]).output("y"), Precision).kind == QUANTIZED


def test_limits_take_both_the_size_and_the_sensitivity() -> None:
    assert LIMITS.exceeded(1e-4, 1e-6, 0)
    assert not LIMITS.exceeded(1e-4, 1e-5, 0)
    assert not LIMITS.exceeded(5e-6, 0, 0)
    assert LIMITS.exceeded(None, 0.0, 0.02)
    assert not LIMITS.exceeded(None, 0.002, 0.02)
