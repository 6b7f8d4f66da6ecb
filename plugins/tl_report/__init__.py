"""What a person sees while a run goes, on standard error, and after it, in report.html."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlcore import hookimpl

if TYPE_CHECKING:
    from tlcore import EpochFinished, RunFinished, RunStarted

TLCORE_API = 1


@hookimpl
def tl_run_started(event: RunStarted) -> None:
    """Say where the run writes and how many examples it has."""
    from tl_report.console import say_started

    say_started(event)


@hookimpl
def tl_epoch_finished(event: EpochFinished) -> None:
    """Say how an epoch went, in one line."""
    from tl_report.console import say_epoch

    say_epoch(event)


@hookimpl
def tl_run_finished(event: RunFinished) -> None:
    """Write report.html where the recipe wants it, then say how good the model is and what to do next."""
    from tl_report.console import say_finished
    from tl_report.html import write_report

    path = write_report(event) if event.recipe["evaluate"]["report"] == "html" else None
    say_finished(event, path)
