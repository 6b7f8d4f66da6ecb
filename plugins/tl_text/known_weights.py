"""Weights of BertModel by the name of the backbone that stands for them; nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KNOWN", "KnownWeights"]


@dataclass(frozen=True)
class KnownWeights:
    """A repository of the hub, and what it is good for."""

    repository: str
    summary: str


KNOWN = {
    "german-bert": KnownWeights(
        "google-bert/bert-base-german-cased",
        "BERT for German: 12 layers, 768 wide, 109 M parameters; upper and lower case are kept.",
    ),
    "bert-base": KnownWeights(
        "google-bert/bert-base-uncased",
        "The original English BERT: 12 layers, 768 wide, 109 M parameters; everything in lower case.",
    ),
}
