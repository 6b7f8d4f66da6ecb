"""Load a saved model: checked file by file, built by its plugins, tested on its own samples."""

from __future__ import annotations

import reprlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, Task
from tlcore.errors import RecipeError, TLError, UsageError, WeightsError
from tlcore.files.atomic import verify_folder
from tlcore.files.untrusted import read_object
from tlcore.minimum_versions import require_floors
from tlcore.model.layout import ABOUT, BACKBONE, FORMAT, PLUGIN_PARTS, SELF_TEST, TENSORS, modules_of
from tlcore.model.predict import Model
from tlcore.model.self_test import head_digest, require_same_outputs
from tlcore.plugins.errors import plugin_errors
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import Choice, read_choice
from tlcore.weights.loading import load_exactly, read_tensors

if TYPE_CHECKING:
    from tlcore.training.model import TrainableModel

__all__ = ["about", "load", "model_folder"]

PRECISIONS = ("fp32", "bf16", "fp16")


def about(folder: Path) -> dict[str, Any]:
    """Return the description of a saved model, after its files were checked against its manifest.

    Raises:
        WeightsError: not a model of tlcore, damaged, or of another format.
    """
    verify_folder(folder)
    found = read_object(folder / ABOUT)
    _require_format(folder, found)
    kinds = {
        **dict.fromkeys((*PLUGIN_PARTS, "task_state", SELF_TEST), dict),
        "inputs": str, "merged": list, "precision": str, "precision_is_auto": bool,
    }  # fmt: skip
    odd = [key for key, kind in kinds.items() if not isinstance(found.get(key), kind)]
    odd += [key for key in PLUGIN_PARTS if key not in odd and not _is_description(found[key])]
    if not odd and not all(isinstance(name, str) for name in found["merged"]):
        odd = ["merged"]
    if not odd and found["precision"] not in PRECISIONS:
        odd = ["precision"]
    if odd:
        raise WeightsError(f"{ABOUT} is damaged: no valid {odd[0]!r}", where=str(folder))
    return found


@plugin_errors()
def load(run: str | Path, *, registry: Registry | None = None, device: str = "auto") -> Model:
    """Return the model of a finished run (its folder, or the ``model`` folder in it).

    Of the plugins only those of its task, its backbone and its adapter are needed.

    Raises:
        UsageError: no such folder.
        WeightsError: it is not finished, damaged, does not fit the installed plugins, or fails its own test.
        PluginError: a plugin that it needs is absent.
    """
    from tlcore.training.device import accelerator_for

    require_floors()
    folder = model_folder(Path(run))
    found = about(folder)
    task, backbone, model = _built(found, folder, registry or Registry(PluginHost()))
    _load_tensors(folder / TENSORS, backbone, model)
    if head_digest(found["task_state"], model.head) != found.get("head_digest"):
        raise WeightsError(
            "self-test failed: the labels are not those that the head was trained with",
            where=str(folder / ABOUT),
            hint="copy the folder again from where it was made, or repeat the run",
        )
    require_same_outputs(folder / SELF_TEST, found[SELF_TEST], backbone, model)
    return Model(task, backbone, model, accelerator_for(device, _precision(found, device)))


def model_folder(run: Path) -> Path:
    """Return the artifact's folder for a run's folder or its own.

    Raises:
        UsageError: neither.
    """
    for folder in (run / "model", run):
        if (folder / ABOUT).is_file():
            return folder
    unfinished = run.is_dir() and (run / "recipe.yaml").is_file()
    raise UsageError(
        f"{run} is a run that did not finish: it has no model" if unfinished else f"there is no model at {run}",
        hint=f"finish it: tl run --resume {shlex.quote(str(run))}"
        if unfinished
        else "give the folder of a finished run, such as runs/vehicles/2026-01-31T12-00-00; `tl runs` lists them",
    )


def _is_description(value: dict[str, Any]) -> bool:
    return isinstance(value.get("name"), str) and isinstance(value.get("options"), dict)


def _require_format(folder: Path, found: dict[str, Any]) -> None:
    version = found.get("format")
    if version == FORMAT:
        return
    writer = str(found.get("tlcore", "0.1.0"))[:20]  # formats before 4 do not name it: 0.1.0 wrote them all
    raise WeightsError(
        f"{folder} was written by tlcore {writer} (format {reprlib.repr(version)}); this version reads format {FORMAT}",
        hint=f"load it with tlcore {writer} or run the recipe again",
    )


def _chosen(part: str, found: Mapping[str, Any], folder: Path, registry: Registry) -> Choice:
    described = found[part]
    try:
        return read_choice(part, described["name"], described["options"], registry, file=str(folder / ABOUT))
    except RecipeError as error:
        raise WeightsError(
            f"the model cannot be loaded: the installed {part} {described['name']!r} does not take its options",
            where=error.where,
            hint="use the versions that the run's manifest.json names, or copy the folder again from where it was made",
        ) from error


def _built(found: Mapping[str, Any], folder: Path, registry: Registry) -> tuple[Task, Backbone, TrainableModel]:
    """Build task, backbone and trainable part; their tensors are still to be loaded."""
    from tlcore.randomness import seeded
    from tlcore.training.model import TrainableModel

    task_choice, backbone_choice, adapter_choice = (_chosen(part, found, folder, registry) for part in PLUGIN_PARTS)
    try:
        task = task_choice.spec.build(task_choice.options)
        task.restore(found["task_state"])
        with seeded(0, "load"):  # initial weights, which are replaced: torch's global generator must not move
            backbone = backbone_choice.spec.build(backbone_choice.options, folder / BACKBONE)
            plan = adapter_choice.spec.build(adapter_choice.options).plan(backbone, task.outputs)
            return task, backbone, TrainableModel(backbone, plan, merged=found["merged"])
    except TLError:
        raise
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise WeightsError(f"the model cannot be built: {type(error).__name__}: {error}", where=str(folder)) from error


def _precision(found: Mapping[str, Any], device: str) -> str:
    """Return the precision of the training; fp32 if ``auto`` chose it and the device here does not compute it fast."""
    from tlcore.training.device import accelerator_for, half_format

    trained: str = found["precision"]
    if found["precision_is_auto"] and trained != half_format(accelerator_for(device, "fp32").device):
        return "fp32"
    return trained


def _load_tensors(path: Path, backbone: Backbone, model: TrainableModel) -> None:
    tensors = read_tensors(path)
    for part, module in modules_of(backbone, model).items():
        own = {name: tensors.pop(name) for name in list(tensors) if name.startswith(f"{part}/")}
        load_exactly(module, {name[len(part) + 1 :]: value for name, value in own.items()}, source=f"{path}, {part}")
    if tensors:
        raise WeightsError(f"{len(tensors)} tensors belong to no part of the model: {min(tensors)} …", where=str(path))
