"""Lay published exports beside the checkpoints they came with: python benchmarks/match_exports.py DEST

silero-vad ships its weights as TorchScript, safetensors and several ONNX exports. Which of these hold the same
weights is known by comparing them with NumPy; avreview has to find the same by itself. The wheel is downloaded and
unzipped: nothing is installed, and no code of the package runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

from avreview.api import review

WHEEL = "silero-vad==6.2.3"
# Export, checkpoint, and how many of its weights differ: 0 where it was made from that checkpoint.
KNOWN = (
    ("silero_vad.onnx", "silero_vad.jit", 0),
    ("silero_vad_16k_op15.onnx", "silero_vad.jit", 0),
    ("silero_vad_16k_sequence.onnx", "silero_vad.jit", 0),
    ("silero_vad_openvino_16k.onnx", "silero_vad.jit", 0),
    ("silero_vad_op18_ifless.onnx", "silero_vad.jit", 14),  # the 8 kHz half is of another training step
    ("silero_vad_half.onnx", "silero_vad.jit", 14),  # another model: all but the fixed Fourier basis
    ("silero_vad_16k_op15.onnx", "silero_vad_16k.safetensors", 14),  # retrained: cosines of .90 to .98
    ("silero_vad_16k_sequence.onnx", "silero_vad_16k.safetensors", 13),
)


def fetch(folder: Path) -> None:
    """Unpacks the wheel's models into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", WHEEL]
    subprocess.run([*command, "--dest", str(folder)], check=True)
    with zipfile.ZipFile(next(folder.glob("silero_vad-*.whl"))) as wheel:
        for entry in wheel.infolist():
            name = entry.filename.rpartition("/")[2]
            if name.endswith((".onnx", ".jit", ".safetensors")):
                (folder / name).write_bytes(wheel.read(entry))


def differing(folder: Path, export: str, checkpoint: str) -> int:
    """How many weights AV403 says differ; -1 where it could not tell."""
    report = review([folder / export], checkpoint=folder / checkpoint, select=["AV403"])
    if report.unreadable or report.reviews[0].rules[0].reason:
        return -1
    return sum(finding.observed["differ"] for finding in report.reviews[0].findings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not (folder / KNOWN[0][0]).is_file():
        fetch(folder)
    wrong = 0
    for export, checkpoint, expected in KNOWN:
        found = differing(folder, export, checkpoint)
        wrong += found != expected
        print(
            f"{export:32} {checkpoint:28} differ: {found:3}  expected: {expected:3}  {'' if found == expected else '!'}"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
