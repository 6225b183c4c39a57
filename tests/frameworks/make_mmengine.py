"""Checkpoints that mmengine's Runner wrote: decay right and wrong, with and without EMA, two optimizers."""

from __future__ import annotations

import operators  # isort: skip  # noqa: F401 - first

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from mmengine.runner import Runner
from networks import Network, batches
from reference import begin, load, write
from torch import nn
from torch.utils.data import DataLoader

RIGHT = {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0}


@MODELS.register_module()
class Classifier(BaseModel):  # type: ignore[misc]
    """One network; `forward` gives losses."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Network()
        self.backbone.conv1.requires_grad_(False)

    def forward(self, images: torch.Tensor, classes: torch.Tensor, mode: str = "tensor") -> Any:
        scores = self.backbone(images)
        return {"loss": nn.functional.cross_entropy(scores, classes)} if mode == "loss" else scores


class Adversaries(BaseModel):  # type: ignore[misc]
    """Two networks with an optimizer each."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = Network(), Network(4)

    def forward(self, images: torch.Tensor, classes: torch.Tensor, mode: str = "tensor") -> Any:
        return self.generator(images)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        losses = {}
        for name in ("generator", "critic"):
            loss = nn.functional.cross_entropy(getattr(self, name)(data[0]), data[1])
            optim_wrapper[name].update_params(loss)
            losses[name] = loss
        return losses


def samples() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(image, kind) for images, kinds in batches() for image, kind in zip(images, kinds, strict=True)]


def trained(folder: Path, name: str, **given: Any) -> tuple[Runner, Path, dict[str, Any]]:
    work = folder / name
    config = Config({"max_epochs": 2, "optim_wrapper": given["optim_wrapper"]})
    runner = Runner(
        work_dir=str(work), train_dataloader=DataLoader(samples(), batch_size=4), experiment_name=name,
        train_cfg={"by_epoch": True, "max_epochs": 2}, cfg=config, log_level="ERROR",
        model=Classifier(), default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 2}}, **given,
    )  # fmt: skip
    runner.train()
    path = work / "epoch_2.pth"
    checkpoint: dict[str, Any] = load(path)
    return runner, path, checkpoint


def one(folder: Path, right: bool, ema: bool) -> None:
    name = f"mmengine_{'right' if right else 'wrong'}{'_ema' if ema else ''}"
    wrapper = {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05},
        **({"paramwise_cfg": RIGHT} if right else {}),
    }
    runner, path, checkpoint = trained(
        folder, name, optim_wrapper=wrapper,
        param_scheduler={"type": "CosineAnnealingLR", "T_max": 2},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.1}] if ema else [],
    )  # fmt: skip
    sets = {"model": checkpoint["state_dict"]}
    if ema:
        hook = next(hook for hook in runner.hooks if type(hook).__name__ == "EMAHook")
        for key, tensor in hook.ema_model.module.state_dict().items():
            assert torch.equal(checkpoint["state_dict"][key], tensor), key
        raw = {key: item for key, item in checkpoint["ema_state_dict"].items() if key != "steps"}
        for key, tensor in raw.items():
            assert torch.equal(tensor, runner.model.state_dict()[key[len("module.") :]]), key
        sets = {"ema": checkpoint["state_dict"], "model": raw}
    described(path, checkpoint, sets, {"model": "module."} if ema else {})


def two(folder: Path) -> None:
    model = Adversaries()
    wrappers = OptimWrapperDict(
        generator=OptimWrapper(torch.optim.Adam(model.generator.parameters(), lr=1e-3)),
        critic=OptimWrapper(torch.optim.SGD(model.critic.parameters(), lr=1e-2, momentum=0.9)),
    )
    # The runner writes what the wrappers' state_dict gives; its own `save_checkpoint` refuses several of them.
    path = folder / "mmengine_two.pth"
    for data in batches(2):
        model.train_step(data, wrappers)
    from mmengine.runner.checkpoint import save_checkpoint

    meta = {"epoch": 2, "mmengine_version": "0.10.7", "experiment_name": "two"}
    content = {"meta": meta, "state_dict": model.state_dict(), "optimizer": wrappers.state_dict(), "message_hub": {}}
    save_checkpoint(content, str(path))
    described(path, load(path), {"model": model.state_dict()}, {})


def described(path: Path, checkpoint: dict[str, Any], sets: dict[str, Any], prefixes: dict[str, str]) -> None:
    states = checkpoint["optimizer"]
    single = "param_groups" in states
    write(
        path,
        layout="mmengine",
        primary="ema" if "ema" in sets else "model",
        sets=sets,
        prefixes=prefixes,
        optimizers=[("optimizer", states)] if single else [(f"optimizer.{name}", one) for name, one in states.items()],
        metadata={"meta": {key: item for key, item in checkpoint["meta"].items() if isinstance(item, int | str)}},
    )


def main() -> None:
    folder = begin()
    logging.disable(logging.CRITICAL)
    for right in (True, False):
        for ema in (True, False):
            one(folder, right, ema)
    two(folder)
    MMLogger._instance_dict.clear()


if __name__ == "__main__":
    main()
