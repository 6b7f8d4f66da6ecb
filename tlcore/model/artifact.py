"""The model that a run leaves: safetensors and JSON, nothing that executes code, and all that predicting needs."""

from __future__ import annotations

import json
import reprlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore import __version__
from tlcore.contracts import Backbone, Example, Problem, Task
from tlcore.errors import PluginError, RecipeError, TLError, UsageError, WeightsError
from tlcore.files.atomic import publish_folder, verify_folder
from tlcore.files.tensors import write_tensors
from tlcore.files.untrusted import read_object
from tlcore.minimum_versions import require_floors
from tlcore.model.self_test import head_digest, record_self_test, require_same_outputs
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import Choice, Recipe, plain_value, read_choice
from tlcore.weights.loading import load_exactly, read_tensors

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from tlcore.training.model import Upper

__all__ = ["FORMAT", "Model", "load", "named_tensors", "save"]

FORMAT = 4
TENSORS = "model.safetensors"
ABOUT = "artifact.json"
BACKBONE = "backbone"
SELF_TEST = "self_test"
PLUGIN_PARTS = ("task", "backbone", "adapter")
"""What a model is built from: each is something that a plugin offers, with its options."""
PRECISIONS = ("fp32", "bf16", "fp16")


class Model:
    """A trained model, ready to predict."""

    def __init__(self, task: Task, backbone: Backbone, upper: Upper, accelerator: Accelerator) -> None:
        self.task = task
        self._backbone = backbone
        self._upper = accelerator.prepare_model(upper, evaluation_mode=True).eval()
        self._line = upper.line
        self._accelerator = accelerator

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Return for each input what the task decodes: a classifier's prediction, confidence and probabilities.

        An input that cannot be read has a single key, ``problem``, with the reason; nothing takes its place.
        """
        examples = [Example(id=str(n), input=value) for n, value in enumerate(inputs)]
        found: list[dict[str, Any]] = [{} for _ in examples]
        outputs, problems = self.outputs(examples)
        for problem in problems:
            found[int(problem.id)] = {"problem": problem.reason}
        readable = [place for place, answer in enumerate(found) if not answer]
        decoded = self.task.decode(outputs) if readable else {}
        for row, place in enumerate(readable):
            found[place] = {name: values[row] for name, values in decoded.items()}
        return found

    def outputs(
        self, examples: Sequence[Example], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> tuple[Tensor, list[Problem]]:
        """Return what the head gives for the examples that can be read, (N, outputs) in their order, and the others.

        Raises:
            NumericError: one is not finite.
        """
        import torch

        from tlcore.features.extractor import FrozenPart, Wanted, prepared
        from tlcore.training.inference import streamed
        from tlcore.training.nonfinite import require_finite_outputs

        reasons: dict[int, str] = {}
        wanted = [Wanted(str(place).encode(), example.id, example) for place, example in enumerate(examples)]

        def refuse(one: Wanted, reason: str) -> None:
            reasons[int(one.key)] = reason

        if self._line:
            frozen = FrozenPart(self._backbone, self._line, self._accelerator)
            rows = frozen.states(wanted, refuse, progress, len(wanted))
        else:
            rows = prepared(self._backbone, wanted, refuse, progress, len(wanted))
        found = {int(one.key): outputs for one, outputs in streamed(self._upper, rows, self._accelerator)}
        problems = [Problem(examples[place].id, reasons[place]) for place in sorted(reasons)]
        if not found:
            return torch.empty(0, self.task.outputs), problems
        outputs = torch.stack([found[place] for place in sorted(found)])
        require_finite_outputs(outputs, [examples[place].id for place in sorted(found)], self._upper.parts())
        return outputs, problems


def named_tensors(backbone: Backbone, upper: Upper) -> dict[str, Tensor]:
    """Return every parameter and buffer of the model: frozen stages, trained stages, standardisation and head."""
    return {
        f"{part}/{name}": tensor.detach().cpu().contiguous()
        for part, module in _modules(backbone, upper).items()
        for name, tensor in module.state_dict().items()
    }


def require_apart(backbone: Backbone, upper: Upper) -> None:
    """Refuse, before anything is trained, parts that hold a tensor together: they could not be saved.

    Raises:
        PluginError: two of them do.
    """
    seen: dict[int, str] = {}
    for part, module in _modules(backbone, upper).items():
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
    upper: Upper,
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
        "head_digest": head_digest(task_state, upper.head),
    }

    def fill(partial: Path) -> None:
        write_tensors(partial / TENSORS, named_tensors(backbone, upper))
        (partial / BACKBONE).mkdir()
        backbone.save(partial / BACKBONE)
        recorded = record_self_test(partial / SELF_TEST, recipe.backbone.spec, backbone, upper)
        (partial / ABOUT).write_text(json.dumps({**about, SELF_TEST: recorded}, indent=2), "utf-8")

    publish_folder(folder, fill, about={"format": FORMAT})


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
    task, backbone, upper = _built(found, folder, registry or Registry(PluginHost()))
    _load_tensors(folder / TENSORS, backbone, upper)
    if head_digest(found["task_state"], upper.head) != found.get("head_digest"):
        raise WeightsError(
            "self-test failed: the labels are not those that the head was trained with",
            where=str(folder / ABOUT),
            hint="copy the folder again from where it was made, or repeat the run",
        )
    require_same_outputs(folder / SELF_TEST, found[SELF_TEST], backbone, upper)
    return Model(task, backbone, upper, accelerator_for(device, _precision(found, device)))


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


def _described(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, "options": plain_value(choice.options)}


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


def _built(found: Mapping[str, Any], folder: Path, registry: Registry) -> tuple[Task, Backbone, Upper]:
    """Build task, backbone and trainable part; their tensors are still to be loaded."""
    from tlcore.randomness import seeded
    from tlcore.training.model import Upper

    task_choice, backbone_choice, adapter_choice = (_chosen(part, found, folder, registry) for part in PLUGIN_PARTS)
    try:
        task = task_choice.spec.build(task_choice.options)
        task.restore(found["task_state"])
        with seeded(0, "load"):  # initial weights, which are replaced: torch's global generator must not move
            backbone = backbone_choice.spec.build(backbone_choice.options, folder / BACKBONE)
            plan = adapter_choice.spec.build(adapter_choice.options).plan(backbone, task.outputs)
            return task, backbone, Upper(backbone, plan, merged=found["merged"])
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


def _load_tensors(path: Path, backbone: Backbone, upper: Upper) -> None:
    tensors = read_tensors(path)
    for part, module in _modules(backbone, upper).items():
        own = {name: tensors.pop(name) for name in list(tensors) if name.startswith(f"{part}/")}
        load_exactly(module, {name[len(part) + 1 :]: value for name, value in own.items()}, source=f"{path}, {part}")
    if tensors:
        raise WeightsError(f"{len(tensors)} tensors belong to no part of the model: {min(tensors)} …", where=str(path))


def _modules(backbone: Backbone, upper: Upper) -> dict[str, nn.Module]:
    trained = upper.parts()
    stages = {f"stages/{name}": trained.get(name, stage) for name, stage in backbone.stages.items()}
    return {**stages, "standardise": upper.standardise, "head": upper.head}
