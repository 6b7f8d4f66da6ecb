"""The model that a run leaves: safetensors and JSON, nothing that executes code, and all that predicting needs."""

from __future__ import annotations

import json
import reprlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, Example, Problem, Task
from tlcore.errors import PluginError, RecipeError, TLError, UsageError, WeightsError
from tlcore.floors import require_floors
from tlcore.foreign_files import read_object
from tlcore.plugins import PluginHost
from tlcore.publishing import publish_folder, verify_folder
from tlcore.recipe import Recipe, parse_recipe, plain
from tlcore.registry import Registry
from tlcore.self_test import head_digest, record_self_test, require_same_outputs
from tlcore.weights import load_exactly, read_tensors, write_tensors

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from tlcore.training.network import Upper

__all__ = ["FORMAT", "Model", "load", "named_tensors", "save"]

FORMAT = 3
TENSORS = "model.safetensors"
ABOUT = "artifact.json"
BACKBONE = "backbone"
SELF_TEST = "self_test"


class Model:
    """A trained model, ready to predict."""

    def __init__(self, recipe: Recipe, task: Task, backbone: Backbone, upper: Upper, accelerator: Accelerator) -> None:
        self.recipe = recipe
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

        from tlcore.features.frozen import FrozenPart, Wanted, prepared
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

    ``merged`` names stages without their injection; ``precision`` is what it was trained in.
    """
    about = {
        "format": FORMAT,
        "recipe": plain(recipe),
        "task_state": dict(task_state),
        "inputs": inputs,
        "feature_dim": backbone.feature_dim,
        "merged": list(merged),
        "precision": precision,
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
    """Return what an artifact says of itself, after its files were checked against its manifest.

    Raises:
        WeightsError: it is no artifact of tlcore, damaged, or of a newer format.
    """
    verify_folder(folder)
    found = read_object(folder / ABOUT)
    version = found.get("format")
    if version != FORMAT:
        raise WeightsError(
            f"{folder} is an artifact of format {reprlib.repr(version)}; this tlcore reads format {FORMAT}"
        )
    kinds = {"recipe": dict, "task_state": dict, "inputs": str, "merged": list, "precision": str, SELF_TEST: dict}
    if odd := [key for key, kind in kinds.items() if not isinstance(found.get(key), kind)]:
        raise WeightsError(f"{ABOUT} is damaged: it does not say its {odd[0]}", where=str(folder))
    if not all(isinstance(name, str) for name in found["merged"]):
        raise WeightsError(f"{ABOUT} is damaged: it does not say its merged stages", where=str(folder))
    return found


def load(run: str | Path, *, registry: Registry | None = None, device: str = "auto") -> Model:
    """Return the model of a finished run (its folder, or the ``model`` folder in it).

    Raises:
        UsageError: no such folder.
        WeightsError: it is not finished, damaged, does not fit the installed plugins, or fails its own test.
        PluginError: a plugin that it was made with is absent.
    """
    from tlcore.randomness import seeded
    from tlcore.training.device import accelerator_for, half_format
    from tlcore.training.network import Upper

    require_floors()
    folder = model_folder(Path(run))
    found = about(folder)
    registry = registry or Registry(PluginHost())
    name = str(found["recipe"].get("name", "model"))
    try:
        recipe = parse_recipe(json.dumps(found["recipe"]), registry, file=str(folder / ABOUT), name=name)
    except RecipeError as error:
        raise WeightsError(
            f"the model cannot be read: its recipe has {len(error.faults)} faults",
            where=error.where,
            hint="use the version of tlcore that made it, or copy the folder again from where it was made",
        ) from error
    try:
        task = recipe.task.spec.build(recipe.task.options)
        task.restore(found["task_state"])
        with seeded(recipe.seed, "backbone"):
            backbone = recipe.backbone.spec.build(recipe.backbone.options, folder / BACKBONE)
            plan = recipe.adapter.spec.build(recipe.adapter.options).plan(backbone, task.outputs)
    except TLError:
        raise
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise WeightsError(
            f"the model cannot be built again: {type(error).__name__}: {error}", where=str(folder)
        ) from error
    upper = Upper(backbone, plan, merged=found["merged"])
    _load_tensors(folder / TENSORS, backbone, upper)
    if head_digest(found["task_state"], upper.head) != found.get("head_digest"):
        raise WeightsError(
            "self-test failed: the labels are not those that the head was trained with",
            where=str(folder / ABOUT),
            hint="copy the folder again from where it was made, or repeat the run",
        )
    require_same_outputs(folder / SELF_TEST, found[SELF_TEST], backbone, upper)
    precision = recipe.train.precision
    if precision == "auto":
        chosen = found["precision"]
        precision = chosen if chosen == half_format(accelerator_for(device, "fp32").device) else "fp32"
    accelerator = accelerator_for(device, precision)
    return Model(recipe, task, backbone, upper, accelerator)


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
