"""What reviewing a checkpoint costs: against torch.load and dd on the same files, and in memory.

    python benchmarks/checkpoint.py [--quick] [--checkpoint FILE ...] [--folder DIR]

Every figure is a ratio of whole processes timed in turn, so that a busy machine slows both sides; the median of the
pairs is printed. PyTorch has to be installed beside avreview. The checkpoints are made in DIR, or in a temporary
folder, and hold heavy-tailed weights, as trained ones are.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from processes import AVREVIEW, resident, run

LOAD = "import sys, torch; torch.load(sys.argv[1], weights_only=True)"
MAKE = """
import sys, torch
path, gigabytes, legacy = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "legacy"
torch.manual_seed(0)
side = 2048 if gigabytes >= 0.5 else 1024
block = torch.randn(side, side)
block = block * block.abs() * 0.02
count = max(round(gigabytes * 1e9 / (4 * side * side)), 1)
state = {}
for number in range(count):
    state[f"layers.{number}.weight"] = block.roll(number, 0).clone()
    state[f"layers.{number}.bias"] = block[number % side].clone()
torch.save(state, path, _use_new_zipfile_serialization=not legacy)
"""


def made(folder: Path, gigabytes: float, form: str) -> Path:
    """A state dict of dense layers, as torch writes it."""
    path = folder / f"{gigabytes:g}gb-{form}.pt"
    if not path.exists():
        run([sys.executable, "-c", MAKE, str(path), str(gigabytes), form])
    return path


def compare(path: Path, other: Sequence[str], pairs: int) -> float:
    """The median wall-time ratio of a review to another command."""
    own = [*AVREVIEW, str(path)]
    for command in (own, other):
        run(command)  # warms the page cache
    return statistics.median(run(own)[0] / run(other)[0] for _ in range(pairs))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", action="append", type=Path, default=[], help="a further one to compare on")
    parser.add_argument("--folder", type=Path, help="where the large checkpoints are made and kept")
    parser.add_argument("--quick", action="store_true", help="fewer pairs, nothing over 1 GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        against_torch(folder, options)
        if not options.quick:
            against_dd(folder)
        memory(folder, quick=options.quick)


def against_torch(folder: Path, options: argparse.Namespace) -> None:
    """Wall time of a review over that of importing torch and loading the file."""
    files = [*options.checkpoint, *(made(folder, size, form) for size in (0.1, 1.0) for form in ("zip", "legacy"))]
    print("\nreview / (import torch + torch.load(weights_only=True)), wall time, median of pairs")
    for path in files:
        pairs = 3 if options.quick else 7
        ratio = compare(path, [sys.executable, "-c", LOAD, str(path)], pairs)
        print(f"{path.name:22} {path.stat().st_size / 1e6:6.0f} MB  {ratio:.2f}", flush=True)


def against_dd(folder: Path) -> None:
    """Wall time of a review over that of reading the file once."""
    path = made(folder, 4.0, "zip")
    ratio = compare(path, ["dd", f"if={path}", "of=/dev/null", "bs=1M"], 3)
    print(f"\nreview / dd, wall time, median of pairs: {path.name} {ratio:.1f}", flush=True)


def memory(folder: Path, *, quick: bool) -> None:
    """The largest resident size of a review."""
    print("\nresident MB of a review")
    for gigabytes in (0.1, 1.0) if quick else (0.1, 1.0, 4.0):
        for form in ("zip", "legacy"):
            path = made(folder, gigabytes, form)
            command = [*AVREVIEW, str(path)]
            wall, _, code = run(command)
            print(f"{gigabytes:5} GB {form:7} {resident(command):6.1f} MB, {wall:.2f} s, exit {code}", flush=True)


if __name__ == "__main__":
    main()
