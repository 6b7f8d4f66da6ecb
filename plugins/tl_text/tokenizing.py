"""From texts to token ids, with a tokenizer whose file may come from anyone."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tlcore import UnreadableError, WeightsError
from tlcore.support import read_object, read_text

__all__ = ["TextReader", "read_tokenizer", "vocabulary_digest", "words_of"]

MOST_BYTES = 64 * 2**20
"""Of a tokenizer.json; the vocabularies of a hundred languages take 20 MB."""
RULES = ("normalizer", "pre_tokenizer", "post_processor")
MOST_VALUES = 4096
"""Of JSON in all rules together."""
MOST_GROWTH = 1024
"""How many characters all rules together may make of one."""
LONGEST_PATTERN = 200
MOST_LETTERS = 1000
"""Of a word that is cut into pieces, which takes time by the cube of it; the usual limits are 100 and 200."""
TRIED = ("", "a good film", "Qzxj 12,5 % naïve 東京 ꙮ!", "word " * 100)
"""Texts that any tokenizer must be able to read."""
CHARACTERS_PER_TOKEN = 32
"""A text is cut at so many characters for each token that is read; words are shorter, so no such token is lost."""


def read_tokenizer(path: Path, *, lowercase: bool = True) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json``, or one of word pieces from a ``vocab.txt``.

    Raises:
        WeightsError: it is damaged, or not safe to use.
    """
    try:
        if path.suffix == ".json":
            _require_safe(read_object(path, MOST_BYTES), path)
            tokenizer = Tokenizer.from_str(read_text(path, MOST_BYTES))
        else:
            tokenizer = Tokenizer.from_str(BertWordPieceTokenizer(words_of(path), lowercase=lowercase).to_str())
    except WeightsError:
        raise
    except Exception as error:  # the library raises bare exceptions for damaged files
        raise WeightsError(f"the tokenizer cannot be read: {str(error)[:200]}", where=str(path)) from error
    # Some checkpoints ship with a truncation or padding of their own; ours is the recipe's.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def words_of(path: Path) -> dict[str, int]:
    """Return the words of a ``vocab.txt`` with their ids, which are the numbers of their lines."""
    return {line: n for n, line in enumerate(read_text(path).split("\n")) if line}


def vocabulary_digest(tokenizer: Tokenizer) -> str:
    """Return the SHA-256 of which word has which id, however the library writes it down."""
    words = sorted(tokenizer.get_vocab(with_added_tokens=True).items())
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


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
        ids = [torch.tensor(encoding.ids, dtype=torch.int64) for encoding in encodings]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_id),
            "mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        }

    def require_usable(self, words: int, place: str) -> None:
        """Refuse a tokenizer that fails, or that makes ids or lengths which a network of ``words`` does not know.

        Raises:
            WeightsError: with the failure, the id or the length.
        """
        try:
            encodings = self.tokenizer.encode_batch(list(TRIED))
        except Exception as error:  # the library raises bare exceptions
            raise WeightsError(f"the tokenizer cannot be used: {str(error)[:200]}", where=place) from error
        highest = max((id_ for encoding in encodings for id_ in encoding.ids), default=0)
        if highest >= words:
            raise WeightsError(
                f"the tokenizer does not belong to the network: it gives the id {highest}, the network knows {words}",
                where=place,
            )
        longest = max(len(encoding.ids) for encoding in encodings)
        if longest > self.max_length:
            raise WeightsError(
                f"the tokenizer makes {longest} tokens of a text that was to have {self.max_length}", where=place
            )


def _cut(text: str, limit: int) -> str:
    """Cut a huge text at white space, so that the tokenizer need not read a megabyte for 256 tokens."""
    if len(text) <= limit:
        return text
    end = text.rfind(" ", 0, limit)
    return text[: end if end > limit // 2 else limit]


def _require_safe(described: Mapping[str, Any], path: Path) -> None:
    """Refuse a tokenizer whose tokens are random, or that takes time or memory out of proportion to a text.

    Raises:
        WeightsError: the message says which.
    """
    model = described.get("model")
    model = model if isinstance(model, dict) else {}
    letters = model.get("max_input_chars_per_word")
    values = [described.get(part) for part in RULES]
    for value in values:  # which grows meanwhile by what each of its values contains
        values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if len(values) > MOST_VALUES:
            raise WeightsError(f"refused: {path.name} describes a tokenizer of too many parts", where=str(path))
    rules = [value for value in values if isinstance(value, dict)]
    faults = {
        "draws its tokens by chance": bool(model.get("dropout")),
        f"looks into words of more than {MOST_LETTERS} letters": isinstance(letters, int) and letters > MOST_LETTERS,
        "says a text several times": any(map(_repeats, rules)),
        "has an expression that may take time without end": not all(_is_tame(rule.get("Regex", "")) for rule in rules),
        "makes long texts of short ones": math.prod(map(_growth, rules)) > MOST_GROWTH,
    }
    if found := next((fault for fault, there in faults.items() if there), None):
        raise WeightsError(f"refused: the tokenizer of {path.name} {found}", where=str(path))


def _repeats(rule: Mapping[str, Any]) -> bool:
    """Say whether a template has more than one place for a single text."""
    pieces = rule.get("single")
    return isinstance(pieces, list) and sum(isinstance(piece, dict) and "Sequence" in piece for piece in pieces) > 1


def _is_tame(pattern: Any) -> bool:
    """Say whether a regular expression is read in a time that grows with the text: one repeat, and nothing nested."""
    if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN or re.search(r"\\[gk1-9]", pattern):
        return False
    plain = re.sub(r"\\.", "", pattern)
    return "(" not in plain and len(re.findall("[*+{]", plain)) <= 1


def _growth(rule: Mapping[str, Any]) -> int:
    """Return how many characters a rule may make of one."""
    texts = [rule.get(key) for key in ("content", "prepend", "replacement")]
    growth = math.prod(1 + len(text) for text in texts if isinstance(text, str))
    if rule.get("type") == "Precompiled":
        growth *= _longest_of_table(rule.get("precompiled_charsmap"))
    return growth


def _longest_of_table(table: Any) -> int:
    """Return the length of the longest text in SentencePiece's table of what takes a character's place.

    It is the size of a trie in 4 bytes, the trie, and the texts with a zero byte behind each.
    """
    raw = base64.b64decode(table) if isinstance(table, str) else b""
    return max(map(len, raw[4 + int.from_bytes(raw[:4], "little") :].split(b"\0")))
