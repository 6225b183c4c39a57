"""The list of sample files: what each is, the fault seeded in it, and what a review should find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import _faults as faults
import numpy as np
import onnx
from onnx import numpy_helper
from torch import nn
from torch.onnx import TrainingMode

RANDOM_OPS = {
    "Dropout",
    "Bernoulli",
    "RandomUniform",
    "RandomUniformLike",
    "RandomNormal",
    "RandomNormalLike",
}


# --- what shows that a fault is in the file ------------------------------------------------------


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _tensors(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The initializers by name, and under the name of each Identity that stands for one."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    return tensors


def _ops(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def clean(proto: onnx.ModelProto) -> bool:
    """Nothing random, nothing in training mode, nothing infinite."""
    ops = _ops(proto)
    random = sum(count for op, count in ops.items() if op in RANDOM_OPS)
    signature = "".join(item.value for item in proto.graph.metadata_props)
    finite = all(np.isfinite(t).all() for t in _tensors(proto).values() if t.dtype.kind == "f")
    return random == 0 and finite and norms_in_training(proto) == 0 and "BUFFER_MUTATION" not in signature


def norms_in_training(proto: onnx.ModelProto) -> int:
    """How many batch norms use the batch's statistics."""
    norms = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    return sum(_attributes(node).get("training_mode") == 1 for node in norms)


def has(*ops: str) -> Callable[[onnx.ModelProto], bool]:
    """Whether every one of these operators is there."""
    return lambda proto: all(_ops(proto)[op] > 0 for op in ops)


def holds(name: str, test: Callable[[np.ndarray], bool]) -> Callable[[onnx.ModelProto], bool]:
    """Whether a tensor is there, under its own name, and passes a test."""
    return lambda proto: name in _tensors(proto) and bool(test(_tensors(proto)[name]))


def ends_in_two_softmaxes(proto: onnx.ModelProto) -> bool:
    """Whether a softmax is fed by a softmax."""
    makers = {output: node.op_type for node in proto.graph.node for output in node.output}
    return any(n.op_type == "Softmax" and makers.get(n.input[0]) == "Softmax" for n in proto.graph.node)


def reshapes_to_batch_one(proto: onnx.ModelProto) -> bool:
    """Whether a Reshape holds a literal 1 for the batch that the input declares as dynamic."""
    constants = _tensors(proto)
    for node in proto.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    shapes = [constants.get(n.input[1]) for n in proto.graph.node if n.op_type == "Reshape"]
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    return batch == "batch" and any(s is not None and s.shape == (4,) and s[0] == 1 for s in shapes)


def records_buffer_mutation(proto: onnx.ModelProto) -> bool:
    """Whether the exporter recorded that running statistics were being updated."""
    return any("BUFFER_MUTATION" in item.value for item in proto.graph.metadata_props)


# --- the catalogue --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One file: the model it comes from, what was done to it, and what a review should find."""

    task: str
    what: str
    fault: str = ""
    findings: tuple[tuple[str, str | None], ...] = ()
    change: Callable[[nn.Module], nn.Module] = faults.untouched
    shows: Callable[[onnx.ModelProto], bool] = clean
    mode: TrainingMode = TrainingMode.EVAL
    batch: int = 2
    dynamic: bool = True
    parity: bool = True
    random: bool = False
    suffix: str = ""

    @property
    def file(self) -> str:
        """The file's name."""
        return self.task + (f"__{self.fault}" if self.fault else self.suffix) + ".onnx"

    @property
    def exporter(self) -> str:
        """Which of PyTorch's exporters writes it."""
        return "TorchScript" if self.task in (CAMERA, LANE) else "dynamo"

    @property
    def opset(self) -> int:
        """The opset it is written in."""
        return {LIDAR: 18, TEMPORAL: 20}.get(self.task, 17)


CAMERA, LANE = "camera_bev_detector", "lane_head"
LIDAR, TEMPORAL = "lidar_pillar_encoder", "temporal_occupancy_head"
UNFOLDED = TrainingMode.PRESERVE

SAMPLES = (
    Sample(CAMERA, "clean: four cameras to bird's-eye boxes; batch norms folded into the convolutions"),
    Sample(CAMERA, "clean: the same with its 19 batch norms left standing", suffix="_unfolded", mode=UNFOLDED),
    Sample(
        CAMERA,
        "exported with `training=TrainingMode.TRAINING`: all 19 batch norms use batch statistics",
        "train_mode",
        (("AV301", None),),
        shows=lambda proto: norms_in_training(proto) == 19,
        mode=TrainingMode.TRAINING,
        parity=False,
    ),
    Sample(
        CAMERA,
        "the box head is as PyTorch initialises it; everything else is trained",
        "new_head_untrained",
        (("AV201", "head.box"),),
        faults.box_head_untrained,
        holds("head.box.conv.weight", lambda w: float(np.abs(w).max()) <= 108**-0.5),
    ),
    Sample(
        CAMERA,
        "one norm of the neck has running mean 0 and variance 1",
        "stats_never_updated",
        (("AV501", "neck.2.norm1"),),
        faults.stats_never_updated,
        holds("neck.2.norm1.running_mean", lambda mean: bool((mean == 0).all())),
        mode=UNFOLDED,
    ),
    Sample(
        CAMERA,
        "one norm of the neck has its running means at the wrong channels",
        "stats_permuted",
        (("AV509", "neck.2.norm2"),),
        faults.stats_permuted,
        has("BatchNormalization"),
        mode=UNFOLDED,
    ),
    Sample(
        CAMERA,
        "one norm of the neck keeps no running statistics (`track_running_stats=False`); static batch",
        "norm_without_statistics",
        (("AV301", "neck.1.norm1"),),
        faults.norm_without_statistics,
        has("ReduceMean"),
        mode=UNFOLDED,
        dynamic=False,
    ),
    Sample(
        CAMERA,
        "one channel's running variance is -0.02; the outputs are NaN",
        "negative_variance",
        (("AV502", "backbone.5.norm1"),),
        faults.negative_variance,
        holds("backbone.5.norm1.running_var", lambda var: bool((var < 0).any())),
        mode=UNFOLDED,
        parity=False,
    ),
    Sample(LANE, "clean: row-anchor lanes from one image; group norm, SiLU, a large hidden layer"),
    Sample(
        LANE,
        "dropout before the last layer is active",
        "dropout_active",
        (("AV701", "head.dropout"),),
        faults.dropout_active,
        has("Dropout"),
        mode=UNFOLDED,
        parity=False,
        random=True,
    ),
    Sample(
        LANE,
        "softmax of a softmax at the output",
        "double_softmax",
        (("AV411", None),),
        faults.double_softmax,
        ends_in_two_softmaxes,
    ),
    Sample(
        LANE,
        "one NaN in the large layer; the outputs are NaN",
        "nan_weight",
        (("AV001", "head.hidden"),),
        faults.nan_weight,
        holds("head.hidden.weight", lambda w: bool(np.isnan(w).any())),
        parity=False,
    ),
    Sample(
        LANE,
        "the last reshape says batch 1 though axis 0 is declared dynamic",
        "baked_batch",
        (("AV410", "head"),),
        faults.baked_batch,
        reshapes_to_batch_one,
        batch=1,
    ),
    Sample(
        LANE,
        "8 of 16 filters are copies of the other 8, norm included",
        "copied_filters",
        (("AV102", "backbone.3.conv"),),
        faults.copied_filters,
        holds("backbone.3.conv.weight", lambda w: bool((w[:8] == w[8:]).all())),
    ),
    Sample(LIDAR, "clean: pillars to bird's-eye features and classes; scatter, batch norm, ReLU"),
    Sample(
        LIDAR,
        "drop path is active in one residual branch",
        "droppath_active",
        (("AV401", "backbone.1.drop_path"),),
        faults.droppath_active,
        lambda proto: any(_ops(proto)[op] for op in ("Bernoulli", "RandomUniformLike")),
        parity=False,
        random=True,
    ),
    Sample(
        LIDAR,
        "exported from `model.train()`; the exporter recorded BUFFER_MUTATION",
        "exported_in_train_mode",
        (("AV413", None),),
        faults.in_training_mode,
        records_buffer_mutation,
    ),
    Sample(
        LIDAR,
        "an instance norm on the raw points hides the scale of intensity and height",
        "intensity_normalized",
        (("AV306", "pointnet.input_norm"),),
        faults.intensity_normalized,
        has("InstanceNormalization"),
    ),
    Sample(
        LIDAR,
        "7 of 20 filters are empty and their bias is -1: their ReLU never fires",
        "dead_filters",
        (("AV106", "backbone.1.conv1"),),
        faults.dead_filters,
        holds("backbone.1.conv1.weight", lambda w: int((w == 0).all((1, 2, 3)).sum()) == 7),
    ),
    Sample(TEMPORAL, "clean: transformer over five frames to the next frame's occupancy; layer norm, GELU"),
    Sample(
        TEMPORAL,
        "a batch norm in the second temporal block",
        "batch_norm_in_time",
        (("AV303", "temporal.1.norm2"),),
        faults.batch_norm_in_time,
        has("BatchNormalization"),
    ),
    Sample(
        TEMPORAL,
        "dropout in the second temporal block is active",
        "dropout_in_temporal_head",
        (("AV701", "temporal.1.dropout"), ("AV703", "temporal.1.dropout")),
        faults.dropout_in_temporal_head,
        has("Dropout"),
        parity=False,
        random=True,
    ),
    Sample(
        TEMPORAL,
        "a random mask that is not divided by the keep probability",
        "mask_without_scaling",
        (("AV704", "temporal.1.dropout"),),
        faults.mask_without_scaling,
        has("RandomUniformLike"),
        parity=False,
        random=True,
    ),
    Sample(
        TEMPORAL,
        "the first layer of an MLP is one constant: all its units are copies",
        "symmetric",
        (("AV102", "temporal.0.fc1"),),
        faults.symmetric,
        lambda proto: any(t.size == 24 * 48 and float(np.ptp(t)) == 0 for t in _tensors(proto).values()),
    ),
)
