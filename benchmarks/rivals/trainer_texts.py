"""Hugging Face's Trainer on a BERT with a new head: padded to 128 or to the longest of a batch, fp32 or bf16."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
)

from benchmarks.machine import spent
from benchmarks.rivals.answers import answer
from benchmarks.rivals.trainer_clock import EpochClock

MAX_LENGTH = 128


def main() -> None:
    """Train for some epochs and score the test split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("network", type=Path, help="folder of a BertModel checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--trained", default="all", help="head, all, or the number of layers from the top")
    parser.add_argument("--padded", action="store_true", help="to 128 places, not to the longest of the batch")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--grouped", action="store_true", help="batches of texts of about one length")
    parser.add_argument("--lr", type=float, default=5e-5)
    given = parser.parse_args()
    with given.table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    tokenizer = AutoTokenizer.from_pretrained(given.network)
    tokenizer.model_max_length = MAX_LENGTH
    padding: dict[str, Any] = {"padding": "max_length" if given.padded else False}
    parts = {
        split: [
            {
                **tokenizer(row["text"], truncation=True, max_length=MAX_LENGTH, **padding),
                "label": classes.index(row["label"]),
            }
            for row in rows
            if row["split"] == split
        ]
        for split in ("train", "validation", "test")
    }
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(given.network, num_labels=len(classes))
    _freeze(model, given.trained)
    arguments = TrainingArguments(
        output_dir=str(given.out),
        num_train_epochs=given.epochs,
        per_device_train_batch_size=given.batch,
        per_device_eval_batch_size=given.batch,
        learning_rate=given.lr,
        bf16=given.bf16,
        train_sampling_strategy="group_by_length" if given.grouped else "random",
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    clock = EpochClock()
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=parts["train"],
        eval_dataset=parts["validation"],
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.train()
    began = spent()
    found = trainer.predict(parts["test"])
    answer(clock.epochs, spent() - began, found.label_ids, found.predictions.argmax(axis=1))


def _freeze(model: Any, trained: str) -> None:
    """Leave only the head, or the head and some layers from the top, to be trained."""
    if trained == "all":
        return
    for parameter in model.base_model.parameters():
        parameter.requires_grad = False
    layers = model.base_model.encoder.layer
    for layer in layers[len(layers) - (0 if trained == "head" else int(trained)) :]:
        for parameter in layer.parameters():
            parameter.requires_grad = True


if __name__ == "__main__":
    main()
