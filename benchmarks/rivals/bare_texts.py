"""The limit: one forward pass of a BERT in bf16 over texts that are sorted by length, already tokenised."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from benchmarks.machine import spent
from benchmarks.rivals.answers import answer_forward

MAX_LENGTH = 128


def main() -> None:
    """Compute every text once and say what that cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("network", type=Path, help="folder of a BertModel checkpoint")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--fp32", action="store_true")
    given = parser.parse_args()
    with given.table.open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    tokenizer = AutoTokenizer.from_pretrained(given.network)
    dtype = torch.float32 if given.fp32 else torch.bfloat16
    network = AutoModel.from_pretrained(given.network, dtype=dtype, add_pooling_layer=False).eval()
    texts.sort(key=lambda text: len(tokenizer(text, truncation=True, max_length=MAX_LENGTH)["input_ids"]))
    batches = [
        tokenizer(
            texts[start : start + given.batch],
            truncation=True,
            max_length=MAX_LENGTH,
            padding="longest",
            return_tensors="pt",
        )
        for start in range(0, len(texts), given.batch)
    ]
    with torch.inference_mode():
        # Once for warmth: the kernels are chosen and the memory is fetched.
        network(**batches[-1])
        began = spent()
        for batch in batches:
            hidden, marked = network(**batch).last_hidden_state, batch["attention_mask"][..., None]
            (hidden * marked).sum(1) / marked.sum(1)
        answer_forward(spent() - began)


if __name__ == "__main__":
    main()
