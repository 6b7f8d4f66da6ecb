"""Texts: classification, several labels and numbers, and BERT from transformers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tl_text.known_weights import KNOWN
from tlcore import BackboneSpec, Example, TaskSpec, hookimpl, option, standard_tasks

if TYPE_CHECKING:
    from tlcore import Backbone

TLCORE_API = 1
PREVIEW_CHARACTERS = 400

Pool = Literal["mean", "max", "cls"]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What happens at random to a training text; ``augment: {}`` leaves a tenth of the words out."""

    word_dropout: float = option(0.1, "Share of the words that are left out.", ge=0, lt=1)
    swap: float = option(0.0, "Share of the words that change places with the next one.", ge=0, lt=1)
    casing: float = option(0.0, "Probability that all letters become small or capital, or only the first capital.",
                           ge=0, le=1)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _TextOptions:
    output: str | None = option(None, "The last stage to use, such as encoder.3; the top layer unless given.")
    pool: Pool | None = option(None, "How the tokens of a text become one vector; what the weights say, else mean.")
    max_length: int | None = option(None, "Tokens of a text that are read; what the weights say unless given.", ge=3)
    prefix: str | None = option(None, "Put before each text, such as `query: `; what the weights say, else nothing.")
    augment: Augment | None = option(None, "What happens at random to training texts; nothing unless given.")


@dataclass(frozen=True, kw_only=True)
class BertOptions(_TextOptions):
    """Keys of ``backbone`` for ``bert``."""

    weights: Path | str = option(
        help="Folder of a BertModel checkpoint or of a finished run, or a name on the Hugging Face hub."
    )
    revision: str | None = option(None, "Commit or tag on the hub.")


@dataclass(frozen=True, kw_only=True)
class GermanBertOptions(BertOptions):
    """Keys of ``backbone`` for ``german-bert``."""

    weights: Path | str = option(
        KNOWN["german-bert"].repository, "The weights' name on the hub, or a folder of a checkpoint or a finished run."
    )


@dataclass(frozen=True, kw_only=True)
class BertBaseOptions(BertOptions):
    """Keys of ``backbone`` for ``bert-base``."""

    weights: Path | str = option(
        KNOWN["bert-base"].repository, "The weights' name on the hub, or a folder of a checkpoint or a finished run."
    )


@dataclass(frozen=True, kw_only=True)
class MiniLMOptions(_TextOptions):
    """Keys of ``backbone`` for ``minilm``."""

    weights: Literal["all-minilm-l6-v2", "random"] = option(
        "all-minilm-l6-v2", "The pre-trained weights, or `random` ones for the same network."
    )


@hookimpl
def tl_tasks() -> Iterable[TaskSpec]:
    """Offer classification, several labels, and numbers."""
    return standard_tasks("text", "text", _preview)


@hookimpl
def tl_backbones() -> Iterable[BackboneSpec]:
    """Offer BERT, and some weights for it by name."""
    yield BackboneSpec(
        name="bert",
        summary="Any BertModel checkpoint: a folder, or a name on the hub.",
        modality="text",
        options=BertOptions,
        build=_bert,
        smoke=_tiny_checkpoint,
        samples=_texts,
        media="text",
        learning_rate=3e-3,
    )
    for name, options in (("german-bert", GermanBertOptions), ("bert-base", BertBaseOptions)):
        yield BackboneSpec(
            name=name,
            summary=KNOWN[name].summary,
            modality="text",
            options=options,
            build=_bert,
            smoke=partial(_tiny_checkpoint, options=options),
            samples=_texts,
            media="text",
            learning_rate=3e-3,
        )
    yield BackboneSpec(
        name="minilm",
        summary="all-MiniLM-L6-v2: a small English BERT made for sentences, out of a package of tlcore[demo].",
        modality="text",
        options=MiniLMOptions,
        build=_minilm,
        smoke=lambda folder: MiniLMOptions(output="encoder.0"),
        samples=_texts,
        media="text",
        recommended="it reads English; german-bert reads German, its weights come from the hub",
        learning_rate=3e-3,
    )


def _preview(source: Any) -> str:
    """Return the text, cut where it is long."""
    text = str(source)
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def _bert(options: BertOptions, saved: Path | None) -> Backbone:
    from tl_text.bert import Bert
    from tl_text.checkpoint import kept, opened

    return Bert(options, kept(saved) if saved else opened(options.weights, options.revision))


def _minilm(options: MiniLMOptions, saved: Path | None) -> Backbone:
    from tl_text.bert import Bert
    from tl_text.checkpoint import kept, minilm

    return Bert(options, kept(saved) if saved else minilm(random=options.weights == "random"))


def _tiny_checkpoint(folder: Path, options: type[BertOptions] = BertOptions) -> BertOptions:
    from tl_text.checkpoint import write_tiny

    write_tiny(folder / "tiny-bert")
    return options(weights=folder / "tiny-bert")


def _texts(folder: Path) -> Sequence[Example]:
    texts = (
        "The film is NOT a good one at all!",
        "Über 3,5 % naïve 東京 films",
        "a good film",
        "not good",
        "the film is not a good one at all",
        "one",
        "good good good",
    )
    return [Example(id=str(n), input=text) for n, text in enumerate(texts)]
