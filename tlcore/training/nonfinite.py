"""Where a value that is not finite came from: a step is repeated, and what each module takes and gives is looked at."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tlcore.errors import NumericError

__all__ = ["Found", "Watch", "require_finite_outputs", "spoilt", "watched", "weight_not_finite"]

EXAMPLES_NAMED = 10


@dataclass(frozen=True)
class Found:
    """The first value that is not finite, in words; which rows of it are not, and of how many."""

    what: str
    bad: tuple[int, ...]
    rows: int


def weight_not_finite(parts: Mapping[str, nn.Module]) -> str | None:
    """Return the name of the first weight or statistic that is not finite, such as ``head.weight``."""
    for part, module in parts.items():
        for name, parameter in module.named_parameters(part):
            if not bool(torch.isfinite(parameter).all()):
                return name
        for name, buffer in module.named_buffers(part):
            if spoilt(buffer):
                return name
    return None


def require_finite_outputs(outputs: Tensor, ids: Sequence[str], parts: Mapping[str, nn.Module]) -> None:
    """Refuse outputs (N, …) that are not finite before a task scores or decodes them.

    A step whose loss and gradients are finite can still leave weights that overflow: this is where that shows.

    Raises:
        NumericError: it names the examples, and the weight if one is not finite.
    """
    if bool(torch.isfinite(outputs).all()):
        return
    bad = [ids[row] for row in _found("", outputs).bad]
    named = ", ".join(bad[:EXAMPLES_NAMED]) + (f" and {len(bad) - EXAMPLES_NAMED} more" if bad[EXAMPLES_NAMED:] else "")
    weight = weight_not_finite(parts)
    raise NumericError(
        "what the network gives is not finite, so it cannot be scored",
        where=f"examples: {named}" + (f"\nthe first weight that is not finite: {weight}" if weight else ""),
        hint="try a smaller learning rate, `--set train.precision=fp32`, and look at these examples",
    )


def spoilt(values: Tensor) -> bool:
    """Say whether there is a NaN or +inf among values of which -inf may be meant, as in a mask of attention."""
    return values.is_floating_point() and bool((values.isnan() | values.isposinf()).any())


class Watch:
    """What was seen first: ``forward`` of values, ``backward`` of gradients."""

    def __init__(self) -> None:
        self.forward: Found | None = None
        self.backward: Found | None = None
        self._place: object = None
        self._kept: list[object] = []

    def taken(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Look at the gradient that a module passes back to what it takes."""
        for tensor in _tensors([args, kwargs]):
            self._follow(f"the gradient that {name} passes back", tensor, decides=True)

    def given(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Look at what a module gives; modules within it were looked at before."""
        if self.forward is None and (bad := _first_bad(output)) is not None:
            cause = next(filter(spoilt, _tensors([args, kwargs])), None)
            what, bad = (f"the output of {name}", bad) if cause is None else (f"the input of {name}", cause)
            self.forward = _found(what, bad)
        for tensor in _tensors(output):
            self._follow(f"the gradient that comes back to the output of {name}", tensor, decides=False)

    def weight(self, name: str, parameter: Tensor) -> Any:
        """Look at the gradient of a weight."""
        return parameter.register_hook(functools.partial(self._came_back, f"the gradient of {name}", name, False))

    def _follow(self, what: str, tensor: Tensor, *, decides: bool) -> None:
        if tensor.grad_fn is not None:
            place = (tensor.grad_fn, tensor.output_nr)
            self._kept.append(place)  # or another would get its number
            tensor.register_hook(functools.partial(self._came_back, what, place, decides))

    def _came_back(self, what: str, place: object, decides: bool, gradient: Tensor) -> None:
        first = self._place is None and not bool(torch.isfinite(gradient).all())
        if first:
            self._place = place
        # One tensor is what a module gives and another takes: the one that takes it made its gradient.
        if first or (decides and self._place == place):
            self.backward = _found(what, gradient)


@contextlib.contextmanager
def watched(parts: Mapping[str, nn.Module]) -> Iterator[Watch]:
    """Look at each module of these parts inside, forwards and backwards."""
    watch = Watch()
    handles: list[Any] = []
    for part, module in parts.items():
        for name, one in module.named_modules(prefix=part):
            taken, given = functools.partial(watch.taken, name), functools.partial(watch.given, name)
            handles.append(one.register_forward_pre_hook(taken, with_kwargs=True))
            handles.append(one.register_forward_hook(given, with_kwargs=True))
        for name, parameter in module.named_parameters(part):
            if parameter.requires_grad:
                handles.append(watch.weight(name, parameter))
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of floats in what a module takes or gives."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)


def _first_bad(value: Any) -> Tensor | None:
    return next((tensor for tensor in _tensors(value) if not bool(torch.isfinite(tensor).all())), None)


def _found(what: str, tensor: Tensor) -> Found:
    if tensor.dim() == 0:
        return Found(what, (), 0)
    bad = ~torch.isfinite(tensor.detach()).reshape(len(tensor), -1).all(dim=1)
    return Found(what, tuple(bad.nonzero().flatten().tolist()), len(tensor))
