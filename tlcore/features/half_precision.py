"""Whether a network's features survive half precision: measured on a sample, before everything is computed in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CANDIDATES", "LEAST_COSINE", "SAMPLE", "centered_cosine"]

SAMPLE = 8
"""Training examples in the sample: fewer say nothing, and more cost seconds."""
CANDIDATES = 16
"""Training examples that the sample is taken from, since some may be unreadable."""
LEAST_COSINE = 0.99
"""Networks that quantize well keep more than 0.997; those that lose accuracy in half precision fall below this."""


def centered_cosine(features: Tensor, others: Tensor) -> float:
    """Return the mean cosine between two versions (N, width) of the same features, each less its own mean.

    Without subtracting the mean, what all examples share would hide the loss of what distinguishes them. 1 where
    neither varies, 0 where only one of them does or a value is not finite.
    """
    import torch

    first, second = (values.double() - values.double().mean(dim=0) for values in (features, others))
    if not bool(torch.isfinite(first).all() and torch.isfinite(second).all()):
        return 0.0
    varying = (first.norm(dim=1) > 0) | (second.norm(dim=1) > 0)
    if not bool(varying.any()):
        return 1.0
    lengths = (first.norm(dim=1) * second.norm(dim=1))[varying]
    products = (first * second).sum(dim=1)[varying]
    return float(torch.where(lengths > 0, products / lengths.clamp_min(1e-300), 0.0).mean())
