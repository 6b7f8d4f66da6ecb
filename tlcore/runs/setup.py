"""Set up a run: its device and processes, its folder and lock, and errors that say how to resume it."""

from __future__ import annotations

import contextlib
import gc
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from tlcore.errors import Interrupted, LostError, ResourceError, TLError
from tlcore.files.disk import NO_SPACE, room
from tlcore.files.run_folder import RunFolder, require_free
from tlcore.recipe import recipe_yaml
from tlcore.runs.context import Clock, RunContext, RunRequest, RunSettings
from tlcore.runs.state import begin, owned, require_unfinished

__all__ = ["create_run_folder", "errors_with_resume_hint", "garbage_collection_off", "lock_unfinished", "set_up"]

ErrorT = TypeVar("ErrorT", bound=TLError)


def set_up(request: RunRequest) -> RunSettings:
    """Choose the device and precision, and join the other processes of the run; only the main process reports.

    Raises:
        UsageError: the run's folder is not free.
    """
    clock = Clock()
    with garbage_collection_off():
        from tlcore.distributed.team import Team
        from tlcore.training.device import accelerator_for

        accelerator = accelerator_for(request.recipe.train.device, request.recipe.train.precision)
    team = Team(accelerator)
    if team.leads and request.out is not None and request.resumed is None:
        require_free(request.out)
    reporting = {} if team.leads else {"progress": lambda phase, done, total: None, "warn": lambda text: None}
    return RunSettings(**{**vars(request), **reporting}, accelerator=accelerator, team=team, clock=clock)


def lock_unfinished(settings: RunSettings, locks: contextlib.ExitStack) -> None:
    """Lock the folder of a run to resume before its data is read.

    Raises:
        UsageError: another process works on it, or has just finished it.
    """
    if settings.out is not None and settings.resumed is not None and settings.team.leads:
        locks.enter_context(owned(settings.out))
        require_unfinished(settings.out)  # again: another process may have finished it meanwhile


def create_run_folder(settings: RunSettings, locks: contextlib.ExitStack) -> RunContext:
    """Create and lock the run's folder, or take over the one to resume; every process learns which it is."""
    out, team = settings.out, settings.team
    if not team.leads:
        files = RunFolder(Path(team.told("")), writes=False)
    elif out is not None and settings.resumed is not None:
        files = RunFolder(out)
        files.sweep()
    else:
        files = RunFolder.made(out, Path("runs") / settings.recipe.name, settings.clock.started)
        locks.enter_context(owned(files.path))
        require_free(files.path)  # again: another process may have written there meanwhile
        files.write("recipe.yaml", recipe_yaml(settings.recipe))
        begin(files.path, settings.started_here)
    if team.leads:
        team.told(str(files.path))
    return RunContext(**vars(settings), files=files)


@contextlib.contextmanager
def errors_with_resume_hint(context: RunContext) -> Iterator[None]:
    """Add to what stops a run how to resume it; remove features that only this run would have read."""
    try:
        yield
    except KeyboardInterrupt:
        if not context.stopping.asked():  # callers from Python get what Python raised
            raise
        raise _with_resume_hint(Interrupted("interrupted"), context) from None
    except (Interrupted, LostError, ResourceError) as error:
        raise _with_resume_hint(error, context) from error
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        full = ResourceError(
            f"no space left on the disk: {error.filename or 'a file of the run'} cannot be written",
            where=room(context.folder),
            hint="free some space first",
        )
        raise _with_resume_hint(full, context) from error
    finally:
        if context.team.leads:
            shutil.rmtree(context.folder / "features", ignore_errors=True)


def _with_resume_hint(error: ErrorT, context: RunContext) -> ErrorT:
    if isinstance(error, Interrupted):
        error.exit_code = context.stopping.exit_code
    hint = f"go on: tl run --resume {shlex.quote(str(context.folder))}"
    error.hint = f"{hint}; {error.hint}" if error.hint else hint
    return error


@contextlib.contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Collect no garbage where nearly all objects stay (imports, examples, a network): it takes a sixth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
