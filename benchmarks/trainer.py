"""Three ways to adapt MiniLM beside Hugging Face's Trainer with its usual settings: same weights, same splits.

1,500 tweets in three classes, one seed. The Trainer trains all layers for 3 epochs at its default rate of 5e-5, with
batches of 16; tlcore runs its shipped recipes for feature extraction, fine-tuning of two layers, and LoRA.
"""

from __future__ import annotations

import csv
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.inputs import minilm_folder, write_tweets
from benchmarks.machine import described, timed

SEEDS = (1,)
ROWS = 1500
RECIPES = ("sentiment", "sentiment-finetune", "sentiment-lora")
TRAINER = "Trainer, all layers"


def measure() -> dict[str, Any]:
    """Train each on each seed, print a table and return the figures."""
    recipes = Path(__file__).parents[1] / "recipes"
    scores: dict[str, list[float]] = {name: [] for name in (*RECIPES, TRAINER)}
    seconds: dict[str, list[float]] = {name: [] for name in scores}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            table = Path(folder) / f"tweets-{seed}.csv"
            write_tweets(table, ROWS, seed=seed)
            for name in RECIPES:
                settings = [f"data={{source: table, path: {table}}}", f"seed={seed}", "evaluate.probe=false"]
                options = [part for setting in settings for part in ("--set", setting)]
                out = f"{folder}/{name}-{seed}"
                command = ["-m", "tlcore.cli", "run", str(recipes / f"{name}.yaml"), "--json", "--out", out, *options]
                took, answer = timed(command)
                seconds[name].append(took)
                scores[name].append(json.loads(answer)["metrics"]["test"]["macro_f1"])
            took, answer = timed(["-m", "benchmarks.trainer", str(table), str(seed), folder])
            seconds[TRAINER].append(took)
            scores[TRAINER].append(float(answer.splitlines()[-1]))
    print(described())
    for name in scores:
        each = "  ".join(f"{score:.3f}" for score in scores[name])
        print(f"  {name:22} macro F1  {each}   {statistics.median(seconds[name]):6.0f} s")
    return {"machine": described(), "seeds": SEEDS, "macro_f1": scores, "seconds": seconds}


def train_with_trainer(table: Path, seed: int, folder: str) -> float:
    """Return the macro F1 on the test split of MiniLM trained by transformers' Trainer."""
    import torch
    from sklearn.metrics import f1_score
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    weights = minilm_folder()
    tokenizer = AutoTokenizer.from_pretrained(weights)
    parts = {
        split: [
            {**tokenizer(row["text"], truncation=True, max_length=256), "label": classes.index(row["label"])}
            for row in rows
            if row["split"] == split
        ]
        for split in ("train", "validation", "test")
    }
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(weights, num_labels=len(classes))
    arguments = TrainingArguments(
        output_dir=f"{folder}/trainer-{seed}-{time.time_ns()}",
        num_train_epochs=3,
        per_device_train_batch_size=16,
        seed=seed,
        report_to=[],
        eval_strategy="epoch",
        save_strategy="no",
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=parts["train"],
        eval_dataset=parts["validation"],
        processing_class=tokenizer,
    )
    trainer.train()
    found = trainer.predict(parts["test"])
    return float(f1_score(found.label_ids, found.predictions.argmax(axis=1), average="macro"))


if __name__ == "__main__":
    import sys

    print(train_with_trainer(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
