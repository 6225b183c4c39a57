"""The memory of the signal probe, against a plain inference of the same batch.

    python benchmarks/signal_memory.py [model.onnx]

The model is a ResNet-50 at 224 x 224 with a dynamic batch, made in a temporary folder. Both sides run the same four
samples through it on the CPU in processes of their own: the plain side in ONNX Runtime as it comes, the probe through
the command line, where the largest process counts. Wanted: at most 1.5 times as much.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from probes import ResNet
from processes import AVREVIEW, resident, run

WANTED = 1.5
SAMPLES = 4  # as many as the probe runs of a model of this size
PLAIN = """
import sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
image = session.get_inputs()[0]
shape = [extent if isinstance(extent, int) else int(sys.argv[2]) for extent in image.shape]
session.run(None, {image.name: np.random.default_rng(0).standard_normal(shape, np.float32)})
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="an ONNX export with one input, whose batch is free")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = str(options.model or ResNet().save(Path(folder) / "resnet50.onnx"))
        plain = [sys.executable, "-c", PLAIN, model, str(SAMPLES)]
        probe = [*AVREVIEW, model, "--probe=signal", "--select=AV103"]
        memory = {"plain": resident(plain), "probe": resident(probe)}
        seconds = {"plain": run(plain)[0], "probe": run(probe)[0]}
    for side in memory:
        print(f"{side}: {memory[side]:6.0f} MB  {seconds[side]:5.1f} s")
    ratio = memory["probe"] / memory["plain"]
    print(f"memory: {ratio:.2f} times the plain inference (wanted: at most {WANTED})")
    return 0 if ratio <= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
