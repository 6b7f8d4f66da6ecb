"""What a user should know of a run without being stopped: ``RecipeWarning``s become its notes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from tlcore.errors import RecipeWarning
from tlcore.redaction import redacted

__all__ = ["note", "noted"]


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
