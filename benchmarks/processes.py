"""Timing and weighing whole processes, for the benchmarks beside this module."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
AVREVIEW = [str(SCRIPTS / "avreview"), "check"]

# A child begins as a copy of its parent, whose size counts as its own: memory is measured under a small one.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(os.wait4(process.pid, 0)[2].ru_maxrss / 1024)
"""


def resident(command: Sequence[str]) -> float:
    """The largest resident size of the command or of a child it waited for, in MB."""
    done = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *command], capture_output=True, check=True, text=True)
    return float(done.stdout)


def run(command: Sequence[str]) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds with children, exit code) of a command."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    return wall, usage.ru_utime + usage.ru_stime, process.returncode
