"""The frozen part of a network at work: prepared rows in, states at the line out, in batches of fixed shapes."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tlcore.contracts import Backbone, Example, State, View
from tlcore.errors import NumericError, PluginError, UnreadableError
from tlcore.features.batching import MASK, Buckets, ragged_names, unstacked
from tlcore.features.threads import ThreadChoice
from tlcore.features.throughput import Throughput
from tlcore.features.workers import preparing_threads
from tlcore.plugins.errors import broken
from tlcore.plugins.validation import pooled, prepared_by

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import Tensor, nn

__all__ = ["FEATURES", "FrozenPart", "Row", "Wanted", "channels_last", "lower_part", "prepared"]

FEATURES = "features"
"""The one tensor of a state above the last stage: what ``pool`` returned."""
PREPARED_AT_ONCE = 32
OTHER_ORDER = 1e-5
"""By this share of the largest value sums in another order may differ, as where memory is laid out otherwise."""
OTHER_ORDER_ROUGHLY = 1e-2
"""The same in half precision and on a GPU."""
AHEAD = 2
"""So many chunks are ready or wait for a thread while the network computes, besides those that threads prepare."""


class Wanted(NamedTuple):
    """A state to compute: of an example, as it is or in one augmented version."""

    key: bytes
    name: str
    """The example's id; ``example`` bears another where its versions are drawn by its content."""
    example: Example
    view: View | None = None


Row: TypeAlias = "tuple[Wanted, State, list[str]]"
"""A state without the batch dimension, whose it is, and the names of its ragged tensors."""


class FrozenPart:
    """The stages below the line, from ``first`` on, on their device and in the precision of the run.

    In half precision what flows from stage to stage has it too, so that states at a line are the same whether they are
    computed from the input or from the states at a lower one. Pooled features are few, and stay in fp32.
    """

    def __init__(
        self, backbone: Backbone, line: int, accelerator: Accelerator, *, first: int = 0, doubted: bool = False
    ) -> None:
        import torch

        self._doubted = doubted
        """Whether it must still show that it gives the same values when it is asked again."""
        self._backbone = backbone
        self._accelerator = accelerator
        self._half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
        lower = lower_part(backbone, line, first=first, half=self._half)
        if self._half is not None:
            lower = _cast_once(lower, self._half)
        self._lower = accelerator.prepare_model(lower, evaluation_mode=True).eval()

    def states(
        self,
        wanted: Iterable[Wanted],
        unreadable: Callable[[Wanted, str], None],
        progress: Callable[[int, int], None] = lambda done, total: None,
        total: int = 0,
        throughput: Throughput | None = None,
    ) -> Iterator[Row]:
        """Yield each state with the names of its ragged tensors, in no particular order.

        ``throughput`` is told how long the network waited for prepared examples.

        Raises:
            NumericError: a state that is not finite.
        """
        threads = preparing_threads(self._accelerator)
        rows = prepared(self._backbone, wanted, unreadable, progress, total, threads=threads, doubted=self._doubted)
        yield from self.following(rows if throughput is None else throughput.awaited(rows))

    def following(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the states that follow from rows: prepared inputs, or states at the line where this part begins.

        Raises:
            NumericError: a state that is not finite.
        """
        import torch

        on_gpu = self._accelerator.device.type != "cpu"
        threads = ThreadChoice(1 if on_gpu else torch.get_num_threads())
        for members, state in _batches(rows, on_gpu=on_gpu):
            shapes = tuple(tensor.shape for tensor in state.values())
            with contextlib.nullcontext() if on_gpu else threads.batch(shapes, _places(state)):
                computed = self._computed(state)
            if self._doubted:
                self._require_steady(state)
            rows_now = {name: len(tensor) for name, tensor in computed.items()}
            if odd := next((name for name, count in rows_now.items() if count != shapes[0][0]), None):
                raise PluginError(
                    f"the frozen stages gave {rows_now[odd]} rows of {odd} for {shapes[0][0]} that they took",
                    hint="that is a fault of the backbone: a stage must return as many rows as it got",
                )
            ragged = ragged_names(computed)
            sound = _is_finite(computed)
            for member, row in zip(members, unstacked(computed), strict=False):  # rows that fill up have none
                if not sound:
                    _require_finite(member.name, row)
                yield member, row, ragged

    def _require_steady(self, state: State) -> None:
        """Compute a row twice: beside itself, and beside a row of zeros.

        Raises:
            PluginError: it comes out otherwise the second time, so what is stored would be one draw of many, or would
                depend on who stood beside it.
        """
        import torch

        self._doubted = False
        beside = {name: torch.cat([tensor[:1], tensor[:1]]) for name, tensor in state.items()}
        alone = {name: torch.cat([tensor[:1], torch.zeros_like(tensor[:1])]) for name, tensor in state.items()}
        if MASK in alone:
            alone[MASK][1] = 1
        before = _versions(self._lower)
        once, again = self._computed(beside), self._computed(alone)
        if _versions(self._lower) != before:
            raise PluginError(
                "the frozen stages change weights or buffers of theirs when they are asked",
                hint="that is a fault of the backbone: in eval mode a stage must not keep anything",
            )
        exact = self._accelerator.device.type == "cpu" and self._half is None
        share = OTHER_ORDER if exact else OTHER_ORDER_ROUGHLY
        if name := next((name for name in once if not _is_like(once[name][:1], again[name][:1], share)), None):
            raise PluginError(
                f"the frozen stages give other values when they are asked again ({name}): they draw at random, keep a "
                "state, or make a row depend on the others",
                hint="that is a fault of the backbone: in eval mode a row must depend on nothing but its own input",
            )

    def together(self, examples: Sequence[Example]) -> State:
        """Return the states of a few examples as one batch, whatever its shape.

        Raises:
            UnreadableError: one of them cannot be read.
        """
        return self._computed(self._backbone.prepare(examples, None))

    def _computed(self, state: State) -> State:
        import torch
        from accelerate.utils import send_to_device

        if self._half is not None:
            state = channels_last(state)
        self._lower.eval()  # whoever else holds the stages may have switched them to training
        # Not inference mode: what comes out may be an input of training, and such tensors cannot be.
        with torch.no_grad():
            found: State = self._lower(send_to_device(state, self._accelerator.device))
        if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
            raise PluginError(
                "the last frozen stage gave no dict of tensors",
                where=f"stages: {', '.join(self._backbone.stages)}",
                hint="that is a fault of the backbone: a stage takes a state and returns one",
            )
        if self._half is not None and FEATURES not in found:  # Accelerate made fp32 of it
            found = _cast(found, self._half)
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}


def _cast_once(lower: nn.Module, half: torch.dtype) -> nn.Module:
    """Return a copy whose weights are as autocast would cast them for every batch, and laid out for convolutions."""
    import copy

    import torch
    from torch import nn

    lower = copy.deepcopy(lower)
    for module in lower.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            module.to(half)
    return lower.to(memory_format=torch.channels_last)


def channels_last(state: State) -> State:
    """Return the state with its maps (N, C, H, W) laid out as convolutions in half precision want them."""
    import torch

    return {
        name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
        for name, tensor in state.items()
    }


def lower_part(backbone: Backbone, line: int, *, first: int = 0, half: torch.dtype | None = None) -> nn.Module:
    """Return the stages from ``first`` to below the line as one module, state to state.

    Above the last stage, pooling belongs to it. With ``half``, each stage's state is cast to it.
    """
    import torch
    from torch import nn

    class Lower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.ModuleList(list(backbone.stages.values())[first:line])

        def forward(self, state: State) -> State:
            for stage in self.stages:
                state = stage(state)
                state = state if half is None else _cast(state, half)
            if line < len(backbone.stages):
                return state
            return {FEATURES: pooled(backbone, state if half is None else _cast(state, torch.float32)).float()}

    return Lower().requires_grad_(False)


def _cast(state: State, to: torch.dtype) -> State:
    return {name: tensor.to(to) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def prepared(
    backbone: Backbone,
    wanted: Iterable[Wanted],
    unreadable: Callable[[Wanted, str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
    total: int = 0,
    *,
    threads: int = 1,
    doubted: bool = False,
) -> Iterator[Row]:
    """Yield each readable example's prepared row and its ragged names; say which are unreadable, and why.

    Threads of their own prepare a little ahead. Augmented versions are prepared by one at a time: what augments reads
    torch's global generator. Where the backbone is ``doubted``, it prepares an example once more, alone.

    Raises:
        PluginError: it comes out otherwise, or examples have tensors of other names or types than the first.
    """
    chunks = _chunks(wanted)
    kinds: dict[str, torch.dtype] = {}
    done = 0
    chance = threading.Lock()

    def prepare(chunk: list[Wanted]) -> tuple[list[tuple[Wanted, State, list[str]]], list[tuple[Wanted, str]]]:
        with chance if chunk[0].view is not None else contextlib.nullcontext():
            return _prepared_chunk(backbone, chunk)

    with _single_threaded(threads > 1), ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
        running = deque((chunk, pool.submit(prepare, chunk)) for chunk in islice(chunks, threads + AHEAD))
        try:
            while running:
                chunk, future = running.popleft()
                rows, bad = future.result()
                if rows and not kinds:
                    kinds.update(_kinds(rows[0][1]))
                    if doubted:
                        alone, _ = prepare([rows[-1][0]])  # in turn too: others may be drawing
                        _require_alike(backbone, rows[-1], alone)
                if odd := next((member for member, row, _ in rows if _kinds(row) != kinds), None):
                    raise broken(
                        backbone, "prepare", f"gave tensors of other names or types for {odd.name} than before"
                    )
                running.extend((more, pool.submit(prepare, more)) for more in islice(chunks, 1))
                for member, reason in bad:
                    unreadable(member, reason)
                yield from rows
                done += len(chunk)
                progress(done, max(total, done))
        finally:
            for _, future in running:
                future.cancel()


@contextlib.contextmanager
def _single_threaded(wanted: bool) -> Iterator[None]:
    """Let each of several threads compute by itself, instead of each starting a team of its own."""
    import torch

    count = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if wanted:
            torch.set_num_threads(count)


def _chunks(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Yield runs of examples that are prepared in one call: of the same view, and not too many."""
    chunk: list[Wanted] = []
    for one in wanted:
        if chunk and (len(chunk) == PREPARED_AT_ONCE or one.view != chunk[0].view):
            yield chunk
            chunk = []
        chunk.append(one)
    if chunk:
        yield chunk


def _prepared_chunk(backbone: Backbone, chunk: Sequence[Wanted]) -> tuple[list[Row], list[tuple[Wanted, str]]]:
    try:
        state = prepared_by(backbone, [member.example for member in chunk], chunk[0].view)
    except UnreadableError as error:
        if len(chunk) == 1:
            return [], [(chunk[0], str(error))]
        middle = len(chunk) // 2
        halves = [_prepared_chunk(backbone, part) for part in (chunk[:middle], chunk[middle:])]
        return [row for rows, _ in halves for row in rows], [one for _, bad in halves for one in bad]
    ragged = ragged_names(state)
    return [(member, row, ragged) for member, row in zip(chunk, unstacked(state), strict=True)], []


def _require_alike(backbone: Backbone, row: Row, alone: Sequence[Row]) -> None:
    """Compare an example with itself, prepared without those that stood beside it; there is none if it vanished.

    Raises:
        PluginError: it came out otherwise.
    """
    member, before, _ = row
    for name, values in before.items() if alone else ():
        now = alone[0][1].get(name)
        if now is None or values.shape != now.shape or not _is_like(values, now, OTHER_ORDER):
            raise broken(
                backbone,
                "prepare",
                f"gave another {name} for {member.name} when it was asked for that one alone: it draws at random, "
                "mixes up rows, or makes a row depend on the others",
            )


def _kinds(row: State) -> dict[str, torch.dtype]:
    return {name: tensor.dtype for name, tensor in row.items()}


def _is_like(first: Tensor, second: Tensor, share: float) -> bool:
    """Say whether values are the same, but for a share of the largest."""
    import torch

    first, second = first.double(), second.double()
    if first.shape != second.shape or not torch.equal(first.isnan(), second.isnan()):
        return False
    apart = (first - second).abs() > share * first.abs().amax() if first.numel() else first.bool()
    return not bool(apart.any())


def _versions(module: nn.Module) -> list[tuple[int, int]]:
    """Return what changes when a weight or buffer is exchanged, or changed in place."""
    return [(id(tensor), tensor._version) for tensor in (*module.parameters(), *module.buffers())]


def _batches(rows: Iterable[Row], *, on_gpu: bool) -> Iterator[tuple[list[Wanted], State]]:
    buckets: Buckets[Wanted] | None = None
    for member, row, ragged in rows:
        buckets = buckets or Buckets(ragged, on_gpu=on_gpu)
        yield from buckets.add(member, row)
    if buckets is not None:
        yield from buckets.rest()


def _places(state: State) -> int:
    return state[MASK].numel() if MASK in state else len(next(iter(state.values())))


def _is_finite(state: State) -> bool:
    import torch

    return all(bool(torch.isfinite(values).all()) for values in state.values() if values.is_floating_point())


def _require_finite(id_: str, row: State) -> None:
    import torch

    for name, tensor in row.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NumericError(
                f"the frozen network gave a value that is not finite ({name})",
                where=f"example {id_}",
                hint="try `--set train.precision=fp32`, and look at this example",
            )
