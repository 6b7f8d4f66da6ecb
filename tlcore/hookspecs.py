"""The whole plugin API, version 1, on one page.

A plugin is a module named in the entry-point group ``tlcore``. It implements any of these hooks, each marked with
``@tlcore.hookimpl``. Hooks that offer are called while names are listed or resolved, so they import nothing heavy:
heavy imports belong into ``build``, and those of a command into the command. Hooks that tell of a run are called in the
main process only and cannot change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from tlcore.contracts import EpochFinished, RunFinished, RunStarted
from tlcore.specs import AdapterSpec, BackboneSpec, DataSourceSpec, TaskSpec

if TYPE_CHECKING:
    import typer

__all__ = [
    "API_VERSION",
    "hookimpl",
    "tl_adapters",
    "tl_backbones",
    "tl_commands",
    "tl_data_sources",
    "tl_epoch_finished",
    "tl_run_finished",
    "tl_run_started",
    "tl_tasks",
]

API_VERSION = 1
"""A plugin module may state the version that it was written for as ``TLCORE_API = 1``; another one is refused."""

hookspec = pluggy.HookspecMarker("tlcore")
hookimpl = pluggy.HookimplMarker("tlcore")


@hookspec
def tl_tasks() -> Iterable[TaskSpec]:
    """Offer tasks: what is predicted and how it is scored.

    >>> import tlcore
    >>> def build(options):
    ...     from my_package.ranking import Ranking  # heavy, so not at import
    ...     return Ranking(options)
    >>> @tlcore.hookimpl
    ... def tl_tasks():
    ...     yield tlcore.TaskSpec(
    ...         name="sound-classification",
    ...         summary="One label for each recording.",
    ...         modality="sound",
    ...         build=build,
    ...         smoke=lambda folder: tlcore.NoOptions(),
    ...     )
    >>> [spec.name for spec in tl_tasks()]
    ['sound-classification']
    """
    raise AssertionError("a specification is never called")


@hookspec
def tl_backbones() -> Iterable[BackboneSpec]:
    """Offer backbones: pre-trained networks as ordered stages.

    >>> from dataclasses import dataclass
    >>> import tlcore
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Options:
    ...     width: int = tlcore.option(16, "Width of the hidden layers.", ge=1)
    >>> def build(options, saved):
    ...     from my_package.network import Network
    ...     return Network(options, saved)
    >>> @tlcore.hookimpl
    ... def tl_backbones():
    ...     yield tlcore.BackboneSpec(
    ...         name="listener",
    ...         summary="A small network for recordings.",
    ...         modality="sound",
    ...         options=Options,
    ...         build=build,
    ...         smoke=lambda folder: Options(width=2),
    ...         samples=lambda folder: [tlcore.Example(id=str(n), input=bytes([n] * 8)) for n in range(4)],
    ...     )
    >>> [spec.options().width for spec in tl_backbones()]
    [16]
    """
    raise AssertionError("a specification is never called")


@hookspec
def tl_adapters() -> Iterable[AdapterSpec]:
    """Offer adapters: ways to draw the line, for any modality.

    >>> import tlcore
    >>> def build(options):
    ...     from my_package.adapting import TrainBiases
    ...     return TrainBiases()
    >>> @tlcore.hookimpl
    ... def tl_adapters():
    ...     yield tlcore.AdapterSpec(
    ...         name="biases",
    ...         summary="Trains the biases and the head.",
    ...         build=build,
    ...         smoke=lambda folder: tlcore.NoOptions(),
    ...     )
    >>> [spec.kind for spec in tl_adapters()]
    ['adapter']
    """
    raise AssertionError("a specification is never called")


@hookspec
def tl_data_sources() -> Iterable[DataSourceSpec]:
    r"""Offer data sources: where examples come from.

    >>> import tlcore
    >>> class Waves:
    ...     def examples(self):
    ...         yield tlcore.Example(id="a", input=b"\x01", label="low")
    ...         yield tlcore.Example(id="b", input=b"\xf0", label="high")
    >>> @tlcore.hookimpl
    ... def tl_data_sources():
    ...     yield tlcore.DataSourceSpec(
    ...         name="waves",
    ...         summary="Two made-up recordings.",
    ...         modality="sound",
    ...         build=lambda options: Waves(),
    ...         smoke=lambda folder: tlcore.NoOptions(),
    ...     )
    >>> [example.label for spec in tl_data_sources() for example in spec.build(None).examples()]
    ['low', 'high']
    """
    raise AssertionError("a specification is never called")


@hookspec
def tl_commands(app: typer.Typer) -> None:
    """Add commands to ``tl``, and further ones to its groups: a group of the same name is extended.

    Called to list the commands, or where one is not tlcore's own. No command that exists is replaced. ``tlcore.cli``
    has ``registry_of(ctx)``: what the plugins of the call offer.

    >>> import tlcore
    >>> import typer
    >>> def count(folder: str) -> None:
    ...     from my_package.counting import runs_in  # heavy, so not at import
    ...     typer.echo(runs_in(folder))
    >>> def lint(file: str) -> None:
    ...     typer.echo(f"{file} has no trailing spaces")
    >>> @tlcore.hookimpl
    ... def tl_commands(app):
    ...     app.command(help="Count the runs in FOLDER.")(count)
    ...     recipe = typer.Typer()
    ...     recipe.command(help="Check the style of FILE.")(lint)
    ...     app.add_typer(recipe, name="recipe")
    >>> app = typer.Typer()
    >>> tl_commands(app)
    >>> sorted(typer.main.get_group(app).commands)
    ['count', 'recipe']
    """


@hookspec
def tl_run_started(event: RunStarted) -> None:
    """Hear that a run began: its folder, its resolved recipe, the examples in each split.

    >>> import tlcore
    >>> @tlcore.hookimpl
    ... def tl_run_started(event):
    ...     print("started in", event.folder.name, "with", event.counts["train"], "training examples")
    >>> from pathlib import Path
    >>> tl_run_started(tlcore.RunStarted(folder=Path("runs/a"), recipe={}, counts={"train": 80}, notes=()))
    started in a with 80 training examples
    """


@hookspec
def tl_epoch_finished(event: EpochFinished) -> None:
    """Hear that an epoch ended: its line of ``history.jsonl``.

    >>> import tlcore
    >>> @tlcore.hookimpl
    ... def tl_epoch_finished(event):
    ...     print(event.epoch, "of", event.epochs, event.record["validation"]["macro_f1"])
    >>> from pathlib import Path
    >>> record = {"validation": {"macro_f1": 0.9}}
    >>> tl_epoch_finished(tlcore.EpochFinished(folder=Path("a"), recipe={}, epoch=1, epochs=3, record=record))
    1 of 3 0.9
    """


@hookspec
def tl_run_finished(event: RunFinished) -> None:
    """Hear that a run ended well, with everything that a report needs.

    >>> import tlcore
    >>> @tlcore.hookimpl
    ... def tl_run_finished(event):
    ...     print("macro F1 on the test split:", event.metrics["test"]["macro_f1"])
    >>> from pathlib import Path
    >>> tl_run_finished(tlcore.RunFinished(
    ...     folder=Path("a"), recipe={}, metrics={"test": {"macro_f1": 0.9}}, history=(), tables={}, manifest={},
    ...     problems=(), mistakes=(), notes=(),
    ... ))
    macro F1 on the test split: 0.9
    """
