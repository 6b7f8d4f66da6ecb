"""What every check is made of: a promise that is required, and values that are compared."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, State
from tlcore.errors import NumericError, PluginError
from tlcore.plugins.host import Plugin
from tlcore.plugins.registry import Offer
from tlcore.specs import Spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "TOLERANCE",
    "ConformanceError",
    "are_close",
    "are_equal",
    "conformance",
    "parameters_of",
    "require",
    "require_same_row",
    "room",
    "smoke_options",
]

TOLERANCE = 1e-5
"""How far two ways of computing one value may be apart, relative to the largest value where that is above one."""


class ConformanceError(AssertionError):
    """Something that a plugin offers breaks a promise of the contracts."""


def require(condition: bool, message: str) -> None:
    """Raise ConformanceError with the message unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


@contextlib.contextmanager
def conformance() -> Iterator[None]:
    """Turn what the validators of a run raise into ConformanceError; for use as a decorator of a check."""
    try:
        yield
    except (PluginError, NumericError) as error:
        details = f" ({error.where})" if error.where else ""
        raise ConformanceError(f"{error.what}{details}") from error


def room(folder: Path) -> Path:
    """Return a new empty folder."""
    return Path(tempfile.mkdtemp(dir=folder))


def smoke_options(spec: Spec, folder: Path) -> Any:
    """Return the options of the smoke instance, after a look at the class that they are of."""
    from tlcore.recipe.choices import options_keys

    keys = options_keys(spec.kind, Offer(Plugin("checked", "", "", ""), spec))
    require(spec.options.__dataclass_params__.frozen, f"{spec.options.__name__} is not frozen")  # type: ignore[attr-defined]
    for key in keys:
        require(bool(key.help), f"{spec.options.__name__}.{key.name} has no line of documentation; use tlcore.option")
    options = spec.smoke(room(folder))
    require(isinstance(options, spec.options), f"smoke returns {options!r}, not of {spec.options.__name__}")
    return options


def require_same_row(expected: State, found: State, message: str) -> None:
    """Require that two states of one example have the same tensors, close in value."""
    require(expected.keys() == found.keys(), f"{message}: {sorted(expected)} became {sorted(found)}")
    for name, value in expected.items():
        same_shape = value.shape == found[name].shape
        require(same_shape, f"{message}: {name} is {tuple(found[name].shape)}, not {tuple(value.shape)}")
        require(are_close(value, found[name]), f"{message}: {name} by up to {_distance(value, found[name]):.1e}")


def are_close(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of one shape differ by no more than the tolerance."""
    largest = float(one.detach().double().abs().max()) if one.numel() else 0.0
    return _distance(one.detach(), other.detach()) <= TOLERANCE * max(1.0, largest)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0


def are_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether the same names hold the same values, bit by bit."""
    import torch

    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def parameters_of(backbone: Backbone) -> dict[str, Tensor]:
    """Return a copy of every parameter and buffer of the stages, by name."""
    return {
        f"{part}/{name}": value.clone()
        for part, stage in backbone.stages.items()
        for name, value in stage.state_dict().items()
    }
