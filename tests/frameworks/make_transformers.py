"""Folders that the Trainer of transformers wrote: a BERT, and a ResNet whose batch norms it gives decay."""

from __future__ import annotations

import operators  # isort: skip  # noqa: F401 - first

from pathlib import Path
from typing import Any

import torch
from reference import begin, load, write
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainingArguments,
)


def bert() -> tuple[torch.nn.Module, list[dict[str, torch.Tensor]]]:
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    rows = [{"input_ids": torch.randint(0, 64, (8,)), "labels": torch.tensor(row % 2)} for row in range(16)]
    return BertForSequenceClassification(config), rows


def resnet() -> tuple[torch.nn.Module, list[dict[str, torch.Tensor]]]:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=2)
    rows = [{"pixel_values": torch.randn(3, 16, 16), "labels": torch.tensor(row % 2)} for row in range(16)]
    return ResNetForImageClassification(config), rows


def trained(folder: Path, name: str, model: torch.nn.Module, rows: list[dict[str, torch.Tensor]], right: bool) -> None:
    arguments = TrainingArguments(
        output_dir=str(folder / name), max_steps=4, save_steps=4, per_device_train_batch_size=4, use_cpu=True,
        report_to=[], disable_tqdm=True, weight_decay=0.05, logging_steps=2,
    )  # fmt: skip
    wrong: Any = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    trainer = Trainer(model, arguments, train_dataset=rows, optimizers=(None if right else wrong, None))
    trainer.train()
    path = folder / name / "checkpoint-4"
    write(
        path,
        layout="transformers",
        primary="model",
        sets={"model": load_file(path / "model.safetensors")},
        optimizers=[("optimizer.pt", load(path / "optimizer.pt"))],
        metadata={"global_step": 4, "max_steps": 4},
    )


def main() -> None:
    folder = begin()
    trained(folder, "transformers_bert", *bert(), right=True)
    trained(folder, "transformers_bert_wrong", *bert(), right=False)
    trained(folder, "transformers_resnet", *resnet(), right=True)


if __name__ == "__main__":
    main()
