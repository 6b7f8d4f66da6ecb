"""Processes that prepare batches ahead of training, so that a GPU does not wait for them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tlcore.contracts import State, View
from tlcore.errors import ResourceError, TLError, UnreadableError
from tlcore.files.disk import readable_bytes, room
from tlcore.plugins.errors import fault_of

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

__all__ = ["Ahead", "Request", "named_deaths", "preparing_threads", "worker_count"]

MOST = 8
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written
STUCK = 1800
"""Seconds after which a batch that no process gives is an error instead of a wait without end."""

Request: TypeAlias = "tuple[tuple[str, ...], View | None]"
"""The ids of a batch, and in which version they are wanted."""


def preparing_threads(accelerator: Accelerator) -> int:
    """Return how many threads prepare for a first pass: one on a processor, which computes with the others itself."""
    return 1 if accelerator.device.type == "cpu" else max(1, _spare_cores(accelerator))


def worker_count(asked: int | Literal["auto"], accelerator: Accelerator) -> int:
    """Return how many processes prepare for training; on a processor they would cost more than they bring."""
    if asked != "auto":
        return asked
    return 0 if accelerator.device.type == "cpu" else _spare_cores(accelerator)


def _spare_cores(accelerator: Accelerator) -> int:
    """Return how many cores each process of the run has besides its own."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST, usable // accelerator.num_processes - 1)


class Ahead:
    """Batches in the order in which they were announced, prepared by worker processes.

    The processes start with the first announcement and stay for the next ones. They are forked where that is safe: so
    they share what the backbone and the data hold, and no plugin has to be pickled. What they prepare depends on the
    request alone, never on which of them it is or how many there are.
    """

    def __init__(self, prepare: Callable[[Request], State], workers: int) -> None:
        from torch import Generator
        from torch.utils.data import DataLoader

        self._announced: list[Request] = []
        self._loader: DataLoader[Any] = DataLoader(
            _Prepared(prepare),  # type: ignore[arg-type]  # indexed by requests
            batch_size=None,
            sampler=self._announced,  # read anew by each iteration
            num_workers=workers,
            collate_fn=_unchanged,
            persistent_workers=True,
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            timeout=STUCK,
            generator=Generator(),  # else each iteration would draw from torch's global one
        )
        self._coming: Iterator[State | Exception] = iter(())
        self._next = 0

    def announce(self, requests: Sequence[Request]) -> None:
        """Begin to prepare these batches; what was announced before and not taken is dropped."""
        self._announced[:] = requests
        self._coming = iter(self._loader)
        self._next = 0

    def take(self, request: Request) -> State | None:
        """Return the next announced batch; None, and nothing more, once another is asked for than was announced.

        Raises:
            UnreadableError, TLError: as preparing it here would raise.
            RuntimeError: a worker died; see ``named_deaths``.
        """
        if self._next >= len(self._announced) or self._announced[self._next] != request:
            self.drop()
            return None
        self._next += 1
        found = next(self._coming)
        if isinstance(found, Exception):
            raise found
        return found

    def drop(self) -> None:
        """Forget what was announced."""
        self._next = len(self._announced)

    def close(self) -> None:
        """End the processes."""
        self._coming = iter(())
        del self._loader


class _Prepared:
    """What the worker processes index: a request gives its batch, or the error to raise where it is asked for."""

    def __init__(self, prepare: Callable[[Request], State]) -> None:
        self._prepare = prepare

    def __getitem__(self, request: Request) -> State | Exception:
        try:
            return _handed_over(self._prepare(request))
        except (UnreadableError, TLError) as error:  # raised here, its message would be a traceback
            return error
        except Exception as error:  # only here is known where it came from
            fault = fault_of(error)
            if fault is None:
                raise
            return fault


def _handed_over(state: State) -> State:
    """Move a batch to the memory that all processes share, as torch would when it sends it: there it fails in silence.

    Raises:
        ResourceError: there is no room for it.
    """
    try:
        for tensor in state.values():
            tensor.share_memory_()
    except RuntimeError as error:
        size = readable_bytes(sum(tensor.nbytes for tensor in state.values()))
        raise ResourceError(
            f"a prepared batch of {size} cannot be handed over in shared memory: {str(error).splitlines()[0]}",
            where=room(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
            hint="`--set train.workers=0` prepares without it; fewer of them need less; a container gets more by "
            "`--shm-size`",
        ) from error
    return state


def _unchanged(item: Any) -> Any:
    return item


@contextlib.contextmanager
def named_deaths() -> Iterator[None]:
    """Turn the death of a worker process, which torch raises wherever the run happens to be, into its likely cause.

    Raises:
        ResourceError: a worker was killed, or all of them gave nothing for half an hour.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader timed out" in str(error):
            raise ResourceError(
                f"the processes that prepare examples gave none for {STUCK // 60} minutes",
                hint="look at the disk that holds the data; `--set train.workers=0` prepares without such processes",
            ) from error
        if "DataLoader worker" not in str(error):
            raise
        raise ResourceError(
            f"a process that prepares examples was killed ({_signal(error)}): likely out of memory (or of /dev/shm)",
            hint="`--set train.workers=0` prepares without such processes; fewer of them need less memory",
        ) from error


def _signal(error: BaseException | None) -> str:
    """Return the signal that torch names in an error, or in what led to it."""
    numbers = {signal.strsignal(number): number for number in signal.valid_signals()}
    while error is not None:
        killed = re.search(r"killed by signal: ([^.]*)\.", str(error))
        if killed and killed[1] in numbers:
            return f"signal {numbers[killed[1]]:d}"
        error = error.__cause__ or error.__context__
    return "unknown signal"
