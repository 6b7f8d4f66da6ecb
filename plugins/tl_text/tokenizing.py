"""From texts to token ids, with nothing taken from a tokenizer's file that a caller did not ask for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

from tlcore import UnreadableError, WeightsError
from tlcore.foreign_files import read_object, read_text

__all__ = ["TextReader", "read_tokenizer", "require_usable", "vocabulary_digest", "words_of"]

MOST_BYTES = 64 * 2**20
"""Of a tokenizer.json; the vocabularies of a hundred languages take 20 MB."""
GROWING = ("normalizer", "pre_tokenizer", "post_processor")
MOST_GROWTH, MOST_PARTS = 1024, 256
"""How many characters all rules together may make of one, and parts that one rule may have."""
LONGEST_PATTERN = 200
MOST_LETTERS = 1000
"""Of a word that is cut into pieces, which takes time by the cube of it; the usual limits are 100 and 200."""
TRIED = ("", "a good film", "Qzxj 12,5 % naïve 東京 ꙮ!", "word " * 100)
"""Texts that any tokenizer must be able to read."""

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
            described = json.loads(text)
            _require_no_growth(described, path)
            _require_definite(described, path)
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
        raise WeightsError(f"the tokenizer cannot be read: {str(error)[:200]}", where=str(path)) from error
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


def require_usable(reader: TextReader, words: int, place: str) -> None:
    """Refuse a tokenizer that cannot read some texts, or makes ids or lengths of them that the network does not know.

    Raises:
        WeightsError: it fails, or with the id or the length.
    """
    try:
        encodings = reader.tokenizer.encode_batch(list(TRIED))
    except Exception as error:  # the library raises bare exceptions
        raise WeightsError(f"the tokenizer cannot be used: {str(error)[:200]}", where=place) from error
    highest = max((id_ for encoding in encodings for id_ in encoding.ids), default=0)
    if highest >= words:
        raise WeightsError(
            f"the tokenizer does not belong to the network: it gives the id {highest}, the network knows {words}",
            where=place,
        )
    longest = max(len(encoding.ids) for encoding in encodings)
    if longest > reader.max_length:
        raise WeightsError(
            f"the tokenizer makes {longest} tokens of a text that was to have {reader.max_length}", where=place
        )


def _require_definite(described: Any, path: Path) -> None:
    """Refuse a tokenizer that draws its tokens by chance, takes time without end, or says a text several times.

    Raises:
        WeightsError: the message says which.
    """
    model = described.get("model") if isinstance(described, dict) else None
    model = model if isinstance(model, dict) else {}
    if model.get("dropout"):
        raise WeightsError(f"refused: the tokenizer of {path.name} draws its tokens by chance", where=str(path))
    framed = described.get("post_processor") if isinstance(described, dict) else None
    for frame in [framed, *(framed.get("processors") or [] if isinstance(framed, dict) else [])]:
        pieces = frame.get("single") if isinstance(frame, dict) else None
        if isinstance(pieces, list) and sum("Sequence" in piece for piece in pieces if isinstance(piece, dict)) > 1:
            raise WeightsError(f"refused: the tokenizer of {path.name} says a text several times", where=str(path))
    letters = model.get("max_input_chars_per_word", 0)
    if isinstance(letters, int) and letters > MOST_LETTERS:
        raise WeightsError(
            f"refused: the tokenizer of {path.name} looks into words of {letters} letters", where=str(path)
        )


def _require_no_growth(described: Any, path: Path) -> None:
    """Refuse a tokenizer that would make a large text of a small one before it is cut, or read one without end.

    Raises:
        WeightsError: the message says which.
    """
    waiting = [described.get(part) for part in GROWING] if isinstance(described, dict) else []
    growth = 1
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            texts = [part.get(key) for key in ("content", "prepend", "replacement")]
            for text in texts:
                growth *= 1 + len(text) if isinstance(text, str) else 1
            if part.get("type") == "Precompiled":
                growth *= _longest_of_table(part.get("precompiled_charsmap"))
            if not _is_tame(part.get("Regex", "")):
                raise WeightsError(
                    f"refused: the tokenizer of {path.name} has an expression that may take time without end",
                    where=f"{path}: {str(part['Regex'])[:60]}",
                )
        if growth > MOST_GROWTH:
            raise WeightsError(f"refused: the tokenizer of {path.name} makes long texts of short ones", where=str(path))
        inner = part if isinstance(part, list) else list(part.values()) if isinstance(part, dict) else []
        if len(inner) > MOST_PARTS:
            raise WeightsError(f"refused: {path.name} describes a tokenizer of {len(inner):,} parts", where=str(path))
        waiting += inner


def _longest_of_table(table: Any) -> int:
    """Return the length of the longest text in SentencePiece's table of what takes a character's place.

    It is the size of a trie in 4 bytes, the trie, and the texts with a zero byte behind each.
    """
    raw = base64.b64decode(table) if isinstance(table, str) else b""
    return max(map(len, raw[4 + int.from_bytes(raw[:4], "little") :].split(b"\0")))


def _is_tame(pattern: Any) -> bool:
    """Say whether a regular expression is read in a time that grows with the text: one repeat, and nothing nested."""
    if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN or re.search(r"\\[gk1-9]", pattern):
        return False
    plain = re.sub(r"\\.", "", pattern)
    return "(" not in plain and len(re.findall("[*+{]", plain)) <= 1
