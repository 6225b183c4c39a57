from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avreview.probes.child.gradients import probe
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime
from avreview.probes.gradients import GradientDepth, GradientLayer

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
NO_PLAN: dict[str, Any] = {"attempts": [[]], "batch": None, "seed": 0, "given": None, "note": None}


def measured(reference: str, plan: dict[str, Any] | None = None) -> dict[str, Any]:
    job: dict[str, Any] = {"reference": reference, "samples": 8, "plan": plan or NO_PLAN}
    return probe(Runtime("none"), Inputs(job["plan"]), job)


def depth(found: dict[str, Any]) -> GradientDepth:
    layers = [GradientLayer(**entry) for entry in found["layers"]]
    return GradientDepth(layers, found["statistics"], found["frozen"], found["unused"], found["inputs_used"])


def by_ratios(*variances: float | None) -> float:
    return GradientDepth(
        [GradientLayer(str(n), "Linear", v) for n, v in enumerate(variances)], "none", (), (), {}
    ).ratio


def test_the_ratio_is_how_much_the_variance_grows_a_layer_on_its_way_back() -> None:
    assert by_ratios(*(0.5**place for place in range(8))) == pytest.approx(2)
    assert by_ratios(*(3.0**place for place in range(8))) == pytest.approx(1 / 3)
    assert by_ratios(1, 100, 1, 100, 1, 100, 1, 100, 1) == pytest.approx(1)
    assert by_ratios(1, 0.5, None, 0.0, 0.25, 0.125) == pytest.approx(2)
    assert math.isnan(by_ratios(1.0))


def test_a_wider_layer_shares_the_gradient_among_more_units() -> None:
    """With weights that keep the signal's variance, that of the gradient of one unit goes by fan_out / fan_in."""
    widths = [4, 8, 16, 32, 64, 128, 256]
    layers = [GradientLayer(str(width), "Linear", 1 / width, width) for width in widths]
    assert GradientDepth(layers, "none", (), (), {}).ratio == pytest.approx(1)


def test_recurrent_layers_are_shown_and_not_judged() -> None:
    found = depth(measured("live_networks:recurrent"))
    assert [layer.kind for layer in found.layers] == ["Linear", "LSTM", "LSTM", "Linear"]
    assert [layer.path for layer in found.judged] == ["first", "last"]
    assert list(found.variance) == ["first", "inner.0", "inner.1", "last"]


def test_orthogonal_layers_keep_the_variance_of_what_comes_in() -> None:
    found = depth(measured("live_networks:orthogonal"))
    assert list(found.variance) == [str(2 * layer) for layer in range(10)]
    assert found.statistics == "none"
    assert list(found.variance.values()) == pytest.approx([1.0] * 10, abs=0.3)
    assert found.ratio == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("sigmoids", 0, 0.05),
        ("tanh_small", 0, 0.05),
        ("tanh_xavier", 0.7, 1.1),
        ("relu_large", 3, 5),
        ("relu_layer_norm", 0.8, 1.2),
        ("relu_batch_norm", 1.2, 1.8),
        ("attention", 0.6, 1.3),
    ],
)
def test_the_ratio_tells_initializations_apart(name: str, low: float, high: float) -> None:
    assert low < depth(measured(f"live_networks:{name}")).ratio < high


def test_a_residual_branch_differs_from_the_trunk_and_does_not_drift() -> None:
    found = depth(measured("live_networks:residual"))
    assert 0.75 < found.ratio < 1.2  # neighbours differ by a factor of 1e6
    assert found.frozen[0] == "blocks.0.0.weight"
    assert found.unused == ["spare.weight", "spare.bias"]
    assert "blocks.0.0" in found.variance  # its gradient is measured all the same
    assert [layer.path for layer in found.layers] == [
        *(f"blocks.{block}.{part}" for block in range(5) for part in (0, 2)),
        "head",
    ]


def test_a_head_of_zeros_lets_no_gradient_through() -> None:
    found = depth(measured("live_networks:zero_head"))
    assert list(found.variance) == ["head"]
    assert math.isnan(found.ratio)


def test_batch_norms_use_the_batch() -> None:
    found = measured("live_networks:camera_synced")
    assert found["statistics"] == "batch"
    assert all(layer["variance"] > 0 for layer in found["layers"])


def test_an_example_of_one_sample_is_varied() -> None:
    used = measured("live_networks:sigmoids")["inputs_used"]
    assert used == {"origin": "the factory's example, varied", "samples": 8, "shapes": [[8, 48]]}


def test_an_exported_program_is_run_node_by_node(tmp_path: Path) -> None:
    from live_networks import sigmoids

    module, _ = sigmoids()
    program = torch.export.export(module.eval(), (torch.randn(2, 48),))
    torch.export.save(program, tmp_path / "model.pt2")
    np.savez(tmp_path / "inputs.npz", x=np.random.default_rng(0).standard_normal((8, 48)).astype(np.float32))
    entry = {"name": "x", "dtype": "float32", "shape": (8, 48), "kind": "given", "batch_axis": 0, "low": 0, "high": 2}
    plan = {**NO_PLAN, "attempts": [[entry]], "given": str(tmp_path / "inputs.npz")}
    found = depth(measured(str(tmp_path / "model.pt2"), plan))
    assert list(found.variance) == [str(2 * layer) for layer in range(10)]
    assert found.statistics == "running"
    assert found.ratio < 0.05
    assert found.inputs["origin"] == "given"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("detached", "nothing that the reference returns has a gradient"),
        ("camera_alone", "let the factory return .module, example_inputs."),
        ("raising", "raised ValueError: no weights here"),
        ("leaving", r"called sys.exit\(3\)"),
        ("odd", "returned an int"),
    ],
)
def test_what_cannot_be_measured_says_why(name: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        measured(f"live_networks:{name}")


def test_torchscript_is_closed(tmp_path: Path) -> None:
    from live_networks import sigmoids

    torch.jit.trace(*sigmoids()).save(tmp_path / "model.ts")
    with pytest.raises(Refused, match="TorchScript shows nothing"):
        measured(str(tmp_path / "model.ts"))
