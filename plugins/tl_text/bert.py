"""BERT as stages: the embeddings, then each layer of the encoder.

Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL 2019.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer, BertModel

from tl_text.augmentation import augmented
from tl_text.checkpoint import READING, Checkpoint, keep
from tl_text.tokenizing import TextReader
from tlcore import Backbone, Example, RecipeWarning, State, UsageError, View, nearest
from tlcore.support import derived_seed, require_fit

if TYPE_CHECKING:
    from tl_text import BertOptions, MiniLMOptions

ATTENTION = (
    "network.attention.self.query",
    "network.attention.self.key",
    "network.attention.self.value",
    "network.attention.output.dense",
)
UNUSED = {"embeddings.position_ids": "a constant that old checkpoints carry"}


class Embeddings(nn.Module):
    """Token ids to vectors."""

    def __init__(self, network: BertEmbeddings) -> None:
        super().__init__()
        self.network = network

    def forward(self, state: State) -> State:
        """Map input_ids (N, T) to hidden (N, T, H); the mask goes along."""
        return {"hidden": self.network(input_ids=state["input_ids"]), "mask": state["mask"]}


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, network: BertLayer, config: BertConfig) -> None:
        super().__init__()
        self.network = network
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
        reading = _reading(options, checkpoint)
        model = _model(checkpoint, names.index(output))
        layers: list[nn.Module] = [Embeddings(model.embeddings)]
        layers += [Layer(layer, model.config) for layer in model.encoder.layer]
        self.stages = dict(zip(names, layers, strict=False))  # what lies above the output is not built
        self.feature_dim = config["hidden_size"]
        self.lora_targets = {name: ATTENTION for name in self.stages if name != "embeddings"}
        self._pool, self._augment = reading["pool"], options.augment
        self._reader = TextReader(
            checkpoint.tokenizer,
            max_length=reading["max_length"],
            prefix=reading["prefix"],
            pad_id=config["pad_token_id"],
        )
        self._reader.require_usable(config["vocab_size"], checkpoint.place)
        # What is saved is the network that there is, read as it was trained: a later run may take it as weights.
        built = {**config, "num_hidden_layers": len(self.stages) - 1}
        self._kept = dataclasses.replace(checkpoint, config=built, tensors=None, **reading)
        self.preparation: Mapping[str, Any] = {
            "network": {key: value for key, value in config.items() if key != "num_hidden_layers"},
            "tokenizer": self._reader.digest,
            **reading,
            "augment": None if options.augment is None else dict(vars(options.augment)),
        }

    def prepare(self, examples: Sequence[Example], view: View | None = None) -> State:
        """Tokenize, for a view what ``augment`` makes of each text: input_ids and mask (N, T), T the longest."""
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


def _reading(options: BertOptions | MiniLMOptions, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return how texts are read: as the recipe says, else as the weights say; warn where the two differ.

    Raises:
        UsageError: the recipe wants more tokens than the network has places.
    """
    longest = checkpoint.config["max_position_embeddings"]
    if options.max_length is not None and options.max_length > longest:
        raise UsageError(
            f"backbone.max_length: {options.max_length} is more than the {longest} places of these weights",
            hint=f"write {longest} or less, or leave it out: what is longer is cut",
        )
    reading = {}
    for key, otherwise in READING.items():
        given, trained_with = getattr(options, key), getattr(checkpoint, key)
        if None not in (given, trained_with) and given != trained_with:
            warnings.warn(
                f"backbone.{key} is {given!r}, but these weights were trained with {trained_with!r}",
                RecipeWarning,
                stacklevel=3,
            )
        reading[key] = next(value for value in (given, trained_with, otherwise) if value is not None)
    return {**reading, "max_length": min(reading["max_length"], longest)}


def _model(checkpoint: Checkpoint, layers: int) -> BertModel:
    """Return the network up to a layer: random, with the checkpoint's tensors, or with memory to be filled later.

    Raises:
        WeightsError: a tensor is missing, misshapen or left over; only those above the layer, and the pooler, may be
            there or not.
    """
    config = BertConfig(**{**checkpoint.config, "num_hidden_layers": layers}, attn_implementation="sdpa")
    if checkpoint.random:
        return BertModel(config, add_pooling_layer=False)
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    needed = model.state_dict()
    if checkpoint.tensors is not None:  # what does not fit is refused before any memory is taken
        above = (*(f"encoder.layer.{n}." for n in range(layers, checkpoint.config["num_hidden_layers"])), "pooler.")
        given = {key: tensor for key, tensor in checkpoint.tensors.items() if not key.startswith(above)}
        require_fit(needed, given, source=checkpoint.place, ignored=UNUSED)
    model.to_empty(device="cpu")
    model._init_weights(model.embeddings)  # fills its buffers, which no file holds
    if checkpoint.tensors is not None:
        model.load_state_dict({key: checkpoint.tensors[key] for key in needed})
    return model
