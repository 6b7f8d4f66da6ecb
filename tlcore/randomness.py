"""Randomness as a function of (seed, what it is for): never of how many numbers were drawn before.

So nothing hidden has to be saved or restored, and an example's draw does not depend on its companions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["derived_seed", "generator", "seeded"]


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose, such as ``("dropout", epoch, step, rank)``."""
    text = json.dumps([seed, *purpose])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator of its own for a purpose."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


@contextlib.contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """Give code that reads torch's global generators (initialisers, dropout) numbers of its own, and restore them.

    A GPU's generators are touched only where torch has begun to use the GPU: before that they cannot be read.
    """
    import torch

    number = derived_seed(seed, *purpose)
    generators = [torch.default_generator]
    if torch.cuda.is_initialized():
        generators += torch.cuda.default_generators
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(number)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
