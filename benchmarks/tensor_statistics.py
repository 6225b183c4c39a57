#!/usr/bin/env python3
"""What measuring costs beside reading: python benchmarks/tensor_statistics.py [--megabytes 512] [--rounds 5]

Writes a file of random float32, reads it once so that it lies in the page cache, and then takes turns between
reading it with preadv into one buffer and measuring it chunk by chunk through such a buffer. Both happen in one
run on one file, so the ratio says more than either speed; run it on a quiet core (`taskset -c 1`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from avreview.artifact import CHUNK_ELEMENTS, Tensor
from avreview.facts.statistics import measure

_BLOCK = 1 << 20


class File:
    """float32 elements of a whole file, through one buffer at a multiple of 64 bytes.

    The alignment matters: malloc puts a buffer of this size 16 bytes behind a page, and there the kernel's copy
    took five times as long as at 64.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def array(self) -> np.ndarray[Any, Any]:
        return np.memmap(self.path, np.float32, "r")

    def part(self, start: int, count: int) -> np.ndarray[Any, Any]:
        return np.fromfile(self.path, np.float32, count, offset=4 * start)

    def chunks(self, elements: int) -> Iterator[np.ndarray[Any, Any]]:
        room = np.empty(elements * 4 + 64, np.uint8)
        start = -room.ctypes.data % 64
        buffer = room[start : start + elements * 4]
        handle = os.open(self.path, os.O_RDONLY)
        try:
            offset = 0
            while count := os.preadv(handle, [buffer.data], offset):
                offset += count
                yield buffer[:count].view(np.float32)
        finally:
            os.close(handle)


def write(path: Path, megabytes: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write((rng.standard_normal(_BLOCK // 4, np.float32) * np.float32(0.02)).tobytes())


def read(tensor: Tensor) -> None:
    for _ in tensor.chunks(CHUNK_ELEMENTS):
        pass


def seconds(work: Callable[[Tensor], object], tensor: Tensor) -> float:
    start = time.perf_counter()
    work(tensor)
    return time.perf_counter() - start


def small_tensor_cost(rounds: int) -> float:
    """Seconds to measure one tensor of 64 elements, best of several runs."""

    class Memory:
        values: np.ndarray[Any, Any] = np.linspace(-1.0, 1.0, 64, dtype=np.float32)

        def array(self) -> np.ndarray[Any, Any]:
            return self.values

        def chunks(self, elements: int) -> Iterator[np.ndarray[Any, Any]]:
            yield self.values

        def part(self, start: int, count: int) -> np.ndarray[Any, Any]:
            return np.array(self.values[start : start + count])

    tensor = Tensor("bias", (64,), "float32", Memory())

    def thousand(tensor: Tensor) -> None:
        for _ in range(1000):
            measure(tensor)

    return min(seconds(thousand, tensor) for _ in range(rounds)) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.f32"
        write(path, options.megabytes)
        tensor = Tensor("weights", (options.megabytes * _BLOCK // 4,), "float32", File(path))
        read(tensor)
        pairs = [(seconds(read, tensor), seconds(measure, tensor)) for _ in range(options.rounds)]
    gigabytes = options.megabytes * _BLOCK / 1e9
    reading, measuring = (min(times) for times in zip(*pairs, strict=True))
    print(f"preadv    {gigabytes / reading:6.2f} GB/s")
    print(f"measure   {gigabytes / measuring:6.2f} GB/s")
    print(f"ratio     {reading / measuring:6.2f}")
    print(f"64 elements   {small_tensor_cost(options.rounds) * 1e6:5.1f} us")


if __name__ == "__main__":
    main()
