"""Worker processes that prepare batches ahead of training, so that a GPU does not wait for them."""

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

__all__ = ["BatchRequest", "Prefetcher", "explain_worker_exit", "preparing_threads", "worker_count"]

MOST = 8
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written
STUCK = 1800
"""Seconds after which a missing batch is an error."""

BatchRequest: TypeAlias = "tuple[tuple[str, ...], View | None]"
"""The ids of a batch, and their view."""


def preparing_threads(accelerator: Accelerator) -> int:
    """Return how many threads prepare for feature extraction: one on a CPU, which computes with the others itself."""
    return 1 if accelerator.device.type == "cpu" else max(1, _spare_cores(accelerator))


def worker_count(count: int | Literal["auto"], accelerator: Accelerator) -> int:
    """Return how many processes prepare for training; on a CPU they would cost more time than they save."""
    if count != "auto":
        return count
    return 0 if accelerator.device.type == "cpu" else _spare_cores(accelerator)


def _spare_cores(accelerator: Accelerator) -> int:
    """Return how many cores each process of the run has besides its own."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST, usable // accelerator.num_processes - 1)


class Prefetcher:
    """Prepares announced batches in worker processes, in the order in which they were announced.

    The processes start with the first announcement and stay for the next ones. They are forked where that is safe: so
    they share the memory of the backbone and the data, and no plugin has to be pickled. What they prepare depends on
    the request alone, never on which of them prepares it or how many there are.
    """

    def __init__(self, prepare: Callable[[BatchRequest], State], workers: int) -> None:
        from torch import Generator
        from torch.utils.data import DataLoader

        self._announced: list[BatchRequest] = []
        self._loader: DataLoader[Any] = DataLoader(
            _Batches(prepare),  # type: ignore[arg-type]  # indexed by requests
            batch_size=None,
            sampler=self._announced,  # read anew by each iteration
            num_workers=workers,
            persistent_workers=True,
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            timeout=STUCK,
            generator=Generator(),  # else each iteration would draw from torch's global one
        )
        self._batches: Iterator[State | Exception] = iter(())
        self._next = 0

    def announce(self, requests: Sequence[BatchRequest]) -> None:
        """Start to prepare these batches; drop those that were announced before and not taken."""
        self._announced[:] = requests
        self._batches = iter(self._loader)
        self._next = 0

    def take(self, request: BatchRequest) -> State | None:
        """Return the next announced batch; None for another one, and for all those that follow.

        Raises:
            UnreadableError, TLError: as preparing it here would raise.
            RuntimeError: a worker died; see ``explain_worker_exit``.
        """
        if self._next >= len(self._announced) or self._announced[self._next] != request:
            self.drop()
            return None
        self._next += 1
        batch = next(self._batches)
        if isinstance(batch, Exception):
            raise batch
        return batch

    def drop(self) -> None:
        """Drop the announced batches."""
        self._next = len(self._announced)

    def close(self) -> None:
        """End the processes."""
        self._batches = iter(())
        del self._loader


class _Batches:
    """The data set of the workers: a request gives its batch, or the error to raise in the main process."""

    def __init__(self, prepare: Callable[[BatchRequest], State]) -> None:
        self._prepare = prepare

    def __getitem__(self, request: BatchRequest) -> State | Exception:
        try:
            return _share(self._prepare(request))
        except (UnreadableError, TLError) as error:  # raised here, its message would be a traceback
            return error
        except Exception as error:  # its origin is only known here
            fault = fault_of(error)
            if fault is None:
                raise
            return fault


def _share(state: State) -> State:
    """Move a batch to shared memory, as torch would when it sends it, but would fail without a message.

    Raises:
        ResourceError: there is not enough of it.
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


@contextlib.contextmanager
def explain_worker_exit() -> Iterator[None]:
    """Replace torch's error for a killed worker process, which it raises anywhere in the run, by the likely cause.

    Raises:
        ResourceError: a worker was killed, or no batch came for half an hour.
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
    """Return the signal that torch names in an error or in its cause."""
    numbers = {signal.strsignal(number): number for number in signal.valid_signals()}
    while error is not None:
        killed = re.search(r"killed by signal: ([^.]*)\.", str(error))
        if killed and killed[1] in numbers:
            return f"signal {numbers[killed[1]]:d}"
        error = error.__cause__ or error.__context__
    return "unknown signal"
