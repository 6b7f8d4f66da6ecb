"""The configuration of a BertModel that may come from anyone: only known keys are read, each within bounds."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.models.bert.configuration_bert import BertConfig

from tlcore import WeightsError

__all__ = ["LEAST_POSITIONS", "read_config"]

LEAST_POSITIONS = 3
"""A text has a token between those that begin and end it."""
MOST_WORDS = 2_000_000
BOUNDS = {
    "vocab_size": (1, MOST_WORDS),
    "hidden_size": (1, 16_384),
    "num_hidden_layers": (0, 200),
    "num_attention_heads": (1, 256),
    "intermediate_size": (1, 65_536),
    "hidden_dropout_prob": (0, 1),
    "attention_probs_dropout_prob": (0, 1),
    "max_position_embeddings": (LEAST_POSITIONS, 65_536),
    "type_vocab_size": (1, 1024),
    "layer_norm_eps": (0, 1),
    "pad_token_id": (0, MOST_WORDS),
}
"""The least and the most of each number; every key that is not here, hidden_act aside, is not read."""
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")


def read_config(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the known keys of a configuration, with BertConfig's defaults; it may name code, which is never read.

    Raises:
        WeightsError: another kind of network, or a value of another type or out of bounds.
    """
    if given.get("model_type", "bert") != "bert":
        raise WeightsError(
            f"this is a {reprlib.repr(given['model_type'])} checkpoint, not a BertModel", where=str(path)
        )
    if given.get("position_embedding_type", "absolute") != "absolute" or given.get("is_decoder") is True:
        raise WeightsError("only encoders with absolute positions are supported", where=str(path))
    defaults = {key: getattr(BertConfig(), key) for key in (*BOUNDS, "hidden_act")}
    config = {key: given.get(key, default) for key, default in defaults.items()}
    if config["pad_token_id"] is None:
        config["pad_token_id"] = 0
    wrong = [key for key, bounds in BOUNDS.items() if not _fits(config[key], defaults[key], *bounds)]
    if config["hidden_act"] not in ACTIVATIONS:
        wrong.append("hidden_act")
    if not wrong and config["pad_token_id"] >= config["vocab_size"]:
        wrong.append("pad_token_id")
    if wrong:
        raise WeightsError(f"refused: {wrong[0]} is {reprlib.repr(config[wrong[0]])}", where=str(path))
    if config["hidden_size"] % config["num_attention_heads"]:
        raise WeightsError("refused: hidden_size is no multiple of num_attention_heads", where=str(path))
    return config


def _fits(value: Any, default: float, least: float, most: float) -> bool:
    kinds = (int,) if isinstance(default, int) else (int, float)
    return type(value) in kinds and least <= value <= most
