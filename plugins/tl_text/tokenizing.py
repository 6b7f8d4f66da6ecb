"""From texts to token ids, with nothing taken from a tokenizer's file that a caller did not ask for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

from tlcore import UnreadableError, WeightsError
from tlcore.foreign_files import read_object, read_text

__all__ = ["TextReader", "read_tokenizer", "vocabulary_digest", "words_of"]

MOST_BYTES = 64 * 2**20
"""Of a tokenizer.json; the vocabularies of a hundred languages take 20 MB."""
GROWING = ("normalizer", "pre_tokenizer", "post_processor")
MOST_INSERTED, MOST_PARTS = 64, 256
"""Characters that a rule may put in the place of others, and parts that one rule may have."""

CHARACTERS_PER_TOKEN = 32
"""A text is cut at so many characters for each token that is read; words are shorter, so no such token is lost."""


def read_tokenizer(folder: Path, files: dict[str, Path]) -> Tokenizer:
    """Return the tokenizer of a checkpoint: ``tokenizer.json``, else word pieces from ``vocab.txt``.

    Raises:
        WeightsError: neither is there, or it is damaged.
    """
    try:
        if path := files.get("tokenizer.json"):
            text = read_text(path, MOST_BYTES)
            _require_no_growth(json.loads(text), path)
            tokenizer = Tokenizer.from_str(text)
        elif path := files.get("vocab.txt"):
            tokenizer = Tokenizer.from_str(_word_pieces(path, files.get("tokenizer_config.json")).to_str())
        else:
            raise WeightsError(
                "the checkpoint has no tokenizer", where=str(folder), hint="it needs tokenizer.json or vocab.txt"
            )
    except WeightsError:
        raise
    except Exception as error:  # the library raises bare exceptions for damaged files
        raise WeightsError(f"the tokenizer cannot be read: {error}", where=str(path)) from error
    # Some checkpoints ship with a truncation or padding of their own; ours is the recipe's.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


class TextReader:
    """Turns texts into ids and a mask."""

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, prefix: str, pad_id: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.prefix = prefix
        self.pad_id = pad_id
        tokenizer.enable_truncation(max_length)

    @property
    def digest(self) -> str:
        """The SHA-256 of everything that decides which ids a text becomes."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()

    def read(self, texts: Sequence[Any]) -> dict[str, Tensor]:
        """Return input_ids (N, T) and mask (N, T), both int64, T the longest of these texts.

        Raises:
            UnreadableError: an input that is no text, or an empty one.
        """
        for text in texts:
            if not isinstance(text, str):
                raise UnreadableError(f"a text is a string, not {type(text).__name__}")
            if not text.strip():
                raise UnreadableError("an empty text")
        limit = self.max_length * CHARACTERS_PER_TOKEN
        encodings = self.tokenizer.encode_batch([self.prefix + _cut(text, limit) for text in texts])
        longest = max(len(encoding.ids) for encoding in encodings)
        ids = torch.full((len(texts), longest), self.pad_id, dtype=torch.int64)
        mask = torch.zeros((len(texts), longest), dtype=torch.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
            mask[row, : len(encoding.ids)] = 1
        return {"input_ids": ids, "mask": mask}


def _cut(text: str, limit: int) -> str:
    """Cut a huge text at white space, so that the tokenizer need not read a megabyte for 256 tokens."""
    if len(text) <= limit:
        return text
    end = text.rfind(" ", 0, limit)
    return text[: end if end > limit // 2 else limit]


def _word_pieces(path: Path, config: Path | None) -> BertWordPieceTokenizer:
    lowercase = True
    if config is not None:
        lowercase = bool(read_object(config).get("do_lower_case", True))
    return BertWordPieceTokenizer(vocab=words_of(path), lowercase=lowercase)


def words_of(path: Path) -> dict[str, int]:
    """Return the words of a ``vocab.txt`` with their ids, which are the numbers of their lines."""
    return {line: n for n, line in enumerate(read_text(path).split("\n")) if line}


def vocabulary_digest(tokenizer: Tokenizer) -> str:
    """Return the SHA-256 of which word has which id, however the library writes it down."""
    words = sorted(tokenizer.get_vocab(with_added_tokens=True).items())
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _require_no_growth(described: Any, path: Path) -> None:
    """Refuse a tokenizer that would make a large text of a small one before it is cut to its length."""
    waiting = [described.get(part) for part in GROWING] if isinstance(described, dict) else []
    while waiting:
        part = waiting.pop()
        texts = [part.get(key) for key in ("content", "prepend", "replacement")] if isinstance(part, dict) else []
        if any(isinstance(text, str) and len(text) > MOST_INSERTED for text in texts):
            raise WeightsError(f"refused: {path.name} puts long texts into what it reads", where=str(path))
        inner = part if isinstance(part, list) else list(part.values()) if isinstance(part, dict) else []
        if len(inner) > MOST_PARTS:
            raise WeightsError(f"refused: {path.name} describes a tokenizer of {len(inner):,} parts", where=str(path))
        waiting += inner
