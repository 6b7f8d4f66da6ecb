"""The sections of a recipe: their keys, types, limits, defaults and one line on each.

These classes are the only place where a key of tlcore's own is declared; reader, schema and reference follow them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tlcore.specs import option

__all__ = [
    "OPTIMIZERS",
    "PLAIN_SECTIONS",
    "SCHEDULERS",
    "SGD",
    "Adam",
    "AdamW",
    "Choice",
    "Constant",
    "Cosine",
    "DataSection",
    "EvaluateSection",
    "FeaturesSection",
    "HeadSection",
    "HoldoutSection",
    "Linear",
    "OneCycle",
    "Plateau",
    "RMSprop",
    "Recipe",
    "Step",
    "TrainSection",
]


@dataclass(frozen=True)
class Choice:
    """A named thing with its options.

    ``name`` is ``plugin/name`` for what plugins offer and plain for tlcore's own (``adam``); ``options`` is an
    instance of the options class that goes with it; ``spec`` is the plugin's record.
    """

    name: str
    options: Any
    spec: Any = field(default=None, compare=False, repr=False)


def _about(help: str, kind: str | None = None) -> dict[str, str]:  # noqa: A002 - as in tlcore.option
    """Return what is known of a key whose value is a section; ``kind`` says among what the section chooses."""
    return {"help": help} if kind is None else {"help": help, "kind": kind}


_LR_HELP = "Learning rate."
_DECAY_HELP = "Weight decay."


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum."""

    lr: float = option(1e-2, _LR_HELP, gt=0)
    momentum: float = option(0.9, "How much of the last step is kept.", ge=0, lt=1)
    weight_decay: float = option(0.0, _DECAY_HELP, ge=0)
    nesterov: bool = option(False, "Look ahead along the momentum (Nesterov).")

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """Gradients divided by a running mean of their size."""

    lr: float = option(1e-3, _LR_HELP, gt=0)
    alpha: float = option(0.99, "How much of the running mean of squared gradients is kept.", ge=0, lt=1)
    momentum: float = option(0.0, "How much of the last step is kept.", ge=0, lt=1)
    weight_decay: float = option(0.0, _DECAY_HELP, ge=0)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adaptive moments; the usual choice for a new head."""

    lr: float = option(1e-3, _LR_HELP, gt=0)
    beta1: float = option(0.9, "How much of the running mean of gradients is kept.", ge=0, lt=1)
    beta2: float = option(0.999, "How much of the running mean of squared gradients is kept.", ge=0, lt=1)
    weight_decay: float = option(0.0, "Weight decay, added to the gradients.", ge=0)


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with weight decay apart from the gradients; the usual choice for fine-tuning."""

    lr: float = option(1e-3, _LR_HELP, gt=0)
    beta1: float = option(0.9, "How much of the running mean of gradients is kept.", ge=0, lt=1)
    beta2: float = option(0.999, "How much of the running mean of squared gradients is kept.", ge=0, lt=1)
    weight_decay: float = option(0.01, "Weight decay, apart from the gradients.", ge=0)


_WARMUP_HELP = "Steps in which the learning rate rises from 0."


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The learning rate stays as it is, after a linear warm-up if there is one."""

    warmup_steps: int = option(0, _WARMUP_HELP, ge=0)


@dataclass(frozen=True, kw_only=True)
class Step:
    """The learning rate falls by a factor every few epochs, after a linear warm-up if there is one."""

    step_size: int = option(7, "Epochs from one fall to the next.", ge=1)
    gamma: float = option(0.1, "Factor by which it falls.", gt=0, le=1)
    warmup_steps: int = option(0, _WARMUP_HELP, ge=0)


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """The learning rate falls along half a cosine to the end of training, after a linear warm-up if there is one."""

    floor: float = option(0.0, "What is left of it at the end, as a share.", ge=0, lt=1)
    warmup_steps: int = option(0, _WARMUP_HELP, ge=0)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """The learning rate falls in a straight line to the end of training, after a linear warm-up if there is one."""

    floor: float = option(0.0, "What is left of it at the end, as a share.", ge=0, lt=1)
    warmup_steps: int = option(0, _WARMUP_HELP, ge=0)


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """The learning rate rises to its full height, then falls far below its start (Smith and Topin, 2018)."""

    rise: float = option(0.3, "Share of the steps in which it rises.", gt=0, lt=1)
    start: float = option(0.04, "Where it starts, as a share of its height.", gt=0, le=1)
    floor: float = option(4e-6, "Where it ends, as a share of its height.", ge=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """The learning rate falls by a factor when the validation score has not improved for some epochs."""

    patience: int = option(3, "Epochs without an improvement before it falls.", ge=1)
    gamma: float = option(0.1, "Factor by which it falls.", gt=0, lt=1)
    floor: float = option(1e-4, "What is left of it at least, as a share.", ge=0, lt=1)
    warmup_steps: int = option(0, _WARMUP_HELP, ge=0)


OPTIMIZERS: dict[str, type] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW}
SCHEDULERS: dict[str, type] = {
    "constant": Constant,
    "step": Step,
    "cosine": Cosine,
    "linear": Linear,
    "one-cycle": OneCycle,
    "plateau": Plateau,
}


@dataclass(frozen=True, kw_only=True)
class HoldoutSection:
    """Shares taken from the training examples where the data come without such a split.

    Who belongs to a share is decided by a hash of the example's identity, so it stays where it is when data is added.
    """

    validation: float = option(0.15, "Share that picks the best epoch.", gt=0, lt=1)
    test: float = option(0.15, "Share that is read once, at the end.", gt=0, lt=1)

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on: their sum must be below 1")


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """Where the examples come from; the options of the source stand beside these keys."""

    source: Choice = field(metadata=_about("Where the examples come from (`tl list data`).", "data"))
    holdout: HoldoutSection = field(
        default=HoldoutSection(), metadata=_about("Shares held out where the source gives no split.")
    )
    max_bad: int | float | None = option(
        None,
        "How many unreadable examples are skipped before the run stops: a count, or a share below 1. "
        "Unset: 1 % or 10, whichever is more.",
        ge=0,
    )
    leaks: Literal["note", "stop"] = option(
        "note", "What happens where one input stands in several splits: a note, or an end before training."
    )

    def __post_init__(self) -> None:
        if isinstance(self.max_bad, float) and self.max_bad >= 1:
            raise ValueError(f"max_bad: a share is below 1, got {self.max_bad}; a count is a whole number")


@dataclass(frozen=True, kw_only=True)
class TrainSection:
    """How what lies above the line is trained."""

    epochs: int = option(25, "How often the training examples are gone through.", ge=1)
    batch_size: int = option(32, "Examples that go through the network together.", ge=1)
    accumulate: int = option(1, "Batches whose gradients are added up before a step.", ge=1)
    fit_memory: bool = option(
        False, "Where memory ends, go through a step in smaller parts; the step stays the same and a note tells."
    )
    lr: float | Literal["find"] | None = option(
        None,
        "Learning rate in place of the optimizer's; `find` measures it by a range test before training (Smith, 2017).",
        gt=0,
    )
    optimizer: Choice = field(
        default=Choice("adam", Adam()), metadata=_about("How the weights follow the gradients.", "optimizer")
    )
    scheduler: Choice = field(
        default=Choice("constant", Constant()), metadata=_about("How the learning rate changes.", "scheduler")
    )
    clip: float | None = option(None, "Largest norm of all gradients together; longer ones are shortened.", gt=0)
    early_stopping: int | None = option(
        None, "Stop after so many epochs without an improvement of the validation score.", ge=1
    )
    ema: float | None = option(
        None, "Keep a running mean of the weights with this decay, such as 0.99, and score and save that.", gt=0, lt=1
    )
    views: int = option(
        4,
        "Augmented versions of each training example that are stored; fresh ones each epoch if nothing is frozen.",
        ge=1,
    )
    workers: int | Literal["auto"] = option(
        "auto",
        "Processes that prepare fresh examples ahead of training; `auto`: none on a processor, up to 8 for a GPU.",
        ge=0,
    )
    mix: float = option(0.0, "Share of the batches whose examples are blended (mixup, cutmix).", ge=0, le=1)
    checkpoint_steps: int | None = option(
        None, "Write a checkpoint within an epoch after so many steps, beside those at the end of epochs.", ge=1
    )
    checkpoint_minutes: float | None = option(
        10.0, "Write a checkpoint within an epoch after so many minutes without one.", gt=0
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "no"] = option(
        "auto", "Number format of the computation; `auto` picks what the device is good at, `no` is `fp32`."
    )
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where it is computed; `auto` takes a GPU if there is one.")

    def __post_init__(self) -> None:
        if self.precision == "no":
            object.__setattr__(self, "precision", "fp32")


@dataclass(frozen=True, kw_only=True)
class HeadSection:
    """How the head is found where it is all that is trained."""

    solver: Literal["steps", "lbfgs"] = option(
        "steps",
        "`steps`: as `train` says; `lbfgs`: solved to the optimum, with the L2 penalty that does best on validation.",
    )


@dataclass(frozen=True, kw_only=True)
class FeaturesSection:
    """What lies below the line: computed once for every example and kept for every run of this machine."""

    store: Literal["auto", "always", "never"] = option(
        "auto",
        "Keep the states at the line in the feature store; `auto` does so where the disk has room and reading pays.",
    )
    memory: float = option(
        0.05, "GB of features that the head's training holds in memory; of more it reads from the store.", ge=0
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSection:
    """What is written about the result."""

    report: Literal["html", "none"] = option("html", "`html` writes report.html, one file that opens in any browser.")
    mistakes: int = option(12, "How many of the most confident mistakes the report shows.", ge=0)
    resamples: int = option(
        200, "Bootstrap samples behind the interval of each test metric; 0 leaves the intervals out.", ge=0, le=100_000
    )
    probe: bool = option(
        True, "Compare with a linear probe: the best linear head on the features of the untrained network."
    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run, resolved: every key has its value."""

    name: str = option("", "Names the folder below runs/; the file's name unless given.")
    task: Choice = field(metadata=_about("What is predicted and how it is scored (`tl list tasks`).", "task"))
    data: DataSection = field(metadata=_about("Where the examples come from (`tl list data`)."))
    backbone: Choice = field(metadata=_about("The pre-trained network (`tl list backbones`).", "backbone"))
    adapter: Choice = field(metadata=_about("What is trained and what stays frozen (`tl list adapters`).", "adapter"))
    head: HeadSection = field(
        default=HeadSection(), metadata=_about("How the head is found where it is all that is trained.")
    )
    train: TrainSection = field(default=TrainSection(), metadata=_about("How it is trained."))
    features: FeaturesSection = field(
        default=FeaturesSection(), metadata=_about("What is kept of the frozen part's work.")
    )
    evaluate: EvaluateSection = field(default=EvaluateSection(), metadata=_about("What is written about the result."))
    track: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = option(
        (), "Experiment trackers that hear of every epoch; one that fails is muted and the run goes on."
    )
    seed: int = option(0, "Decides everything that is drawn by chance.", ge=0)


PLAIN_SECTIONS: dict[str, type] = {
    "head": HeadSection,
    "train": TrainSection,
    "features": FeaturesSection,
    "evaluate": EvaluateSection,
}
"""The sections of tlcore's own that name nothing that a plugin offers."""
