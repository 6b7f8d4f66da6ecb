"""The records by which plugins offer what they have. Standard library only: offering costs no import.

The fields of an options class are the keys of the recipe's section, and ``option`` gives each its default, its line of
documentation and its limits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tlcore.contracts import Adapter, Backbone, DataSource, Example, Task

__all__ = [
    "ANY_MODALITY",
    "AdapterSpec",
    "BackboneSpec",
    "DataSourceSpec",
    "NoOptions",
    "Spec",
    "TaskSpec",
    "option",
]

ANY_MODALITY = "*"
"""The modality of a data source whose inputs may be anything, such as a column of a table."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The options of something that has none."""


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",  # noqa: A002 - the word that typer, argparse and click use
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """Declare one key of a recipe's section: a dataclass field with documentation and limits.

    Without a default the key is required. Supported annotations: str, int, float, bool, Path, Literal, another frozen
    dataclass, ``tuple[T, ...]``, ``dict[str, T]`` and unions of these with None. A path is taken relative to the
    working directory; ``Path | str`` is for a place that may be a folder here or a name elsewhere.
    """
    limits = {name: value for name, value in (("ge", ge), ("gt", gt), ("le", le), ("lt", lt)) if value is not None}
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One thing that a plugin offers under a name.

    ``build`` takes the options and does the heavy imports; ``smoke`` takes an empty folder and returns the options of
    a tiny instance that needs no network, so that one contract test runs over everything that is registered.
    """

    kind: ClassVar[str]
    name: str
    summary: str
    smoke: Callable[[Path], Any]
    options: type = NoOptions


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Spec):
    """A task. ``modality`` is an open string such as ``image``; the backbone must have the same."""

    kind = "task"
    build: Callable[[Any], Task]
    modality: str


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """A backbone. ``samples`` writes or makes a few inputs that ``prepare`` can read, for the contract test.

    The first two are kept in every saved model, which tests itself with them when it is loaded: choose small ones that
    show a change in how inputs are prepared, such as a picture with fine stripes and different channels.

    ``build(options, saved)``: ``saved`` is None for a new run; else it is the folder that ``Backbone.save`` once
    wrote, from which the backbone is built without looking for weights: tlcore then loads every parameter and buffer.

    The last three serve the recipe that is written for data. ``media`` is the first half of the MIME type of the
    inputs, such as ``audio`` for files of sound; strings are ``text``. ``recommended`` marks the backbone to begin with
    and says what else there is. ``learning_rate`` is one to begin with where only the head is trained.
    """

    kind = "backbone"
    build: Callable[[Any, Path | None], Backbone]
    modality: str
    samples: Callable[[Path], Sequence[Example]]
    media: str = ""
    recommended: str = ""
    learning_rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class AdapterSpec(Spec):
    """An adapter; it has no modality."""

    kind = "adapter"
    build: Callable[[Any], Adapter]


@dataclass(frozen=True, kw_only=True)
class DataSourceSpec(Spec):
    """A data source. ``modality`` is that of its inputs, or ANY_MODALITY.

    ``recognizes`` says whether a file or a folder is laid out for it, so that nobody needs to name the source; it is
    then given as the option ``path``. ``layout_options`` names the options that say how such data is read, such as the
    column of the labels: they hold for further data of the same kind too.
    """

    kind = "data"
    build: Callable[[Any], DataSource]
    modality: str
    recognizes: Callable[[Path], bool] = lambda path: False
    layout_options: tuple[str, ...] = ()
