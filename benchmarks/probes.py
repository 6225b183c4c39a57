"""What probing costs: all probes together against a bare script that makes one session and runs six inferences.

    python benchmarks/probes.py [--pairs N] [--model FILE] [--batch N]

The model is a ResNet-50 at 224 x 224 with a dynamic batch, made in a temporary folder. Whole processes are timed in
turn, so that a busy machine slows both sides; the median of the pairs' ratios is printed, for a bare script that runs
batches of 1 and for one that runs batches of 4, the largest of the probes'.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from processes import AVREVIEW, run

PROBES = "--probe=repeat,batch,signal,levels"
BARE = """
import sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
image = np.random.default_rng(0).standard_normal((int(sys.argv[2]), 3, 224, 224), np.float32)
for _ in range(6):
    session.run(None, {session.get_inputs()[0].name: image})
"""


class ResNet:
    """ResNet-50 (https://arxiv.org/abs/1512.03385, table 1) with random weights, as an exporter writes it."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def tensor(self, name: str, values: np.ndarray) -> str:
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}", **attributes))
        return output

    def block(self, value: str, name: str, channels: tuple[int, int], kernel: int, stride: int, *, relu: bool) -> str:
        """Convolution, batch norm, and ReLU if wanted."""
        before, after = channels
        weight = self.random.standard_normal((after, before, kernel, kernel)) * (2 / (before * kernel**2)) ** 0.5
        pads = [kernel // 2] * 4
        weights = self.tensor(f"{name}.conv.weight", weight)
        value = self.node("Conv", [value, weights], f"{name}.conv", kernel_shape=[kernel] * 2, strides=[stride] * 2,
                          pads=pads)  # fmt: skip
        gains = 1 + 0.1 * self.random.standard_normal(after)
        norm = [self.tensor(f"{name}.bn.{part}", values) for part, values in (
            ("weight", gains), ("bias", 0.1 * self.random.standard_normal(after)),
            ("running_mean", 0.1 * self.random.standard_normal(after)),
            ("running_var", 1 + 0.1 * self.random.random(after)),
        )]  # fmt: skip
        value = self.node("BatchNormalization", [value, *norm], f"{name}.bn", epsilon=1e-5)
        return self.node("Relu", [value], f"{name}.relu") if relu else value

    def bottleneck(self, value: str, name: str, before: int, width: int, stride: int) -> str:
        shortcut = value
        if before != 4 * width:
            shortcut = self.block(value, f"{name}.downsample", (before, 4 * width), 1, stride, relu=False)
        value = self.block(value, f"{name}.1", (before, width), 1, 1, relu=True)
        value = self.block(value, f"{name}.2", (width, width), 3, stride, relu=True)
        value = self.block(value, f"{name}.3", (width, 4 * width), 1, 1, relu=False)
        return self.node("Relu", [self.node("Add", [value, shortcut], f"{name}.add")], f"{name}.relu")

    def save(self, path: Path) -> Path:
        value = self.block("image", "stem", (3, 64), 7, 2, relu=True)
        value = self.node("MaxPool", [value], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        before = 64
        for stage, (count, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
            for number in range(count):
                stride = 2 if stage and not number else 1
                value = self.bottleneck(value, f"layer{stage + 1}.{number}", before, width, stride)
                before = 4 * width
        value = self.node("Flatten", [self.node("GlobalAveragePool", [value], "mean")], "flat")
        head = self.tensor("fc.weight", self.random.standard_normal((1000, before)) * 0.02)
        bias = self.tensor("fc.bias", 0.01 * self.random.standard_normal(1000))
        self.node("Gemm", [value, head, bias], "scores", transB=1)
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1000])
        graph = helper.make_graph(self.nodes, "resnet50", [image], [scores], self.tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path


def ratio(path: Path, batch: int, pairs: int) -> tuple[float, float, float]:
    """(median ratio, seconds of the probes, seconds of the bare script)."""
    own = [*AVREVIEW, str(path), PROBES]
    bare = [sys.executable, "-c", BARE, str(path), str(batch)]
    for command in (own, bare):
        if run(command)[2] > 1:  # warms the page cache; 1 is a finding
            raise SystemExit(f"{command[0]} failed")
    times = [(run(own)[0], run(bare)[0]) for _ in range(pairs)]
    return (
        statistics.median(one / other for one, other in times),
        statistics.median(one for one, _ in times),
        statistics.median(other for _, other in times),
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--model", type=Path, help="another export with one image input of 3 x 224 x 224")
    parser.add_argument("--batch", type=int, default=4, help="another batch of the bare script")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or ResNet().save(Path(folder) / "resnet50.onnx")
        print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, {PROBES}")
        for batch in dict.fromkeys((1, options.batch)):
            times, own, bare = ratio(path, batch, options.pairs)
            print(f"bare script at batch {batch}: ratio {times:.2f} ({own:.1f} s / {bare:.1f} s; limit 4)")


if __name__ == "__main__":
    main()
