"""The processes that share a run: each takes a part of the work, all reach the same numbers, one writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

__all__ = ["Team"]

Item = TypeVar("Item")


class Team:
    """What the processes of an Accelerator do together; of one process nothing is asked."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.size = accelerator.num_processes
        self.rank = accelerator.process_index

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            self._accelerator.wait_for_everyone()

    def told(self, text: str) -> str:
        """Return what the leading process says."""
        if self.size == 1:
            return text
        from accelerate.utils import broadcast_object_list

        return str(broadcast_object_list([text])[0])

    def any(self, *flags: bool) -> list[bool]:
        """Return which of the flags at least one process has raised."""
        if self.size == 1:
            return list(flags)
        raised: Tensor = self._accelerator.reduce(torch.tensor(flags, device=self._accelerator.device).float(), "sum")
        return [value > 0 for value in raised.tolist()]

    def gathered(self, values: Tensor) -> Tensor:
        """Return the values of all processes (size, …), on the CPU."""
        found: Tensor = self._accelerator.gather(values.to(self._accelerator.device)[None])
        return found.cpu()

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's share of the items: every so many-th."""
        return items[self.rank :: self.size]

    def own_of_joined(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return what this process computes of what is joined: of too few items each process computes all."""
        return items if len(items) < self.size else self.mine(items)

    def joined(self, items: Sequence[Item], compute: Callable[[Sequence[Item]], Tensor]) -> Tensor:
        """Return what ``compute`` gives for all items in their order, (N, …), each computed by one process."""
        own = compute(self.own_of_joined(items))
        if self.size == 1 or len(items) < self.size:
            return own
        own = own.to(self._accelerator.device)
        longest = -(-len(items) // self.size)
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: len(own)] = own
        gathered: Tensor = self._accelerator.gather(padded)
        # Row k of process r is item k * size + r; what was only padding stands behind the last item.
        parts = gathered.view(self.size, longest, *own.shape[1:])
        return parts.transpose(0, 1).reshape(self.size * longest, *own.shape[1:])[: len(items)].cpu()

    def add_up_gradients(self, parameters: Iterable[nn.Parameter], value: float) -> float:
        """Replace each gradient by the sum over all processes, and return the sum of ``value``."""
        if self.size == 1:
            return value
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        zeros = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        device = self._accelerator.device
        flat = torch.cat([*(gradient.reshape(-1).float() for gradient in zeros), torch.tensor([value], device=device)])
        summed: Tensor = self._accelerator.reduce(flat, "sum")
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

        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(broadcast(buffer.contiguous()))
