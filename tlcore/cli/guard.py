"""How ``tl`` ends when something goes wrong: a message for people and an exit code that scripts can rely on."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import typer

from tlcore.cli.invocation import ExtensibleGroup
from tlcore.cli.layout import harmless
from tlcore.errors import Interrupted, ResourceError, TLError, UsageError, is_out_of_memory
from tlcore.files.disk import NO_SPACE
from tlcore.redaction import redacted

__all__ = ["GuardedGroup"]

NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class GuardedGroup(ExtensibleGroup):
    """Runs a command; a refusal is told in three lines, a bug of ours with its traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the global options, and turn whatever ``--help`` raises into an exit code."""
        with _guarded(ctx):
            try:
                return super().parse_args(ctx, args)
            except BaseException:
                ctx.close()  # nobody else does where the parsing ends the call, as --help does
                raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command and turn whatever it raises into an exit code."""
        with _guarded(ctx):
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result


@contextlib.contextmanager
def _guarded(ctx: Any) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        # Whoever read our output has enough; what is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from error
    except BaseException as error:  # a plugin may raise anything; sys.exit(0) would look like success
        if type(error).__module__.partition(".")[0] in ("typer", "click"):
            raise
        refusal = _refusal(error) or _fault(error)
        if refusal is None:
            if not isinstance(error, Exception):
                raise
            raise typer.Exit(_report_bug()) from error
        if ctx.params.get("debug"):
            _print_traceback()
        _tell(refusal)
        raise typer.Exit(refusal.exit_code) from error


def _refusal(error: BaseException) -> TLError | None:
    """Return what an exception is to a user; None for one that only a bug can raise."""
    if isinstance(error, TLError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if is_out_of_memory(error):
        return ResourceError(
            "out of memory",
            where=next(iter(str(error).splitlines()), None),
            hint="`tl run --fit-memory` takes each step in smaller parts, to the same result; a smaller "
            "`train.batch_size` or backbone needs less",
        )
    where = str(error.filename) if isinstance(error, OSError) and error.filename else None
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return ResourceError("no space left on the disk", where=where, hint="free some space and start again")
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return ResourceError(
            "the disk fails", where=f"{where or 'somewhere'}: {error.strerror}", hint="look at the disk"
        )
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED and where:
        return UsageError("a file or folder may not be used", where=f"{where}: {error.strerror}")
    return None


def _fault(error: BaseException) -> TLError | None:
    """Return what an exception is to a user where a plugin that somebody installed let it out."""
    from tlcore.plugins.errors import fault_of

    return fault_of(error)


def _tell(refusal: TLError) -> None:
    lines = [f"error: {refusal.what}"]
    lines += [f"  {line}" for line in (refusal.where or "").splitlines()]
    lines += [f"hint: {refusal.hint}"] if refusal.hint else []
    typer.echo(harmless("\n".join(lines)), err=True)


def _print_traceback() -> None:
    """Print it as any other text: what an exception says may come from anyone's file, and may quote a secret."""
    typer.echo(harmless(redacted(traceback.format_exc())), err=True, nl=False)


def _report_bug() -> int:
    _print_traceback()
    typer.echo("error: this is a bug of tlcore; please report it with the lines above", err=True)
    return TLError.exit_code
