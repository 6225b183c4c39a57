"""What PyTorch 2's exporter leaves of training mode. An export takes seconds: few layers have one of their own."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import exporter_networks as networks
from exporter_networks import IMAGE, TOKENS, ImageNet
from exporting import dynamo
from torch import nn

from avreview.engine.review import Verdict

OPSETS = (11, 13, 17, 18, 20, 23)  # under 18 it may stay at 18


@pytest.mark.parametrize("opset", OPSETS)
def test_every_layer_in_training_mode(tmp_path: Path, opset: int) -> None:
    bad = dynamo(tmp_path, networks.EveryLayer().train(), IMAGE, opset)
    assert bad.opset in (opset, 18)
    assert bad.rules == ["AV401", "AV413", "AV701"]
    assert bad.modules("AV401") == ["neck.last"]
    assert bad.modules("AV413") == ["stem.1"]
    assert bad.modules("AV701") == ["head.2"]


def test_onnx_version_converter_loses_the_record(tmp_path: Path) -> None:
    """Over its own newest opset the exporter lets onnx convert, which drops the metadata and with them the modules."""
    bad = dynamo(tmp_path, networks.EveryLayer().train(), IMAGE, onnx.defs.onnx_opset_version())
    assert bad.rules == ["AV401", "AV701"]
    assert bad.verdicts["AV413"] is Verdict.NOT_APPLICABLE
    nodes = {finding.rule: finding.location.node for finding in bad.findings}
    assert nodes == {"AV401": "node_mul", "AV701": "node_native_dropout__1"}


@pytest.mark.parametrize("opset", [18, 23])
def test_every_layer_in_eval_mode(tmp_path: Path, opset: int) -> None:
    assert dynamo(tmp_path, networks.EveryLayer().eval(), IMAGE, opset).is_silent


@pytest.mark.parametrize("opset", [18, 23])
def test_norm_without_running_statistics(tmp_path: Path, opset: int) -> None:
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    bad = dynamo(tmp_path, ImageNet(norm).eval(), IMAGE, opset)
    assert bad.rules == ["AV301"]
    assert bad.modules("AV301") == ["stem.1"]


def test_instance_norm_with_running_statistics(tmp_path: Path) -> None:
    norm = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)
    assert dynamo(tmp_path, ImageNet(norm).eval(), IMAGE, 18).is_silent


@pytest.mark.parametrize("dropout", [nn.Dropout2d(0.25), nn.AlphaDropout(0.25)])
def test_dropout_survives_when_the_root_alone_is_in_eval_mode(tmp_path: Path, dropout: nn.Module) -> None:
    network = ImageNet(last=dropout).eval()
    network.neck.train()
    bad = dynamo(tmp_path, network, IMAGE, 18)
    assert bad.rules == ["AV701"]
    assert bad.modules("AV701") == ["neck.last"]


def test_old_drop_path(tmp_path: Path) -> None:
    bad = dynamo(tmp_path, ImageNet(nn.GroupNorm(2, 8), networks.SwinDropPath()).train(), IMAGE, 18)
    assert bad.rules == ["AV401"]
    assert bad.modules("AV401") == ["neck.last"]


def test_mask_without_scaling(tmp_path: Path) -> None:
    bad = dynamo(tmp_path, ImageNet(nn.GroupNorm(2, 8), networks.UnscaledMask()).train(), IMAGE, 18)
    assert bad.rules == ["AV701", "AV704"]
    assert bad.modules("AV701") == bad.modules("AV704") == ["neck.last"]


def test_dropout_between_lstm_layers(tmp_path: Path) -> None:
    bad = dynamo(tmp_path, networks.RecurrentNet().train(), TOKENS, 18)
    assert bad.rules == ["AV701"]
    assert bad.modules("AV701") == ["lstm"]
    assert dynamo(tmp_path, networks.RecurrentNet().eval(), TOKENS, 18).is_silent


def test_attention_dropout_is_dropped_by_the_exporter(tmp_path: Path) -> None:
    assert dynamo(tmp_path, networks.AttentionNet().train(), TOKENS, 18).is_silent
