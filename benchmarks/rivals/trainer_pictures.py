"""Hugging Face's Trainer on torchvision's VGG16, wrapped as it wants a model, with its usual settings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from benchmarks.machine import spent
from benchmarks.rivals.answers import answer
from benchmarks.rivals.pictures import pictures, vgg16
from benchmarks.rivals.trainer_clock import EpochClock


class Wrapped(nn.Module):
    """A network that gives the loss with its outputs, as the Trainer wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return loss and logits (N, classes)."""
        logits = self.network(pixel_values)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def main() -> None:
    """Train for some epochs and score the test split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=25)
    given = parser.parse_args()
    torch.manual_seed(0)
    sets = {split: pictures(given.photos, split, augmented=split == "train") for split in ("train", "val", "test")}
    arguments = TrainingArguments(
        output_dir=str(given.out),
        num_train_epochs=given.epochs,
        learning_rate=1e-3,  # for a new last layer; the usual 5e-5 is for trained ones
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    clock = EpochClock()
    trainer = Trainer(
        model=Wrapped(vgg16(len(sets["train"].classes))),
        args=arguments,
        train_dataset=sets["train"],
        eval_dataset=sets["val"],
        data_collator=_batch,
        callbacks=[clock],
    )
    trainer.train()
    began = spent()
    found = trainer.predict(sets["test"])
    answer(clock.epochs, spent() - began, found.label_ids, found.predictions.argmax(axis=1))


def _batch(rows: list[tuple[Tensor, int]]) -> dict[str, Any]:
    return {
        "pixel_values": torch.stack([pixels for pixels, _ in rows]),
        "labels": torch.tensor([label for _, label in rows]),
    }


if __name__ == "__main__":
    main()
