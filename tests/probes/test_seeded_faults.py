"""Each seeded fault is found by its probe and, where it leaves a trace in the files, by its static rule, with the same
culprit. The faults are put into a PyTorch network, which is exported by PyTorch's own exporter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch")

import seeded_networks as networks
import torch
from in_process import in_process
from seeded_networks import Network
from torch import nn

from avreview.api import review
from avreview.engine.review import Finding, Review, Severity
from avreview.probes.request import ProbeRequest, named_probes

__all__ = ["in_process"]
NORM, DROP, CONV = "neck.norm", "neck.drop", "neck.conv"


class Fault(NamedTuple):
    """What is changed; the rule that sees it in a run and those that see it in the files; the module to be named."""

    name: str
    change: Callable[[Network], None]
    probe: str
    static: tuple[str, ...]
    module: str
    batch: int | None = None  # for an exporter that cannot leave it free

    def __repr__(self) -> str:
        return self.name


FAULTS = [
    Fault("dropout", networks.active(lambda: nn.Dropout(0.25)), "AV702", ("AV701",), DROP),
    Fault("functional-dropout", networks.active(networks.FunctionalDropout), "AV702", ("AV701",), DROP),
    Fault("hand-written-dropout", networks.active(networks.HandWrittenDropout), "AV702", ("AV701",), DROP),
    Fault("stochastic-depth", networks.put("neck.path", networks.DropPath), "AV702", ("AV401",), "neck.path"),
    Fault("norm-in-training", networks.norm_in_training, "AV302", ("AV301",), NORM),
    Fault("norm-without-statistics", networks.norm_without_statistics, "AV302", ("AV301",), NORM, batch=2),
    Fault("hand-written-norm", networks.put(NORM, networks.HandWrittenNorm), "AV302", ("AV301",), NORM),
    Fault("weights-swapped", networks.weights_swapped, "AV402", ("AV403",), "neck.first.2"),
    Fault("resize-aligned", networks.put("up", lambda: networks.Upsample("bilinear", True)), "AV402", (), "up"),
    Fault("resize-nearest", networks.put("up", lambda: networks.Upsample("nearest", None)), "AV402", (), "up"),
    Fault("gelu-tanh", networks.put("neck.act", lambda: nn.GELU(approximate="tanh")), "AV402", (), "neck.act"),
    Fault("eps-changed", networks.eps_changed, "AV402", ("AV508",), NORM),
    Fault("mean-stale", networks.mean_stale, "AV505", ("AV403",), NORM),
    Fault("int4-rounding", networks.rounded_to_four_bits, "AV402", ("AV403",), CONV),
    Fault("baked-batch", networks.batch_baked, "AV410", ("AV410",), "head"),
]
WITH_REFERENCE = [fault for fault in FAULTS if fault.probe == "AV402"]
EVERY_RULE = sorted({rule for fault in FAULTS for rule in (fault.probe, *fault.static)} | {"AV406"})


class Files(NamedTuple):
    """What all exports are held against."""

    folder: Path
    healthy: Path
    checkpoint: Path
    inputs: Path

    def export(self, fault: Fault) -> Path:
        made = networks.network()
        fault.change(made)
        return networks.export(made, self.folder / f"{fault.name}.onnx", fault.batch)

    def asked(self, *probes: str, reference: str | None = None) -> ProbeRequest:
        return ProbeRequest(
            named_probes(probes or ["all"]),
            seconds=60,
            inputs=str(self.inputs),
            reference=reference or str(self.healthy),
        )


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("seeded")
    checkpoint = folder / "checkpoint.pt"
    torch.save(networks.network(), checkpoint)
    healthy = networks.export(networks.network(), folder / "healthy.onnx")
    return Files(folder, healthy, checkpoint, networks.record(folder / "inputs.npz"))


def judged(path: Path, files: Files, rules: list[str], probes: ProbeRequest | None) -> Review:
    report = review([path], checkpoint=files.checkpoint, select=rules, probes=probes)
    assert not report.unreadable
    return report.reviews[0]


def found(result: Review, rule: str) -> Finding:
    (finding,) = (finding for finding in result.findings if finding.rule == rule)
    return finding


def named_probe(rule: str) -> str:
    probes = {"AV302": "batch", "AV410": "batch", "AV402": "parity", "AV406": "parity", "AV505": "norms"}
    return probes.get(rule, "repeat")


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_fault_is_found_in_a_run_and_in_the_files_with_the_same_culprit(files: Files, fault: Fault) -> None:
    path = files.export(fault)
    files_alone = judged(path, files, list(fault.static), None) if fault.static else None
    for rule in fault.static:  # AV410 is one rule, which a run confirms
        assert files_alone is not None
        assert found(files_alone, rule).location.module == fault.module
    finding = found(judged(path, files, [fault.probe], files.asked(named_probe(fault.probe))), fault.probe)
    assert finding.location.module == fault.module
    expected = Severity.WARNING if fault.probe in ("AV410", "AV505") else Severity.ERROR
    assert finding.severity is expected
    if fault.probe == "AV410":
        assert finding.observed["ran_with"] == [1]
        assert finding.observed["failed_with"]


def test_the_healthy_network_has_none_of_them(files: Files) -> None:
    result = judged(files.healthy, files, EVERY_RULE, files.asked())
    assert not result.findings
    assert {outcome.rule for outcome in result.rules if outcome.verdict.value in ("pass", "not-applicable")} == set(
        EVERY_RULE
    ), [(outcome.rule, outcome.verdict, outcome.reason) for outcome in result.rules]


def test_every_random_export_leaves_the_comparisons_unjudged(files: Files) -> None:
    """Two runs of stochastic depth agree now and then: what compares runs must not depend on that."""
    path = files.export(FAULTS[3])
    result = judged(path, files, ["AV302", "AV402", "AV405"], files.asked())
    assert not result.findings
    for outcome in result.rules:
        assert outcome.verdict.value == "not-assessed"
        assert "stochastic depth, neck.path" in (outcome.reason or "")


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("fault", WITH_REFERENCE, ids=repr)
def test_the_source_model_as_reference_names_the_same_culprit(files: Files, fault: Fault) -> None:
    probes = files.asked("parity", reference="seeded_networks:healthy")
    finding = found(judged(files.export(fault), files, ["AV402"], probes), "AV402")
    assert finding.location.module == fault.module


def test_four_bit_weights_are_reduced_precision(files: Files) -> None:
    """Rounding that is stored in four bits: the drift is the precision's."""
    path = files.folder / "int4.onnx"
    _in_four_bits(files.healthy, path, "head.conv.weight")
    result = judged(path, files, ["AV402", "AV406"], files.asked("parity"))
    finding = found(result, "AV406")
    assert finding.location.module == "head.conv"
    assert [other.rule for other in result.findings] == ["AV406"]


def _in_four_bits(source: Path, target: Path, *names: str) -> None:
    model: Any = onnx.load(source)
    for imported in model.opset_import:
        imported.version = 21
    model.ir_version = 10
    for name in names:
        (tensor,) = (entry for entry in model.graph.initializer if entry.name == name)
        weight = numpy_helper.to_array(tensor)
        step = np.abs(weight).max() / 7
        packed = helper.make_tensor(f"{name}.int4", TensorProto.INT4, weight.shape, np.round(weight / step).astype(int))
        scale = numpy_helper.from_array(np.array(step, np.float32), f"{name}.scale")
        model.graph.initializer.remove(tensor)
        model.graph.initializer.extend([packed, scale])
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", [packed.name, scale.name], [name]))
    onnx.save(model, target)
