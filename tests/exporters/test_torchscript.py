"""What PyTorch's TorchScript exporter leaves of training mode, at each opset's own spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import exporter_networks as networks
from exporter_networks import IMAGE, TOKENS, ImageNet
from exporting import torchscript
from torch import nn

OPSETS = (11, 13, 17, 18, 20, 23)
WITH_TRAINING_FLAG = OPSETS[1:]  # of Dropout: opset 12 and later


def _sample_norms() -> dict[str, nn.Module]:
    return {
        "instance": nn.InstanceNorm2d(8, affine=True),
        "group": nn.GroupNorm(2, 8),
        "layer": networks.LayerNormImage(8),
    }


@pytest.mark.parametrize("opset", OPSETS)
def test_batch_norm_in_training_mode(tmp_path: Path, opset: int) -> None:
    bad = torchscript(tmp_path, ImageNet().train(), IMAGE, opset, "TRAINING")
    assert bad.opset == opset
    assert bad.rules == ["AV301"]
    assert bad.modules("AV301") == ["stem.1"]
    assert torchscript(tmp_path, ImageNet().eval(), IMAGE, opset).is_silent


@pytest.mark.parametrize("opset", OPSETS)
def test_norm_without_running_statistics(tmp_path: Path, opset: int) -> None:
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    bad = torchscript(tmp_path, ImageNet(norm).eval(), IMAGE, opset)
    assert bad.rules == ["AV301"]
    assert bad.modules("AV301") == ["stem.1"]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", ["instance", "group", "layer"])
@pytest.mark.parametrize("mode", ["TRAINING", "EVAL"])
def test_norms_of_each_sample_are_the_same_in_both_modes(tmp_path: Path, opset: int, kind: str, mode: str) -> None:
    assert torchscript(tmp_path, ImageNet(_sample_norms()[kind]), IMAGE, opset, mode).is_silent


@pytest.mark.parametrize("opset", OPSETS)
def test_instance_norm_with_running_statistics(tmp_path: Path, opset: int) -> None:
    norm = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)
    assert torchscript(tmp_path, ImageNet(norm).eval(), IMAGE, opset).is_silent


@pytest.mark.parametrize("opset", WITH_TRAINING_FLAG)
@pytest.mark.parametrize("inplace", [False, True])
def test_active_dropout(tmp_path: Path, opset: int, inplace: bool) -> None:
    network = ImageNet(nn.GroupNorm(2, 8), nn.Dropout(0.25, inplace))
    bad = torchscript(tmp_path, network, IMAGE, opset, "TRAINING")
    assert bad.rules == ["AV701"]
    assert bad.modules("AV701") == ["neck.last"]
    assert torchscript(tmp_path, network, IMAGE, opset).is_silent


def test_dropout_without_training_flag_never_drops(tmp_path: Path) -> None:
    network = ImageNet(nn.GroupNorm(2, 8), nn.Dropout(0.25))
    exported = torchscript(tmp_path, network, IMAGE, 11, "TRAINING")
    assert b"Dropout" in exported.path.read_bytes()
    assert exported.is_silent


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("drop_path", [networks.TimmDropPath, networks.SwinDropPath])
def test_active_drop_path(tmp_path: Path, opset: int, drop_path: type[nn.Module]) -> None:
    network = ImageNet(nn.GroupNorm(2, 8), drop_path())
    bad = torchscript(tmp_path, network, IMAGE, opset, "TRAINING")
    assert bad.rules == ["AV401"]
    assert bad.modules("AV401") == ["neck.last"]
    assert torchscript(tmp_path, network, IMAGE, opset).is_silent


@pytest.mark.parametrize("drop_path", [networks.TimmDropPath, networks.SwinDropPath])
def test_active_drop_path_with_a_dynamic_batch(tmp_path: Path, drop_path: type[nn.Module]) -> None:
    """The mask's shape is computed from the batch's: what is not the batch axis in it must still be read as 1."""
    network = ImageNet(nn.GroupNorm(2, 8), drop_path())
    dynamic = {"input_names": ["image"], "dynamic_axes": {"image": {0: "batch"}}}
    bad = torchscript(tmp_path, network, IMAGE, 17, "TRAINING", **dynamic)
    assert bad.rules == ["AV401"]
    assert bad.modules("AV401") == ["neck.last"]


@pytest.mark.parametrize("opset", OPSETS)
def test_noise(tmp_path: Path, opset: int) -> None:
    bad = torchscript(tmp_path, ImageNet(nn.GroupNorm(2, 8), networks.Noise()), IMAGE, opset, "TRAINING")
    assert bad.rules == ["AV401"]
    assert bad.modules("AV401") == ["neck.last"]


@pytest.mark.parametrize("opset", OPSETS)
def test_mask_without_scaling(tmp_path: Path, opset: int) -> None:
    network = ImageNet(nn.GroupNorm(2, 8), networks.UnscaledMask())
    bad = torchscript(tmp_path, network, IMAGE, opset, "TRAINING")
    assert bad.rules == ["AV701", "AV704"]
    assert bad.modules("AV701") == bad.modules("AV704") == ["neck.last"]
    assert torchscript(tmp_path, network, IMAGE, opset).is_silent


@pytest.mark.parametrize("opset", [opset for opset in OPSETS if opset >= 17])
def test_attention_dropout_is_written_without_its_training_flag(tmp_path: Path, opset: int) -> None:
    exported = torchscript(tmp_path, networks.AttentionNet().train(), TOKENS, opset, "TRAINING")
    assert b"Dropout" in exported.path.read_bytes()  # it was looked at: the node is there, and off
    assert exported.is_silent


def test_lstm_dropout_in_eval_mode(tmp_path: Path) -> None:
    assert torchscript(tmp_path, networks.RecurrentNet(), TOKENS, 17).is_silent


@pytest.mark.parametrize("opset", OPSETS)
def test_every_layer_in_training_mode(tmp_path: Path, opset: int) -> None:
    bad = torchscript(tmp_path, networks.EveryLayer(), IMAGE, opset, "TRAINING")
    assert bad.rules == (["AV301", "AV401", "AV701"] if opset in WITH_TRAINING_FLAG else ["AV301", "AV401"])
    assert bad.modules("AV301") == ["stem.1"]
    assert bad.modules("AV401") == ["neck.last"]
    assert torchscript(tmp_path, networks.EveryLayer(), IMAGE, opset).is_silent


def test_default_mode_sets_a_training_model_to_eval(tmp_path: Path) -> None:
    assert torchscript(tmp_path, networks.EveryLayer().train(), IMAGE, 17, "EVAL").is_silent


def test_preserved_mode_keeps_each_layers_own(tmp_path: Path) -> None:
    network = networks.EveryLayer().eval()
    network.head.train()
    bad = torchscript(tmp_path, network, IMAGE, 17, "PRESERVE")
    assert bad.rules == ["AV701"]
    assert bad.modules("AV701") == ["head.2"]
