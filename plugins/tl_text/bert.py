"""BERT as stages: the embeddings, then each layer of the encoder.

Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL 2019.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Generator, Tensor, nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer

from tl_text.augmentation import augmented
from tl_text.checkpoint import Checkpoint, keep
from tl_text.tokenizing import TextReader, require_usable
from tlcore import Backbone, Example, RecipeWarning, State, UsageError, View, nearest
from tlcore.randomness import derived_seed
from tlcore.weights import require_fit

if TYPE_CHECKING:
    from tl_text import BertOptions, MiniLMOptions

ATTENTION = (
    "network.attention.self.query",
    "network.attention.self.key",
    "network.attention.self.value",
    "network.attention.output.dense",
)
Chosen = TypeVar("Chosen")
UNUSED = {"embeddings.position_ids": "a constant that old checkpoints carry"}


class Embeddings(nn.Module):
    """Token ids to vectors."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.network = BertEmbeddings(config)

    def forward(self, state: State) -> State:
        """Map input_ids (N, T) to hidden (N, T, H); the mask goes along."""
        return {"hidden": self.network(input_ids=state["input_ids"]), "mask": state["mask"]}


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: BertConfig, index: int) -> None:
        super().__init__()
        self.network = BertLayer(config, layer_idx=index)
        self._config = config

    def forward(self, state: State) -> State:
        """Map hidden (N, T, H) to the same shape, each place seeing the places that the mask marks."""
        hidden = state["hidden"]
        # Made anew in each layer: what is stored at the line is the (N, T) mask, whatever the kernel wants.
        attention = create_bidirectional_mask(self._config, hidden, state["mask"])
        return {"hidden": self.network(hidden, attention), "mask": state["mask"]}


class Bert(Backbone):
    """Texts in, one vector for each out."""

    libraries = ("transformers", "tokenizers")
    """Whose versions decide what the tokens and the stages give."""

    def __init__(self, options: BertOptions | MiniLMOptions, checkpoint: Checkpoint) -> None:
        config = checkpoint.config
        names = ["embeddings", *(f"encoder.{n}" for n in range(config["num_hidden_layers"]))]
        output = options.output or names[-1]
        if output not in names:
            meant = nearest(output, names)
            raise UsageError(
                f"backbone.output: there is no stage {output!r}",
                where=f"stages: {', '.join(names)}",
                hint=f"did you mean {meant!r}?" if meant else "choose one of these stages",
            )
        if checkpoint.tensors is not None:
            _account_for_all(checkpoint, names, names.index(output))
        self.stages = stages_of(config, names.index(output), initialised=checkpoint.initialised)
        if checkpoint.tensors is not None:
            for name, stage in self.stages.items():
                stage.network.load_state_dict(_of_stage(name, checkpoint.tensors))
        self.feature_dim = config["hidden_size"]
        self._pool = _chosen("pool", options.pool, checkpoint.pool, "mean")
        prefix = _chosen("prefix", options.prefix, checkpoint.prefix, "")
        self._augment = options.augment
        longest = config["max_position_embeddings"]
        if options.max_length is not None and options.max_length > longest:
            raise UsageError(
                f"backbone.max_length: {options.max_length} is more than the {longest} places of these weights",
                hint=f"write {longest} or less, or leave it out: what is longer is cut",
            )
        max_length = min(_chosen("max_length", options.max_length, checkpoint.max_length, 512), longest)
        self._reader = TextReader(
            checkpoint.tokenizer, max_length=max_length, prefix=prefix, pad_id=config["pad_token_id"]
        )
        require_usable(self._reader, config["vocab_size"], checkpoint.place)
        # What is saved is the network that there is, read as it was trained: a later run may take it as weights.
        self._kept = dataclasses.replace(
            checkpoint,
            config={**config, "num_hidden_layers": len(self.stages) - 1},
            tensors=None,
            pool=self._pool,
            max_length=max_length,
            prefix=prefix,
        )
        self.lora_targets = {name: ATTENTION for name in self.stages if name != "embeddings"}
        self.preparation: Mapping[str, Any] = {
            "network": {key: value for key, value in config.items() if key != "num_hidden_layers"},
            "tokenizer": self._reader.digest,
            "max_length": max_length,
            "prefix": prefix,
            "pool": self._pool,
            "augment": None if options.augment is None else dict(vars(options.augment)),
        }

    def prepare(self, examples: Sequence[Example], view: View | None = None) -> State:
        """Tokenise, for a view what ``augment`` makes of each text: input_ids and mask (N, T), T the longest."""
        if view is None:
            return self._reader.read([example.input for example in examples])
        if self._augment is None:
            raise UsageError("nothing says how texts are augmented", hint="give backbone.augment, such as `{}`")
        return self._reader.read([self._augmented(example, view) for example in examples])

    def pool(self, state: State) -> Tensor:
        """Return (N, H): the mean or maximum over the marked places, or the first place."""
        hidden, marked = state["hidden"], state["mask"].bool()[..., None]
        if self._pool == "cls":
            return hidden[:, 0]
        if self._pool == "max":
            return hidden.masked_fill(~marked, -torch.inf).amax(dim=1)
        return (hidden * marked).sum(dim=1) / marked.sum(dim=1)

    def mix(self, state: State, targets: Tensor, generator: Generator) -> tuple[State, Tensor]:
        """Refuse: texts of different words cannot be blended."""
        raise UsageError(
            "texts cannot be blended: their words do not stand in the same places",
            where="train.mix",
            hint="leave train.mix out; backbone.augment makes versions of each text by itself",
        )

    def save(self, folder: Path) -> None:
        """Write the configuration and the tokenizer."""
        keep(folder, self._kept)

    def _augmented(self, example: Example, view: View) -> Any:
        if self._augment is None or not isinstance(example.input, str) or not example.input.strip():
            return example.input  # the reader says what is wrong with it
        return augmented(example.input, self._augment, derived_seed(view.seed, "augment", view.number, example.id))


def _chosen(key: str, given: Chosen | None, trained_with: Chosen | None, otherwise: Chosen) -> Chosen:
    """Return what the recipe gives, else what the weights say; warn where the two differ."""
    if given is None:
        return otherwise if trained_with is None else trained_with
    if trained_with is not None and given != trained_with:
        warnings.warn(
            f"backbone.{key} is {given!r}, but these weights were trained with {trained_with!r}",
            RecipeWarning,
            stacklevel=3,
        )
    return given


def stages_of(config: Mapping[str, Any], layers: int, *, initialised: bool) -> dict[str, Any]:
    """Return the embeddings and the first ``layers`` layers; with memory to be filled later unless ``initialised``."""
    stages = _outlined(config, layers, "cpu" if initialised else "meta")
    for stage in stages.values():
        if initialised:
            stage.apply(_initialise)
        else:
            stage.to_empty(device="cpu")
    if not initialised:
        _fill_constants(stages["embeddings"].network, config["max_position_embeddings"])
    return stages


def _outlined(config: Mapping[str, Any], layers: int, device: str) -> dict[str, Any]:
    settings = BertConfig(**config)
    settings._attn_implementation = "sdpa"
    with torch.device(device):
        return {"embeddings": Embeddings(settings)} | {f"encoder.{n}": Layer(settings, n) for n in range(layers)}


def _initialise(module: nn.Module) -> None:
    """Draw weights as BERT's authors did: a normal distribution of deviation 0.02."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _fill_constants(embeddings: BertEmbeddings, places: int) -> None:
    """Set the buffers that no file holds, which ``to_empty`` left undefined."""
    embeddings.position_ids = torch.arange(places).expand((1, -1))
    embeddings.token_type_ids = torch.zeros((1, places), dtype=torch.int64)


def _place(name: str) -> str:
    """Return how the names of a stage's tensors begin in a checkpoint."""
    return "embeddings." if name == "embeddings" else f"encoder.layer.{name.removeprefix('encoder.')}."


def _of_stage(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    place = _place(name)
    return {
        key.removeprefix(place): value for key, value in tensors.items() if key.startswith(place) and key not in UNUSED
    }


def _account_for_all(checkpoint: Checkpoint, names: Sequence[str], layers: int) -> None:
    """Refuse a checkpoint with a tensor that is missing, misshapen or left over, before any memory is taken for it.

    Stages above the output, and the pooler, may be there or not.
    """
    tensors = checkpoint.tensors or {}
    needed = {
        f"{_place(name)}{key}": tensor
        for name, stage in _outlined(checkpoint.config, layers, "meta").items()
        for key, tensor in stage.network.state_dict().items()
    }
    above = (*(_place(name) for name in names[layers + 1 :]), "pooler.")
    given = {key: tensor for key, tensor in tensors.items() if not key.startswith(above)}
    require_fit(needed, given, source=checkpoint.place, ignored=UNUSED)
