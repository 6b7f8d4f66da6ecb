"""Progress of long phases on standard error: a line that is rewritten on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time

__all__ = ["ProgressLine"]

SECONDS_BETWEEN_LINES = 15.0


class ProgressLine:
    """Shows how far a phase is and how long the rest may take."""

    def __init__(self) -> None:
        self._phase = ""
        self._began = 0.0
        self._shown = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` of a phase are done."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._shown = phase, now, now
        terminal = sys.stderr.isatty()
        pause = 0.2 if terminal else SECONDS_BETWEEN_LINES
        if done < total and now - self._shown < pause:
            return
        self._shown = now
        passed = now - self._began
        rest = passed / done * (total - done) if done else 0.0
        text = f"{phase}  {done:,}/{total:,}  " + (f"about {rest:.0f} s left" if done < total else f"{passed:.1f} s")
        if terminal:
            sys.stderr.write(f"\r\x1b[K{text}" + ("\n" if done == total else ""))
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
