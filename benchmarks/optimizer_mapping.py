#!/usr/bin/env python3
"""What mapping an optimizer's slots to names costs: python benchmarks/optimizer_mapping.py [--rounds 5]

Networks of about 1,000 parameters in the usual groupings, and some that are known to be hard. Needs torch, which
builds the optimizers; the time is that of the mapping alone: the median, and the worst of all in the last line.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from avreview.engine.resolve import NotAvailable
from avreview.facts.optimizer_groups import optimizer_groups
from avreview.facts.optimizer_mapping import parameter_mapping
from avreview.facts.subject import TrainingState

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "facts"))
from optimizer_zoo import (  # type: ignore[import-not-found]
    GROUPINGS,
    OPTIMIZERS,
    Bert,
    ConvNext,
    ResNet,
    UNet,
    Vit,
    artifact_of,
    shuffled,
    stepped,
    truth_of,
)  # fmt: skip


class Many(nn.Module):  # type: ignore[misc]
    """Several networks side by side."""

    def __init__(self, build: Callable[[], nn.Module], number: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(build() for _ in range(number))
        self.head = nn.Linear(8, 3)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vit": lambda: Vit(depth=83, width=8),
    "resnet": lambda: ResNet((40, 40, 50, 35), 4),
    "bert": lambda: Bert(depth=62, width=8),
    "unets": lambda: Many(UNet, 17),
    "convnexts": lambda: Many(ConvNext, 10),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    slowest = (0.0, "")
    print(f"{'network':10} {'grouping':26} {'parameters':>10} {'groups':>6} {'seconds':>8} {'sure':>6} {'wrong':>6}")
    for name, build in NETWORKS.items():
        for grouping in (*GROUPINGS.values(), shuffled):
            network = build()
            try:
                optimizer = stepped(OPTIMIZERS["AdamW"](grouping(network)))
            except ValueError:
                continue  # nothing of the kind in this network
            checkpoint = artifact_of(network, optimizer).checkpoint
            state = TrainingState("model.pt", checkpoint)
            truth = truth_of(network, optimizer).decay
            groups = optimizer_groups(state)
            taken = []
            assignments = {}
            for _ in range(rounds):
                begin = time.perf_counter()
                with contextlib.suppress(NotAvailable):
                    assignments = parameter_mapping(state, groups).assignments
                taken.append(time.perf_counter() - begin)
            sure = {key: entry for key, entry in assignments.items() if entry.decay_margin >= 0.5}
            given = {key: None if e.group is None else groups.all[e.group].decay for key, e in sure.items()}
            wrong = sum(given[key] != truth[key] for key in given)
            seconds = statistics.median(taken)
            slowest = max(slowest, (seconds, f"{name}, {grouping.__name__}"))
            print(
                f"{name:10} {grouping.__name__:26} {len(truth):10} {len(groups.all):6} {seconds:8.3f} "
                f"{len(sure) / len(truth):6.1%} {wrong:6}"
            )
    print(f"slowest: {slowest[0]:.3f} s ({slowest[1]})")


if __name__ == "__main__":
    main()
