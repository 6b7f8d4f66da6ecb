"""What a user should know of a run without being stopped: ``RecipeWarning``s become its notes."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from tlcore.errors import RecipeWarning
from tlcore.redaction import redacted

__all__ = ["note", "noted", "stdout_to_stderr"]


def note(text: str) -> None:
    """Add a note to the run that is going on."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RecipeWarning)  # whatever a plugin has made of warnings since the run began
        warnings.warn(redacted(text), RecipeWarning, stacklevel=2)


@contextlib.contextmanager
def noted(notes: list[str], told: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Add to ``notes`` what is warned of inside, once each, and tell it; other warnings go where they always go."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def keep(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, RecipeWarning):
                show(message, category, *place, **more)
            elif (text := redacted(str(message))) not in notes:
                notes.append(text)
                told(f"note: {text}")

        warnings.simplefilter("always", RecipeWarning)
        warnings.showwarning = keep
        yield


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to standard error what is printed inside by Python, by C code or by another process.

    Standard output carries results, such as the one JSON object of ``--json``, and nothing else.
    """
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as stack:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # a stream is closed, or not a file
            out, err = sys.__stdout__.fileno(), sys.__stderr__.fileno()  # type: ignore[union-attr]
            saved = os.dup(out)
            stack.callback(os.close, saved)
            os.dup2(err, out)
            stack.callback(os.dup2, saved, out)
        yield
