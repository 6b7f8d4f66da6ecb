"""Write the model that a run leaves: safetensors and JSON, nothing that executes code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore import __version__
from tlcore.contracts import Backbone
from tlcore.errors import PluginError
from tlcore.files.atomic import publish_folder
from tlcore.files.tensors import write_tensors
from tlcore.model.layout import ABOUT, BACKBONE, FORMAT, PLUGIN_PARTS, SELF_TEST, TENSORS, modules_of
from tlcore.model.self_test import head_digest, record_self_test
from tlcore.recipe import Choice, Recipe, plain_value

if TYPE_CHECKING:
    from torch import Tensor

    from tlcore.training.model import TrainableModel

__all__ = ["require_apart", "save"]


def require_apart(backbone: Backbone, model: TrainableModel) -> None:
    """Refuse, before anything is trained, parts that hold a tensor together: they could not be saved.

    Raises:
        PluginError: two of them do.
    """
    seen: dict[int, str] = {}
    for part, module in modules_of(backbone, model).items():
        for name, tensor in module.state_dict(keep_vars=True).items():
            other = seen.setdefault(id(tensor), f"{part}/{name}")
            if other != f"{part}/{name}":
                raise PluginError(
                    f"{other} and {part}/{name} are one tensor, which could not be saved",
                    hint="that is a fault of the backbone or the adapter: a weight belongs to one place of one part",
                )


def save(
    folder: Path,
    recipe: Recipe,
    task_state: Mapping[str, Any],
    backbone: Backbone,
    model: TrainableModel,
    inputs: str,
    merged: Sequence[str] = (),
    precision: str = "fp32",
) -> None:
    """Publish the model as ``folder``, which must not exist yet, with samples on which it tests itself when loaded.

    Of the recipe only what loading needs is written. ``merged`` names stages without their injection; ``precision`` is
    what it was trained in.
    """
    about = {
        "format": FORMAT,
        "tlcore": __version__,
        **{part: _described(getattr(recipe, part)) for part in PLUGIN_PARTS},
        "task_state": dict(task_state),
        "inputs": inputs,
        "merged": list(merged),
        "precision": precision,
        "precision_is_auto": recipe.train.precision == "auto",
        "head_digest": head_digest(task_state, model.head),
    }

    def fill(partial: Path) -> None:
        write_tensors(partial / TENSORS, _tensors(backbone, model))
        (partial / BACKBONE).mkdir()
        backbone.save(partial / BACKBONE)
        recorded = record_self_test(partial / SELF_TEST, recipe.backbone.spec, backbone, model)
        (partial / ABOUT).write_text(json.dumps({**about, SELF_TEST: recorded}, indent=2), "utf-8")

    publish_folder(folder, fill, about={"format": FORMAT})


def _tensors(backbone: Backbone, model: TrainableModel) -> dict[str, Tensor]:
    """Return every parameter and buffer of the model by part and name."""
    return {
        f"{part}/{name}": tensor.detach().cpu().contiguous()
        for part, module in modules_of(backbone, model).items()
        for name, tensor in module.state_dict().items()
    }


def _described(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, "options": plain_value(choice.options)}
