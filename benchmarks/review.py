"""What a static review costs: against Polygraphy on the same files, in memory, and as the graph grows.

    python benchmarks/review.py [--quick] [--model FILE ...] [--folder DIR]

Every figure is a ratio of whole processes timed in turn, so that a busy machine slows both sides; the median of the
pairs is printed. Polygraphy has to be installed beside avreview (`pip install polygraphy onnxruntime`). The large
models are made in DIR, or in a temporary folder, and hold heavy-tailed weights, as trained ones are.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from processes import AVREVIEW, SCRIPTS, resident, run

LINT = [str(SCRIPTS / "polygraphy"), "check", "lint"]
INSPECT = [str(SCRIPTS / "polygraphy"), "inspect", "model"]


def heavy_tailed(shape: tuple[int, ...]) -> np.ndarray:
    """Weights with the long tails of trained ones."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape, dtype=np.float32)
    return values * np.abs(values) * np.float32(0.02)


def dense(path: Path, gigabytes: float, *, external: bool = False) -> Path:
    """A stack of MatMul and Relu of 64 MB each, one block of weights repeated in the file but not shared.

    Written by hand, since protobuf cannot hold a message of over 2 GB.
    """
    side = 4096
    count = max(int(gigabytes * 1e9 // (4 * side * side)), 1)
    weights = heavy_tailed((side, side)).tobytes()
    nodes = []
    for i in range(count):
        nodes.append(helper.make_node("MatMul", [f"h{i}", f"layers.{i}.weight"], [f"z{i}"], name=f"/layers.{i}/MatMul"))
        nodes.append(helper.make_node("Relu", [f"z{i}"], [f"h{i + 1}"], name=f"/layers.{i}/Relu"))
    io = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", side]) for name in ("h0", f"h{count}")]
    graph = helper.make_graph(nodes, "dense", io[:1], io[1:])
    head = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    head.ClearField("graph")
    header = [onnx.TensorProto(name=f"layers.{i}.weight", dims=[side, side], data_type=1) for i in range(count)]
    if external:
        for i, tensor in enumerate(header):
            tensor.data_location = TensorProto.EXTERNAL
            pairs = {"location": path.name + ".data", "offset": i * len(weights), "length": len(weights)}
            for key, value in pairs.items():
                tensor.external_data.add(key=key, value=str(value))
        with open(f"{path}.data", "wb") as file:
            for _ in range(count):
                file.write(weights)
    with path.open("wb") as file:
        extra = b"" if external else field(9, len(weights))
        tensors = [tensor.SerializeToString() for tensor in header]
        sizes = [len(tensor) + (0 if external else len(extra) + len(weights)) for tensor in tensors]
        body = graph.SerializeToString()
        file.write(head.SerializeToString())
        file.write(field(7, len(body) + sum(len(field(5, size)) + size for size in sizes)) + body)
        for tensor, size in zip(tensors, sizes, strict=True):
            file.write(field(5, size) + tensor + extra)
            if not external:
                file.write(weights)
    return path


def field(number: int, length: int) -> bytes:
    """The protobuf key and length of a length-delimited field."""
    encoded = bytearray([number << 3 | 2])
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def resnet(path: Path, blocks: Sequence[int] = (3, 4, 23, 3), width: int = 46) -> Path:
    """A convolutional network of residual bottlenecks with folded norms, about 100 MB."""
    nodes, weights = [], []

    def conv(source: str, name: str, channels: tuple[int, int], kernel: int) -> str:
        shape = (channels[1], channels[0], kernel, kernel)
        weights.append(helper.make_tensor(f"{name}.weight", 1, shape, heavy_tailed(shape).tobytes(), raw=True))
        weights.append(helper.make_tensor(f"{name}.bias", 1, shape[:1], heavy_tailed(shape[:1]).tobytes(), raw=True))
        pads = [kernel // 2] * 4
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [name], f"/{name}", pads=pads))
        return name

    def relu(source: str) -> str:
        nodes.append(helper.make_node("Relu", [source], [f"{source}_relu"], f"/{source}/Relu"))
        return f"{source}_relu"

    channels, key = 3, "image"
    for stage, count in enumerate(blocks):
        inner = width << stage
        for block in range(count):
            name = f"layer{stage}.{block}"
            branch = relu(conv(key, f"{name}.conv1", (channels, inner), 1))
            branch = relu(conv(branch, f"{name}.conv2", (inner, inner), 3))
            branch = conv(branch, f"{name}.conv3", (inner, 4 * inner), 1)
            shortcut = key if channels == 4 * inner else conv(key, f"{name}.down", (channels, 4 * inner), 1)
            nodes.append(helper.make_node("Add", [branch, shortcut], [f"{name}.sum"], f"/{name}/Add"))
            key, channels = relu(f"{name}.sum"), 4 * inner
    inputs = [helper.make_tensor_value_info("image", 1, ["batch", 3, 224, 224])]
    outputs = [helper.make_tensor_value_info(key, 1, ["batch", channels, 224, 224])]
    graph = helper.make_graph(nodes, "resnet", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def chain(path: Path, nodes: int) -> Path:
    """A chain of small convolutions, norms, SiLUs and sums with `nodes` nodes."""
    made, weights, key = [], [], "x"
    weight, vector = heavy_tailed((8, 8, 3, 3)).tobytes(), np.abs(heavy_tailed((8,))) + np.float32(0.1)
    for i in range(nodes // 5):
        weights.append(helper.make_tensor(f"b{i}.conv.weight", 1, (8, 8, 3, 3), weight, raw=True))
        names = [f"b{i}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        weights += [helper.make_tensor(name, 1, (8,), vector.tobytes(), raw=True) for name in names]
        made += [
            helper.make_node("Conv", [key, f"b{i}.conv.weight"], [f"c{i}"], f"/b{i}/conv/Conv", pads=[1] * 4),
            helper.make_node("BatchNormalization", [f"c{i}", *names], [f"n{i}"], f"/b{i}/bn/BatchNormalization"),
            helper.make_node("Sigmoid", [f"n{i}"], [f"s{i}"], f"/b{i}/act/Sigmoid"),
            helper.make_node("Mul", [f"n{i}", f"s{i}"], [f"a{i}"], f"/b{i}/act/Mul"),
            helper.make_node("Add", [key, f"a{i}"], [f"y{i}"], f"/b{i}/Add"),
        ]
        key = f"y{i}"
    io = [helper.make_tensor_value_info(name, 1, ["batch", 8, 32, 32]) for name in ("x", key)]
    graph = helper.make_graph(made, "chain", io[:1], io[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def compare(model: Path, other: Sequence[str], pairs: int) -> str:
    """The median wall-time ratio of a review to another command on the same file."""
    ratios, broken = [], False
    for command in (AVREVIEW, other):
        run([*command, str(model)])  # warms the page cache
    for _ in range(pairs):
        own, *_ = run([*AVREVIEW, str(model)])
        theirs, _, code = run([*other, str(model)])
        broken = broken or code < 0
        ratios.append(own / theirs)
    return f"{statistics.median(ratios):.2f}" + (" (it crashed)" if broken else "")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", type=Path, default=[], help="a further model to compare on")
    parser.add_argument("--folder", type=Path, help="where the large models are made and kept")
    parser.add_argument("--quick", action="store_true", help="fewer pairs, nothing over 1 GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        against_peers(folder, options)
        memory(folder, quick=options.quick)
        growth(folder)


def against_peers(folder: Path, options: argparse.Namespace) -> None:
    """Wall time of a review over Polygraphy's, on real and made models."""
    models = [*options.model, resnet(folder / "resnet.onnx"), dense(folder / "1gb.onnx", 1.0)]
    print("\nreview / polygraphy, wall time, median of pairs\nmodel                     MB   lint   inspect")
    for model in models:
        pairs = 3 if options.quick or model.stat().st_size > 5e8 else 7
        lint, inspect = compare(model, LINT, pairs), compare(model, INSPECT, pairs)
        print(f"{model.name:22} {model.stat().st_size / 1e6:6.0f} {lint:>6} {inspect:>9}", flush=True)


def memory(folder: Path, *, quick: bool) -> None:
    """The largest resident size of any process of a review."""
    print("\nresident MB of a review (the larger of the process and its child)")
    for gigabytes in (0.05, 1.0) if quick else (0.05, 1.0, 4.0):
        for external in (False, True):
            path = dense(folder / f"memory-{gigabytes}-{external}.onnx", gigabytes, external=external)
            run([*AVREVIEW, str(path)])
            wall, _, code = run([*AVREVIEW, str(path)])
            kind, most = "external" if external else "embedded", resident([*AVREVIEW, str(path)])
            print(f"{gigabytes:5} GB {kind}: {most:6.1f} MB, {wall:.2f} s, exit {code}", flush=True)
            for file in (path, Path(f"{path}.data")):
                file.unlink(missing_ok=True)


def growth(folder: Path) -> None:
    """Review time per node as the graph grows, over that of 1,000 nodes; an empty review's time is taken off."""
    print("\nnodes: time of a review less that of 10 nodes, per node, relative to 10,000 nodes")
    base = min(run([*AVREVIEW, str(chain(folder / "10.onnx", 10))])[1] for _ in range(3))
    figures = {}
    for nodes in (1_000, 10_000, 100_000):
        path = chain(folder / f"{nodes}.onnx", nodes)
        figures[nodes] = (min(run([*AVREVIEW, str(path)])[1] for _ in range(2)) - base) / nodes
    for nodes, seconds in figures.items():
        print(f"{nodes:7}: {seconds / figures[10_000]:.2f} ({seconds * 1e6:.0f} µs of CPU time a node)")


if __name__ == "__main__":
    main()
