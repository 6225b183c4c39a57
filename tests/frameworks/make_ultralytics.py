"""Checkpoints that ultralytics wrote: in training (`ema` in fp16, optimizer) and stripped; decay right and wrong."""

from __future__ import annotations

import operators  # isort: skip  # noqa: F401 - first

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference import begin, load, write

MODEL = """
nc: 2
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C2f, [16, True]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, C2f, [16]]
  - [[6], 1, Detect, [nc]]
"""


def images(folder: Path) -> Path:
    """Sixteen images of noise with boxes, and the file that describes them."""
    import cv2

    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(16):
        cv2.imwrite(str(folder / f"images/{number}.png"), random.integers(0, 255, (64, 64, 3), np.uint8))
        boxes = f"{number % 2} 0.2 0.2 0.15 0.15\n0 0.7 0.7 0.2 0.2\n1 0.5 0.5 0.95 0.95\n"
        (folder / f"labels/{number}.txt").write_text(boxes)
    data = folder / "data.yaml"
    data.write_text(f"path: {folder}\ntrain: images\nval: images\nnames: {{0: car, 1: lane}}\n")
    return data


def main() -> None:
    folder = begin().resolve()
    os.environ["YOLO_CONFIG_DIR"] = str(folder / "settings")
    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics.models.yolo.detect import DetectionTrainer

    class WrongTrainer(DetectionTrainer):  # type: ignore[misc]
        """Gives every parameter the decay of the weights."""

        def build_optimizer(self, model: Any, *given: Any, **named: Any) -> torch.optim.Optimizer:
            trainable = [one for one in model.parameters() if one.requires_grad]
            return torch.optim.AdamW(trainable, lr=2e-3, weight_decay=0.05)

    (folder / "tiny.yaml").write_text(MODEL)
    data = images(folder / "data")
    for name, trainer in (("right", DetectionTrainer), ("wrong", WrongTrainer)):
        trained(folder, data, name, trainer)


def trained(folder: Path, data: Path, name: str, trainer: Any) -> None:
    run = trainer(
        overrides={
            "model": str(folder / "tiny.yaml"), "data": str(data), "epochs": 3, "imgsz": 64, "batch": 2, "workers": 0,
            "device": "cpu", "plots": False, "amp": False, "val": False, "save_period": 1, "verbose": False,
            "project": str(folder), "name": f"ultralytics_{name}", "optimizer": "SGD", "pretrained": False,
            "lr0": 0.01, "warmup_epochs": 0, "nbs": 2,  # a step every batch
        }
    )  # fmt: skip
    run.train()
    weights = Path(run.save_dir) / "weights"
    described(weights / "epoch2.pt", "ema")
    if name == "right":
        described(weights / "last.pt", "model")


def described(path: Path, key: str) -> None:
    checkpoint = load(path)
    module = checkpoint[key]
    settings = {key: item for key, item in checkpoint["train_args"].items() if isinstance(item, int | float | str)}
    write(
        path,
        layout="ultralytics",
        primary="ema",
        sets={"ema": module.state_dict()},
        optimizers=[("optimizer", checkpoint["optimizer"])] if checkpoint["optimizer"] else [],
        tree=module,
        metadata={"epoch": checkpoint["epoch"], "version": checkpoint["version"], "train_args": settings},
    )


if __name__ == "__main__":
    main()
