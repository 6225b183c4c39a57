"""What measuring an augmentation costs: `avreview augment` under 16 seeds against a script that applies it 16 times.

    python benchmarks/augment.py [--pairs N]

The augmentations are those of docs/examples/augment/right.py, one at a time, on driving scenes with two cameras. Whole
processes are timed in turn; medians are printed. Measuring applies an augmentation to the same scene many times over
(each marker in the images has a code of several bits, and every seed is run twice), so that a ratio far over 1 is due.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from processes import SCRIPTS, run

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples" / "augment"
ONE = """
import sys
sys.path.insert(0, {folder!r})
import right

def one():
    return right.{name}

one.avreview_scene = {{"kind": "driving", "without": right.WITHOUT}}
"""
BARE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import right
from avreview.augment.child.driving import driving_world
scene = driving_world(0).scene
for seed in range(16):
    getattr(right, sys.argv[2])(dict(scene), np.random.default_rng(seed))
"""


def main() -> None:
    """Prints a line for each augmentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        for name in ("flip", "turn_and_scale", "zoom"):
            target = Path(folder, f"only_{name}.py")
            target.write_text(ONE.format(folder=str(EXAMPLES), name=name))
            own = ["sh", "-c", f"cd {folder} && {SCRIPTS / 'avreview'} augment only_{name}:one"]
            bare = [sys.executable, "-c", BARE, str(EXAMPLES), name]
            if run(own)[2] or run(bare)[2]:
                raise SystemExit(f"{name}: failed")
            times = [(run(own)[:2], run(bare)[:2]) for _ in range(pairs)]
            wall = statistics.median(one[0] for one, _ in times)
            work = statistics.median(one[1] for one, _ in times)
            ratio = statistics.median(one[0] / other[0] for one, other in times)
            print(f"{name}: {wall:.1f} s ({work:.1f} s of CPU), {ratio:.1f} times the bare script")


if __name__ == "__main__":
    main()
