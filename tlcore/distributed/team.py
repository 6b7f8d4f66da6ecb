"""The processes that share a run: each takes a part of the work, all reach the same numbers, one writes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from tlcore.distributed.process_group import talking
from tlcore.errors import NumericError, TLError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

__all__ = ["Team"]

Item = TypeVar("Item")


class Team:
    """What the processes of an Accelerator do together; of one process nothing is asked."""

    def __init__(self, accelerator: Accelerator, *, shared: bool = True) -> None:
        """Without ``shared`` each process is a team by itself."""
        self._accelerator = accelerator
        self.size = accelerator.num_processes if shared else 1
        self.rank = accelerator.process_index if shared else 0

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            with self._talking():
                self._accelerator.wait_for_everyone()

    def told(self, text: str) -> str:
        """Return what the leading process says."""
        if self.size == 1:
            return text
        from accelerate.utils import broadcast_object_list

        with self._talking():
            return str(broadcast_object_list([text])[0])

    def any(self, *flags: bool) -> list[bool]:
        """Return which of the flags at least one process has raised."""
        if self.size == 1:
            return list(flags)
        raised = self._sum(torch.tensor(flags, device=self._accelerator.device).float())
        return [value > 0 for value in raised.tolist()]

    def gathered(self, values: Tensor) -> Tensor:
        """Return the values of all processes (size, …), on the CPU."""
        return self._gather(values.to(self._accelerator.device)[None]).cpu()

    def require_agreement(self, step: int, parameters: Iterable[nn.Parameter]) -> None:
        """Compare where each process stands, and its weights bit for bit.

        Raises:
            NumericError: they are not the same.
        """
        if self.size == 1:
            return
        digest = sum(_digest(parameter) for parameter in parameters) % 2**62
        found = self.gathered(torch.tensor([step, digest])).tolist()
        if any(one != found[0] for one in found):
            steps = [one[0] for one in found]
            at = f"step {step}" if len(set(steps)) == 1 else f"steps {', '.join(map(str, steps))}"
            raise NumericError(
                f"the processes no longer have the same weights at {at}; no further step was taken",
                hint="one of them computes something else: look at its device, its libraries and its plugins",
            )

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's share of the items: every so many-th."""
        return items[self.rank :: self.size]

    def own_of_joined(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return what this process computes of what is joined: of too few items each process computes all."""
        return items if len(items) < self.size else self.mine(items)

    def joined(self, items: Sequence[Item], compute: Callable[[Sequence[Item]], Tensor]) -> Tensor:
        """Return what ``compute`` gives for all items in their order, (N, …), each computed by one process.

        Raises:
            TLError: the processes together did not compute each of the items once.
        """
        chosen = self.own_of_joined(items)
        own = compute(chosen)
        if self.size == 1 or len(items) < self.size:
            return own
        self._require_each_once(items, chosen, len(own))
        own = own.to(self._accelerator.device)
        longest = -(-len(items) // self.size)
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: len(own)] = own
        gathered = self._gather(padded)
        # Row k of process r is item k * size + r; what was only padding stands behind the last item.
        parts = gathered.view(self.size, longest, *own.shape[1:])
        return parts.transpose(0, 1).reshape(self.size * longest, *own.shape[1:])[: len(items)].cpu()

    def _require_each_once(self, items: Sequence[Item], chosen: Sequence[Item], rows: int) -> None:
        """Compare digests of the sets of items: of all that are asked for, and of what each process computed."""
        asked = _digest_of_set(items)
        found = self.gathered(torch.tensor([asked, _digest_of_set(chosen), rows])).tolist()
        same = all(one[0] == asked for one in found)
        if not same or sum(one[1] for one in found) % 2**62 != asked or sum(one[2] for one in found) != len(items):
            raise TLError(
                f"the {self.size} processes together did not compute each of {len(items)} examples once",
                where=f"rows by process: {', '.join(str(one[2]) for one in found)}",
                hint="see that all read the same data; if they do, please report this as a bug",
            )

    def add_up_gradients(self, parameters: Iterable[nn.Parameter], value: float) -> float:
        """Replace each gradient by the sum over all processes, and return the sum of ``value``."""
        if self.size == 1:
            return value
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        zeros = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        device = self._accelerator.device
        flat = torch.cat([*(gradient.reshape(-1).float() for gradient in zeros), torch.tensor([value], device=device)])
        summed = self._sum(flat)
        start = 0
        for parameter in trained:
            part = summed[start : start + parameter.numel()]
            parameter.grad = part.view_as(parameter).to(parameter.dtype)
            start += parameter.numel()
        return float(summed[-1])

    def agree_on_buffers(self, module: nn.Module) -> None:
        """Take over the leading process's statistics of normalisation: each saw other examples."""
        if self.size == 1:
            return
        from accelerate.utils import broadcast

        with self._talking():
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(broadcast(buffer.contiguous()))

    def _talking(self) -> contextlib.AbstractContextManager[None]:
        return talking(self.rank, self.size)

    def _gather(self, values: Tensor) -> Tensor:
        with self._talking():
            found: Tensor = self._accelerator.gather(values)
        return found

    def _sum(self, values: Tensor) -> Tensor:
        with self._talking():
            found: Tensor = self._accelerator.reduce(values, "sum")
        return found


def _digest(tensor: Tensor) -> int:
    """Return a sum over a tensor's bits: exact, so that neither order nor threads change it."""
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return int(tensor.detach().contiguous().view(bits).sum(dtype=torch.int64))


def _digest_of_set(items: Sequence[object]) -> int:
    """Return a sum over the items' own digests, whatever their order."""
    digests = (hashlib.blake2b(str(item).encode(), digest_size=8).digest() for item in items)
    return sum(int.from_bytes(digest, "big") for digest in digests) % 2**62
