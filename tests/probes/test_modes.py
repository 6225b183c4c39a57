from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.modes import probe
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def measured(reference: str, plan: dict[str, Any] | None = None) -> dict[str, Any]:
    job: dict[str, Any] = {
        "reference": reference,
        "samples": 8,
        "plan": plan or {"attempts": [[]], "batch": None, "seed": 0, "given": None, "note": None},
    }
    return probe(Runtime("none"), Inputs(job["plan"]), job)


def gap(found: dict[str, Any]) -> float:
    return float(max(found["outputs"].values()))


def test_a_stale_norm_moves_the_outputs_by_its_statistics() -> None:
    found = measured("live_networks:camera_stale")
    assert gap(found) > 0.05
    assert found["chance"] == 0
    assert found["scope"] == "all"
    assert [(part["path"], part["kinds"], part["chance"]) for part in found["parts"]] == [
        ("stem.1", ["BatchNorm2d"], False)
    ]
    assert found["parts"][0]["gap"] == pytest.approx(gap(found))


def test_a_dropout_moves_them_by_chance() -> None:
    found = measured("live_networks:camera_dropout")
    assert found["chance"] > 0
    assert [(part["path"], part["chance"]) for part in found["parts"]] == [("drop", True)]


def test_a_dropout_that_is_no_module_is_found_in_the_one_that_reads_the_mode() -> None:
    found = measured("live_networks:camera_functional_dropout")
    assert [(part["path"], part["kinds"], part["chance"]) for part in found["parts"]] == [("", ["Camera"], True)]


def test_without_norms_and_dropouts_there_is_no_gap() -> None:
    found = measured("live_networks:camera_without_modes")
    assert gap(found) == 0
    assert found["parts"] == []


def test_a_synchronized_norm_runs_on_the_cpu() -> None:
    assert measured("live_networks:camera_synced")["parts"][0]["kinds"] == ["SyncBatchNorm"]


def test_a_detector_that_wants_targets_has_its_norms_switched_alone() -> None:
    found = measured("live_networks:detector")
    assert found["scope"] == "norms and dropouts"
    assert found["parts"][0]["path"] == "camera.stem.1"


def test_what_is_no_tensor_is_passed_over() -> None:
    assert measured("live_networks:with_cache")["parts"][0]["path"] == "inner.stem.1"


def test_the_dropouts_inside_transformer_layers_count() -> None:
    found = measured("live_networks:attention")
    assert found["parts"]
    assert all(part["chance"] for part in found["parts"])


def test_many_parts_are_divided_by_the_module_tree() -> None:
    found = measured("live_networks:many_norms")
    assert found["sensitive"] == 72
    assert len(found["parts"]) == 8
    gaps = [part["gap"] for part in found["parts"]]
    assert gaps == sorted(gaps, reverse=True)
    assert next(part for part in found["parts"] if part["path"] == "5.7.1")["gap"] > 0.5


def test_running_statistics_and_the_generator_are_restored() -> None:
    from live_networks import camera_stale

    from avreview.probes.child.live import Live
    from avreview.probes.child.live_inputs import Arguments
    from avreview.probes.child.modes import Modes
    from avreview.probes.child.sensitive import sensitive_parts

    module, example = camera_stale()
    module.eval()
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    modes = Modes(Live(module), sensitive_parts(module))
    arguments = Arguments((example,), {}, 4, "given")
    still = modes.still(arguments)
    modes.trained(arguments, 0)
    modes.switched(arguments, ["stem.1"])
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())
    assert not any(part.training for part in module.modules())
    assert (modes.still(arguments)["output 0"] == still["output 0"]).all()


def test_compiled_modules_have_modes_unless_traced_or_frozen(tmp_path: Path) -> None:
    from live_networks import camera_stale, picture

    module, _ = camera_stale()
    example = tmp_path / "inputs.npz"
    import numpy as np

    np.savez(example, image=picture(4).numpy())
    entry = {
        "name": "image", "dtype": "float32", "shape": (4, 3, 12, 12), "kind": "given", "batch_axis": 0, "low": 0,
        "high": 2,
    }  # fmt: skip
    plan = {"attempts": [[entry]], "batch": None, "seed": 0, "given": str(example), "note": None}
    torch.jit.script(module).save(tmp_path / "scripted.ts")
    found = measured(str(tmp_path / "scripted.ts"), plan)
    assert [(part["path"], part["kinds"]) for part in found["parts"]] == [("stem.1", ["BatchNorm2d"])]
    torch.jit.freeze(torch.jit.script(module.eval())).save(tmp_path / "frozen.ts")
    torch.jit.trace(module, (picture(4),)).save(tmp_path / "traced.ts")
    for name in ("frozen.ts", "traced.ts"):
        with pytest.raises(Refused, match="reads no mode"):
            measured(str(tmp_path / name), plan)
    torch.export.save(torch.export.export(module, (picture(4),)), tmp_path / "program.pt2")
    with pytest.raises(Refused, match="has one mode"):
        measured(str(tmp_path / "program.pt2"), plan)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("restless", "in eval.. already the reference's outputs differ from run to run"),
        ("camera_alone", "needs inputs to run the reference on"),
        ("raising", "raised ValueError: no weights here"),
        ("odd", "returned an int"),
    ],
)
def test_what_cannot_be_measured_says_why(name: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        measured(f"live_networks:{name}")
