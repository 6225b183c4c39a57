"""Checkpoints that Lightning wrote: plain, EMA, SWA, several optimizers, Fabric."""

from __future__ import annotations

import operators  # isort: skip  # noqa: F401 - first

import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from networks import Network, batches, groups
from reference import begin, load, write
from torch import nn

warnings.filterwarnings("ignore")


class Task(lightning.LightningModule):  # type: ignore[misc]
    """One network and AdamW, with the decay right or wrong."""

    def __init__(self, width: int = 8, decay: float = 0.05, right: bool = True) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = Network(width)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        images, classes = batch
        return nn.functional.cross_entropy(self.model(images), classes)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(groups(self, self.hparams["decay"], self.hparams["right"]), lr=1e-3)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


class Adversaries(lightning.LightningModule):  # type: ignore[misc]
    """Two networks, each with an optimizer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = Network(), Network(4)

    def training_step(self, batch: Any, index: int) -> None:
        images, classes = batch
        for network, optimizer in zip((self.generator, self.critic), self.optimizers(), strict=True):
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(network(images), classes))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [
            torch.optim.Adam(self.generator.parameters(), lr=1e-3),
            torch.optim.SGD(self.critic.parameters(), lr=1e-2, momentum=0.9),
        ]


def trained(module: lightning.LightningModule, path: Path, *callbacks: Callback, epochs: int = 2) -> dict[str, Any]:
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(batches(), batch_size=None))
    trainer.save_checkpoint(path)
    loaded: dict[str, Any] = load(path)
    return loaded


def described(path: Path, checkpoint: dict[str, Any], sets: dict[str, Any], primary: str, prefix: str) -> None:
    states = checkpoint["optimizer_states"]
    write(
        path,
        layout="lightning",
        primary=primary,
        sets=sets,
        prefixes=dict.fromkeys(sets, prefix),
        optimizers=[(f"optimizer_states[{number}]", state) for number, state in enumerate(states)],
        metadata={
            "epoch": checkpoint["epoch"],
            "global_step": checkpoint["global_step"],
            "pytorch-lightning_version": checkpoint["pytorch-lightning_version"],
            **({"hyper_parameters": dict(checkpoint["hyper_parameters"])} if "hyper_parameters" in checkpoint else {}),
        },
    )


def averaged(folder: Path, name: str, kind: str, callback: Any) -> None:
    path = folder / f"{name}.ckpt"
    module = Task(right=False)
    checkpoint = trained(module, path, callback)
    for key, tensor in callback._average_model.module.state_dict().items():
        assert torch.equal(checkpoint["state_dict"][key], tensor), key
    sets = {kind: checkpoint["state_dict"], "model": checkpoint["current_model_state"]}
    described(path, checkpoint, sets, kind, "model.")


def main() -> None:
    folder = begin()
    for right in (True, False):
        path = folder / f"lightning_{'right' if right else 'wrong'}.ckpt"
        checkpoint = trained(Task(right=right), path)
        described(path, checkpoint, {"model": checkpoint["state_dict"]}, "model", "model.")
    averaged(folder, "lightning_ema", "ema", EMAWeightAveraging(decay=0.9))
    averaged(folder, "lightning_swa", "swa", WeightAveraging())
    path = folder / "lightning_stochastic.ckpt"
    checkpoint = trained(Task(), path, StochasticWeightAveraging(1e-3, swa_epoch_start=2), epochs=3)
    described(path, checkpoint, {"model": checkpoint["state_dict"]}, "model", "model.")
    path = folder / "lightning_adversaries.ckpt"
    checkpoint = trained(Adversaries(), path)
    described(path, checkpoint, {"model": checkpoint["state_dict"]}, "model", "")
    fabric(folder)


def fabric(folder: Path) -> None:
    """Lightning Fabric saves a dictionary of the user's own; wrapped modules give their inner state."""
    path = folder / "fabric.ckpt"
    runner = lightning.Fabric(accelerator="cpu", devices=1)
    model = Network()
    wrapped, optimizer = runner.setup(model, torch.optim.AdamW(groups(model, 0.05, True), lr=1e-3))
    images, classes = batches(1)[0]
    runner.backward(nn.functional.cross_entropy(wrapped(images), classes))
    optimizer.step()
    runner.save(path, {"model": wrapped, "optimizer": optimizer, "iteration": 1})
    checkpoint = load(path)
    write(
        path,
        layout="state_dict",
        primary="model",
        sets={"model": checkpoint["model"]},
        optimizers=[("optimizer", checkpoint["optimizer"])],
        metadata={"iteration": 1},
    )


if __name__ == "__main__":
    main()
