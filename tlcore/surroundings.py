"""What a plugin can change for the whole process: looked at while a run goes on, told of, and put back."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tlcore.errors import Interrupted, LostError, PluginError, ResourceError
from tlcore.notes import note

__all__ = ["Surroundings"]

HINT = "that is for who wrote the plugin to mend: a plugin leaves alone what belongs to the whole process"


class Surroundings:
    """What was set in this process when a run began."""

    def __init__(self) -> None:
        self._before = _now()

    def changed(self) -> list[str]:
        """Return a line for each thing that is another one now."""
        return [
            f"{name}: {_said(value)} before, {_said(now[name])} now"
            for now in (_now(),)
            for name, value in self._before.items()
            if now[name] != value
        ]

    def tell(self) -> None:
        """Note what is another one now."""
        for line in self.changed():
            note(f"a plugin changed what belongs to the whole process, and results may be others for it: {line}")

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Put everything back in the end.

        Raises:
            PluginError: the run failed after something was changed, which is the likelier cause.
        """
        try:
            yield
        except (Interrupted, LostError, ResourceError):
            raise
        except Exception as error:
            if changed := self.changed():
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                raise PluginError(
                    f"the run failed after a plugin changed what belongs to the whole process: {reason}",
                    where="\n".join(changed),
                    hint=HINT,
                ) from error
            raise
        finally:
            for name, put in _SETTERS.items():
                if _now()[name] != self._before[name]:
                    put(self._before[name])


def _now() -> dict[str, Any]:
    import torch

    return {
        "working directory": _working_directory(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's threads": torch.get_num_threads(),
        "torch's gradients": torch.is_grad_enabled(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "what SIGINT does": signal.getsignal(signal.SIGINT),
        "what SIGTERM does": signal.getsignal(signal.SIGTERM),
    }


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return "nowhere"


def _set_dtype(value: Any) -> None:
    import torch

    torch.set_default_dtype(value)


def _set_device(value: Any) -> None:
    import torch

    torch.set_default_device(None if value == torch.device("cpu") else value)


def _set_threads(value: Any) -> None:
    import torch

    torch.set_num_threads(value)


def _set_gradients(value: Any) -> None:
    import torch

    torch.set_grad_enabled(value)


def _set_deterministic(value: Any) -> None:
    import torch

    torch.use_deterministic_algorithms(value)


def _set_directory(value: Any) -> None:
    with contextlib.suppress(OSError):
        os.chdir(value)


def _set_handler(number: signal.Signals) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        with contextlib.suppress(ValueError, TypeError):  # only the main thread can, and only what Python has set
            signal.signal(number, value)

    return put


_SETTERS: Mapping[str, Callable[[Any], None]] = {
    "working directory": _set_directory,
    "torch's default dtype": _set_dtype,
    "torch's default device": _set_device,
    "torch's threads": _set_threads,
    "torch's gradients": _set_gradients,
    "torch's deterministic algorithms": _set_deterministic,
    "what SIGINT does": _set_handler(signal.SIGINT),
    "what SIGTERM does": _set_handler(signal.SIGTERM),
}


def _said(value: Any) -> str:
    return value if isinstance(value, str) else getattr(value, "__qualname__", None) or str(value)
