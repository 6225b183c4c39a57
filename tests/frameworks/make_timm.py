"""Checkpoints that timm's CheckpointSaver wrote: decay right and wrong, with and without EMA."""

from __future__ import annotations

import operators  # isort: skip  # noqa: F401 - first

import argparse
from pathlib import Path
from typing import Any

import timm
import torch
from reference import begin, load, write
from timm.optim import create_optimizer_v2
from timm.utils import CheckpointSaver, ModelEmaV3


def trained(folder: Path, right: bool, ema: bool) -> None:
    name = f"timm_{'right' if right else 'wrong'}{'_ema' if ema else ''}"
    (folder / name).mkdir()
    model = timm.create_model("resnet10t", num_classes=4, stem_width=8, channels=(8, 8, 16, 16))
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-2, weight_decay=0.05, filter_bias_and_bn=right)
    average = ModelEmaV3(model, decay=0.9) if ema else None
    saver = CheckpointSaver(
        model, optimizer, args=argparse.Namespace(model="resnet10t", opt="adamw", lr=1e-2, weight_decay=0.05, epochs=1),
        model_ema=average, checkpoint_dir=str(folder / name), recovery_dir=str(folder / name),
    )  # fmt: skip
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.randint(0, 4, (4,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if average is not None:
            average.update(model)
    saver.save_checkpoint(0, metric=0.5)
    path = folder / name / "last.pth.tar"
    checkpoint: dict[str, Any] = load(path)
    sets = {"model": checkpoint["state_dict"]}
    if average is not None:
        sets["ema"] = checkpoint["state_dict_ema"]
    write(
        path,
        layout="timm",
        primary="ema" if ema else "model",
        sets=sets,
        optimizers=[("optimizer", checkpoint["optimizer"])],
        metadata={"epoch": 0, "arch": checkpoint["arch"], "args": vars(checkpoint["args"])},
    )


def main() -> None:
    folder = begin()
    for right in (True, False):
        for ema in (True, False):
            trained(folder, right, ema)


if __name__ == "__main__":
    main()
