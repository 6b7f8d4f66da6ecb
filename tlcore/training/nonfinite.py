"""Find the first value that is not finite: a step is repeated while a tracer checks what every module computes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tlcore.errors import NumericError

__all__ = ["NonFinite", "NonFiniteTracer", "has_nan_or_inf", "nonfinite_weight", "require_finite_outputs", "trace"]

EXAMPLES_NAMED = 10


@dataclass(frozen=True)
class NonFinite:
    """A tensor that is not finite: what it is, in words; which of its rows are not finite, and how many it has."""

    what: str
    rows: tuple[int, ...] = ()
    count: int = 0


def nonfinite_weight(modules: Mapping[str, nn.Module]) -> str | None:
    """Return the name of the first parameter or buffer that is not finite, such as ``head.weight``."""
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters(prefix):
            if not bool(torch.isfinite(parameter).all()):
                return name
        for name, buffer in module.named_buffers(prefix):
            if has_nan_or_inf(buffer):
                return name
    return None


def require_finite_outputs(outputs: Tensor, ids: Sequence[str], modules: Mapping[str, nn.Module]) -> None:
    """Refuse outputs (N, …) that are not finite before a task scores or decodes them.

    A step whose loss and gradients are finite can still leave weights that overflow: this is where that shows.

    Raises:
        NumericError: it names the examples, and the weight if one is not finite.
    """
    if bool(torch.isfinite(outputs).all()):
        return
    wrong = [ids[row] for row in _nonfinite("", outputs).rows]
    more = f" and {len(wrong) - EXAMPLES_NAMED} more" if len(wrong) > EXAMPLES_NAMED else ""
    weight = nonfinite_weight(modules)
    raise NumericError(
        "the outputs of the network are not finite, so they cannot be scored",
        where=f"examples: {', '.join(wrong[:EXAMPLES_NAMED])}{more}"
        + (f"\nthe first weight that is not finite: {weight}" if weight else ""),
        hint="try a smaller learning rate, `--set train.precision=fp32`, and look at these examples",
    )


def has_nan_or_inf(values: Tensor) -> bool:
    """Return whether there is a NaN or +inf; -inf is allowed, as an attention mask has it."""
    return values.is_floating_point() and bool((values.isnan() | values.isposinf()).any())


class NonFiniteTracer:
    """Keeps the first value (``forward``) and the first gradient (``backward``) that is not finite."""

    def __init__(self) -> None:
        self.forward: NonFinite | None = None
        self.backward: NonFinite | None = None
        self._source: object = None
        self._alive: list[object] = []

    def check_inputs(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Check the gradients of a module's inputs, in a forward pre-hook."""
        for tensor in _float_tensors([args, kwargs]):
            self._register(f"the gradient that {name} passes back", tensor, is_input=True)

    def check_outputs(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Check a module's outputs and their gradients, in a forward hook; inner modules were checked before."""
        wrong = next((tensor for tensor in _float_tensors(output) if not bool(torch.isfinite(tensor).all())), None)
        if self.forward is None and wrong is not None:
            cause = next(filter(has_nan_or_inf, _float_tensors([args, kwargs])), None)
            what = "output" if cause is None else "input"
            self.forward = _nonfinite(f"the {what} of {name}", wrong if cause is None else cause)
        for tensor in _float_tensors(output):
            self._register(f"the gradient that comes back to the output of {name}", tensor, is_input=False)

    def _register(self, what: str, tensor: Tensor, *, is_input: bool) -> None:
        if tensor.grad_fn is not None:
            source = (tensor.grad_fn, tensor.output_nr)
            self._alive.append(source)  # or another tensor could get the same id
            tensor.register_hook(functools.partial(self.check_gradient, what, source, is_input))

    def check_gradient(self, what: str, source: object, is_input: bool, gradient: Tensor) -> None:
        """Check a gradient, in a hook of its tensor."""
        is_first = self._source is None and not bool(torch.isfinite(gradient).all())
        if is_first:
            self._source = source
        # One tensor is the output of a module and the input of another, which computed its gradient.
        if is_first or (is_input and self._source == source):
            self.backward = _nonfinite(what, gradient)


@contextlib.contextmanager
def trace(modules: Mapping[str, nn.Module]) -> Iterator[NonFiniteTracer]:
    """Check every module inside these, in the forward and the backward pass."""
    tracer = NonFiniteTracer()
    with contextlib.ExitStack() as hooks:
        for prefix, root in modules.items():
            for name, module in root.named_modules(prefix=prefix):
                before, after = (
                    functools.partial(check, name) for check in (tracer.check_inputs, tracer.check_outputs)
                )
                hooks.enter_context(module.register_forward_pre_hook(before, with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(after, with_kwargs=True))
            for name, parameter in root.named_parameters(prefix):
                if parameter.requires_grad:
                    check = functools.partial(tracer.check_gradient, f"the gradient of {name}", name, False)
                    hooks.enter_context(parameter.register_hook(check))
        yield tracer


def _float_tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _nonfinite(what: str, tensor: Tensor) -> NonFinite:
    if tensor.dim() == 0:
        return NonFinite(what)
    wrong = ~torch.isfinite(tensor.detach()).reshape(len(tensor), -1).all(dim=1)
    return NonFinite(what, tuple(wrong.nonzero().flatten().tolist()), len(tensor))
