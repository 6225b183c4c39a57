"""The seeded faults: each function takes a private copy of a trained model and puts one fault in it."""

from __future__ import annotations

import _models as m
import torch
from _blocks import DropPath, ResidualBlock, TokenBatchNorm, UnscaledDropout
from _proof import predicted_mean_correlation
from _task import TASKS
from _train import fit, settle
from torch import Tensor, nn


def _conv(model: nn.Module, path: str) -> nn.Conv2d:
    part = model.get_submodule(path)
    assert isinstance(part, nn.Conv2d)
    return part


def _linear(model: nn.Module, path: str) -> nn.Linear:
    part = model.get_submodule(path)
    assert isinstance(part, nn.Linear)
    return part


def _statistics(model: nn.Module, path: str) -> tuple[Tensor, Tensor]:
    """running_mean [C] and running_var [C] of a batch norm."""
    part = model.get_submodule(path)
    assert isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)
    assert part.running_mean is not None
    assert part.running_var is not None
    return part.running_mean, part.running_var


def untouched(model: nn.Module) -> nn.Module:
    """The model as trained."""
    return model.eval()


def in_training_mode(model: nn.Module) -> nn.Module:
    """The whole model in train(), with nothing random in it."""
    for part in model.modules():
        if isinstance(part, DropPath):
            part.rate = 0.0
    return model.train()


# --- camera_bev_detector --------------------------------------------------------------------------


def box_head_untrained(model: nn.Module) -> nn.Module:
    """A box head put on after training, still as PyTorch created it."""
    torch.manual_seed(1)
    for path in ("head.box.conv", "head.box.out"):
        _conv(model, path).reset_parameters()
    return model.eval()


def stats_never_updated(model: nn.Module) -> nn.Module:
    """A norm whose running statistics never saw a batch."""
    mean, var = _statistics(model, "neck.2.norm1")
    mean.zero_()
    var.fill_(1.0)
    return model.eval()


def stats_permuted(model: nn.Module) -> nn.Module:
    """A norm whose running means stand at the wrong channels."""
    mean, _ = _statistics(model, "neck.2.norm2")
    centred = mean - mean.mean()
    shifts = [float((centred * centred.roll(shift)).sum()) for shift in range(1, len(mean))]
    mean.copy_(mean.roll(1 + shifts.index(min(shifts))))
    block = model.get_submodule("neck.2")
    assert isinstance(block, ResidualBlock)
    assert predicted_mean_correlation(block) < 0.4
    return model.eval()


def norm_without_statistics(model: nn.Module) -> nn.Module:
    """A norm that keeps no running statistics, and so computes the batch's, even in eval()."""
    block = model.get_submodule("neck.1")
    assert isinstance(block, ResidualBlock)
    old, new = block.norm1, nn.BatchNorm2d(12, track_running_stats=False)
    assert isinstance(old, nn.BatchNorm2d)
    new.load_state_dict({"weight": old.weight, "bias": old.bias})
    block.norm1 = new
    return model.eval()


def negative_variance(model: nn.Module) -> nn.Module:
    """A running variance below zero, as a careless average of checkpoints leaves it."""
    _, var = _statistics(model, "backbone.5.norm1")
    var[3] = -0.02
    return model.eval()


# --- lane_head ------------------------------------------------------------------------------------


def dropout_active(model: nn.Module) -> nn.Module:
    """Dropout left in training mode by a call that came after eval()."""
    model.eval()
    model.get_submodule("head.dropout").train()
    return model


def double_softmax(model: nn.Module) -> nn.Module:
    """Probabilities pushed through a second softmax."""
    deployed = m.LaneHeadForDeployment()
    deployed.load_state_dict(model.state_dict())
    return deployed.eval()


def nan_weight(model: nn.Module) -> nn.Module:
    """One weight of the large layer is not a number."""
    with torch.no_grad():
        _linear(model, "head.hidden").weight[7, 31] = float("nan")
    return model.eval()


def baked_batch(model: nn.Module) -> nn.Module:
    """The last reshape takes the batch size of the example for a constant."""
    head = model.get_submodule("head")
    assert isinstance(head, m.RowAnchorHead)
    head.batch = 1
    return model.eval()


def copied_filters(model: nn.Module) -> nn.Module:
    """Half of a layer's channels are copies of the other half, as after widening a network without noise."""
    norm = model.get_submodule("backbone.3.norm")
    assert isinstance(norm, nn.GroupNorm)
    with torch.no_grad():
        for values in (_conv(model, "backbone.3.conv").weight, norm.weight, norm.bias):
            values[8:] = values[:8].clone()
    return model.eval()


# --- lidar_pillar_encoder -------------------------------------------------------------------------


def droppath_active(model: nn.Module) -> nn.Module:
    """Stochastic depth left on in one residual branch."""
    model.eval()
    model.get_submodule("backbone.1.drop_path").train()
    return model


def intensity_normalized(model: nn.Module) -> nn.Module:
    """An instance norm in front of the network takes each scan's scale away; trained on with it in place."""
    pointnet = model.get_submodule("pointnet")
    assert isinstance(pointnet, m.PillarPointNet)
    pointnet.input_norm = nn.InstanceNorm1d(m.POINT_FEATURES, affine=True)
    torch.manual_seed(2)
    fit(model, TASKS["lidar_pillar_encoder"], steps=150, rate=5e-3)
    return model.eval()


def dead_filters(model: nn.Module) -> nn.Module:
    """Channels with empty filters and a negative shift: their ReLU can never fire."""
    norm = model.get_submodule("backbone.1.norm1")
    assert isinstance(norm, nn.BatchNorm2d)
    dead = [0, 1, 3, 4, 5, 8, 9, 11, 13, 15, 16, 18]
    with torch.no_grad():
        _conv(model, "backbone.1.conv1").weight[dead] = 0.0
        norm.weight[dead] = 0.0
        norm.bias[dead] = -1.0
    return model.eval()


# --- temporal_occupancy_head ----------------------------------------------------------------------


def batch_norm_in_time(model: nn.Module) -> nn.Module:
    """A batch norm where the block had a layer norm; trained on with it in place."""
    block = model.get_submodule("temporal.1")
    assert isinstance(block, m.TemporalBlock)
    block.norm2 = TokenBatchNorm(24)
    torch.manual_seed(3)
    fit(model, TASKS["temporal_occupancy_head"], steps=120, rate=5e-3)
    return model.eval()


def dropout_in_temporal_head(model: nn.Module) -> nn.Module:
    """Dropout left active in the second temporal block."""
    model.eval()
    model.get_submodule("temporal.1.dropout").train()
    return model


def mask_without_scaling(model: nn.Module) -> nn.Module:
    """A hand-written dropout, left active, that does not divide by the keep probability."""
    model.eval()
    block = model.get_submodule("temporal.1")
    assert isinstance(block, m.TemporalBlock)
    block.dropout = UnscaledDropout(0.1).train()
    return model


def symmetric(model: nn.Module) -> nn.Module:
    """A layer initialised to one constant: all its units are copies."""
    layer = _linear(model, "temporal.0.fc1")
    nn.init.constant_(layer.weight, 0.05)
    nn.init.constant_(layer.bias, 0.1)
    settle(model, TASKS["temporal_occupancy_head"], batches=20)
    return model.eval()
